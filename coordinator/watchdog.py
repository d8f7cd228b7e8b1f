"""A look at the loop from outside it: whoever waits for a blocked loop hears of it from a thread.

The runner raises its own alarms; this one is for the case in which it can not, because something
holds the loop. It decides nothing and touches no saga.
"""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

__all__ = ["Watchdog"]

_LONGEST_PAUSE_S: Final = 3600.0


class Watchdog:
    """Alarms when a wait is overdue and the loop has not moved for ``grace_s``.

    Args:
        due_ms: host Unix ms at which the next wait ends, None while there is none; called from
            the watchdog's thread.
        alarm: called with one line, again after twice the time while it lasts, and once when the
            loop moves again; called from the watchdog's thread.
        grace_s: how long the loop may be late.
        poll_s: how often to look.
    """

    def __init__(
        self,
        due_ms: Callable[[], int | None],
        alarm: Callable[[str], None],
        *,
        grace_s: float = 30.0,
        poll_s: float = 1.0,
    ) -> None:
        self._due_ms = due_ms
        self._alarm = alarm
        self._grace_s = grace_s
        self._poll_s = poll_s
        self._beat_s = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def beat(self) -> None:
        """Say that the loop is moving; to be called from the loop, more often than the grace."""
        self._beat_s = time.monotonic()

    def __enter__(self) -> Self:
        self.beat()
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        pause_s = self._grace_s
        alarmed = 0.0
        while not self._ended.wait(self._poll_s):
            silent_s = time.monotonic() - self._beat_s
            if silent_s < self._grace_s:
                if alarmed:
                    self._alarm("watchdog: the loop moves again")
                pause_s, alarmed = self._grace_s, 0.0
                continue
            late_s = self._late_s()
            if late_s is None or late_s < self._grace_s or silent_s < alarmed + pause_s:
                continue
            pause_s, alarmed = min(2 * pause_s, _LONGEST_PAUSE_S), silent_s
            self._alarm(
                f"watchdog: a wait is overdue by {late_s:.0f} s and the loop has not moved for "
                f"{silent_s:.0f} s. What is in the journal stays valid. If this lasts, end this "
                "process and run: coordinator resume --all"
            )

    def _late_s(self) -> float | None:
        due_ms = self._due_ms()
        return None if due_ms is None else time.time() - due_ms / 1000
