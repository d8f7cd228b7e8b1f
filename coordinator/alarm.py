"""Tells a person that they are needed: a command of the operator's, run beside everything else.

The command runs without a shell and in a thread of its own, so that neither a slow nor a broken
one holds up a saga; its failure is reported and changes nothing.
"""

import os
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Alarm", "Notice", "split_command"]

_TIMEOUT_S: Final = 60
_ERROR_FD: Final = 2


def split_command(text: str) -> list[str]:
    """Return the words of a command line; quotes group words, nothing else is special.

    Raises:
        ValueError: a quote is left open, or there is no word.
    """
    words = shlex.split(text)
    if not words:
        raise ValueError("it names no command")
    return words


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person has to hear of that is no ``stuck`` record of a live saga.

    Attributes:
        saga: id of an ended saga, a ``signer:`` stream, ``chain:NAME``, or ``watchdog``.
        state: the saga's end, or one word for what is waited for.
        reason: one line; the same words while it is the same trouble.
        until_s: Unix time by which it should have ended by itself.
        about: names the trouble where its words may change while it lasts; empty: ``reason`` does.
    """

    saga: str
    state: str
    reason: str
    question: str
    until_s: int = 0
    about: str = ""


class Alarm:
    """Runs ``command`` (None: nothing) once per alarm.

    The command gets ``COORDINATOR_SAGA``, ``COORDINATOR_STATE``, ``COORDINATOR_REASON``,
    ``COORDINATOR_QUESTION`` and ``COORDINATOR_UNTIL`` (Unix seconds) in its environment.

    Args:
        command: argument vector.
        complain: told in one line when the command fails; called from another thread.
    """

    def __init__(self, command: Sequence[str] | None, complain: Callable[[str], None]) -> None:
        self._command = command
        self._complain = complain
        self._threads: list[threading.Thread] = []
        #: alarms come from the loop and from the watchdog.
        self._lock = threading.Lock()

    def tell(self, notice: Notice) -> None:
        """Start the command for a notice and return at once."""
        stuck = {
            "reason": notice.reason,
            "question": notice.question,
            "until_s": notice.until_s,
        }
        self.ring(notice.saga, notice.state, stuck)

    def ring(self, saga: str, state: str, stuck: Mapping[str, Any]) -> None:
        """Start the command for one ``stuck`` record and return at once."""
        if self._command is None:
            return
        environment = {
            **os.environ,
            "COORDINATOR_SAGA": saga,
            "COORDINATOR_STATE": state,
            "COORDINATOR_REASON": str(stuck["reason"]),
            "COORDINATOR_QUESTION": str(stuck["question"]),
            "COORDINATOR_UNTIL": str(stuck["until_s"]),
        }
        thread = threading.Thread(
            target=self._run, args=(list(self._command), environment), name="alarm", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # no more threads: whoever rings goes on all the same
            self._complain(f"--on-stuck {self._command[0]} failed: {error}; the saga goes on")
            return
        with self._lock:
            self._threads = [old for old in self._threads if old.is_alive()] + [thread]

    def drain(self, timeout_s: float = 5.0) -> None:
        """Wait a little, in all, for commands that still run; the process is about to end."""
        until_s = time.monotonic() + timeout_s
        with self._lock:
            threads = tuple(self._threads)
        for thread in threads:
            thread.join(max(0.0, until_s - time.monotonic()))

    def _run(self, command: list[str], environment: dict[str, str]) -> None:
        try:
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=_ERROR_FD,
                timeout=_TIMEOUT_S,
                check=False,
                # Ctrl-C in the terminal is for the coordinator, not for a page on its way.
                start_new_session=True,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self._complain(f"--on-stuck {command[0]} failed: {error}; the saga goes on")
            return
        if done.returncode != 0:
            self._complain(
                f"--on-stuck {command[0]} ended with {done.returncode}; the saga goes on"
            )
