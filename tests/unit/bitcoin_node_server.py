"""Loopback servers that speak like bitcoind over a small made-up chain, and misbehave as told.

They hold no rules of Bitcoin: a test says what each of them answers, the adapter's own code asks
over HTTP. Where a rule matters, tests use a real node (`tests/e2e`).
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from adapters.bitcoin.networks import NETWORKS
from adapters.bitcoin.nodes import Nodes
from adapters.bitcoin.settings import BitcoinSettings
from adapters.tables import Table
from proofs.bitcoin_merkle import root_of
from proofs.bitcoin_tx import parse_tx, sha256d, shown
from tests.unit.bitcoin_blocks import classic, mined

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

REGTEST = NETWORKS["regtest"]
#: 2026, so that no block lies in the future.
_FIRST_BLOCK_S = 1_767_225_600


class Refusal(Exception):
    """An error object in the answer (JSON-RPC 2.0, section 5.1)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Status(Exception):
    """An HTTP status instead of an answer."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(str(status))
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(frozen=True)
class MadeBlock:
    header: bytes
    txs: tuple[bytes, ...]

    @property
    def hash(self) -> str:
        return shown(sha256d(self.header))

    @property
    def raw(self) -> bytes:
        return self.header + bytes([len(self.txs)]) + b"".join(self.txs)


def block_on(previous: str, name: str, height: int, *txs: bytes) -> MadeBlock:
    """A block above ``previous``; ``name`` tells branches apart."""
    text = f"{name} {height}".encode()
    bare = (classic(text, previous=bytes(32), n=0xFFFFFFFF), *txs)
    root = root_of([parse_tx(raw).txid for raw in bare])
    below = bytes.fromhex(previous)[::-1]
    return MadeBlock(mined(below, root, time_s=_FIRST_BLOCK_S + height), bare)


class Chain:
    """Blocks above regtest's genesis, which itself is known by its name only."""

    def __init__(self, blocks: int = 3, name: str = "chain") -> None:
        self.name = name
        self.blocks: list[MadeBlock] = []
        self.grow(blocks)

    def fork(self, height: int, name: str) -> Chain:
        """A chain that shares this one's blocks up to ``height``."""
        other = Chain(0, name)
        other.blocks = self.blocks[:height]
        return other

    def grow(self, blocks: int = 1, *txs: bytes) -> None:
        for _ in range(blocks):
            height = len(self.blocks) + 1
            self.blocks.append(block_on(self.name_at(height - 1), self.name, height, *txs))

    @property
    def height(self) -> int:
        return len(self.blocks)

    def name_at(self, height: int) -> str:
        return self.blocks[height - 1].hash if height else REGTEST.genesis

    def height_of(self, block_hash: str) -> int:
        """The height of a block; refused as bitcoind does where it is none of this chain."""
        for height in range(self.height, -1, -1):
            if self.name_at(height) == block_hash:
                return height
        raise Refusal(-5, "Block not found")


@dataclass
class Bitcoind:
    """One server.

    Attributes:
        chain: what it shows; may be exchanged at any time.
        coins: what scantxoutset lists and gettxout knows.
        txs: raw transactions by id.
        says: method → what is answered instead: a value, or a function of the parameters that
            returns or raises (`Refusal`, `Status`) it; text in `raw_answer` goes out as it is.
        asked: how often each method was called.
    """

    chain: Chain
    coins: list[dict[str, Any]] = field(default_factory=list)
    txs: dict[str, str] = field(default_factory=dict)
    says: dict[str, Any] = field(default_factory=dict)
    network: str = "regtest"
    genesis: str = REGTEST.genesis
    asked: Counter[str] = field(default_factory=Counter)
    url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        sent = await request.json()
        answer: Any
        try:
            if isinstance(sent, list):
                answer = [await self._answer(call) for call in sent]
            else:
                answer = await self._answer(sent)
        except Status as status:
            return web.Response(status=status.status, headers=status.headers, text="no")
        return web.Response(text=json.dumps(answer), content_type="application/json")

    async def _answer(self, call: dict[str, Any]) -> dict[str, Any]:
        method, params = call["method"], call["params"]
        self.asked[method] += 1
        answer = {"jsonrpc": "2.0", "id": call["id"]}
        try:
            said = self.says.get(method, getattr(self, f"_{method}"))
            result = said(*params) if callable(said) else said
            if asyncio.iscoroutine(result):
                result = await result
        except Refusal as refusal:
            return answer | {"error": {"code": refusal.code, "message": str(refusal)}}
        return answer | {"result": result}

    def _getblockchaininfo(self) -> dict[str, Any]:
        time_s = _FIRST_BLOCK_S + self.chain.height
        best = self.chain.name_at(self.chain.height)
        return {"chain": self.network, "blocks": self.chain.height, "bestblockhash": best,
                "time": time_s, "mediantime": time_s}  # fmt: skip

    def _getblockhash(self, height: int) -> str:
        if height > self.chain.height:
            raise Refusal(-8, "Block height out of range")
        return self.chain.name_at(height) if height else self.genesis

    def _getblockheader(self, block_hash: str, verbose: bool = True) -> Any:  # noqa: FBT001, FBT002
        height = self.chain.height_of(block_hash)
        if not verbose:
            return self.chain.blocks[height - 1].header.hex()
        return {"height": height, "confirmations": self.chain.height - height + 1}

    def _getblock(self, block_hash: str, verbosity: int) -> str:
        assert verbosity == 0
        return self.chain.blocks[self.chain.height_of(block_hash) - 1].raw.hex()

    def _getrawtransaction(self, tx_id: str, verbosity: int = 0, *_: Any) -> Any:
        if tx_id not in self.txs:
            raise Refusal(-5, "No such transaction found in the provided block")
        raw = self.txs[tx_id]
        return {"hex": raw, "vin": [{}]} if verbosity == 2 else raw

    def _scantxoutset(self, action: str, _descriptors: Sequence[str] = ()) -> Any:
        if action != "start":
            return None
        best, height = self.chain.name_at(self.chain.height), self.chain.height
        return {"bestblock": best, "height": height, "unspents": self.coins}

    def _gettxout(self, tx_id: str, index: int, _pool: bool) -> Any:  # noqa: FBT001
        for coin in self.coins:
            if (coin["txid"], coin["vout"]) == (tx_id, index):
                return {"value": coin["amount"], "scriptPubKey": {"hex": coin["scriptPubKey"]}}
        return None

    def _estimatesmartfee(self, _blocks: int) -> dict[str, Any]:
        return {"feerate": 0.00002}

    def _getmempoolinfo(self) -> dict[str, Any]:
        least = 0.00001
        return {"mempoolminfee": least, "minrelaytxfee": least, "incrementalrelayfee": least}


def coin(n: int, script: bytes, value_sat: int = 100_000, height: int = 1) -> dict[str, Any]:
    """A coin as scantxoutset lists it."""
    return {"txid": f"{n:064x}", "vout": 0, "amount": value_sat / 10**8, "height": height,
            "scriptPubKey": script.hex(), "coinbase": False}  # fmt: skip


def settings_of(nodes: Sequence[Bitcoind], **changes: Any) -> BitcoinSettings:
    table = {
        "network": "regtest",
        "rpc": [node.url for node in nodes],
        "finality": {"confirmations": 2},
        "block_time_ms": {"fast": 1000, "slow": 5000},
        "poll_ms": 20,
        "timeout_ms": 2000,
        "signer": "treasury",
        "fee": {"max_sat_vb": 50, "fallback_sat_vb": 3},
    }
    return BitcoinSettings.read(Table("chain.bitcoin", table | changes))


@asynccontextmanager
async def serving(*nodes: Bitcoind) -> AsyncIterator[None]:
    """Let each node listen on a free port of its own."""
    runners = []
    try:
        for node in nodes:
            application = web.Application()
            application.router.add_post("/", node.handle)
            runner = web.AppRunner(
                application, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
            )
            await runner.setup()
            runners.append(runner)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            node.url = f"http://user:word@127.0.0.1:{runner.addresses[0][1]}/"
        yield
    finally:
        for runner in runners:
            await runner.cleanup()


@asynccontextmanager
async def nodes_on(
    *servers: Bitcoind, clock: Callable[[], float] | None = None, **changes: Any
) -> AsyncIterator[Nodes]:
    """The adapter's own `Nodes` over these servers, opened."""
    async with serving(*servers):
        more = {} if clock is None else {"clock": clock}
        nodes = Nodes(settings_of(servers, **changes), **more)
        try:
            await nodes.open()
            yield nodes
        finally:
            await nodes.close()
