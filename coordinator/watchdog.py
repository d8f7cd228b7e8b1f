"""A look from outside the loop: at the loop itself, and at waits that no saga's records tell of.

The runner writes alarms of live sagas as records. This thread is for the rest: something holds the
loop, or a claim of a saga that has ended keeps an account's line jammed. It decides nothing and
touches no saga. Nothing that goes wrong in a look or in an alarm ends it.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from coordinator.alarm import Notice

__all__ = ["Watchdog"]

_LONGEST_PAUSE_S: Final = 3600.0
_NAME: Final = "watchdog"


@dataclass(slots=True)
class _Told:
    """One trouble: monotonic s of its next alarm, the pause after it, when it was seen last."""

    next_s: float
    pause_s: float
    seen_s: float = 0.0


def _nothing() -> Sequence[Notice]:
    return ()


def _failed(error: Exception) -> Notice:
    return Notice(
        _NAME,
        "running",
        f"watchdog: a look failed ({type(error).__name__}: {error}); it looks on, and sagas go on",
        "what is broken? Please report it",
        about="a look",
    )


class Watchdog:
    """Alarms when the loop has not moved for ``grace_s`` while a wait is overdue, and for each
    notice whose until-when has passed.

    Args:
        due_ms: host Unix ms at which the next wait ends, None while there is none; called from
            the watchdog's thread.
        alarm: called with each alarm, again after twice the time while it lasts, and once when the
            loop moves again; called from the watchdog's thread; what it raises is left out.
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
        self._told: dict[tuple[str, str], _Told] = {}
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
            for look in (self._watch_loop, self._watch_notices):
                try:
                    look()
                except Exception as error:  # noqa: BLE001 - who watches must outlive the rest
                    self._tell_again(_failed(error))
            self._forget()

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
        self._ring(Notice(_NAME, "running", text, question))

    def _ring(self, notice: Notice) -> None:
        with suppress(Exception):  # there is nothing left through which its failure could be told
            self._alarm(notice)

    def _late_s(self) -> float | None:
        due_ms = self._due_ms()
        return None if due_ms is None else time.time() - due_ms / 1000

    def _watch_notices(self) -> None:
        """Tell what is overdue, each trouble by itself."""
        for notice in self._notices():
            if notice.until_s <= time.time():
                self._tell_again(notice)

    def _tell_again(self, notice: Notice) -> None:
        """Alarm, unless the same trouble was told a short time ago."""
        now_s = time.monotonic()
        key = (notice.saga, notice.about or notice.reason)
        told = self._told.setdefault(key, _Told(now_s, self._grace_s))
        told.seen_s = now_s
        if told.next_s <= now_s:
            told.pause_s = min(2 * told.pause_s, _LONGEST_PAUSE_S)
            told.next_s = now_s + told.pause_s
            self._ring(notice)

    def _forget(self) -> None:
        """What is over for a while may be told anew; what comes and goes is not told each time."""
        since_s = time.monotonic() - self._grace_s
        self._told = {key: told for key, told in self._told.items() if told.seen_s >= since_s}
