"""Forks processes off one that has imported everything they may need.

    python -m tests.fork_server

Standard input is a socket (SOCK_SEQPACKET) of who started it; when the other end closes, the server
ends. Each message on it is one `Order` with four descriptors: standard input, output and error of
the new process, and a socket for the answers: first its pid, then how it ended (a wait status).

What is forked here differs from a fresh start in nothing that a command could see by documented
means; ``tests/unit/test_forked_starts.py`` compares the two, ``tests/README.md`` says when a test
wants a fresh start all the same.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import os
import pickle
import pkgutil
import signal
import socket
import struct
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from select import select
from typing import Any, Final, NoReturn

__all__ = ["NUMBER", "ORDER_MAX", "READY", "Order", "main"]

#: An answer: a pid or a wait status.
NUMBER: Final = struct.Struct("!i")
#: Told on the socket when everything is imported.
READY: Final = b"ready"
#: Bytes of a message; an order with the whole environment has some thousands.
ORDER_MAX: Final = 1 << 17

_PACKAGES: Final = ("proofs", "adapters", "coordinator")
#: Plugin of a program that is not ours, and what runs when it is imported.
_NOT_OURS: Final = ("coordinator.pytest_plugin", "__main__")
#: Imported not before they are needed. Private ones may go away: then they only cost time.
_LATE: Final = (
    "encodings.idna",
    "rich._emoji_codes",
    "tests.crash.kill_points",
    "typer._click._textwrap",
    "typer._click.decorators",
    "typer.rich_utils",
)


@dataclass(frozen=True, slots=True)
class Order:
    """What a new process is to be.

    Attributes:
        work: called in it, by reference; what it raises ends the process as it would a script.
        arguments: of ``work``.
        folder: its working directory.
        environment: all of its environment.
        program: its ``sys.argv``; the folder of the first is where Python looks for modules first.
    """

    work: Callable[..., object]
    arguments: tuple[Any, ...]
    folder: str
    environment: Mapping[str, str]
    program: tuple[str, ...]

    def pack(self) -> bytes:
        """Return it as a message.

        The work is pickled by itself: a process that can not read it says so on its own stderr.
        """
        work = pickle.dumps((self.work, self.arguments))
        return pickle.dumps((self.folder, dict(self.environment), self.program, work))


def main() -> None:
    """Import everything, then fork a process for each order until nobody is left to ask."""
    # A Ctrl-C at the keyboard is for whoever asks; to be fork's caller is no reason to die of it.
    # It waits here for ever, and a new process begins with none waiting (fork(2)).
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    channel = socket.socket(fileno=os.dup(0))
    _import_everything()
    gc.collect()
    gc.freeze()  # else each child's first collection would copy all of it
    # threading.active_count() does not know threads of libraries; /proc is Linux's.
    tasks = Path("/proc/self/task")
    threads = len(list(tasks.iterdir())) if tasks.exists() else threading.active_count()
    assert threads == 1, "an import starts a thread: what is forked from here would miss it"
    channel.send(READY)
    forked = _serve(channel)
    if forked is not None:
        _become(*forked, mask)


def _import_everything() -> None:
    """Import it, and take back what an import does to the interpreter beside that."""
    limit, filters = sys.getrecursionlimit(), warnings.filters[:]
    for name in _PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not module.name.endswith(_NOT_OURS):
                importlib.import_module(module.name)
    for name in _LATE:
        with suppress(ModuleNotFoundError):
            importlib.import_module(name)
    sys.setrecursionlimit(limit)  # py_ecc makes it 100,000
    warnings.filters[:] = filters  # type: ignore[index]  # urllib3 adds some; it is a list
    warnings._filters_mutated()  # type: ignore[attr-defined]


def _serve(channel: socket.socket) -> tuple[bytes, list[int]] | None:
    """Return in each new process, with its order and its descriptors; None at the end of all."""
    children: dict[int, socket.socket] = {}
    with ExitStack() as stack:
        # A signal that comes while select() begins is not lost: it leaves a byte here.
        woken, wake = (stack.enter_context(end) for end in socket.socketpair())
        wake.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        while True:
            ready, _, _ = select([channel, woken], [], [])
            if woken in ready:
                woken.recv(4096)
                _tell_who_ended(children)
            if channel not in ready:
                continue
            message, descriptors, flags, _ = socket.recv_fds(channel, ORDER_MAX, 4)
            if not message:
                return None
            assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC), "an order came in part"
            answers = socket.socket(fileno=descriptors.pop())
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for end in (channel, answers, *children.values()):
                    end.close()
                return message, descriptors
            for descriptor in descriptors:
                os.close(descriptor)
            children[pid] = answers
            _tell(answers, pid)


def _tell_who_ended(children: dict[int, socket.socket]) -> None:
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            answers = children.pop(pid)
            _tell(answers, status)
            answers.close()


def _tell(answers: socket.socket, number: int) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # who asked may have gone
        answers.send(NUMBER.pack(number))


# ---------------------------------------------------------------- in the new process


def _become(message: bytes, descriptors: list[int], mask: set[int | signal.Signals]) -> NoReturn:
    """Be what a fresh interpreter would be, do the work, and end as it would."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    for number, (name, mode) in enumerate((("stdin", "rb"), ("stdout", "wb"), ("stderr", "wb"))):
        stream = _opened(number, mode, getattr(sys, f"__{name}__"))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    folder, environment, program, work = pickle.loads(message)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = program
    sys.path[0] = str(Path(program[0]).parent)

    def begin() -> None:
        call, arguments = pickle.loads(work)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        call(*arguments)

    _end(_outcome(begin))


def _opened(number: int, mode: str, like: Any) -> io.TextIOWrapper:
    """Open a standard stream as the interpreter does (create_stdio in pylifecycle.c).

    ``like`` is the stream that it replaces: encoding, errors and -u come from the environment and
    the locale, which are the server's.
    """
    buffering = 0 if isinstance(like.buffer, io.RawIOBase) else -1
    binary: Any = open(number, mode, buffering, closefd=False)  # noqa: SIM115 - nobody closes it
    raw = binary if buffering == 0 else binary.raw
    raw.name = like.name
    stream = io.TextIOWrapper(
        binary, like.encoding, like.errors,
        newline="\n",  # of standard input, too
        line_buffering=not like.write_through and (number == 2 or raw.isatty()),
        write_through=like.write_through,
    )  # fmt: skip
    stream.mode = like.mode  # type: ignore[misc]  # as the interpreter does
    return stream


def _outcome(begin: Callable[[], None]) -> int:
    """Do it, and return the exit code; negative for the signal of an uncaught interrupt."""
    try:
        begin()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        sys.stderr.write(f"{end.code}\n")
        return 1
    except BaseException as error:  # noqa: BLE001 - the interpreter's last resort
        sys.excepthook(type(error), error, error.__traceback__)
        return -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _end(code: int) -> NoReturn:
    """End in the order of Py_FinalizeEx, without taking a thousand modules apart (80 ms)."""
    threading._shutdown()  # type: ignore[attr-defined]  # it waits for threads
    atexit._run_exitfuncs()
    gc.collect()  # what complains that it was never closed complains now
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except (OSError, ValueError) as error:
            if stream is sys.stdout:
                sys.stderr.write(f"Exception ignored in: {stream!r}\n")
                sys.stderr.write("".join(traceback.format_exception_only(error)))
            code = 120 if code >= 0 else code
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main()
