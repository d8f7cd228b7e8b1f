"""A look from outside the loop: at the loop itself, and at waits that no saga's records tell of.

The runner writes alarms of live sagas as records. This thread is for the rest: something holds the
loop, or a claim of a saga that has ended keeps an account's line jammed. It decides nothing and
touches no saga.
"""

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

from coordinator.alarm import Notice

__all__ = ["Watchdog"]

_LONGEST_PAUSE_S: Final = 3600.0
_NAME: Final = "watchdog"


def _nothing() -> Sequence[Notice]:
    return ()


class Watchdog:
    """Alarms when the loop has not moved for ``grace_s`` while a wait is overdue, and for each
    notice whose until-when has passed.

    Args:
        due_ms: host Unix ms at which the next wait ends, None while there is none; called from
            the watchdog's thread.
        alarm: called with each alarm, again after twice the time while it lasts, and once when the
            loop moves again; called from the watchdog's thread.
        notices: what is waited for beside live sagas; called from the watchdog's thread.
        grace_s: how long the loop may be late.
        poll_s: how often to look.
    """

    def __init__(
        self,
        due_ms: Callable[[], int | None],
        alarm: Callable[[Notice], None],
        *,
        notices: Callable[[], Sequence[Notice]] = _nothing,
        grace_s: float = 30.0,
        poll_s: float = 1.0,
    ) -> None:
        self._due_ms = due_ms
        self._alarm = alarm
        self._notices = notices
        self._grace_s = grace_s
        self._poll_s = poll_s
        self._beat_s = time.monotonic()
        self._pause_s = grace_s
        #: how long the loop had been silent at the newest alarm, 0 for none.
        self._alarmed_s = 0.0
        #: (saga, reason) → (monotonic s of the next alarm, pause after it).
        self._told: dict[tuple[str, str], tuple[float, float]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=_NAME, daemon=True)

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
        while not self._ended.wait(self._poll_s):
            self._watch_loop()
            self._watch_notices()

    def _watch_loop(self) -> None:
        silent_s = time.monotonic() - self._beat_s
        if silent_s < self._grace_s:
            if self._alarmed_s:
                self._say("watchdog: the loop moves again", "none: it goes on")
            self._pause_s, self._alarmed_s = self._grace_s, 0.0
            return
        late_s = self._late_s()
        if late_s is None or late_s < self._grace_s or silent_s < self._alarmed_s + self._pause_s:
            return
        self._pause_s, self._alarmed_s = min(2 * self._pause_s, _LONGEST_PAUSE_S), silent_s
        self._say(
            f"watchdog: a wait is overdue by {late_s:.0f} s and the loop has not moved for "
            f"{silent_s:.0f} s. What is in the journal stays valid. If this lasts, end this "
            "process and run: coordinator resume --all",
            "is this process blocked?",
        )

    def _say(self, text: str, question: str) -> None:
        self._alarm(Notice(_NAME, "running", text, question))

    def _late_s(self) -> float | None:
        due_ms = self._due_ms()
        return None if due_ms is None else time.time() - due_ms / 1000

    def _watch_notices(self) -> None:
        """Tell what is overdue, each trouble by itself; what is over may be told anew."""
        now_s = time.monotonic()
        told: dict[tuple[str, str], tuple[float, float]] = {}
        for notice in self._notices():
            if notice.until_s > time.time():
                continue
            key = (notice.saga, notice.reason)
            next_s, pause_s = self._told.get(key, (now_s, self._grace_s))
            if next_s <= now_s:
                self._alarm(notice)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                next_s = now_s + pause_s
            told[key] = (next_s, pause_s)
        self._told = told
