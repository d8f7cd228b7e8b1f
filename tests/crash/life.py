"""A life as its parent sees it: a process of its own, its trail, and how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tests.crash.commits import MOMENTS
from tests.crash.kill_points import PATIENCE_S, READY, Orders, live
from tests.crash.watching import is_at
from tests.forked import Forked
from tests.waiting import wait_until

__all__ = ["Life", "is_stopped"]


class Life:
    """A life as its parent sees it."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self._process = Forked(live, orders, stdin=subprocess.DEVNULL)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def kill(self) -> None:
        """End it, if it has not ended."""
        self._process.kill()
        self._process.wait()

    def passed(self) -> list[str]:
        """Every point so far, and every append for which another process was faster."""
        trail = self.orders.trail
        return trail.read_text(encoding="utf-8").splitlines() if trail.exists() else []

    def exit_code(self) -> int:
        """Wait for its end; a negative number is the signal that ended it."""
        try:
            return self._process.wait(self.orders.timeout_s + PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it neither ends nor dies: {self.story()}") from None

    def ended(self) -> None:
        """It came to the saga's end by itself, and ``audit verify`` is content."""
        assert self.exit_code() == 0, self.story()

    def died(self) -> str:
        """It killed itself; return at which point."""
        assert self.exit_code() == -signal.SIGKILL, f"the point never came: {self.story()}"
        return self._end_of_the_trail()

    def _end_of_the_trail(self) -> str:
        """The last point it passed, which is the wanted one.

        A commit has a thread of its own, beside which others may pass points.
        """
        lines, wanted = self.passed(), self.orders.stop_at
        if wanted is None:
            return lines[-1]
        last = lines if wanted.startswith(MOMENTS) else lines[-1:]
        found = [line for line in last if is_at(line, wanted)]
        assert found, f"stopped at {lines[-1]}, not at {wanted}"
        return found[0]

    def is_ready(self) -> bool:
        """Whether it has opened everything and waits for the others that it is to meet."""
        return READY in self.passed()

    def stopped(self) -> None:
        """Wait until it has stopped itself (SIGSTOP) at its point."""
        wait_until(self._is_stopped, what=f"a stop at {self.orders.stop_at}", timeout_s=PATIENCE_S)
        self._end_of_the_trail()

    def came_to_its_point(self) -> bool:
        """Wait until it has stopped itself at its point, or has ended without having passed it: a
        matter of milliseconds decides whether it comes to some of them.
        """

        def told() -> str:
            if self._process.poll() is not None:
                return "ended"
            return "stopped" if is_stopped(self.pid) else ""

        end = wait_until(told, what=f"a stop at {self.orders.stop_at}", timeout_s=PATIENCE_S)
        return end == "stopped"

    def _is_stopped(self) -> bool:
        assert self._process.poll() is None, f"the point never came: {self.story()}"
        return is_stopped(self.pid)

    def go_on(self) -> None:
        """Let a stopped life go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def said(self) -> str:
        """Everything that it printed."""
        log = self.orders.log
        return log.read_text(encoding="utf-8") if log.exists() else ""

    def story(self) -> str:
        """Everything it left behind, for a failure."""
        trail, said = "\n".join(self.passed()), self.said()[-3000:]
        return f"life {self.orders.number}, exit {self._process.poll()}\n{trail}\n{said}"


def is_stopped(pid: int) -> bool:
    """Whether SIGSTOP holds the process (proc(5): its state follows the name in parentheses)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False  # it has ended
    return stat.rpartition(")")[2].split()[0] == "T"
