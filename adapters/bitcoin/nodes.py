"""The questions this adapter asks, with typed answers; all configured nodes behind one face.

Reads go to the first node that answers; signed bytes go to all; what is final needs a majority.
No hash is believed that can be computed from bytes here.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

from adapters.bitcoin.asking import INVALID_PARAMETER, NOT_FOUND, Asking
from adapters.bitcoin.holdings import Holdings
from adapters.bitcoin.node import Node, Tip, confirmations_of, sat
from adapters.bitcoin.relay import Relay
from adapters.bitcoin.settings import BitcoinSettings
from adapters.bitcoin.transactions import (
    Block,
    ChainDataError,
    Tx,
    parent_of,
    parse_block,
    parse_tx,
)
from adapters.census import Census, Shared
from adapters.errors import Transient, WrongChain
from adapters.retry import reading
from adapters.roster import Roster, Seat
from adapters.rpc import RpcError
from adapters.standing import Pace

__all__ = ["Newest", "Nodes"]

#: What is not there, or (RPC_MISC_ERROR) was there before old blocks were dropped.
_ABSENT: Final = frozenset({NOT_FOUND, INVALID_PARAMETER, -1})
#: Blocks beyond this are parsed in a thread: some ten milliseconds of pure Python.
_PARSE_HERE_BYTES: Final = 20_000
#: Blocks of which it is remembered that a majority has them; others are asked about again.
_AGREED_KEPT: Final = 4096


#: The newest block, who has it, and whether that is a majority of the configured nodes.
Newest = Shared[Node, Tip]


class Nodes:
    """All configured nodes of a chain as one.

    Attributes:
        holdings: what is unspent.
        relay: what fees are, what would be refused, and where bytes are sent.

    Args:
        clock: monotonic seconds.
        wall: Unix seconds.
    """

    def __init__(
        self,
        settings: BitcoinSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        nodes = [Node(url, settings, clock) for url in settings.rpc]
        pace = Pace.of(settings.block_fast_ms, settings.block_slow_ms)
        labelled = [(node.label, node) for node in nodes]
        self.roster = Roster(settings.network.name, labelled, clock)
        self._census = Census(self.roster, pace, wall)
        self._asking = Asking(self.roster)
        self.holdings = Holdings(self._asking, self.newest)
        self.relay = Relay(self._asking, settings.fee)
        #: final blocks that a majority has confirmed, the oldest first.
        self._agreed: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self.roster)

    async def open(self) -> None:
        """Verify every node that can be reached.

        Raises:
            WrongChain: one of them serves another chain, and no majority serves ours.
            Transient: none can be reached.
        """

        async def verify(seat: Seat[Node]) -> Transient | WrongChain | None:
            try:
                await reading(partial(self.roster.put, seat, Node.check))
            except (Transient, WrongChain) as error:
                return error
            return None

        self.roster.require_open(await asyncio.gather(*map(verify, self.roster.seats)))

    async def close(self) -> None:
        """Close all connections."""
        await self.roster.close()
        for seat in self.roster.seats:
            await seat.node.close()

    async def still_ours(self, holders: Sequence[Seat[Node]]) -> bool:
        """Check the identity of these nodes again; the chain may have been exchanged behind them.

        Raises:
            WrongChain: it was, at all nodes.
            Transient: none of the nodes tells.
        """
        for seat in self.roster.seats:
            seat.node.doubt()
        told = await asyncio.gather(*(self.roster.quietly(seat, Node.check) for seat in holders))
        if None not in told:
            return True
        await self.roster.first(Node.check)
        return False

    def in_turn(self) -> list[Node]:
        """Return all nodes, those that are well first."""
        return [seat.node for seat in self.roster.ranked()]

    # ------------------------------------------------------------ the chain

    async def newest(self, *, all_of_them: bool = False) -> Newest:
        """Return the highest block that a majority shares; see `Census.newest`.

        Raises:
            Transient: nobody answers, or those who do share nothing.
        """

        async def look(node: Node) -> Tip:
            try:
                return await node.ask(_tip, "getblockchaininfo")
            except RpcError as error:
                raise Transient(f"{node.label} does not tell its best block: {error}") from error

        async def at(node: Node, height: int) -> Tip | None:
            try:
                return Tip(await node.ask(_hash, "getblockhash", height), height)
            except RpcError as error:
                if error.code == INVALID_PARAMETER:
                    return None
                raise Transient(f"{node.label} shows no block {height}: {error}") from error

        return await self._census.newest(look, at, all_of_them=all_of_them)

    async def tip(self) -> Tip:
        """Return the block of `newest`."""
        return (await self.newest()).head

    async def holds(self, block_hash: str) -> bool:
        """Tell whether any node that is not set aside has this block in its best chain.

        Raises:
            Transient: none says so, and too few say anything.
        """
        answers = await self.roster.each(self._depth(block_hash), lambda found: max(found) > 0)
        if not self._asking.many(answers) and max(answers, default=0) < 1:
            raise Transient(
                f"too few nodes tell whether block {block_hash} is there; {self.roster.troubles()}"
            )
        return max(answers) > 0

    def _depth(self, block_hash: str) -> Callable[[Node], Awaitable[int]]:
        """Return a question: how deep a block lies in a node's best chain, below 1 if it is not."""

        async def ask(node: Node) -> int:
            try:
                return await node.ask(confirmations_of, "getblockheader", block_hash)
            except RpcError as error:
                if error.code == NOT_FOUND:
                    return -1
                raise Transient(f"{node.label} does not tell of {block_hash}: {error}") from error

        return ask

    async def parent(self, block_hash: str, holders: Sequence[Seat[Node]]) -> str:
        """Return the hash of the block below, as the block's own header says it."""

        async def fetch(node: Node) -> str:
            raw = await node.ask(bytes.fromhex, "getblockheader", block_hash, False)
            try:
                return parent_of(raw, block_hash)
            except ChainDataError as error:
                raise Transient(f"{node.label}: {error}") from error

        return await self._asking.read(fetch, holders)

    async def block_hash(self, height: int) -> str | None:
        """Return the hash of the best chain's block at ``height``; None beyond its end."""
        try:
            return await self._asking.first(lambda node: node.ask(_hash, "getblockhash", height))
        except RpcError as error:
            if error.code == INVALID_PARAMETER:
                return None
            raise Transient(f"block hash at height {height}: {error}") from error

    async def block(self, block_hash: str) -> Block:
        """Return a block, checked against its hash."""

        async def fetch(node: Node) -> Block:
            raw = await node.apart(bytes.fromhex, "getblock", block_hash, 0)
            try:
                if len(raw) < _PARSE_HERE_BYTES:
                    return parse_block(raw, block_hash)
                return await asyncio.to_thread(parse_block, raw, block_hash)
            except ChainDataError as error:
                raise Transient(f"{node.label}: {error}") from error

        return await self._asking.read(fetch)

    async def transaction(self, tx_id: str, height: int) -> Tx | None:
        """Return a confirmed transaction, given the height of its block; None where no node that
        answers has it there. Only its own bytes decide that it is the one asked for.
        """

        async def fetch(node: Node) -> Tx | None:
            try:
                name = await node.ask(_hash, "getblockhash", height)
                raw = await node.ask(bytes.fromhex, "getrawtransaction", tx_id, False, name)
            except RpcError as error:
                if error.code in _ABSENT:
                    return None
                raise Transient(f"{node.label} does not tell of {tx_id}: {error}") from error
            try:
                tx = parse_tx(raw)
            except ChainDataError as error:
                raise Transient(f"{node.label}: {error}") from error
            if tx.tx_id != tx_id:
                raise Transient(f"{node.label} gave another transaction than {tx_id}")
            return tx

        return await self._asking.useful(fetch, lambda tx: tx is not None)

    async def mined(self, tx_id: str, block_hash: str) -> tuple[bytes, tuple[int, ...]]:
        """Return a transaction's bytes, checked against its id, and what each input was worth in
        satoshi; no values from a node that keeps no undo data.
        """

        def told(answer: Any) -> tuple[bytes, tuple[int, ...]]:
            inputs = [item.get("prevout", {}).get("value") for item in answer["vin"]]
            known = all(value is not None for value in inputs)
            return bytes.fromhex(answer["hex"]), tuple(sat(v) for v in inputs) if known else ()

        async def fetch(node: Node) -> tuple[bytes, tuple[int, ...]]:
            raw, values = await node.ask(told, "getrawtransaction", tx_id, 2, block_hash)
            try:
                found = parse_tx(raw).tx_id
            except ChainDataError as error:
                raise Transient(f"{node.label}: {error}") from error
            if found != tx_id:
                raise Transient(f"{node.label} gave another transaction than {tx_id}")
            return raw, values

        return await self._asking.read(fetch)

    async def agreed(self, block_hash: str, confirmations: int) -> bool:
        """Tell whether a majority of the configured nodes has the block that deep in its chain."""
        if len(self) == 1 or block_hash in self._agreed:
            return True
        depth = self._depth(block_hash)

        async def deep(node: Node) -> bool:
            return await depth(node) >= confirmations

        if not await self.roster.majority_of(deep):
            return False
        self._agreed[block_hash] = None
        if len(self._agreed) > _AGREED_KEPT:
            del self._agreed[next(iter(self._agreed))]
        return True

    def disagree(self, block_hash: str) -> None:
        """Forget the agreement on a block that has left the chain."""
        self._agreed.pop(block_hash, None)


def _hash(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 64:
        raise ValueError("no hash")
    return value


def _tip(info: Any) -> Tip:
    # "time" is that of the best block; nodes older than 2022 tell only the median of eleven.
    time_s = int(info.get("time", info["mediantime"]))
    return Tip(_hash(info["bestblockhash"]), int(info["blocks"]), time_s)
