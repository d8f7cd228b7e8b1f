"""The process of a development node: started, watched until it is ready, ended by its own pid.

A node either lives at most as long as the process that started it (tests), or is detached and
survives it (``devnet up``); then its ProcessIdentity, written down, is what ends it later.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["NodeFailed", "NodeProcess", "ProcessIdentity"]

T = TypeVar("T")

_POLL_S = 0.01
_LOG_TAIL_LINES = 15
# Waits for the end of its input, which comes when the process that holds the other end is gone,
# however it ended. A death signal (prctl) would follow the starting thread instead, and a worker
# thread ends long before its process does.
_GUARD = 'read -r _; kill -9 "$1" 2>/dev/null'


class NodeFailed(Exception):
    """A development node did not start, ended by itself, or did not answer in time."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A pid with the mark of its start, so that a reused pid is not taken for the same process.

    Attributes:
        pid: the process id.
        start_mark: the kernel's start time of the process, only ever compared for equality.
    """

    pid: int
    start_mark: str

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """The identity of a running process.

        Raises:
            NodeFailed: no such process runs.
        """
        mark = _start_mark(pid)
        if mark is None:
            msg = f"no process {pid} is running"
            raise NodeFailed(msg)
        return cls(pid, mark)

    def is_running(self) -> bool:
        """True while this very process runs; a zombie counts as ended."""
        return _start_mark(self.pid) == self.start_mark

    def end(self, *, timeout_s: float = 15.0) -> None:
        """Ask the process to end (SIGTERM), kill it after timeout_s; return when it is gone."""
        for wanted in (signal.SIGTERM, signal.SIGKILL):
            if not self.is_running():
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, wanted)
            deadline_s = time.monotonic() + timeout_s
            while self.is_running() and time.monotonic() < deadline_s:
                time.sleep(_POLL_S)
        if self.is_running():
            msg = f"process {self.pid} is still there {timeout_s:g} s after SIGKILL"
            raise NodeFailed(msg)


class NodeProcess:
    """One child process in a session of its own, its output appended to log_path.

    Args:
        command: program and arguments.
        log_path: standard output and error go there.
        environment: added to this process's own.
        detached: survive this process. Otherwise the node is killed as soon as this one is gone.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log_path: Path,
        environment: Mapping[str, str] | None = None,
        detached: bool = False,
    ) -> None:
        self._name = Path(command[0]).name
        self._log_path = log_path
        with log_path.open("ab") as log:
            self._log_start = log.tell()
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self._guard = None if detached else _start_guard(self._child.pid)

    @property
    def pid(self) -> int:
        """The node's own process id."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """True until the process has ended."""
        return self._child.poll() is None

    def identity(self) -> ProcessIdentity:
        """What another process needs to find and end this one."""
        return ProcessIdentity.of(self._child.pid)

    def output(self) -> str:
        """What the process has printed since it was started."""
        with self._log_path.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def wait_for(self, probe: Callable[[], T | None], *, timeout_s: float, what: str) -> T:
        """Call probe until it returns something other than None.

        Raises:
            NodeFailed: the process ended first, or timeout_s passed.
        """
        deadline_s = time.monotonic() + timeout_s
        while (answer := probe()) is None:
            if time.monotonic() > deadline_s:
                self._fail(f"gave no {what} within {timeout_s:g} s")
            with contextlib.suppress(subprocess.TimeoutExpired):
                exit_code = self._child.wait(_POLL_S)
                self._fail(f"ended with {exit_code} before it gave its {what}")
        return answer

    def suspend(self) -> None:
        """Stop the process in its tracks (SIGSTOP): connections stay open and nobody answers."""
        self._child.send_signal(signal.SIGSTOP)
        # The signal takes a moment to reach every thread; waitid(2) tells when all have stopped.
        os.waitid(os.P_PID, self._child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a suspended process go on (SIGCONT)."""
        self._child.send_signal(signal.SIGCONT)

    def stop(self, *, timeout_s: float = 30.0) -> None:
        """End the process in good order (SIGTERM), by force after timeout_s. Idempotent."""
        # A suspended process would keep the request to end for later.
        self._child.send_signal(signal.SIGCONT)
        self._child.terminate()
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
        self._reap()

    def kill(self) -> None:
        """End the process as a crash would (SIGKILL). Idempotent."""
        self._child.kill()
        self._reap()

    def _reap(self) -> None:
        # The guard goes first: once the child is reaped, its pid may belong to somebody else.
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None
        self._child.wait()

    def _fail(self, what: str) -> None:
        tail = "\n".join(self.output().splitlines()[-_LOG_TAIL_LINES:])
        self.kill()
        msg = f"{self._name} {what}; the end of {self._log_path}:\n{tail}"
        raise NodeFailed(msg)


def _start_guard(pid: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "guard", str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _start_mark(pid: int) -> str | None:
    """When the process was started, as the system tells it; None if it does not run."""
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        # proc(5): the name in parentheses may hold spaces; state is the first field after it and
        # starttime the 20th.
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in {"Z", "X"} else fields[19]
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    state, _, started = answer.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()
