"""An event loop in which waiting costs nothing: when all tasks wait, the clock jumps.

It asks the system for nothing at all (no selector, no pipe, no signals), so a loop is cheap to make
and its turns cost what the tasks cost. It leans on five names inside asyncio's `BaseEventLoop`
and `Handle`, the same in every version that this project supports.
"""

import asyncio
import gc
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from heapq import heappop
from typing import Any, Final, TypeVar, TypeVarTuple

from tests.sim.chain import SimClock

__all__ = ["Loop", "Stalled", "VirtualClock", "run"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
#: Turns of the loop without a wait, after which it is called a livelock.
SPIN_LIMIT: Final = 100_000


class Stalled(Exception):
    """Every task waits for nothing that time could bring, or none of them ever waits."""


class Loop(asyncio.BaseEventLoop):
    """Runs what is ready; when nothing is, the next timer is due at once and ``clock`` says so."""

    _ready: "deque[asyncio.Handle]"
    _scheduled: list[asyncio.TimerHandle]
    _timer_cancelled_count: int

    def __init__(self, clock: SimClock) -> None:
        super().__init__()
        self._host = clock
        self._start_ms = clock.now_ms
        self._jumped_s = 0.0
        self._idle = 0

    def time(self) -> float:
        return self._jumped_s

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Do what every loop does, without looking for mistakes in the use of a loop."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled
        while scheduled and scheduled[0].cancelled():
            self._timer_cancelled_count -= 1
            heappop(scheduled)._scheduled = False  # type: ignore[attr-defined]
        if ready:
            self._idle += 1
            if self._idle > SPIN_LIMIT:
                raise Stalled("tasks run for ever without waiting for anything")
        elif scheduled:
            self._idle = 0
            self._jump(scheduled[0].when())
        else:
            raise Stalled("no task can ever run again")
        while scheduled and scheduled[0].when() <= self._jumped_s:
            handle = heappop(scheduled)
            handle._scheduled = False  # type: ignore[attr-defined]
            ready.append(handle)
        for _ in range(len(ready)):
            now = ready.popleft()
            if not now._cancelled:
                now._run()

    def _jump(self, to_s: float) -> None:
        if to_s > self._jumped_s:
            self._jumped_s = to_s
            self._host.now_ms = self._start_ms + round(to_s * 1000)

    def _write_to_self(self) -> None:
        """Nothing ever sleeps here that would have to be woken."""

    def finish(self) -> None:
        """Cancel what still runs and close the loop."""
        try:
            left = asyncio.all_tasks(self)
            for task in left:
                task.cancel()
            if left:
                self.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self.run_until_complete(self.shutdown_asyncgens())
        finally:
            events.set_event_loop(None)
            self.close()


def run(clock: SimClock, main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` to its end, moving ``clock`` instead of waiting."""
    loop, collecting = Loop(clock), gc.isenabled()
    # A run is short and keeps most of what it makes; collecting on the way is 7 % of its time.
    gc.disable()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.finish()
        if collecting:
            gc.enable()


class VirtualClock:
    """The runner's `Clock`."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock

    def now_ms(self) -> int:
        return self._clock.now_ms

    async def sleep_until(self, due_ms: int | None, changed: asyncio.Event) -> None:
        if due_ms is None or changed.is_set():
            await changed.wait()
            return
        # What `Event.wait` does, and a timer on the same future: this runs for every idle block.
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        delay_s = max(0, due_ms - self._clock.now_ms) / 1000
        timer = loop.call_later(delay_s, _wake, waiter)
        waiters: deque[asyncio.Future[bool]] = changed._waiters
        waiters.append(waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            waiters.remove(waiter)


def _wake(waiter: "asyncio.Future[bool]") -> None:
    if not waiter.done():
        waiter.set_result(False)  # as Event sets True
