"""A regtest node, an adapter with three wallets on it, and a coordinator's part played by hand."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from adapters.assets import AssetFacts
from adapters.base import Attempt, Consumed, Found, Observation, Prepared, Purpose, StepSpec, Task
from adapters.bitcoin.adapter import BitcoinAdapter
from adapters.bitcoin.address import own_address, parse_address
from adapters.bitcoin.effects import hold_of
from adapters.bitcoin.networks import NETWORKS
from adapters.bitcoin.payee import redeem
from adapters.bitcoin.settings import BitcoinSettings
from adapters.bitcoin.signing import LocalBitcoinSigner
from adapters.tables import Table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from adapters.base import Resolved
    from adapters.bitcoin.devnode import BitcoinNode

REGTEST = NETWORKS["regtest"]
ASSETS = {"BTC": AssetFacts("BTC", 8, None, native=True)}
#: BIP-173's example key; its coins are out of everybody's reach here.
NOBODY = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
PREIMAGE = bytes(range(32))
HASHLOCK = hashlib.sha256(PREIMAGE).hexdigest()


def signer(name: str) -> LocalBitcoinSigner:
    return LocalBitcoinSigner(hashlib.sha256(name.encode()).digest())


def address(name: str) -> str:
    return own_address(signer(name).public_key, REGTEST)


def settings_table(node: BitcoinNode, **changes: Any) -> dict[str, Any]:
    table = {
        "kind": "bitcoin",
        "network": "regtest",
        "rpc": [node.url],
        "auth": f"cookie:{node.cookie_path}",
        "finality": {"confirmations": 2},
        "block_time_ms": {"fast": 1000, "slow": 5000},
        "poll_ms": 20,
        "timeout_ms": 10_000,
        "signer": "treasury",
        "fee": {"max_sat_vb": 50, "fallback_sat_vb": 3},
        "coins": {"min_confirmed": 2, "max_inputs": 5},
    } | changes
    # A node whose address has the credentials needs no other.
    return {key: value for key, value in table.items() if value is not None}


class Book:
    """The claims of a coordinator without a journal: taken is taken."""

    def __init__(self) -> None:
        self.claims: set[tuple[str, int]] = set()

    def take_next(self, resource: str, floor: int) -> int:
        while not self.take(resource, floor):
            floor += 1
        return floor

    def take(self, resource: str, value: int = 0) -> bool:
        if (resource, value) in self.claims:
            return False
        self.claims.add((resource, value))
        return True

    def taken(self, resource: str, value: int = 0) -> bool:
        return (resource, value) in self.claims


@dataclass
class Effort:
    """One step in one direction, with its attempts."""

    task: Task
    attempts: list[Attempt] = field(default_factory=list)
    raws: list[Prepared] = field(default_factory=list)


class Scene:
    """A node, an adapter, and the steps that tests take on them."""

    def __init__(self, node: BitcoinNode, adapter: BitcoinAdapter) -> None:
        self.node = node
        self.adapter = adapter
        self.book = Book()
        self._sagas = count(1)

    async def resolve(self, action: str, **spec: Any) -> Resolved:
        after_pivot = spec.pop("after_pivot", False)
        return await self.adapter.resolve(
            StepSpec("step", "bitcoin", action, spec, after_pivot=after_pivot)
        )

    async def effort(self, action: str, direction: Any = "forward", **spec: Any) -> Effort:
        resolved = await self.resolve(action, **spec)
        expiry = None
        if resolved.expiry is not None:
            expiry = {"height": self.adapter.clock().height + resolved.expiry["blocks"]}
        return Effort(
            Task(
                saga=f"saga-{next(self._sagas)}",
                step="step",
                direction=direction,
                generation=1,
                action=resolved.action,
                op_id="11" * 32,
                saga_id32="22" * 32,
                deadline_s=2**31,
                expiry=expiry,
                hashlock=HASHLOCK if resolved.reveals else None,
            )
        )

    async def prepare(self, effort: Effort, purpose: Purpose = "effect") -> Prepared:
        prepared = await self.adapter.prepare(effort.task, purpose, self.book, effort.attempts)
        effort.raws.append(prepared)
        facts = (prepared.since, prepared.fee, prepared.facts)
        effort.attempts.append(Attempt(prepared.tx_id, purpose, prepared.claim, *facts))
        return prepared

    async def send(self, effort: Effort, purpose: Purpose = "effect") -> Prepared:
        prepared = await self.prepare(effort, purpose)
        sent = await self.adapter.submit(prepared.tx_id, prepared.raw)
        assert sent.accepted, sent.hint
        return prepared

    async def observe(self, effort: Effort) -> Observation:
        await self.adapter.cover(self.adapter.clock().height)
        return await self.adapter.observe(effort.task, effort.attempts)

    async def found(self, effort: Effort) -> Found:
        seen = await self.observe(effort)
        assert seen.found is not None, seen
        return seen.found

    async def consumed(self, effort: Effort) -> Consumed:
        seen = await self.observe(effort)
        assert seen.consumed is not None, seen
        return seen.consumed

    async def done(self, effort: Effort) -> Found:
        """Send the effort's effect and mine it until it is final."""
        await self.send(effort)
        await self.mine(2)
        found = await self.found(effort)
        assert found.final
        return found

    async def mine(self, blocks: int = 1) -> list[str]:
        hashes = self.node.mine(blocks, NOBODY)
        await self.adapter.cover(self.adapter.clock().height)
        return hashes

    async def reorg(self, block_hash: str, blocks: int) -> None:
        """Replace ``block_hash`` and what is above by ``blocks`` empty ones."""
        self.node.rpc("invalidateblock", block_hash)
        for _ in range(blocks):
            # Another miner: the same one might find the very block that was replaced.
            self.node.rpc("generateblock", address("miner"), [])
        await self.adapter.cover(self.adapter.clock().height)

    async def balance(self, name: str) -> int:
        return await self.adapter.balance(address(name), "BTC")

    async def redeem(self, effort: Effort, found: Found, payee: str = "payee") -> str:
        redemption = await redeem(
            hold=hold_of(effort.task),
            outpoint=found.facts["outpoint"],
            value_sat=int(found.facts["value_sat"]),
            preimage=PREIMAGE,
            signer=signer(payee),
            target_script=parse_address(address(payee), REGTEST).script,
        )
        tx_id: str = self.node.rpc("sendrawtransaction", redemption.raw.hex())
        return tx_id


def undo_of(effort: Effort, found: Found, direction: Any = "undo") -> Effort:
    """The undo (or confirm) of a forward effect that is there."""
    task = effort.task
    return Effort(
        Task(
            saga=task.saga,
            step=task.step,
            direction=direction,
            generation=1,
            action=task.action,
            op_id=task.op_id,
            saga_id32=task.saga_id32,
            deadline_s=task.deadline_s,
            expiry=task.expiry,
            forward=dict(found.facts) | {"tx": found.tx_id},
            hashlock=task.hashlock,
        )
    )


def btc(value: str) -> Mapping[str, str]:
    return {"asset": "BTC", "value": value}


async def hold(stage: Scene, blocks: int = 5) -> Effort:
    """Half a coin held for the payee; its refund is due after so many ``blocks``."""
    return await stage.effort(
        "hold",
        amount=btc("0.5"),
        payee=signer("payee").public_key.hex(),
        refund_after_blocks=blocks,
        deliver="file",
    )


def adapter_on(
    node: BitcoinNode, folder: Path, names: Sequence[str] = ("treasury", "cold"), **changes: Any
) -> BitcoinAdapter:
    settings = BitcoinSettings.read(Table("chain.bitcoin", settings_table(node, **changes)))
    signers = {name: signer(name) for name in names}
    return BitcoinAdapter("bitcoin", settings, signers, ASSETS, folder / "recovery")


@asynccontextmanager
async def scene(
    node: BitcoinNode, folder: Path, *, coins: int = 3, blocks: int = 100, **changes: Any
) -> AsyncIterator[Scene]:
    """An open adapter whose treasury has ``coins`` mature coins of 50 BTC, below ``blocks``."""
    for _ in range(coins):
        node.mine(1, address("treasury"))
    if blocks:
        node.mine(blocks, NOBODY)
    adapter = adapter_on(node, folder, **changes)
    try:
        await adapter.open()
        yield Scene(node, adapter)
    finally:
        await adapter.close()
