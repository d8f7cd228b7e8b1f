"""The questions this adapter asks, with typed answers; all configured nodes behind one face.

Reads go to the first node that answers; signed bytes go to all; what is final needs a majority.
No hash is believed that can be computed from bytes here.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeVar

from adapters.bitcoin.node import Node, Scan, Tip, Unspent, sat
from adapters.bitcoin.settings import BitcoinSettings
from adapters.bitcoin.transactions import (
    Block,
    ChainDataError,
    Tx,
    parent_of,
    parse_block,
    parse_tx,
)
from adapters.census import Census
from adapters.errors import Ambiguous, Transient, WrongChain
from adapters.retry import reading
from adapters.roster import Roster, Seat
from adapters.rpc import RpcError
from adapters.standing import Pace

__all__ = ["Newest", "Nodes"]

T = TypeVar("T")

_NOT_FOUND: Final = -5
#: RPC_INVALID_PARAMETER: a height beyond the end of the chain.
_INVALID_PARAMETER: Final = -8
#: Blocks beyond this are parsed in a thread: some ten milliseconds of pure Python.
_PARSE_HERE_BYTES: Final = 20_000


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest block, who has it, and whether that is a majority of the configured nodes."""

    tip: Tip
    holders: tuple[Seat[Node], ...]
    agreed: bool


class Nodes:
    """All configured nodes of a chain as one.

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
        self._settings = settings
        nodes = [Node(url, settings) for url in settings.rpc]
        pace = Pace.of(settings.block_fast_ms, settings.block_slow_ms)
        labelled = [(node.label, node) for node in nodes]
        self.roster = Roster(settings.network.name, labelled, clock)
        self._census = Census(self.roster, pace, wall)
        #: final blocks that a majority has confirmed.
        self._agreed: set[str] = set()

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
                await reading(partial(self.roster.put, seat, Node.verify))
            except (Transient, WrongChain) as error:
                return error
            return None

        self.roster.require_open(await asyncio.gather(*map(verify, self.roster.seats)))

    async def close(self) -> None:
        """Close all connections."""
        await self.roster.close()
        for seat in self.roster.seats:
            await seat.node.close()

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
                if error.code == _INVALID_PARAMETER:
                    return None
                raise Transient(f"{node.label} shows no block {height}: {error}") from error

        found = await self._census.newest(look, at, all_of_them=all_of_them)
        return Newest(found.head, found.holders, found.agreed)

    async def tip(self) -> Tip:
        """Return the block of `newest`."""
        return (await self.newest()).tip

    async def holds(self, block_hash: str) -> bool:
        """Tell whether any node that is not set aside has this block in its best chain."""
        answers = await self.roster.each(self._depth(block_hash), lambda found: max(found) > 0)
        return any(depth > 0 for depth in answers)

    def _depth(self, block_hash: str) -> Callable[[Node], Awaitable[int]]:
        """Return a question: how deep a block lies in a node's best chain, below 1 if it is not."""

        async def ask(node: Node) -> int:
            try:
                return await node.ask(_confirmations, "getblockheader", block_hash)
            except RpcError:
                return -1

        return ask

    async def parent(self, block_hash: str, holders: Sequence[Seat[Node]]) -> str:
        """Return the hash of the block below, as the block's own header says it."""

        async def fetch(node: Node) -> str:
            raw = await node.ask(bytes.fromhex, "getblockheader", block_hash, False)
            try:
                return parent_of(raw, block_hash)
            except ChainDataError as error:
                raise Transient(f"{node.label}: {error}") from error

        return await self._read(fetch, holders)

    async def block_hash(self, height: int) -> str | None:
        """Return the hash of the best chain's block at ``height``; None beyond its end."""
        try:
            return await self._first(lambda node: node.ask(_hash, "getblockhash", height))
        except RpcError as error:
            if error.code == _INVALID_PARAMETER:
                return None
            raise Transient(f"block hash at height {height}: {error}") from error

    async def block(self, block_hash: str) -> Block:
        """Return a block, checked against its hash."""

        async def fetch(node: Node) -> Block:
            raw = await node.ask(bytes.fromhex, "getblock", block_hash, 0)
            try:
                if len(raw) < _PARSE_HERE_BYTES:
                    return parse_block(raw, block_hash)
                return await asyncio.to_thread(parse_block, raw, block_hash)
            except ChainDataError as error:
                raise Transient(f"{node.label}: {error}") from error

        return await self._read(fetch)

    async def transaction(self, tx_id: str, height: int) -> Tx | None:
        """Return a confirmed transaction, given the height of its block; None if it is not there.

        Only its own bytes decide that it is the one asked for.
        """
        block_hash = await self.block_hash(height)
        if block_hash is None:
            return None

        async def fetch(node: Node) -> Tx:
            raw = await node.ask(bytes.fromhex, "getrawtransaction", tx_id, False, block_hash)
            try:
                tx = parse_tx(raw)
            except ChainDataError as error:
                raise Transient(f"{node.label}: {error}") from error
            if tx.tx_id != tx_id:
                raise Transient(f"{node.label} gave another transaction than {tx_id}")
            return tx

        try:
            return await self._first(fetch)
        except RpcError as error:
            if error.code in {_NOT_FOUND, _INVALID_PARAMETER}:
                return None
            raise

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

        return await self._read(fetch)

    async def agreed(self, block_hash: str, confirmations: int) -> bool:
        """Tell whether a majority of the configured nodes has the block that deep in its chain."""
        if len(self) == 1 or block_hash in self._agreed:
            return True
        depth = self._depth(block_hash)

        async def deep(node: Node) -> bool:
            return await depth(node) >= confirmations

        if not await self.roster.majority_of(deep):
            return False
        self._agreed.add(block_hash)
        return True

    def disagree(self, block_hash: str) -> None:
        """Forget the agreement on a block that has left the chain."""
        self._agreed.discard(block_hash)

    # ------------------------------------------------------------ coins, fees, policy

    async def scan(self, scripts: Sequence[bytes]) -> Scan:
        """List the unspent outputs of ``scripts`` as of one block, as one node shows them."""
        return await self._read(lambda node: node.scan(scripts))

    async def confirmed_scan(self, scripts: Sequence[bytes]) -> Scan:
        """List the unspent outputs of ``scripts`` that a majority shows, as of a block that it
        shares; while too few nodes answer for a majority, what one shows.

        A coin that one node makes up would be claimed, and could never be spent.
        """
        if len(self) == 1 or not (await self.newest()).agreed:
            return await self.scan(scripts)

        async def confirmed(node: Node) -> Scan:
            scan = await node.scan(scripts)
            if not await self._share(scan.hash, scan.height):
                raise Transient(f"{node.label} lists coins of a block that no majority has")
            shown = await asyncio.gather(*map(self._shown, scan.unspent))
            coins = [coin for coin, is_shown in zip(scan.unspent, shown, strict=True) if is_shown]
            return replace(scan, unspent=tuple(coins))

        return await self._read(confirmed)

    async def _share(self, block_hash: str, height: int) -> bool:
        """Tell whether a majority has this block at this height of its best chain."""

        def there(header: Any) -> bool:
            return _confirmations(header) > 0 and int(header["height"]) == height

        return await self._majority(there, "getblockheader", block_hash)

    async def _shown(self, coin: Unspent) -> bool:
        """Tell whether a majority has this output unspent in its chain, with this value."""

        def same(output: Any) -> bool:
            script = bytes.fromhex(output["scriptPubKey"]["hex"]) if output else b""
            return script == coin.script and sat(output["value"]) == coin.value_sat

        tx_id, _, index = coin.outpoint.partition(":")
        return await self._majority(same, "gettxout", tx_id, int(index), False)

    async def _majority(self, parse: Callable[[Any], bool], method: str, *params: Any) -> bool:
        async def ask(node: Node) -> bool:
            try:
                return await node.ask(parse, method, *params)
            except RpcError:
                return False

        return await self.roster.majority_of(ask)

    async def unspent(self, outpoint: str) -> bool:
        """Tell whether nothing spends an output, in the chain or in the mempool: that it is gone
        is believed only of a majority.

        Raises:
            Transient: too few nodes say so, and none says otherwise.
        """
        tx_id, _, index = outpoint.partition(":")

        async def ask(node: Node) -> bool:
            try:
                return await node.ask(_is_there, "gettxout", tx_id, int(index), True)
            except RpcError as error:
                raise Transient(f"{node.label} does not tell of {outpoint}: {error}") from error

        if await self._read(ask):
            return True
        if len(self) == 1:
            return False

        def enough(answers: Sequence[bool]) -> bool:
            return True in answers or answers.count(False) >= self.roster.majority

        answers = await self.roster.each(ask, enough)
        gone = answers.count(False)
        if True in answers or gone >= self.roster.majority:
            return gone < self.roster.majority
        raise Transient(
            f"{gone} of {len(self)} nodes say that {outpoint} is spent, {self.roster.majority} "
            f"would have to; {self.roster.troubles()}"
        )

    async def estimate_sat_kvb(self, target_blocks: int) -> int | None:
        """Return the fee rate for mining within ``target_blocks``; None when there is no guess."""

        async def ask(node: Node) -> int | None:
            try:
                return await node.ask(_fee_rate, "estimatesmartfee", target_blocks)
            except RpcError:
                return None

        if len(self) == 1:
            return await self._first(ask)
        rates = [rate for rate in await self.roster.each(ask, self._many) if rate is not None]
        return _middle(rates) if rates else None

    async def relay_sat_kvb(self) -> tuple[int, int]:
        """Return the least rate that is relayed now, and what a replacement has to add.

        Of several nodes the middle answer counts, so that no single one can make it dear; while too
        few answer for that, what the configuration says, and the nodes may still refuse the bytes.
        """

        async def ask(node: Node) -> tuple[int, int]:
            try:
                return await node.ask(_relay_rates, "getmempoolinfo")
            except RpcError as error:
                raise Transient(f"{node.label} does not tell its policy: {error}") from error

        if len(self) == 1:
            return await self._read(ask)

        answers = await self.roster.each(ask, self._many)
        if not self._many(answers):
            fee = self._settings.fee
            return fee.min_sat_vb * 1000, fee.incremental_sat_vb * 1000
        return _middle([least for least, _ in answers]), _middle([more for _, more in answers])

    def _many(self, answers: Sequence[Any]) -> bool:
        return len(answers) >= self.roster.majority

    async def refusal(self, trial: bytes) -> str | None:
        """Return why a transaction without its signatures would not be accepted; None if they are
        all that a node misses. With several nodes a majority has to refuse.

        Raises:
            Transient: too few nodes say so, and none says otherwise.
        """

        async def ask(node: Node) -> str | None:
            try:
                return await node.ask(_refusal, "testmempoolaccept", [trial.hex()], 0)
            except RpcError as error:
                raise Transient(f"{node.label} tries nothing: {error}") from error

        first = await self._read(ask)
        if first is None or len(self) == 1:
            return first

        def enough(answers: Sequence[str | None]) -> bool:
            return None in answers or self._many(answers)

        answers = await self.roster.each(ask, enough)
        refusals = [answer for answer in answers if answer is not None]
        if len(refusals) >= self.roster.majority:
            return refusals[0]
        if len(refusals) < len(answers):
            return None
        raise Transient(
            f"{len(refusals)} of {len(self)} nodes refuse ({first}), {self.roster.majority} would "
            f"have to; {self.roster.troubles()}"
        )

    async def broadcast(self, raw: bytes) -> list[str | Exception]:
        """Send to every node; what each said in time: the transaction's id, or its error."""

        async def one(seat: Seat[Node]) -> str | Exception:
            try:
                return await seat.node.broadcast(raw)
            except RpcError as error:
                return error
            except (Ambiguous, Transient, WrongChain) as error:
                self.roster.failed(seat, error)
                return error

        return await self.roster.tell(one, lambda answer: isinstance(answer, str))

    async def _read(
        self, read: Callable[[Node], Awaitable[T]], among: Sequence[Seat[Node]] | None = None
    ) -> T:
        """Do what `_first` does where a node has no reason to refuse, unless it lacks the data."""
        try:
            return await self._first(read, among)
        except RpcError as error:
            raise Transient(f"a node refused a read: {error}") from error

    async def _first(
        self, read: Callable[[Node], Awaitable[T]], among: Sequence[Seat[Node]] | None = None
    ) -> T:
        """Return what the first node that is well answers, several times over if need be."""

        async def sweep() -> T:
            return await self.roster.first(read, among)

        return await reading(sweep)


def _hash(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 64:
        raise ValueError("no hash")
    return value


def _tip(info: Any) -> Tip:
    # "time" is that of the best block; nodes older than 2022 tell only the median of eleven.
    time_s = int(info.get("time", info["mediantime"]))
    return Tip(_hash(info["bestblockhash"]), int(info["blocks"]), time_s)


def _confirmations(header: Any) -> int:
    return int(header["confirmations"])


def _is_there(output: Any) -> bool:
    return output is not None


def _middle(values: Sequence[int]) -> int:
    """Return the lower one of the middle values."""
    return sorted(values)[(len(values) - 1) // 2]


def _fee_rate(answer: Any) -> int | None:
    return sat(answer["feerate"]) if "feerate" in answer else None


def _relay_rates(info: Any) -> tuple[int, int]:
    least = max(sat(info["mempoolminfee"]), sat(info["minrelaytxfee"]))
    return least, sat(info.get("incrementalrelayfee", "0.00001"))


def _refusal(answers: Any) -> str | None:
    answer = answers[0]
    reason = None if answer["allowed"] else str(answer.get("reject-reason", "no reason given"))
    # Scripts are what a node checks last.
    return None if reason is not None and "script-verify" in reason else reason
