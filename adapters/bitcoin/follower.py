"""The one poller of a Bitcoin chain: reads each new block once, and takes back what was replaced.

Deadlines are compared with the time in block headers; a miner can set it up to two hours ahead,
and the median of eleven blocks lags an hour behind, so the header is the stricter of both for
"nothing may happen after". Refunds wait for heights, which nobody can set.

With several nodes the view follows the highest block that a majority of them shares. While too few
answer for that, it goes on with what the others show, but the clock and what is final stand still,
and nothing is taken back.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from typing import Final

from adapters.base import BlockEvent, ChainClock, Signed
from adapters.bitcoin.chain import BlockNote, ChainView, Spender, note_of, signed_by
from adapters.bitcoin.coins import Coin, CoinPool
from adapters.bitcoin.nodes import Newest, Nodes
from adapters.bitcoin.transactions import Block, Tx
from adapters.errors import Transient
from adapters.needed import NeededLately
from adapters.retry import Patience, reading_for_ever

__all__ = ["Follower"]

#: While something was just sent, the chain is looked at this often.
_NUDGED_POLL_S: Final = 0.02
_NUDGED_POLLS: Final = 25
#: What too few nodes confirmed is looked at again after so long.
_DOUBT_S: Final = 1.0
#: So many blocks that only a few nodes show are read; a majority may show any number.
_UNAGREED_BLOCKS_MAX: Final = 2016
#: Blocks below the newest that are kept in any case: two weeks. What nobody asked for while twice
#: as many blocks came is dropped, and read again where it is asked for.
_KEPT_BLOCKS: Final = 2016
#: As many suffice where it is known from which block on sagas need them: deeper than any fork that
#: is no rebuilt chain.
_KEPT_BLOCKS_MIN: Final = 144
_PATIENCE: Final = Patience(first_wait_s=0.1, longest_wait_s=5.0)


class Follower:
    """The chain as read, and the coin pool kept in step with it.

    Args:
        nodes: where blocks come from.
        addresses: own address by output script.
        keys: own address by compressed public key.
        poll_s: interval between looks for a new block.
        margin: blocks that `cover` reads below the height that it is asked for.
    """

    def __init__(
        self,
        nodes: Nodes,
        addresses: Mapping[bytes, str],
        keys: Mapping[bytes, str],
        *,
        poll_s: float,
        margin: int,
    ) -> None:
        self._nodes = nodes
        self._scripts = frozenset(addresses)
        self._addresses = addresses
        self._keys = keys
        self._poll_s = poll_s
        self._margin = margin
        #: its ``lowest`` is the height from which on the view has to be complete.
        self._needed = NeededLately()
        #: below it no saga of this process began, once somebody has said so.
        self._kept_from: int | None = None
        self._nudges_left = 0
        self._lock = asyncio.Lock()
        #: how many looks have begun, and the last that was finished.
        self._looks = 0
        self._looked = 0
        self._nudged = asyncio.Event()
        self._watched: set[str] = set()
        #: what `follow` has yet to report.
        self._touched: set[str] = set()
        self._signed: list[Signed] = []
        self._reorganised = False
        #: what a majority did not confirm, and when it is looked at again.
        self._doubted: set[str] = set()
        self._doubt_at_s = 0.0
        self._reported: tuple[str, BlockNote | None] = ("", None)
        #: the newest block that a majority shared, None before the first one.
        self._agreed: BlockNote | None = None
        self.view = ChainView()
        self.pool = CoinPool(addresses)

    async def open(self) -> None:
        """Read the newest block and scan for our coins."""
        async with self._lock:
            await self._scan()
            await self._advance()

    def clock(self) -> ChainClock:
        """Height and header time of the newest block that a majority of the nodes shares."""
        known = self._agreed or self._top()
        return ChainClock(known.height, known.time_s, agreed=self._agreed is not None)

    @property
    def sure_height(self) -> int:
        """Height up to which what was read is shared by a majority: what is not there is gone."""
        return min(self._top().height, self.clock().height)

    def confirmations(self, height: int) -> int:
        """Return the depth of a height, as far as a majority shares the chain; 0 beyond that."""
        return 0 if self._agreed is None else max(0, self._agreed.height - height + 1)

    def doubt(self, outpoints: Iterable[str]) -> None:
        """Report these once more in a moment: a majority did not confirm what was seen of them."""
        self._doubted.update(outpoints)

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
            self._look_again()
            if self._reported != (self._top().hash, self._agreed) or self._signed:
                yield self._event()
                continue
            await self._pause()

    async def cover(self, since: int) -> None:
        """Read the blocks from height ``since`` on that were not read yet, and some below.

        What was to come after ``since`` may be mined a little lower after a reorganisation, but
        not below the depth at which the coins that it spends were final.
        """
        self.want(since)
        await self.advance()

    def want(self, since: int) -> None:
        """Keep the blocks from height ``since`` on, and some below, for some weeks to come."""
        self._needed.need(max(since - self._margin, 0))

    def keep_from(self, height: int) -> None:
        """Blocks below ``height``, and some below it, may be forgotten unless they are wanted."""
        self._kept_from = max(height - self._margin, 0)
        self._needed.end_by(self._top().height + self._kept_blocks())

    async def advance(self) -> None:
        """Read the blocks that are new since the last look, and below what `cover` asked for.

        Whoever asks while others wait for the same is served by one look that began after it.
        """
        asked = self._looks
        async with self._lock:
            if self._looked > asked:
                return
            self._looks += 1
            look = self._looks
            await self._advance()
            self._looked = look

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
        newest = await self._nodes.newest()
        if newest.head.hash != self._top().hash and not await self._connect_one(newest):
            await self._catch_up(newest)
        if newest.agreed and newest.head.hash == self._top().hash:
            self._agreed = self._top()
        await self._complete()
        self._make_room()

    async def _connect_one(self, newest: Newest) -> bool:
        """Take the usual case, one block more, with the fewest questions."""
        if newest.head.height != self._top().height + 1:
            return False
        return await self._connect(newest.head.hash)

    async def _catch_up(self, newest: Newest) -> None:
        """Go from the newest block down to one that was read, and read what is between.

        Every hash on the way is named by the header above it, so no node can lead astray. A few
        nodes only may go on from our newest block, and not far: the rest is for a majority to say.
        """
        if await self._lags(newest):
            return
        names: list[str] = []
        name, height = newest.head.hash, newest.head.height
        low = self.view.low if newest.agreed else self._top().height
        if not newest.agreed and height - low > _UNAGREED_BLOCKS_MAX:
            return
        while height >= low and not self._has(name, height):
            names.append(name)
            name = await self._nodes.parent(name, newest.holders)
            height -= 1
        if height < self._top().height:
            if not newest.agreed:
                return
            # Whoever answers at these addresses may serve another chain by now.
            if not await self._nodes.still_ours(newest.holders):
                return
            if await self._rewind(height):
                return
        for name in reversed(names):
            # The chain changed meanwhile: the next look sorts it out.
            if not await self._connect(name):
                return

    def _has(self, block_hash: str, height: int) -> bool:
        note = self.view.at(height)
        return note is not None and note.hash == block_hash

    async def _lags(self, newest: Newest) -> bool:
        """Tell nodes that are behind from a chain that lost blocks: with several nodes it is the
        latter only when none of them has our newest block any more.
        """
        tip, top = newest.head, self._top()
        if len(self._nodes) == 1 or tip.height >= top.height or not self._has(tip.hash, tip.height):
            return False
        # A few nodes are not asked: whatever they say, nothing would be taken back for it.
        return not newest.agreed or await self._nodes.holds(top.hash)

    async def _connect(self, block_hash: str) -> bool:
        block = await self._nodes.block(block_hash)
        top = self._top()
        if block.parent != top.hash:
            return False
        note = self._note_of(block, top.height + 1)
        self._touched |= self.pool.connect(note.height, block.txs)
        self.view.connect(note)
        self._signed += self._signed_in(block, note)
        self._touch(note)
        return True

    async def _rewind(self, height: int) -> bool:
        """Take back the blocks above ``height``; True where all had to be read anew."""
        while self._top().height > height:
            top = self._top()
            self._reorganised = True
            self._touch(top)
            self._nodes.disagree(top.hash)
            if top.height == self.view.low or not self.pool.knows(top.height):
                await self._start_again()
                return True
            self._touched |= self.pool.disconnect(top.height)
            self.view.disconnect()
        return False

    async def _start_again(self) -> None:
        """Begin anew: the chain was replaced below everything that was read, or scanned."""
        for height in range(self.view.low, self._top().height + 1):
            self._touch(self._note(height))
            self._nodes.disagree(self._note(height).hash)
        self._needed.need(self.view.low)
        await self._scan()
        self._touched |= set(self._addresses.values())

    async def _scan(self) -> None:
        """List our coins and read the block as of which the list is; all or nothing."""
        scan = await self._nodes.holdings.confirmed_scan(sorted(self._scripts))
        block = await self._nodes.block(scan.hash)
        view = ChainView()
        view.connect(self._note_of(block, scan.height))
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
        while self.view.low > self._needed.lowest:
            bottom = self.view.bottom
            assert bottom is not None
            block = await self._nodes.block(bottom.parent)
            note = self._note_of(block, self.view.low - 1)
            self.view.extend_down(note)
            self._touch(note)
            self._signed += self._signed_in(block, note)

    def _make_room(self) -> None:
        """Drop blocks deep below the newest that nobody asked for in a long time, and what is
        known to be spent in them: memory grows with what is open, not with time.
        """
        height = self._top().height
        floor = self._needed.floor(height, self._kept_blocks())
        if floor is None:
            return
        if self._kept_from is not None:
            # Not even a saga that stays open for a year keeps a year's blocks in memory.
            floor = min(floor, max(self._kept_from, height - 2 * _KEPT_BLOCKS))
        for note in self.view.forget_below(floor):
            self._watched.difference_update(note.kept)

    def _kept_blocks(self) -> int:
        if self._kept_from is None:
            return _KEPT_BLOCKS
        return min(_KEPT_BLOCKS, max(_KEPT_BLOCKS_MIN, 8 * self._margin))

    async def _reread(self, note: BlockNote, outpoint: str) -> Tx | None:
        block = await self._nodes.block(note.hash)
        for tx in block.txs:
            if any(item.outpoint in self._watched for item in tx.inputs):
                note.keep(tx)
        return note.spender(outpoint)

    def _note_of(self, block: Block, height: int) -> BlockNote:
        return note_of(block, height, self._watched, self._scripts, self._keys)

    # ------------------------------------------------------------ reporting

    def _touch(self, note: BlockNote) -> None:
        """Remember for the next event what the coming or going of a block concerns."""
        if not note.spent:
            return
        self._touched |= {outpoint for outpoint in self._watched if note.may_spend(outpoint)}

    def _signed_in(self, block: Block, note: BlockNote) -> list[Signed]:
        """Return what our keys signed in a block, refunds of holds included."""
        found = []
        for tx in block.txs:
            spent = {
                item.outpoint: self._keys[key]
                for item in tx.inputs
                if (key := signed_by(item)) in self._keys
            }
            if not spent:
                continue
            accounts = tuple(dict.fromkeys(spent.values()))
            text = f"spends {len(spent)} coins of {', '.join(accounts)}: {', '.join(spent)}"
            claim = tuple((outpoint, 0) for outpoint in spent)
            found.append(
                Signed(
                    tx.tx_id, note.hash, note.height, note.time_s, claim, accounts, (text[:1000],)
                )
            )
        return found

    def _event(self) -> BlockEvent:
        touched, self._touched = frozenset(self._touched), set()
        signed, self._signed = tuple(self._signed), []
        reorganised, self._reorganised = self._reorganised, False
        self._reported = (self._top().hash, self._agreed)
        return BlockEvent(self.clock(), touched, reorganised, signed)

    def _look_again(self) -> None:
        now_s = time.monotonic()
        if self._doubted and now_s >= self._doubt_at_s:
            self._touched |= self._doubted
            self._doubted.clear()
            self._doubt_at_s = now_s + _DOUBT_S
            self._reported = ("", None)

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
