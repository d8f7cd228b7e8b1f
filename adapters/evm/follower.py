"""The one follower of a chain: every new block once, reorganisations by parent hashes.

Filters and subscriptions of nodes stay silent about blocks that were taken back, so hashes are
compared instead. Cost grows with blocks, not with open steps.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import Final

from adapters.base import BlockEvent, ChainClock
from adapters.errors import Transient
from adapters.evm.blocks import Block, Header
from adapters.evm.index import Index
from adapters.evm.reader import BlockReader
from adapters.evm.settings import EvmSettings
from adapters.retry import Patience, reading_for_ever

__all__ = ["Follower"]

#: Headers kept below the head, unless finality needs more; a fork below them reads all anew.
_HEADERS_MIN: Final = 256
#: First wait after `nudge`, and by how much it grows with each look in vain.
_NUDGED_WAIT_S: Final = 0.004
_GROWTH: Final = 1.5
#: A node that shows a shorter piece of the same chain is behind; after this long blocks are lost.
_LAG_MAX_S: Final = 10.0
#: More entries than this make room by dropping what is deep below the head; it can be read again.
_ENTRIES_MAX: Final = 100_000
_OUTAGE: Final = Patience(first_wait_s=0.05, longest_wait_s=5.0)


class Follower:
    """Reads the chain into an `Index`.

    Args:
        clock: monotonic seconds.
    """

    def __init__(
        self, reader: BlockReader, settings: EvmSettings, clock: Callable[[], float]
    ) -> None:
        self._reader = reader
        self._finality = settings.finality
        self._poll_s = settings.poll_ms / 1000
        self._lag_s = min(settings.block_slow_ms / 1000, _LAG_MAX_S)
        self._keep = max(_HEADERS_MIN, 8 * settings.finality.blocks)
        self._clock = clock
        self.index = Index(self._keep)
        self._final_height = -1
        self._busy = asyncio.Lock()
        self._nudged = asyncio.Event()
        self._wait_s = self._poll_s
        self._lagging_since_s: float | None = None
        #: after a fork below all kept headers: how far down the index has to be read again.
        self._anew_to: int | None = None
        #: what the next event tells; survives a step that fails half-way.
        self._touched: set[str] = set()
        self._reorganised = False
        self._told = ""
        self._closed = False

    @property
    def head(self) -> Header:
        """The newest block read."""
        assert self.index.head is not None, "open() was not called"
        return self.index.head

    @property
    def final_height(self) -> int:
        """The highest final block, as of the newest look."""
        return self._final_height

    def clock(self) -> ChainClock:
        """Height and time of the newest block read."""
        return ChainClock(self.head.height, self.head.time_s)

    async def open(self) -> None:
        """Read the head; nothing below it is known."""
        head, tagged = await self._reader.latest(patient=True)
        self.index.start(head)
        self._final_height = self._finality.height(head.height, tagged)

    def close(self) -> None:
        """End `follow` at its next step."""
        self._closed = True
        self._nudged.set()

    def nudge(self) -> None:
        """Look again at once, and often for a moment."""
        self._wait_s = min(_NUDGED_WAIT_S, self._poll_s)
        self._nudged.set()

    def watch(self, accounts: Iterable[str], contracts: Iterable[str]) -> None:
        """Read these too from now on, and again for the blocks behind us if they are new."""
        if self._reader.watch(accounts, contracts) and self.index.head is not None:
            self.index.low = self.index.head.height + 1

    async def follow(self, since: int) -> AsyncIterator[BlockEvent]:
        """Yield an event for every change, for ever.

        Raises:
            WrongChain: the node's chain was exchanged for another.
        """
        await reading_for_ever(lambda: self._begin(since), _OUTAGE)
        if self._closed:
            return
        self._told = self.head.hash
        yield BlockEvent(self.clock(), self.index.keys_between(since, self.head.height))
        while not self._closed:
            event = await reading_for_ever(self._step, _OUTAGE)
            if event is not None:
                yield event
            else:
                await self._rest()

    async def cover(self, since: int) -> None:
        """Make the index reach down to ``since``; nothing to do when it does already.

        Raises:
            Transient: a node is away, or the chain changed meanwhile; call again.
        """
        since = max(since, 0)
        if since < self.index.low:
            async with self._busy:
                await self._read_down(since)

    async def _begin(self, since: int) -> None:
        if self._closed:
            return
        try:
            await self.cover(since)
        except Transient:
            await self._step()  # the head may be gone since `open`
            raise

    async def _rest(self) -> None:
        wait_s, self._wait_s = self._wait_s, min(self._wait_s * _GROWTH, self._poll_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._nudged.wait()
        self._nudged.clear()

    # ------------------------------------------------------------------------------- one step

    async def _step(self) -> BlockEvent | None:
        """Look once; read what is new; return what changed, None if nothing did."""
        if self._closed:
            return None
        async with self._busy:
            epoch = self._reader.epoch
            if self._wait_s < self._poll_s:
                latest, tagged, ahead = await self._reader.latest_and(self.head.height + 1)
            else:
                (latest, tagged), ahead = await self._reader.latest(), None
            if self._lags(latest):
                return None
            if latest.height <= self.head.height and latest.hash != self.head.hash:
                await self._walk_back(latest)
            if self._anew_to is not None:
                await self._read_down(self._anew_to)
                self._anew_to = None
            if latest.height > self.head.height:
                await self._grow(latest, ahead)
            if epoch != self._reader.epoch:  # these blocks were read for fewer contracts
                self.index.low = self.head.height + 1
            self._finalise(tagged)
            self._make_room()
            return self._event()

    def _event(self) -> BlockEvent | None:
        if self.head.hash == self._told and not self._touched and not self._reorganised:
            return None
        event = BlockEvent(self.clock(), frozenset(self._touched), self._reorganised)
        self._told, self._touched, self._reorganised = self.head.hash, set(), False
        return event

    async def _grow(self, latest: Header, ahead: Block | None) -> None:
        """Read towards the latest block, at most one request's worth of blocks."""
        low = self.head.height + 1
        high = min(latest.height, low + self._reader.span - 1)
        if ahead is not None and high == ahead.header.height:
            blocks = [ahead]
        else:
            blocks = await self._reader.blocks(low, high)
        for block in blocks:
            if block.header.parent != self.head.hash:
                await self._walk_back(latest)
                return
            self._touched |= self.index.extend(block)

    async def _walk_back(self, latest: Header) -> None:
        """Take back the blocks that the chain does not have any more."""
        await self._reader.recheck()
        self._reorganised = True
        candidates = [at for at in self.index.heights() if at <= latest.height]
        step = 1
        while candidates:
            probe, candidates = candidates[:step], candidates[step:]
            answers = await self._reader.headers(probe)
            for height, answer in zip(probe, answers, strict=True):
                known = self.index.header(height)
                if answer is not None and known is not None and answer.hash == known.hash:
                    self._touched |= self.index.cut(height)
                    return
            step = min(step * 4, 64)
        # Deeper than the headers we keep: all that is covered is read again.
        self._anew_to = min(self.index.low, latest.height + 1)
        self._touched |= self.index.cut(-1)
        self.index.start(latest)

    async def _read_down(self, since: int) -> None:
        """Read older blocks until the index reaches down to ``since``."""
        while since < self.index.low:
            high = self.index.low - 1
            low = max(since, high - self._reader.span + 1)
            blocks = await self._reader.blocks(low, high)
            if self.index.low != high + 1:
                continue  # a contract was added meanwhile: these blocks were read without it
            known, above = self.index.header(high), self.index.header(high + 1)
            top = blocks[-1].header
            if (known and known.hash != top.hash) or (above and above.parent != top.hash):
                latest, _ = await self._reader.latest()
                await self._walk_back(latest)
                raise Transient("the chain was reorganised while it was read")
            for block in blocks:
                self._touched |= self.index.add(block)
            self.index.low = low

    def _lags(self, latest: Header) -> bool:
        """Tell a node that is behind from a chain that lost blocks: patience decides."""
        known = self.index.header(latest.height)
        shorter = latest.height < self.head.height
        if not shorter or known is None or known.hash != latest.hash:
            self._lagging_since_s = None
            return False
        now_s = self._clock()
        if self._lagging_since_s is None:
            self._lagging_since_s = now_s
        return now_s - self._lagging_since_s < self._lag_s

    def _finalise(self, tagged: int | None) -> None:
        """Move the final height; blocks that became final touch their keys once more."""
        former = self._final_height
        self._final_height = self._finality.height(self.head.height, tagged)
        self._touched |= self.index.keys_between(former + 1, self._final_height)

    def _make_room(self) -> None:
        if len(self.index) > _ENTRIES_MAX:
            middle = (self.index.low + self.head.height) // 2
            self.index.forget_below(min(middle, self.head.height - self._keep))
