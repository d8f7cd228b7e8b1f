"""An event loop in which waiting costs nothing: when all tasks wait, the clock jumps."""

import asyncio
import selectors
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from tests.sim.chain import SimClock

__all__ = ["Stalled", "VirtualClock", "run"]

T = TypeVar("T")
#: Turns of the loop without a wait, after which it is called a livelock.
SPIN_LIMIT: Final = 100_000


class Stalled(Exception):
    """Every task waits for nothing that time could bring, or none of them ever waits."""


class _JumpingSelector(selectors.SelectSelector):
    """Never blocks: a wait for time moves the clock, a wait for nothing is an error."""

    def __init__(self, clock: SimClock) -> None:
        super().__init__()
        self._clock = clock
        self.jumped_s = 0.0
        self._idle = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stalled("no task can ever run again")
        self._idle = 0 if timeout > 0 else self._idle + 1
        if self._idle > SPIN_LIMIT:
            raise Stalled("tasks run for ever without waiting for anything")
        self.jumped_s += max(0, timeout)
        return []


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: SimClock) -> None:
        self._jumping = _JumpingSelector(clock)
        self._host = clock
        self._start_ms = clock.now_ms
        super().__init__(self._jumping)

    def time(self) -> float:
        self._host.now_ms = self._start_ms + round(self._jumping.jumped_s * 1000)
        return self._jumping.jumped_s


def run(clock: SimClock, main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` to its end, moving ``clock`` instead of waiting."""
    with asyncio.Runner(loop_factory=lambda: _Loop(clock)) as runner:
        return runner.run(main)


class VirtualClock:
    """The runner's `Clock`."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock

    def now_ms(self) -> int:
        return self._clock.now_ms

    async def sleep_until(self, due_ms: int | None, changed: asyncio.Event) -> None:
        timeout = None if due_ms is None else max(0, due_ms - self._clock.now_ms) / 1000
        # Not wait_for: before Python 3.12 it loses a cancellation that comes with the event.
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await changed.wait()
