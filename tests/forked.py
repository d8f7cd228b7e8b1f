"""Processes that cost no start of an interpreter: forked by the worker's fork server."""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.fork_server import NUMBER, READY, Order

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Forked", "would_start_alike"]

_ROOT: Final = Path(__file__).resolve().parents[1]
#: The libraries are imported first, on a machine that may be busy.
_ANSWER_S: Final = 120.0
#: Read by the interpreter or by a library while it is imported.
_READ_EARLY: Final = ("PYTHON", "LC_", "LANG", "TZ", "TYPER", "_TYPER", "TERMINAL_WIDTH", "AIOHTTP",
                      "FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "LD_")  # fmt: skip


def would_start_alike(environment: dict[str, str]) -> bool:
    """Whether nothing that is read before a program's first line differs from the server's."""
    return _early(environment) == _early(dict(os.environ))


def _early(environment: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in environment.items() if name.startswith(_READ_EARLY)}


class Forked(subprocess.Popen[str]):
    """A call of ``work`` in a process of its own, with all that Popen offers.

    Its parent is the fork server, so how it ended is asked there. Three private methods of Popen
    are ours; all of its pipes, texts, timeouts and signals stay Popen's own.

    Args:
        work: a function that its module's name and its own lead to.
        arguments: of ``work``; they are pickled.
        program: its ``sys.argv``.
        options: Popen's ``stdin``, ``stdout``, ``stderr``, ``cwd`` and ``env``; texts are text.
    """

    def __init__(
        self,
        work: Callable[..., object],
        *arguments: object,
        program: tuple[str, ...] = (str(_ROOT / "tests"),),
        **options: Any,
    ) -> None:
        assert options.keys() <= {"stdin", "stdout", "stderr", "cwd", "env"}, options
        self._work = (work, arguments)
        super().__init__(program, text=True, **options)

    def _execute_child(self, args: Any, *more: Any) -> None:
        cwd, env = more[4:6]
        streams = more[9:15]
        theirs = streams[0], streams[3], streams[5]
        order = Order(
            *self._work,
            folder=str(cwd or Path.cwd()),
            environment=os.environ if env is None else env,
            program=tuple(map(str, args)),
        )
        try:
            self._answers = _server().fork(
                order, [own if theirs < 0 else theirs for own, theirs in enumerate(theirs)]
            )
            self.pid = self._answer(_ANSWER_S)
        finally:
            self._close_pipe_fds(*streams)  # type: ignore[attr-defined]
        self._child_created = True

    def _answer(self, timeout_s: float | None) -> int:
        """Return the next number that the server tells.

        Raises:
            TimeoutError: it does not come in this time.
        """
        self._answers.settimeout(timeout_s)
        try:
            told = self._answers.recv(NUMBER.size)
        except BlockingIOError:
            raise TimeoutError from None
        assert told, f"the fork server has ended: {_server().said()}"
        (number,) = NUMBER.unpack(told)
        return int(number)

    def _internal_poll(self, _deadstate: int | None = None) -> int | None:
        if self.returncode is None:
            try:
                self._wait(0)
            except subprocess.TimeoutExpired:
                return None
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        with self._waitpid_lock:  # type: ignore[attr-defined]
            if self.returncode is None:
                try:
                    status = self._answer(timeout)
                except TimeoutError:
                    raise subprocess.TimeoutExpired(self.args, timeout or 0.0) from None
                self.returncode = os.waitstatus_to_exitcode(status)
                self._answers.close()
        return self.returncode


class _Server:
    """A running fork server, which ends when this process does or closes it."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self._lock = threading.Lock()
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fork_server"],
                cwd=_ROOT, stdin=theirs.fileno(), stdout=self._log, stderr=self._log,
            )  # fmt: skip
        atexit.register(self.close)
        self._channel.settimeout(_ANSWER_S)
        try:
            told = self._channel.recv(len(READY))
        except TimeoutError:
            told = b""
        if told != READY:
            self._process.kill()
            problem = self.said()
            self.close()
            raise RuntimeError(f"the fork server does not start: {problem}")

    def fork(self, order: Order, streams: list[int]) -> socket.socket:
        """Have a process forked; return the socket on which its pid and its end are told."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(self._channel, [order.pack()], [*streams, theirs.fileno()])
        return ours

    def said(self) -> str:
        """Everything that it printed."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def close(self) -> None:
        """Let it end: nobody asks any more."""
        if self.owner == os.getpid():
            self._channel.close()
            self._process.wait()
            self._log.close()


_lock = threading.Lock()
_started: list[_Server] = []


def _server() -> _Server:
    """Return this process's server, which is started when the first process is wanted."""
    with _lock:
        if not _started or _started[-1].owner != os.getpid():
            _started[:] = [_Server()]
        return _started[-1]
