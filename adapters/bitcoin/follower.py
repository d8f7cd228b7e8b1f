"""The one poller of a Bitcoin chain: reads each new block once, and takes back what was replaced.

Deadlines are compared with the time in block headers; a miner can set it up to two hours ahead,
and the median of eleven blocks lags an hour behind, so the header is the stricter of both for
"nothing may happen after". Refunds wait for heights, which nobody can set.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from typing import Final

from adapters.base import BlockEvent, ChainClock
from adapters.bitcoin.chain import BlockNote, ChainView, Spender, note_of
from adapters.bitcoin.coins import Coin, CoinPool
from adapters.bitcoin.node import Tip
from adapters.bitcoin.nodes import Nodes
from adapters.bitcoin.transactions import Tx
from adapters.errors import Transient
from adapters.retry import Patience, reading_for_ever

__all__ = ["Follower"]

#: While something was just sent, the chain is looked at this often.
_NUDGED_POLL_S: Final = 0.02
_NUDGED_POLLS: Final = 25
_PATIENCE: Final = Patience(first_wait_s=0.1, longest_wait_s=5.0)


class Follower:
    """The chain as read, and the coin pool kept in step with it.

    Args:
        nodes: where blocks come from.
        addresses: own address by output script.
        poll_s: interval between looks for a new block.
        margin: blocks that `cover` reads below the height that it is asked for.
    """

    def __init__(
        self, nodes: Nodes, addresses: Mapping[bytes, str], *, poll_s: float, margin: int
    ) -> None:
        self._nodes = nodes
        self._scripts = frozenset(addresses)
        self._addresses = addresses
        self._poll_s = poll_s
        self._margin = margin
        #: height from which on the view has to be complete.
        self._wanted = 2**62
        self._nudges_left = 0
        self._lock = asyncio.Lock()
        self._nudged = asyncio.Event()
        self._watched: set[str] = set()
        #: what `follow` has yet to report.
        self._touched: set[str] = set()
        self._reorganised = False
        self._reported = ""
        self.view = ChainView()
        self.pool = CoinPool(addresses)

    async def open(self) -> None:
        """Read the newest block and scan for our coins."""
        async with self._lock:
            await self._scan()

    def clock(self) -> ChainClock:
        """Height and header time of the newest block read."""
        top = self._top()
        return ChainClock(top.height, top.time_s)

    def watch(self, outpoints: Iterable[str]) -> None:
        """Report blocks that spend one of ``outpoints`` from now on."""
        self._watched.update(outpoints)

    def nudge(self) -> None:
        """Look for a block sooner than the usual interval."""
        self._nudged.set()

    async def follow(self, since: int) -> AsyncIterator[BlockEvent]:
        """Yield once for everything since height ``since``, then whenever the chain moved."""
        await reading_for_ever(lambda: self.cover(since), _PATIENCE)
        for height in range(max(since, self.view.low), self._top().height + 1):
            self._touch(self._note(height))
        yield self._event()
        while True:
            await reading_for_ever(self.advance, _PATIENCE)
            if self._reported != self._top().hash:
                yield self._event()
                continue
            await self._pause()

    async def cover(self, since: int) -> None:
        """Read the blocks from height ``since`` on that were not read yet, and some below.

        What was to come after ``since`` may be mined a little lower after a reorganisation, but
        not below the depth at which the coins that it spends were final.
        """
        async with self._lock:
            self._wanted = min(self._wanted, max(since - self._margin, 0))
            await self._advance()

    async def advance(self) -> None:
        """Read the blocks that are new since the last look."""
        async with self._lock:
            await self._advance()

    async def spender(self, outpoint: str) -> Spender | None:
        """Return the transaction in a block that spends ``outpoint``."""
        self.watch((outpoint,))
        for note in list(self.view.spenders(outpoint)):
            tx = note.spender(outpoint)
            if tx is None:
                tx = await self._reread(note, outpoint)
            # While the block was read again it may have left the chain.
            if tx is not None and self.view.at(note.height) is note:
                return Spender(tx, note.hash, note.height, note.time_s)
        return None

    # ------------------------------------------------------------ reading

    async def _advance(self) -> None:
        tip = await self._nodes.tip()
        if tip.hash != self._top().hash and not await self._connect_one(tip):
            await self._catch_up(tip)
        await self._complete()

    async def _catch_up(self, tip: Tip) -> None:
        height = tip.height
        if height is None:
            height = await self._nodes.height_of(tip.hash)
        await self._rewind(height)
        while self._top().height < height:
            block_hash = await self._nodes.block_hash(self._top().height + 1)
            # The chain changed meanwhile: the next look sorts it out.
            if block_hash is None or not await self._connect(block_hash):
                return

    async def _connect_one(self, tip: Tip) -> bool:
        """Take the usual case, one block more, with the fewest questions."""
        if tip.height not in {None, self._top().height + 1}:
            return False
        return await self._connect(tip.hash)

    async def _connect(self, block_hash: str) -> bool:
        block = await self._nodes.block(block_hash)
        top = self._top()
        if block.parent != top.hash:
            return False
        note = note_of(block, top.height + 1, self._watched, self._scripts)
        self._touched |= self.pool.connect(note.height, block.txs)
        self.view.connect(note)
        self._touch(note)
        return True

    async def _rewind(self, height: int) -> None:
        """Take back the blocks that are no longer in the node's best chain."""
        while True:
            top = self._top()
            if top.height <= height and await self._nodes.block_hash(top.height) == top.hash:
                return
            self._reorganised = True
            self._touch(top)
            self._nodes.disagree(top.hash)
            if top.height == self.view.low or not self.pool.knows(top.height):
                await self._start_again()
                return
            self._touched |= self.pool.disconnect(top.height)
            self.view.disconnect()

    async def _start_again(self) -> None:
        """Begin anew: the chain was replaced below everything that was read, or scanned."""
        for height in range(self.view.low, self._top().height + 1):
            self._touch(self._note(height))
        self._wanted = min(self._wanted, self.view.low)
        await self._scan()
        self._touched |= set(self._addresses.values())

    async def _scan(self) -> None:
        """List our coins and read the block as of which the list is; all or nothing."""
        scan = await self._nodes.scan(sorted(self._scripts))
        block = await self._nodes.block(scan.hash)
        view = ChainView()
        view.connect(note_of(block, scan.height, self._watched, self._scripts))
        coins = (
            Coin(
                item.outpoint,
                item.value_sat,
                self._addresses[item.script],
                item.height,
                item.coinbase,
            )
            for item in scan.unspent
            if item.script in self._scripts
        )
        self.pool.reset(scan.height, coins)
        self.view = view

    async def _complete(self) -> None:
        """Read downwards as far as anybody asked for."""
        while self.view.low > self._wanted:
            bottom = self.view.bottom
            assert bottom is not None
            block = await self._nodes.block(bottom.parent)
            note = note_of(block, self.view.low - 1, self._watched, self._scripts)
            self.view.extend_down(note)
            self._touch(note)

    async def _reread(self, note: BlockNote, outpoint: str) -> Tx | None:
        block = await self._nodes.block(note.hash)
        for tx in block.txs:
            if tx.spends(outpoint):
                note.kept[tx.tx_id] = tx
                return tx
        return None

    # ------------------------------------------------------------ reporting

    def _touch(self, note: BlockNote) -> None:
        """Remember for the next event what the coming or going of a block concerns."""
        if not note.spent:
            return
        self._touched |= {outpoint for outpoint in self._watched if note.may_spend(outpoint)}

    def _event(self) -> BlockEvent:
        touched, self._touched = frozenset(self._touched), set()
        reorganised, self._reorganised = self._reorganised, False
        self._reported = self._top().hash
        return BlockEvent(self.clock(), touched, reorganised)

    async def _pause(self) -> None:
        if self._nudged.is_set():
            self._nudges_left -= 1
            if self._nudges_left <= 0:
                self._nudged.clear()
            await asyncio.sleep(min(_NUDGED_POLL_S, self._poll_s))
            return
        self._nudges_left = _NUDGED_POLLS
        # Not wait_for, which before Python 3.12 can lose a cancellation that comes with the event.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._poll_s):
                await self._nudged.wait()

    def _note(self, height: int) -> BlockNote:
        note = self.view.at(height)
        assert note is not None
        return note

    def _top(self) -> BlockNote:
        top = self.view.top
        if top is None:
            raise Transient("the chain was not read yet; open the adapter first")
        return top
