"""What the coordinator adds where blocks set the pace: a saga beside a script without one.

The script sends the same transactions in the same order to the same nodes and waits for the same
finality. It has no journal, no plan check and no way back; it asks the node about one transaction
at a time. Both begin with a new block, by turns, on one network.
"""

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any, Final

from adapters.base import Direction, Prepared, Task
from coordinator.devnet.network import Devnet, DevnetOptions, running
from coordinator.saga.state import saga_id32
from proofs import canonical
from tests.bench.figures import Figure, Options
from tests.bench.nodes import Bench, driving

__all__ = ["evidence", "overhead"]

_MOST_PERCENT: Final = 5.0
_LOOK_S: Final = 0.01
_OPTIONS: Final = DevnetOptions(evm_block_s=1, bitcoin_block_s=1, confirmations=2)
_PLAN: Final = """
version = 1
name = "overhead"
deadline_s = 120

[[step]]
id = "lock"
chain = "polygon"
action = "lock"
with = { vault = "AlzVault", amount = { asset = "ALZ", value = "1" } }

[[step]]
id = "move"
chain = "bitcoin"
action = "transfer"
with = { amount = { asset = "BTC", value = "0.001" }, from = "treasury_btc", to = "settlement_btc" }

[[step]]
id = "mint"
chain = "ethereum"
action = "mint"
with = { token = "AlzToken", to = "0x0500BD70a3912a084BF19203EA8335301E3F6eb5", amount = { asset = "ALZ", value = "1" } }
"""  # noqa: E501 - an inline table has one line


def overhead(options: Options) -> list[Figure]:
    """A saga and the bare script, by turns, with blocks every second."""
    with running(options.folder / "overhead", _OPTIONS) as devnet:
        return asyncio.run(_overhead(devnet, options.rounds(20, 3)))


async def _overhead(devnet: Devnet, rounds: int) -> list[Figure]:
    saga_s, script_s = [], []
    async with driving(devnet) as bench:
        lock, digest = await bench.lock(_PLAN)
        script = _Script(bench, lock)
        for number in range(rounds):
            await _new_block(devnet)
            begin_s = time.perf_counter()
            _, times = await bench.begin(lock, digest, f"overhead-{number}")
            await asyncio.wait_for(times.ended.wait(), 120)
            saga_s.append(time.perf_counter() - begin_s)
            await _new_block(devnet)
            begin_s = time.perf_counter()
            sent = await script.run()
            script_s.append(time.perf_counter() - begin_s)
            await bench.accept(sent)
    more = [100 * (mine / bare - 1) for mine, bare in zip(saga_s, script_s, strict=True)]
    return [
        Figure("saga, blocks every second", "s", saga_s),
        Figure("bare script, the same transactions", "s", script_s),
        Figure("overhead, pair by pair", "%", more, most=_MOST_PERCENT),
    ]


def evidence(options: Options) -> list[Figure]:
    """A saga whose decision waits for proofs beside one without any, with blocks every second."""
    with running(options.folder / "evidence", _OPTIONS) as devnet:
        return asyncio.run(_evidence(devnet, options.rounds(20, 3)))


async def _evidence(devnet: Devnet, rounds: int) -> list[Figure]:
    took_s: dict[str, list[float]] = {"required": [], "none": []}
    async with driving(devnet) as bench:
        lock, _ = await bench.lock(_PLAN)
        for number in range(rounds):
            for proof, times_s in took_s.items():
                asked = _asking_for(lock, proof)
                await _new_block(devnet)
                begin_s = time.perf_counter()
                key = f"evidence-{proof}-{number}"
                _, times = await bench.begin(asked, canonical.digest(asked), key)
                await asyncio.wait_for(times.ended.wait(), 120)
                times_s.append(time.perf_counter() - begin_s)
    pairs = zip(took_s["required"], took_s["none"], strict=True)
    more = [100 * (mine / bare - 1) for mine, bare in pairs]
    return [
        Figure("saga, proofs required", "s", took_s["required"]),
        Figure("saga, no proofs", "s", took_s["none"]),
        Figure("what proofs add, pair by pair", "%", more, most=_MOST_PERCENT),
    ]


def _asking_for(lock: Mapping[str, Any], proof: str) -> dict[str, Any]:
    chains = {name: {**terms, "proof": proof} for name, terms in lock["chains"].items()}
    return {**lock, "chains": chains}


async def _new_block(devnet: Devnet) -> None:
    """Return right after the next block of the chain on which both begin."""
    first = await _call(devnet, "polygon", "eth_blockNumber")
    while await _call(devnet, "polygon", "eth_blockNumber") == first:  # noqa: ASYNC110 - a node
        await asyncio.sleep(_LOOK_S)


async def _call(devnet: Devnet, chain: str, method: str, *params: object) -> Any:
    return await asyncio.to_thread(devnet.rpc, chain, method, *params)


class _AllFree:
    """A `ClaimBook` of somebody who does one thing at a time."""

    def take_next(self, _resource: str, floor: int) -> int:
        return floor

    def take(self, _resource: str, _value: int = 0) -> bool:
        return True

    def taken(self, _resource: str, _value: int = 0) -> bool:
        return False


class _Script:
    """The same transactions without a coordinator; only building and signing are shared."""

    def __init__(self, bench: Bench, lock: Mapping[str, Any]) -> None:
        self._bench = bench
        self._devnet = bench.devnet
        self._steps: Mapping[str, Mapping[str, Any]] = {s["id"]: s for s in lock["steps"]}
        self._depth = _OPTIONS.confirmations
        self._op_ids: Mapping[str, str] = {}

    async def run(self) -> list[str]:
        """Three effects one after the other, final together, then both confirms together.

        Returns the ids of the transactions.
        """
        self._op_ids = {step: os.urandom(32).hex() for step in self._steps}
        sent = {}
        for step in ("lock", "move", "mint"):
            sent[step] = await self._send(step, "forward", None)
            await self._deep(step, sent[step], 1)
        await asyncio.gather(*(self._deep(step, sent[step], self._depth) for step in sent))
        confirms = await asyncio.gather(
            *(self._confirm(step, sent[step]) for step in ("lock", "mint"))
        )
        return [prepared.tx_id for prepared in (*sent.values(), *confirms)]

    async def _confirm(self, step: str, forward: Prepared) -> Prepared:
        prepared = await self._send(step, "confirm", forward)
        await self._deep(step, prepared, self._depth)
        return prepared

    async def _send(self, step: str, direction: Direction, forward: Prepared | None) -> Prepared:
        chain = self._steps[step]["chain"]
        facts = None if forward is None else {**forward.facts, "tx": forward.tx_id}
        task = Task(
            saga="SCRIPT",
            step=step,
            direction=direction,
            generation=1,
            action=self._steps[step]["action"],
            op_id=self._op_ids[step],
            saga_id32=saga_id32("SCRIPT"),
            deadline_s=int(time.time()) + 120,
            forward=facts,
        )
        prepared = await self._bench.adapters[chain].prepare(task, "effect", _AllFree(), ())
        method = "sendrawtransaction" if chain == "bitcoin" else "eth_sendRawTransaction"
        prefix = "" if chain == "bitcoin" else "0x"
        await _call(self._devnet, chain, method, prefix + prepared.raw.hex())
        return prepared

    async def _deep(self, step: str, prepared: Prepared, depth: int) -> None:
        """Wait until the transaction has ``depth`` confirmations."""
        chain = self._steps[step]["chain"]
        ask = self._coin_depth if chain == "bitcoin" else self._receipt_depth
        while await ask(chain, prepared.tx_id) < depth:  # noqa: ASYNC110 - a node is asked
            await asyncio.sleep(_LOOK_S)

    async def _receipt_depth(self, chain: str, tx_id: str) -> int:
        receipt = await _call(self._devnet, chain, "eth_getTransactionReceipt", tx_id)
        if receipt is None:
            return 0
        assert receipt["status"] == "0x1"
        newest = await _call(self._devnet, chain, "eth_blockNumber")
        return int(newest, 16) - int(receipt["blockNumber"], 16) + 1

    async def _coin_depth(self, chain: str, tx_id: str) -> int:
        coin = await _call(self._devnet, chain, "gettxout", tx_id, 0, False)
        return 0 if coin is None else int(coin["confirmations"])
