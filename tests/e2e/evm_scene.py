"""An EVM adapter on a real node: contracts deployed, accounts funded, a follower running."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from eth_account import Account
from eth_utils.crypto import keccak
from web3.contract import Contract

from adapters.assets import AssetFacts
from adapters.base import (
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
    Submission,
    Task,
)
from adapters.evm.adapter import EvmAdapter
from adapters.evm.devnode import DEV_MNEMONIC, AnvilNode
from adapters.evm.settings import EvmSettings
from adapters.evm.signing import LocalEvmSigner
from adapters.tables import Table
from tests.contracts.chain import TEST_CONTRACTS, Chain

__all__ = [
    "ALZ",
    "COIN_UNIT",
    "HASHLOCK",
    "PREIMAGE",
    "Book",
    "Deployment",
    "EvmScene",
    "chain_table",
    "evm_scene",
    "play",
    "secret_of",
    "signers",
]

ALZ = 10**18
COIN_UNIT = 10**18
_SUPPLY = 1_000_000 * ALZ
PREIMAGE = b"\x2a" * 32
HASHLOCK = hashlib.sha256(PREIMAGE).hexdigest()


class Book:
    """One scope over the claims of a test."""

    def __init__(self) -> None:
        self._taken: set[tuple[str, int]] = set()

    def take_next(self, resource: str, floor: int) -> int:
        value = floor
        while (resource, value) in self._taken:
            value += 1
        self._taken.add((resource, value))
        return value

    def take(self, resource: str, value: int = 0) -> bool:
        if (resource, value) in self._taken:
            return False
        self._taken.add((resource, value))
        return True

    def taken(self, resource: str, value: int = 0) -> bool:
        return (resource, value) in self._taken


def secret_of(index: int) -> bytes:
    """The key of one of anvil's own accounts."""
    Account.enable_unaudited_hdwallet_features()
    return bytes(Account.from_mnemonic(DEV_MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}").key)


def chain_table(urls: Sequence[str], **changes: Any) -> dict[str, Any]:
    """A chain's table in chains.toml."""
    table = {
        "kind": "evm",
        "rpc": list(urls),
        "chain_id": 31337,
        "finality": {"confirmations": 1},
        "block_time_ms": {"fast": 1000, "slow": 1000},
        "poll_ms": 50,
        "signer": "treasury",
        "fee": {"max_gwei": 100, "tip_gwei": 1},
    }
    return {**table, **changes}


@dataclass
class EvmScene:
    """The adapter and the world around it.

    ``treasury`` and ``second`` are signers of one sender group; ``third`` is a signer on its own.
    """

    node: AnvilNode
    chain: Chain
    adapter: EvmAdapter
    contracts: Mapping[str, Contract]
    accounts: Mapping[str, str]
    book: Book = field(default_factory=Book)
    events: list[BlockEvent] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    failure: BaseException | None = None
    serial: int = 0
    #: When each saga began, by the chain's clock: the terms of its operations hang on it.
    begun_s: dict[str, int] = field(default_factory=dict)

    def account(self, name: str) -> str:
        return self.accounts[name]

    def rpc(self, method: str, *params: Any) -> Any:
        return self.node.rpc(method, *params)

    def tokens(self, holder: str, token: str = "Alz") -> int:
        return int(self.contracts[token].functions.balanceOf(holder).call())

    def coins(self, holder: str) -> int:
        return int(self.rpc("eth_getBalance", holder, "latest"), 16)

    async def resolve(self, action: str, params: Mapping[str, Any], **more: Any) -> Resolved:
        spec = StepSpec("step", "polygon", action, params, deadline_s=3600, **more)
        return await self.adapter.resolve(spec)

    def task(self, resolved: Resolved, direction: Direction = "forward", **changes: Any) -> Task:
        """A task of the present saga; raise ``serial`` for another one."""
        name = f"saga-{self.serial}"
        now_s = self.begun_s.setdefault(name, self.chain.now())
        fields: dict[str, Any] = {
            "saga": name,
            "step": "step",
            "direction": direction,
            "generation": 1,
            "action": resolved.action,
            "op_id": hashlib.sha256(name.encode()).hexdigest(),
            "saga_id32": hashlib.sha256(b"saga:" + name.encode()).hexdigest(),
            "deadline_s": now_s + 3600,
        }
        if resolved.reveals:
            fields |= {"hashlock": HASHLOCK, "expiry": {"time": fields["deadline_s"] + 3600}}
            fields["preimage"] = PREIMAGE.hex() if direction == "confirm" else None
        return Task(**{**fields, **changes})

    async def attempt(
        self, task: Task, purpose: Purpose = "effect", former: Sequence[Attempt] = ()
    ) -> tuple[Prepared, Attempt]:
        """Prepare; nothing is sent."""
        prepared = await self.adapter.prepare(task, purpose, self.book, former)
        kept = Attempt(
            prepared.tx_id, purpose, prepared.claim, prepared.since, prepared.fee, prepared.facts
        )
        return prepared, kept

    async def send(self, prepared: Prepared) -> Submission:
        said = await self.adapter.submit(prepared.tx_id, prepared.raw)
        self.adapter.nudge()
        return said

    async def until(
        self,
        task: Task,
        attempts: Sequence[Attempt],
        wanted: Callable[[Observation], Any],
        timeout_s: float = 60,
    ) -> Observation:
        """Observe after each event of the follower until ``wanted``."""
        async with asyncio.timeout(timeout_s):
            while True:
                self.changed.clear()
                seen = await self.adapter.observe(task, attempts)
                if wanted(seen):
                    return seen
                await self.changed.wait()
                if self.failure is not None:
                    raise self.failure

    async def found(self, task: Task, attempts: Sequence[Attempt]) -> Found:
        seen = await self.until(task, attempts, lambda seen: seen.found and seen.found.final)
        assert seen.found is not None
        assert seen.consumed is None
        return seen.found

    async def consumed(self, task: Task, attempts: Sequence[Attempt]) -> Consumed:
        seen = await self.until(task, attempts, lambda seen: seen.consumed and seen.consumed.final)
        assert seen.consumed is not None
        assert seen.found is None
        return seen.consumed

    async def perform(self, task: Task) -> tuple[Found, Attempt]:
        """Make the task's effect the way a saga does."""
        if task.direction == "forward":
            await self.adapter.preflight(task)
        prepared, attempt = await self.attempt(task)
        said = await self.send(prepared)
        assert said.accepted, said.hint
        found = await self.found(task, [attempt])
        assert found.tx_id == prepared.tx_id
        return found, attempt


@dataclass(frozen=True)
class Deployment:
    """Contracts and funded accounts on a node; many scenes can be played on it."""

    node: AnvilNode
    chain: Chain
    contracts: Mapping[str, Contract]
    entries: Mapping[str, Mapping[str, str]]
    assets: Mapping[str, AssetFacts]

    @classmethod
    def on(cls, node: AnvilNode) -> "Deployment":
        chain = Chain(node.url)
        owner, treasury, second = chain.accounts[:3]
        vault = chain.deploy("Vault", sender=owner)
        alz = chain.deploy("Token", "Alz", "ALZ", 18, _SUPPLY, sender=owner)
        quiet = chain.deploy("SilentToken", "Quiet", "QT", 6, _SUPPLY, sender=owner)
        registry = chain.deploy("Registry", sender=owner)
        for contract in (vault, alz):
            chain.send(contract.functions.admit(second), treasury)
            chain.send(contract.functions.join(treasury), second)
        for token in (alz, quiet):
            chain.send(token.functions.transfer(treasury, 10_000 * ALZ), owner)
            chain.send(token.functions.approve(vault.address, 5_000 * ALZ), treasury)
        chain.send(alz.functions.set_minter(treasury, True), owner)
        contracts = {"Vault": vault, "Alz": alz, "Quiet": quiet, "Registry": registry}
        entries = {
            "Vault": {"artifact": "Vault"},
            "Alz": {"artifact": "Token"},
            "Registry": {"abi": str(TEST_CONTRACTS / "Registry.json")},
        }
        for name, entry in entries.items():
            address = contracts[name].address
            code = bytes(chain.web3.eth.get_code(address))
            entry |= {"address": address, "code_hash": f"0x{keccak(code).hex()}"}
        assets = {
            "ALZ": AssetFacts("ALZ", 18, alz.address, native=False),
            "QT": AssetFacts("QT", 6, quiet.address, native=False),
            "POL": AssetFacts("POL", 18, None, native=True),
        }
        return cls(node, chain, contracts, entries, assets)

    def adapter(self, **changes: Any) -> EvmAdapter:
        """An adapter for it, not open; ``changes`` are to its table in chains.toml."""
        table = chain_table([self.node.url], contracts=self.entries, **changes)
        settings = EvmSettings.read(Table("chain.polygon", table))
        return EvmAdapter("polygon", settings, signers(), self.assets)

    def close(self) -> None:
        """End the connections of the hand that deployed."""
        provider = cast("Any", self.chain.web3.provider)
        for _, session in provider._request_session_manager.session_cache.items():  # noqa: PERF102 - no dict
            session.close()


def signers() -> dict[str, LocalEvmSigner]:
    """Our signers: the first two are one sender group."""
    names = ("treasury", "second", "third")
    return {name: LocalEvmSigner(secret_of(at)) for at, name in enumerate(names, start=1)}


@asynccontextmanager
async def evm_scene(
    deployment: Deployment, *, follow: bool = True, **changes: Any
) -> AsyncIterator[EvmScene]:
    """Open an adapter and follow the chain."""
    adapter = deployment.adapter(**changes)
    chain = deployment.chain
    accounts = {name: signer.address for name, signer in signers().items()}
    accounts |= {"owner": chain.accounts[0], "payee": chain.accounts[5]}
    scene = EvmScene(deployment.node, chain, adapter, deployment.contracts, accounts)
    await adapter.open()
    follower = asyncio.create_task(_follow(scene)) if follow else None
    try:
        yield scene
    finally:
        await adapter.close()
        if follower is not None:
            follower.cancel()
            await asyncio.gather(follower, return_exceptions=True)


def play(
    deployment: Deployment, body: Callable[[EvmScene], Awaitable[None]], **changes: Any
) -> None:
    """Run a test's story on an adapter that follows the chain."""

    async def whole() -> None:
        async with evm_scene(deployment, **changes) as scene:
            await body(scene)

    asyncio.run(whole())


async def _follow(scene: EvmScene) -> None:
    try:
        async for event in scene.adapter.follow(scene.adapter.clock().height):
            scene.events.append(event)
            scene.changed.set()
    except Exception as error:  # noqa: BLE001 - the test that waits raises it
        scene.failure = error
        scene.changed.set()
