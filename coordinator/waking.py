"""What calls for a saga's next turn: a block that touches it, a height or a time that it waits for.

Until then it costs a few objects in memory: no thread, no task, no call to a node.
"""

import asyncio
import heapq
from collections import defaultdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from coordinator.live import Live
    from coordinator.runner import Runner

__all__ = ["LOOKS_KEPT", "Waking"]

#: Looks of ended sagas that may stay in memory, beside four for each live one.
LOOKS_KEPT: Final = 1024


class Waking:
    """Wakes the live sagas of ``runner`` when what they wait for has come."""

    def __init__(self, runner: "Runner") -> None:
        self._runner = runner
        self._by_key: dict[str, set[str]] = defaultdict(set)
        #: chain → (height, saga), the lowest first; and (host ms, saga), the earliest first.
        self._heights: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self._times: list[tuple[int, str]] = []
        self._times_changed = asyncio.Event()

    # ------------------------------------------------------------ what is waited for

    def watch(self, saga: str, keys: frozenset[str]) -> None:
        """Let ``saga`` have a turn whenever a block touches one of ``keys``, until its end."""
        watched = self._runner.live[saga].keys
        for key in keys:
            if key not in watched:
                watched.add(key)
                self._by_key[key].add(saga)

    def at_height(self, saga: str, chain: str, height: int) -> None:
        """Let ``saga`` have a turn when ``chain`` has been read up to ``height``."""
        due = self._runner.live[saga].due_heights
        if (chain, height) not in due:
            due.add((chain, height))
            heapq.heappush(self._heights[chain], (height, saga))

    def at(self, saga: str, due_ms: int) -> None:
        """Let ``saga`` have a turn when host time reaches ``due_ms``, or sooner.

        A turn that is due sooner asks for the next one itself.
        """
        live = self._runner.live[saga]
        if live.due_ms is not None and live.due_ms <= due_ms:
            return
        live.due_ms = due_ms
        heapq.heappush(self._times, (due_ms, saga))
        if self._times[0] == (due_ms, saga):
            self._times_changed.set()

    def earliest_due_ms(self) -> int | None:
        """When the next wait of any saga ends, host Unix ms; for whoever watches the loop."""
        times = self._times
        return times[0][0] if times else None

    def forget(self, saga: str, live: "Live") -> None:
        """``saga`` is not driven here any more."""
        for key in live.keys:
            self._by_key[key].discard(saga)
            if not self._by_key[key]:
                del self._by_key[key]
        for looks in (self._times, *self._heights.values()):
            self._sweep(looks)

    def _sweep(self, looks: list[tuple[int, str]]) -> None:
        """Drop the looks of sagas that have ended, once they are the most."""
        lives = self._runner.live
        if len(looks) > 4 * len(lives) + LOOKS_KEPT:
            looks[:] = [look for look in looks if look[1] in lives]
            heapq.heapify(looks)

    # ------------------------------------------------------------ what has come

    def touched(self, key: str, *, reorganised: bool) -> None:
        """A block touches ``key``; ``reorganised``: or did, and was taken back."""
        for saga in sorted(self._by_key.get(key, ())):
            live = self._runner.live.get(saga)
            if live is not None:
                live.recheck = live.recheck or reorganised
            self._runner.wake(saga)

    def reached(self, chain: str, height: int) -> None:
        """``chain`` has been read up to ``height``."""
        heights = self._heights[chain]
        while heights and heights[0][0] <= height:
            due, saga = heapq.heappop(heights)
            live = self._runner.live.get(saga)
            if live is not None:
                live.due_heights.discard((chain, due))
                self._runner.wake(saga)

    async def follow_time(self) -> None:
        """Wake sagas as their times come, for ever."""
        clock = self._runner.clock
        while True:
            self._times_changed.clear()
            await clock.sleep_until(self.earliest_due_ms(), self._times_changed)
            now_ms = clock.now_ms()
            while self._times and self._times[0][0] <= now_ms:
                due_ms, saga = heapq.heappop(self._times)
                live = self._runner.live.get(saga)
                if live is not None and live.due_ms == due_ms:
                    live.due_ms = None
                    self._runner.wake(saga)
