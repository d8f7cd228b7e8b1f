"""The questions this adapter asks, with typed answers; all configured nodes behind one face.

Reads go to the first node that answers; signed bytes go to all; what is final needs a majority.
No hash is believed that can be computed from bytes here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from adapters.bitcoin.node import Node, Scan, Tip, sat
from adapters.bitcoin.settings import BitcoinSettings
from adapters.bitcoin.transactions import Block, ChainDataError, Tx, parse_block, parse_tx
from adapters.errors import Ambiguous, Transient, WrongChain
from adapters.retry import reading
from adapters.rpc import RpcError

__all__ = ["Nodes"]

T = TypeVar("T")

_NOT_FOUND: Final = -5
#: RPC_INVALID_PARAMETER: a height beyond the end of the chain.
_INVALID_PARAMETER: Final = -8
#: Blocks beyond this are parsed in a thread: some ten milliseconds of pure Python.
_PARSE_HERE_BYTES: Final = 20_000


class Nodes:
    """All configured nodes of a chain as one."""

    def __init__(self, settings: BitcoinSettings) -> None:
        self._settings = settings
        self._nodes = [Node(url, settings) for url in settings.rpc]
        #: index of the node that answered last; a frozen or dead one is left behind.
        self._preferred = 0
        #: final blocks that a majority has confirmed.
        self._agreed: set[str] = set()

    def __len__(self) -> int:
        return len(self._nodes)

    async def open(self) -> None:
        """Verify every node that can be reached.

        Raises:
            WrongChain: one of them serves another chain.
            Transient: none can be reached.
        """
        results = await asyncio.gather(
            *(reading(node.verify) for node in self._nodes), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, Transient):
                raise result
        alive = [index for index, result in enumerate(results) if result is None]
        if not alive:
            raise next(result for result in results if isinstance(result, Transient))
        self._preferred = alive[0]

    async def close(self) -> None:
        """Close all connections."""
        for node in self._nodes:
            await node.close()

    def in_turn(self) -> list[Node]:
        """Return all nodes, the one that answered last first."""
        return self._nodes[self._preferred :] + self._nodes[: self._preferred]

    # ------------------------------------------------------------ the chain

    async def tip(self) -> Tip:
        """Return the best block; with several nodes, of the one that has seen most work."""
        if len(self._nodes) == 1:
            return Tip(await self._nodes[0].ask(_hash, "getbestblockhash"), None)
        answers = await asyncio.gather(
            *(node.ask(_work_and_tip, "getblockchaininfo") for node in self._nodes),
            return_exceptions=True,
        )
        best: tuple[int, int, Tip] | None = None
        for index, answer in enumerate(answers):
            if isinstance(answer, BaseException):
                if not isinstance(answer, Transient):
                    raise answer
            elif best is None or answer[0] > best[0]:
                best = (answer[0], index, answer[1])
        if best is None:
            raise next(answer for answer in answers if isinstance(answer, Transient))
        self._preferred = best[1]
        return best[2]

    async def height_of(self, block_hash: str) -> int:
        """Return the height of a block."""
        return await self._read(
            lambda node: node.ask(
                lambda header: int(header["height"]), "getblockheader", block_hash
            )
        )

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
        if len(self._nodes) == 1 or block_hash in self._agreed:
            return True
        depths = await asyncio.gather(
            *(
                node.ask(lambda header: int(header["confirmations"]), "getblockheader", block_hash)
                for node in self._nodes
            ),
            return_exceptions=True,
        )
        votes = sum(isinstance(depth, int) and depth >= confirmations for depth in depths)
        if votes < self._settings.quorum:
            return False
        self._agreed.add(block_hash)
        return True

    def disagree(self, block_hash: str) -> None:
        """Forget the agreement on a block that has left the chain."""
        self._agreed.discard(block_hash)

    # ------------------------------------------------------------ coins, fees, policy

    async def scan(self, scripts: Sequence[bytes]) -> Scan:
        """List the unspent outputs of ``scripts`` as of one block."""
        return await self._read(lambda node: node.scan(scripts))

    async def unspent(self, outpoint: str) -> bool:
        """Tell whether nothing spends an output, in the chain or in the mempool."""
        tx_id, _, index = outpoint.partition(":")
        return await self._read(
            lambda node: node.ask(lambda out: out is not None, "gettxout", tx_id, int(index), True)
        )

    async def estimate_sat_kvb(self, target_blocks: int) -> int | None:
        """Return the fee rate for mining within ``target_blocks``; None when there is no guess."""
        try:
            return await self._first(
                lambda node: node.ask(_fee_rate, "estimatesmartfee", target_blocks)
            )
        except RpcError:
            return None

    async def relay_sat_kvb(self) -> tuple[int, int]:
        """Return the least rate that is relayed now, and what a replacement has to add."""
        return await self._read(lambda node: node.ask(_relay_rates, "getmempoolinfo"))

    async def refusal(self, trial: bytes) -> str | None:
        """Return why a node would not accept a transaction; None if it would."""
        return await self._read(
            lambda node: node.ask(_refusal, "testmempoolaccept", [trial.hex()], 0)
        )

    async def broadcast(self, raw: bytes) -> list[str | Exception]:
        """Send to every node; what each said: the transaction's id, or its error."""

        async def one(node: Node) -> str | Exception:
            try:
                return await node.broadcast(raw)
            except (RpcError, Ambiguous, Transient, WrongChain) as error:
                return error

        return list(await asyncio.gather(*map(one, self._nodes)))

    async def _read(self, read: Callable[[Node], Awaitable[T]]) -> T:
        """Do what `_first` does where a node has no reason to refuse, unless it lacks the data."""
        try:
            return await self._first(read)
        except RpcError as error:
            raise Transient(f"a node refused a read: {error}") from error

    async def _first(self, read: Callable[[Node], Awaitable[T]]) -> T:
        """Return what the preferred node answers, or the next one that can be reached."""
        count = len(self._nodes)
        order = [(self._preferred + offset) % count for offset in range(count)]

        async def sweep() -> T:
            trouble: Transient | None = None
            for index in order:
                try:
                    answer = await read(self._nodes[index])
                except Transient as error:
                    trouble = error
                else:
                    self._preferred = index
                    return answer
            assert trouble is not None
            raise trouble

        return await reading(sweep)


def _hash(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 64:
        raise ValueError("no hash")
    return value


def _work_and_tip(info: Any) -> tuple[int, Tip]:
    return int(info["chainwork"], 16), Tip(_hash(info["bestblockhash"]), int(info["blocks"]))


def _fee_rate(answer: Any) -> int | None:
    return sat(answer["feerate"]) if "feerate" in answer else None


def _relay_rates(info: Any) -> tuple[int, int]:
    least = max(sat(info["mempoolminfee"]), sat(info["minrelaytxfee"]))
    return least, sat(info.get("incrementalrelayfee", "0.00001"))


def _refusal(answers: Any) -> str | None:
    answer = answers[0]
    return None if answer["allowed"] else str(answer.get("reject-reason", "no reason given"))
