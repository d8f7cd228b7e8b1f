"""The one follower of a chain: every new block once, reorganisations by parent hashes.

Filters and subscriptions of nodes stay silent about blocks that were taken back, so hashes are
compared instead. Cost grows with blocks, not with open steps.

With several nodes the view follows the highest block that a majority of them shares. While too few
answer for that, it goes on with what the others show, so that what was sent is seen in a block; but
the clock and what is final stand still, nothing is taken back, and so nothing is decided.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import Final

from adapters.base import BlockEvent, ChainClock, Signed
from adapters.errors import Transient
from adapters.evm.blocks import Block, Header, signed_of
from adapters.evm.index import Index
from adapters.evm.nodes import Holders, Newest
from adapters.evm.reader import BlockReader
from adapters.evm.settings import EvmSettings
from adapters.needed import NeededLately
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
#: What too few nodes confirmed is looked at again after so long.
_DOUBT_S: Final = 1.0
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
        #: below it no saga of this process began.
        self._kept_from = 0
        self._needed = NeededLately()
        #: the newest block that a majority shared, None before the first one.
        self._agreed: Header | None = None
        self._busy = asyncio.Lock()
        self._nudged = asyncio.Event()
        self._wait_s = self._poll_s
        self._lagging_since_s: float | None = None
        #: after a fork below all kept headers: how far down the index has to be read again.
        self._anew_to: int | None = None
        #: what the next event tells; survives a step that fails half-way.
        self._touched: set[str] = set()
        self._signed: list[Signed] = []
        self._reorganised = False
        #: the lowest block that is to be read again.
        self._distrusted: int | None = None
        #: what a majority did not confirm, and when it is looked at again.
        self._doubted: set[str] = set()
        self._doubt_at_s = 0.0
        self._told: tuple[str, Header | None] = ("", None)
        #: whether the newest look showed more than has been read.
        self._is_behind = False
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

    @property
    def sure_height(self) -> int:
        """Height up to which what was read is shared by a majority: what is not there is gone."""
        return min(self.head.height, self.clock().height)

    def clock(self) -> ChainClock:
        """Height and time of the newest block that a majority of the nodes shares."""
        known = self._agreed or self.head
        return ChainClock(known.height, known.time_s, agreed=self._agreed is not None)

    async def open(self) -> None:
        """Read the head; nothing below it is known."""
        newest = await self._reader.newest(patient=True)
        self.index.start(newest.head)
        self._finalise(newest)

    def close(self) -> None:
        """End `follow` at its next step."""
        self._closed = True
        self._nudged.set()

    def nudge(self) -> None:
        """Look again at once, and often for a moment."""
        self._wait_s = min(_NUDGED_WAIT_S, self._poll_s)
        self._nudged.set()

    def covered_header(self, height: int) -> Header | None:
        """Return the header at ``height``, if what that block holds was read."""
        return self.index.header(height) if self.index.low <= height else None

    def reread(self, low: int, high: int) -> None:
        """Read the blocks from ``low`` on again: something up to ``high`` was not what a majority
        shows.
        """
        self._reader.distrust(low, high)
        height = max(low, 0)
        self._distrusted = height if self._distrusted is None else min(self._distrusted, height)
        self.nudge()

    def doubt(self, keys: Iterable[str]) -> None:
        """Report these once more in a moment: a majority did not confirm what was seen of them."""
        self._doubted.update(keys)

    def watch(self, accounts: Iterable[str], contracts: Iterable[str]) -> None:
        """Read these too from now on, and again for the blocks behind us if they are new."""
        if self._reader.watch(accounts, contracts) and self.index.head is not None:
            self.index.low = self.index.head.height + 1

    def keep_from(self, height: int) -> None:
        """What blocks below ``height`` held may be forgotten, unless somebody needs it."""
        self._kept_from = height

    def need(self, low: int) -> bool:
        """Note that the blocks from ``low`` on are needed; tell whether some have to be read."""
        self._needed.need(low)
        return low < self.index.low

    async def follow(self, since: int) -> AsyncIterator[BlockEvent]:
        """Yield an event for every change, for ever.

        Raises:
            WrongChain: the node's chain was exchanged for another.
        """
        await reading_for_ever(lambda: self._begin(since), _OUTAGE)
        if self._closed:
            return
        self._told = (self.head.hash, self._agreed)
        touched = self.index.keys_between(since, self.head.height)
        yield BlockEvent(self.clock(), touched, signed=self._take_signed())
        while not self._closed:
            event = await reading_for_ever(self._step, _OUTAGE)
            if event is not None:
                yield event
            if event is None or not self._is_behind:
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
            ahead: Block | None = None
            if self._wait_s < self._poll_s:
                newest, ahead = await self._reader.newest_and(self.head.height + 1)
            else:
                newest = await self._reader.newest()
            self._drop_distrusted()
            self._is_behind = True  # unless all of it is taken
            if await self._take(newest, ahead):
                self._is_behind = self.head != newest.head
                if epoch != self._reader.epoch:  # these blocks were read for fewer contracts
                    self.index.low = self.head.height + 1
                self._finalise(newest)
                self._make_room()
            self._look_again()
            return self._event()

    def _drop_distrusted(self) -> None:
        """Take back what was read from a node that a majority contradicts; `_grow` reads anew."""
        height, self._distrusted = self._distrusted, None
        if height is None:
            return
        if self.index.header(height - 1) is None:  # deep below the head: as after any older fork
            self._touched |= self.index.keys_between(height, self.head.height)
            self.index.forget_below(self.head.height + 1)
            return
        self._reorganised = True
        self._touched |= self.index.cut(height - 1)

    async def _take(self, newest: Newest, ahead: Block | None) -> bool:
        """Bring the view up to the newest block; False where there is nothing to be had from it."""
        latest, holders = newest.head, newest.holders
        if await self._lags(latest):
            return False
        if latest.height <= self.head.height and latest.hash != self.head.hash:
            if not newest.agreed:
                return False  # a few nodes show another chain: that is for a majority to say
            await self._walk_back(latest, holders)
        if self._anew_to is not None:
            await self._read_down(self._anew_to)
            self._anew_to = None
        if latest.height > self.head.height:
            await self._grow(newest, ahead)
        return True

    def _event(self) -> BlockEvent | None:
        news = self._touched or self._signed or self._reorganised
        now = (self.head.hash, self._agreed)
        if now == self._told and not news:
            return None
        signed = self._take_signed()
        event = BlockEvent(self.clock(), frozenset(self._touched), self._reorganised, signed)
        self._told, self._touched, self._reorganised = now, set(), False
        return event

    def _take_signed(self) -> tuple[Signed, ...]:
        taken, self._signed = tuple(self._signed), []
        return taken

    async def _grow(self, newest: Newest, ahead: Block | None) -> None:
        """Read towards the newest block, at most one request's worth of blocks."""
        latest, low = newest.head, self.head.height + 1
        high = min(latest.height, low + self._reader.span - 1)
        blocks = [ahead] if ahead is not None and ahead.header.height == low else []
        if low + len(blocks) <= high:
            blocks += await self._reader.blocks(low + len(blocks), high, newest.holders)
        if self._reader.several and high == latest.height and blocks[-1].header != latest:
            raise Transient(f"a node shows another block {high} than it said")
        for block in blocks:
            if block.header.parent != self.head.hash:
                if newest.agreed:
                    await self._walk_back(latest, newest.holders)
                return
            self._touched |= self.index.extend(block)
            self._signed += signed_of(block)

    async def _walk_back(self, latest: Header, holders: Holders) -> None:
        """Take back the blocks that the chain does not have any more."""
        await self._reader.recheck()
        self._reorganised = True
        candidates = [at for at in self.index.heights() if at <= latest.height]
        step = 1
        while candidates:
            probe, candidates = candidates[:step], candidates[step:]
            answers = await self._reader.headers(probe, holders)
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
        holders = (await self._reader.newest()).holders if self._reader.several else None
        while since < self.index.low:
            high = self.index.low - 1
            low = max(since, high - self._reader.span + 1)
            blocks = await self._reader.blocks(low, high, holders)
            if self.index.low != high + 1:
                continue  # a contract was added meanwhile: these blocks were read without it
            known, above = self.index.header(high), self.index.header(high + 1)
            top = blocks[-1].header
            if (known and known.hash != top.hash) or (above and above.parent != top.hash):
                newest = await self._reader.newest()
                if newest.agreed and not self._is_ours(newest.head):
                    await self._walk_back(newest.head, newest.holders)
                raise Transient("the chain was reorganised while it was read")
            for block in blocks:
                self._touched |= self.index.add(block)
                self._signed += signed_of(block)
            self.index.low = low

    def _is_ours(self, header: Header) -> bool:
        known = self.index.header(header.height)
        return known is not None and known.hash == header.hash

    async def _lags(self, latest: Header) -> bool:
        """Tell a node that is behind from a chain that lost blocks: patience decides, and with
        several nodes that none of them has our newest block any more.
        """
        if latest.height >= self.head.height or not self._is_ours(latest):
            self._lagging_since_s = None
            return False
        now_s = self._clock()
        if self._lagging_since_s is None:
            self._lagging_since_s = now_s
        if now_s - self._lagging_since_s < self._lag_s:
            return True
        return self._reader.several and await self._reader.holds(self.head)

    def _finalise(self, newest: Newest) -> None:
        """Move the final height; blocks that became final touch their keys once more."""
        if not newest.agreed:
            return
        # Blocks on the way to the newest are one node's word, until they are found to lead there.
        if not self._reader.several or self.head.hash == newest.head.hash:
            self._agreed = self.head
        former = self._final_height
        head = min(self.head.height, newest.head.height)
        self._final_height = self._finality.height(head, newest.tagged)
        self._touched |= self.index.keys_between(former + 1, self._final_height)

    def _look_again(self) -> None:
        now_s = self._clock()
        if self._doubted and now_s >= self._doubt_at_s:
            self._touched |= self._doubted
            self._doubted.clear()
            self._doubt_at_s = now_s + _DOUBT_S

    def _make_room(self) -> None:
        """Drop what belongs to sagas that are over, so that memory grows with what is open and not
        with time; and where that is too much, the older half.
        """
        height = self.head.height
        if len(self.index) > _ENTRIES_MAX:
            middle = (self.index.low + height) // 2
            self.index.forget_below(min(middle, height - self._keep))
        floor = self._needed.floor(height, self._keep)
        if floor is not None:
            self.index.unask(self.index.forget_below(min(floor, self._kept_from)))
