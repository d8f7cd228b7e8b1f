"""Whether what a node showed of its chain is still believed.

A node may be exchanged behind its address without a word. So it shows its chain before its first
answer, again after each trouble, and again from time to time; many that ask at once are one look.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

__all__ = ["Identity"]

#: How long what a node showed is believed.
_BELIEVED_S: Final = 10.0


class Identity:
    """When a node is looked at again.

    Args:
        look: compares what the node shows with what is pinned; raises where it is something else,
            or nothing.
        clock: monotonic seconds.
    """

    def __init__(
        self, look: Callable[[], Awaitable[None]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._look = look
        self._clock = clock
        self._until_s = 0.0
        self._doubts = 0
        self._looking: asyncio.Task[None] | None = None

    def doubt(self) -> None:
        """Look before the next answer: whoever answers may be another node."""
        self._doubts += 1
        self._until_s = 0.0

    async def check(self) -> None:
        """Look, unless that was done a moment ago; whoever waits shares what comes of it."""
        if self._clock() < self._until_s:
            return
        if self._looking is None:
            self._looking = asyncio.create_task(self._once())
            self._looking.add_done_callback(_over)
        # Whoever gives up waiting takes the answer from nobody else.
        await asyncio.shield(self._looking)

    async def _once(self) -> None:
        doubts = self._doubts
        try:
            await self._look()
        finally:
            self._looking = None
        if doubts == self._doubts:
            self._until_s = self._clock() + _BELIEVED_S


def _over(looking: "asyncio.Task[None]") -> None:
    if not looking.cancelled():
        looking.exception()  # nobody may be waiting for it any more
