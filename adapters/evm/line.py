"""Room in an account's line, first come first served.

Only so many nonces of an account may be on their way at once (`EvmSettings.window`). Who finds the
line full and tries again after a pause is overtaken by others meanwhile, and asks nodes in vain.
Here he is called as soon as a block has consumed a nonce. This is about waiting only: what may be
claimed, the claims and the account's nonce at the newest block say, each time.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import count, islice
from typing import Final

__all__ = ["Lines"]

#: Longer than this nobody is kept: his saga may have to do something else by now.
_WAIT_S: Final = 2.0


@dataclass(slots=True)
class _Line:
    """One account's line, as far as it was seen."""

    #: its smallest nonce that no block has consumed; None: not known.
    head: int | None = None
    #: how many have been let in and have not taken their nonce yet.
    entering: int = 0
    #: a heap by the order in which they came.
    waiting: list[tuple[int, "asyncio.Future[None]"]] = field(default_factory=list)

    def has_room(self, window: int, taken: Callable[[int], bool]) -> bool:
        if self.head is None:
            return not self.entering  # the first one finds out for all
        # The free ones are the last: with room, a few looks are enough.
        last_first = reversed(range(self.head, self.head + window))
        free = (nonce for nonce in last_first if not taken(nonce))
        return next(islice(free, self.entering, None), None) is not None

    def call(self, number: int) -> None:
        """Let the first ones who wait look again."""
        while self.waiting and number > 0:
            _, called = heappop(self.waiting)
            if not called.done():
                called.set_result(None)
                number -= 1

    def leave(self, ticket: int) -> None:
        """Forget one who waits no more."""
        self.waiting = [waits for waits in self.waiting if waits[0] != ticket]
        heapify(self.waiting)


class Lines:
    """The lines of the accounts of one chain.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lines: dict[str, _Line] = {}
        self._tickets = count(1)

    def saw(self, account: str, head: int) -> None:
        """A node told that blocks have consumed all nonces below ``head``, and not this one."""
        line = self._lines.setdefault(account, _Line())
        former, line.head = line.head, max(head, line.head or 0)
        line.call(len(line.waiting) if former is None else line.head - former)

    def consumed(self, claims: Iterable[tuple[str, int]]) -> None:
        """Blocks were read that consumed these nonces."""
        for account, nonce in claims:
            if account in self._lines:
                self.saw(account, nonce + 1)

    def forget(self) -> None:
        """Blocks were taken back: where the lines begin is not known any more."""
        for line in self._lines.values():
            line.head = None
            line.call(len(line.waiting))

    @asynccontextmanager
    async def place(
        self, account: str, window: int, taken: Callable[[str, int], bool]
    ) -> AsyncIterator[None]:
        """Wait until there should be room for one more nonce, or for a while; it is taken within.

        Args:
            taken: whether a nonce of an account is spoken for.
        """
        line = self._lines.setdefault(account, _Line())
        nonce_taken = partial(taken, account)
        await self._wait(line, window, nonce_taken)
        line.entering += 1
        try:
            yield
        finally:
            line.entering -= 1
            if line.waiting and line.has_room(window, nonce_taken):
                line.call(1)  # he took none

    async def _wait(self, line: _Line, window: int, taken: Callable[[int], bool]) -> None:
        until_s, ticket = self._clock() + _WAIT_S, next(self._tickets)
        first = not line.waiting  # who comes later does not overtake
        while not (first and line.has_room(window, taken)):
            called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heappush(line.waiting, (ticket, called))
            try:
                async with asyncio.timeout(until_s - self._clock()):
                    await called
            except TimeoutError:
                line.leave(ticket)
                return
            except asyncio.CancelledError:
                line.leave(ticket)
                line.call(1)  # what he may have been called for is somebody else's
                raise
            first = True
