"""Chains on which every adapter plays the same conformance tests.

A stage knows its own chain's words (accounts, how to mine, how to reorganise); the tests do not.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from msgspec.structs import replace

from adapters.base import (
    Adapter,
    Attempt,
    BlockEvent,
    Consumed,
    Direction,
    Found,
    Observation,
    Prepared,
    Purpose,
    Resolved,
    StepSpec,
    Task,
)
from adapters.bitcoin.address import parse_address
from adapters.bitcoin.effects import hold_of
from adapters.bitcoin.payee import redeem
from coordinator.claims import Claims, Scope
from tests.e2e import bitcoin_scene, evm_scene
from tests.sim.adapter import SimAdapter
from tests.sim.chain import SimChain, SimClock
from tests.sim.memory_journal import MemoryJournal, MemoryStore
from tests.sim.plans import ASSETS, build_chains

__all__ = ["BitcoinGround", "EvmGround", "Ground", "SimGround", "Stage", "staged"]

CONFIRMATIONS = 2
PREIMAGE = bytes(range(32))
HASHLOCK = hashlib.sha256(PREIMAGE).hexdigest()


class Ground(Protocol):
    """The chain under a stage."""

    adapter: Adapter
    #: actions that this chain has beyond transfer, pay and hold
    more: frozenset[str]
    asset: str
    source: str
    target: str

    def params(self, action: str) -> Mapping[str, Any]:
        """The plan's ``with`` table of a small, payable step."""

    def huge(self) -> Mapping[str, Any]:
        """The ``with`` table of a transfer that nobody could pay."""

    def mine(self, blocks: int) -> int:
        """Mine what waits; return the new height."""

    def reorg(self, depth: int) -> None:
        """Replace the last blocks by empty ones and forget what waits."""

    async def redeem(self, task: Task, found: Found, /) -> None:
        """Let the payee redeem a hold."""


@dataclass
class Effort:
    """One step in one direction, with what a journal would hold of it."""

    task: Task
    attempts: list[Attempt] = field(default_factory=list)
    prepared: list[Prepared] = field(default_factory=list)


class Stage:
    """A ground with a running follower and the claims of a coordinator."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.adapter = ground.adapter
        self.events: list[BlockEvent] = []
        self.claims = Claims(MemoryJournal(MemoryStore(), int), ground.adapter.chain)
        self._moved = asyncio.Event()
        self._sagas = count(1)

    async def follow(self) -> None:
        async for event in self.adapter.follow(self.adapter.clock().height):
            self.events.append(event)
            self._moved.set()

    async def mine(self, blocks: int = 1) -> None:
        """Mine, and wait until the adapter has read it."""
        height = self.ground.mine(blocks)
        self.adapter.nudge()
        async with asyncio.timeout(60):
            while not self.events or self.events[-1].clock.height < height:
                self._moved.clear()
                await self._moved.wait()

    async def reorg(self, depth: int) -> None:
        """Reorganise, and wait until the adapter has noticed."""
        seen = len(self.events)
        self.ground.reorg(depth)
        self.adapter.nudge()
        async with asyncio.timeout(60):
            while not any(event.reorganised for event in self.events[seen:]):
                self._moved.clear()
                await self._moved.wait()

    async def resolve(self, action: str) -> Resolved:
        return await self.adapter.resolve(self.spec(action, self.ground.params(action)))

    def spec(self, action: str, params: Mapping[str, Any]) -> StepSpec:
        return StepSpec("step", self.adapter.chain, action, params, deadline_s=3600)

    async def forward(self, action: str) -> Effort:
        resolved = await self.resolve(action)
        return self.of(resolved)

    def of(self, resolved: Resolved) -> Effort:
        """A first effort of a fresh saga."""
        saga = f"saga-{next(self._sagas)}"
        clock = self.adapter.clock()
        expiry = None
        if resolved.expiry is not None and "blocks" in resolved.expiry:
            expiry = {"height": clock.height + resolved.expiry["blocks"]}
        elif resolved.expiry is not None:
            expiry = {"time": clock.time_s + resolved.expiry["seconds"]}
        return Effort(
            Task(
                saga=saga,
                step="step",
                direction="forward",
                generation=1,
                action=resolved.action,
                op_id=hashlib.sha256(saga.encode()).hexdigest(),
                saga_id32=hashlib.sha256(f"saga:{saga}".encode()).hexdigest(),
                deadline_s=clock.time_s + 3600,
                expiry=expiry,
                hashlock=HASHLOCK if resolved.reveals else None,
            )
        )

    def after(self, effort: Effort, found: Found, direction: Direction) -> Effort:
        """The confirm or undo of an effect that is there."""
        return Effort(
            replace(
                effort.task,
                direction=direction,
                forward={**effort.attempts[0].facts, **found.facts, "tx": found.tx_id},
            )
        )

    def scope(self, coins: Collection[str] = ()) -> Scope:
        return self.claims.scope(coins=coins)

    async def prepare(self, effort: Effort, purpose: Purpose = "effect") -> Prepared:
        """Prepare and keep, as if its intent were durable; nothing is sent."""
        scope = self.scope(effort.task.coins)
        prepared = await self.adapter.prepare(effort.task, purpose, scope, effort.attempts)
        scope.keep(prepared.claim)
        effort.prepared.append(prepared)
        effort.attempts.append(
            Attempt(
                prepared.tx_id,
                purpose,
                prepared.claim,
                prepared.since,
                prepared.fee,
                prepared.facts,
            )
        )
        return prepared

    async def send(self, effort: Effort, purpose: Purpose = "effect") -> Prepared:
        prepared = await self.prepare(effort, purpose)
        said = await self.adapter.submit(prepared.tx_id, prepared.raw)
        assert said.accepted, said.hint
        return prepared

    async def observe(self, effort: Effort) -> Observation:
        return await self.adapter.observe(effort.task, effort.attempts)

    async def found(self, effort: Effort) -> Found:
        seen = await self.observe(effort)
        assert seen.found is not None, seen
        assert seen.consumed is None
        return seen.found

    async def consumed(self, effort: Effort) -> Consumed:
        seen = await self.observe(effort)
        assert seen.consumed is not None, seen
        assert seen.found is None
        return seen.consumed

    async def done(self, effort: Effort) -> Found:
        """Make the effect final."""
        await self.send(effort)
        await self.mine(CONFIRMATIONS)
        found = await self.found(effort)
        assert found.final
        return found

    async def balances(self) -> tuple[int, int]:
        ground = self.ground
        return (
            await self.adapter.balance(ground.source, ground.asset),
            await self.adapter.balance(ground.target, ground.asset),
        )


@asynccontextmanager
async def staged(ground: Ground) -> AsyncIterator[Stage]:
    """Open the adapter and follow its chain."""
    await ground.adapter.open()
    stage = Stage(ground)
    follower = asyncio.create_task(stage.follow())
    await asyncio.sleep(0)
    try:
        yield stage
    finally:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)
        await ground.adapter.close()


class SimGround:
    """A simulated chain of accounts (``poly``) or coins (``bit``)."""

    def __init__(self, name: str) -> None:
        self._sim: SimChain = build_chains(SimClock(), confirmations=CONFIRMATIONS)[name]
        self.adapter: Adapter = SimAdapter(self._sim, ASSETS)
        coins = self._sim.kind == "coins"
        self.more = frozenset() if coins else frozenset({"lock", "mint"})
        self.asset, self.source, self.target = ("BTC" if coins else "ALZ"), "ops", "store"

    def params(self, action: str) -> Mapping[str, Any]:
        value = "0.001" if self.asset == "BTC" else "0.0000000000001"
        return {
            "amount": {"asset": self.asset, "value": value},
            "from": "ops",
            "to": "bob" if action in {"pay", "hold"} else "store",
        }

    def huge(self) -> Mapping[str, Any]:
        return {"amount": {"asset": self.asset, "value": "900"}, "from": "ops", "to": "store"}

    def mine(self, blocks: int) -> int:
        self._sim.mine(blocks)
        return self._sim.tip.height

    def reorg(self, depth: int) -> None:
        self._sim.reorg(depth, "lost")

    async def redeem(self, _task: Task, _found: Found) -> None:
        self._sim.learn(PREIMAGE.hex())


class EvmGround:
    """A deployment on anvil that mines only when told to."""

    def __init__(self, deployment: evm_scene.Deployment) -> None:
        self._deployment = deployment
        self._rpc = deployment.node.rpc
        self._rpc("evm_setAutomine", False)
        self.adapter: Adapter = deployment.adapter(finality={"confirmations": CONFIRMATIONS})
        self.more = frozenset({"lock", "mint"})
        self.asset = "ALZ"
        ours = evm_scene.signers()
        self.source, self.target = ours["treasury"].address, ours["second"].address

    def params(self, action: str) -> Mapping[str, Any]:
        amount: Any = {"asset": "ALZ", "value": "1"}
        payee = self._deployment.chain.accounts[5]
        return {
            "transfer": {"amount": amount, "to": "second"},
            "pay": {"amount": amount, "to": payee},
            "lock": {"vault": "Vault", "amount": amount},
            "mint": {"token": "Alz", "to": "third", "amount": amount},
            "hold": {
                "vault": "Vault",
                "amount": amount,
                "payee": payee,
                "refund_after_s": 7200,
                "deliver": "secret",
            },
        }[action]

    def huge(self) -> Mapping[str, Any]:
        return {"amount": {"asset": "ALZ", "value": "90000000"}, "to": "second"}

    def mine(self, blocks: int) -> int:
        self._rpc("anvil_mine", hex(blocks))
        return int(self._rpc("eth_blockNumber"), 16)

    def reorg(self, depth: int) -> None:
        self._rpc("anvil_dropAllTransactions")
        self._rpc("anvil_reorg", depth, [])

    async def redeem(self, task: Task, _found: Found) -> None:
        vault = self._deployment.contracts["Vault"]
        payee = self._deployment.chain.accounts[5]
        group = vault.functions.group_of(self.source).call()
        call = vault.functions.redeem(group, bytes.fromhex(task.op_id), PREIMAGE)
        call.transact({"from": payee})


class BitcoinGround:
    """A regtest node with three coins of ours."""

    def __init__(self, node: Any, folder: Path) -> None:
        self._node = node
        scene = bitcoin_scene
        for _ in range(3):
            node.mine(1, scene.address("treasury"))
        node.mine(100, scene.NOBODY)
        self.adapter: Adapter = scene.adapter_on(
            node, folder, finality={"confirmations": CONFIRMATIONS}
        )
        self.more: frozenset[str] = frozenset()
        self.asset = "BTC"
        self.source, self.target = scene.address("treasury"), scene.address("cold")

    def params(self, action: str) -> Mapping[str, Any]:
        scene = bitcoin_scene
        amount: Any = {"asset": "BTC", "value": "0.5"}
        return {
            "transfer": {"amount": amount, "to": "cold"},
            "pay": {"amount": amount, "to": scene.NOBODY},
            "hold": {
                "amount": amount,
                "payee": scene.signer("payee").public_key.hex(),
                "refund_after_blocks": 50,
                "deliver": "file",
            },
        }[action]

    def huge(self) -> Mapping[str, Any]:
        return {"amount": {"asset": "BTC", "value": "9000"}, "to": "cold"}

    def mine(self, blocks: int) -> int:
        self._node.mine(blocks, bitcoin_scene.NOBODY)
        return int(self._node.rpc("getblockcount"))

    def reorg(self, depth: int) -> None:
        height = self._node.rpc("getblockcount")
        self._node.rpc("invalidateblock", self._node.rpc("getblockhash", height - depth + 1))
        for _ in range(depth + 1):  # the longer chain wins
            self._node.rpc("generateblock", bitcoin_scene.address("cold"), [])

    async def redeem(self, task: Task, found: Found) -> None:
        scene = bitcoin_scene
        redemption = await redeem(
            hold=hold_of(task),
            outpoint=found.facts["outpoint"],
            value_sat=int(found.facts["value_sat"]),
            preimage=PREIMAGE,
            signer=scene.signer("payee"),
            target_script=parse_address(scene.address("payee"), scene.REGTEST).script,
        )
        self._node.rpc("sendrawtransaction", redemption.raw.hex())
