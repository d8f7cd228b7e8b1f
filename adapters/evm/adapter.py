"""`adapters.base.Adapter` for EVM chains: wiring, no rules of its own."""

import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from adapters.assets import AssetFacts
from adapters.base import (
    Attempt,
    BlockEvent,
    ChainClock,
    ClaimBook,
    Observation,
    Prepared,
    Proof,
    Purpose,
    Resolved,
    Settled,
    StepSpec,
    Submission,
    Task,
)
from adapters.errors import Rejected, Transient
from adapters.evm import preflight
from adapters.evm.abi import decode, encode, hash_of
from adapters.evm.actions import OPERATIONS, call_of, trial_task
from adapters.evm.attempts import AttemptBuilder
from adapters.evm.commitment import rule_of
from adapters.evm.fees import Price, caps_of
from adapters.evm.follower import Follower
from adapters.evm.line import Lines
from adapters.evm.nodes import Nodes
from adapters.evm.observing import Observer
from adapters.evm.policy import require_expressible
from adapters.evm.proving import Prover
from adapters.evm.reader import BlockReader
from adapters.evm.resolve import Resolver
from adapters.evm.settings import EvmSettings
from adapters.evm.signing import EvmSigner, read_signed
from adapters.evm.survey import EvmSurveyor
from adapters.evm.transactions import SignedHere
from adapters.evm.values import AbiError
from adapters.rpc import RpcError
from adapters.standing import Pace
from adapters.tables import TableError

__all__ = ["EvmAdapter"]

_FILL_GAS: Final = 21_000


class EvmAdapter:
    """One EVM chain.

    Args:
        chain: its name in chains.toml.
        signers: by signer name; every one of them is followed.
        assets: the assets of this chain by name, exactly one of them native.

    Raises:
        TableError: no asset is the chain's own.
    """

    def __init__(
        self,
        chain: str,
        settings: EvmSettings,
        signers: Mapping[str, EvmSigner],
        assets: Mapping[str, AssetFacts],
    ) -> None:
        natives = [asset for asset in assets.values() if asset.native]
        if len(natives) != 1:
            raise TableError(f"[chain.{chain}] needs exactly one asset that is native on it")
        self._chain = chain
        self._settings = settings
        self._assets = assets
        self._native = natives[0]
        self._nodes = Nodes(
            chain,
            settings.rpc,
            timeout_s=settings.timeout_ms / 1000,
            chain_id=settings.chain_id,
            genesis=settings.genesis,
            clock=time.monotonic,
            pace=Pace.of(settings.block_fast_ms, settings.block_slow_ms),
        )
        accounts = {signer.address: signer for signer in signers.values()}
        own = [item.address for item in settings.contracts.values() if item.artifact]
        rule = rule_of(settings)
        self._here = SignedHere()
        reader = BlockReader(self._nodes, settings.finality.tag, accounts, own, rule, self._here)
        self._accounts = tuple(accounts)
        self._follower = Follower(reader, settings, time.monotonic)
        self._prover = Prover(
            self._nodes, settings, lambda: self._follower.final_height, reader.kept
        )
        self._lines = Lines(time.monotonic)
        self._builder = AttemptBuilder(
            self._nodes, settings, accounts, self._native.name, self._lines, self._here
        )
        addresses = {name: signer.address for name, signer in signers.items()}
        self._resolver = Resolver(chain, settings, self._nodes, addresses, assets, self._native)
        self._observer = Observer(self._nodes, settings, self._follower, time.monotonic)

    @property
    def chain(self) -> str:
        """The chain's name in chains.toml."""
        return self._chain

    async def open(self) -> None:
        """Reach the nodes, compare chain id and genesis, read the head."""
        await self._nodes.open()
        await self._follower.open()
        if len(self._nodes) > 1:
            await self._nodes.learn_nonces(self._accounts)

    async def close(self) -> None:
        """End the follower and all connections."""
        self._follower.close()
        await self._nodes.close()

    def terms(self) -> Mapping[str, Any]:
        """Return what a plan fixes of this chain."""
        settings = self._settings
        finality = settings.finality
        return {
            "kind": "evm",
            "chain_id": settings.chain_id,
            "genesis": self._nodes.genesis,
            "finality": finality.tag or f"{finality.confirmations} confirmations",
            "finality_blocks": finality.blocks,
            "block_time_ms": {"fast": settings.block_fast_ms, "slow": settings.block_slow_ms},
            "fee": {
                "max_fee_wei": str(settings.fee.max_fee_wei),
                "max_tip_wei": str(settings.fee.max_tip_wei),
                "tip_wei": str(settings.fee.tip_wei),
                "jam_fee_wei": str(settings.fee.jam_fee_wei),
                "bump_blocks": settings.fee.bump_blocks,
            },
            "nodes": len(settings.rpc),
            "native": self._native.name,
            "proof": settings.proof,
            **({"tiers": [tier.json() for tier in finality.tiers]} if finality.tiers else {}),
        }

    # ------------------------------------------------------------------------------- plan time

    async def resolve(self, spec: StepSpec) -> Resolved:
        """Turn a plan's step into what runs."""
        resolved = await self._resolver.resolve(spec)
        if spec.action == "call":
            require_expressible(trial_task(resolved.action))
        return resolved

    async def simulate(self, resolved: Resolved) -> str | None:
        """Try the effect on today's state; every action here can be tried."""
        task = trial_task(resolved.action)
        await self._nodes.roster.unless_refused(lambda: self._check(task, unused=False), again=True)
        return None

    # --------------------------------------------------------------------------- blocks and keys

    async def choose_coins(self, action: Mapping[str, Any], book: ClaimBook) -> tuple[str, ...]:
        """Return nothing: accounts have amounts, which reservations hold."""
        del action, book
        return ()

    def clock(self) -> ChainClock:
        """Return height and time of the newest block read."""
        return self._follower.clock()

    async def follow(self, since: int) -> AsyncIterator[BlockEvent]:
        """Read every block from ``since`` once, for ever."""
        async for event in self._follower.follow(since):
            if event.reorganised:
                self._lines.forget()
            for signed in event.signed:
                self._lines.consumed(signed.claim)
            yield event

    async def cover(self, since: int) -> None:
        """Make `observe` see blocks from ``since`` on, and below them as far as a reorganisation
        may have moved what was prepared at that height.
        """
        await self._observer.cover(since)

    def keep_from(self, height: int) -> None:
        """Let blocks be forgotten that no saga of this process needs."""
        self._observer.keep_from(height)

    def nudge(self) -> None:
        """Look for a new block sooner."""
        self._follower.nudge()

    def keys(self, task: Task, attempts: Sequence[Attempt]) -> frozenset[str]:
        """Name what concerns this effort: its nonces, and its operation id."""
        return self._observer.keys(task, attempts)

    # ---------------------------------------------------------------------------------- attempts

    async def preflight(self, task: Task) -> None:
        """Refuse what would fail on the newest state."""
        await self._nodes.roster.unless_refused(lambda: self._check(task, unused=True), again=True)

    async def prepare(
        self, task: Task, purpose: Purpose, book: ClaimBook, former: Sequence[Attempt]
    ) -> Prepared:
        """Claim, build and sign; send nothing."""
        present = [item for item in former if item.facts.get("gen", 1) == task.generation]
        since = self._follower.sure_height
        if purpose == "tombstone":
            cancels = [item for item in present if item.purpose == "tombstone"]
            return await self._builder.tombstone(task, book, cancels, since)
        rivals = [item for item in present if item.purpose != "tombstone"]
        if purpose == "burn":
            return await self._builder.burn(task, rivals, since)
        # A refusal can end a forward step: what one node says of funds or fees is not enough.
        return await self._nodes.roster.unless_refused(
            lambda: self._builder.effect(task, book, rivals, since)
        )

    def sequences(self) -> Collection[str]:
        """Return our accounts: a chain takes their nonces in order only."""
        return self._accounts

    async def unused(self, resource: str) -> int:
        """Return the account's next nonce, as far as a majority of the nodes has seen."""
        return await self._nodes.unused_nonce(resource)

    async def fill(self, resource: str, value: int, former: Sequence[Attempt] = ()) -> Prepared:
        """Build a payment of nothing to oneself under one nonce; others wait behind it, and the
        account pays, so what bounds it is the cap for that.
        """
        fee = self._settings.fee
        gas = self._settings.gas.get("burn", _FILL_GAS)
        caps = Price(fee.jam_fee_wei, fee.jam_tip_wei)
        since = self._follower.sure_height
        return await self._builder.fill(resource, value, gas, fee.tip_wei, caps, former, since)

    async def submit(self, tx_id: str, raw: bytes) -> Submission:
        """Give stored bytes to every node; if none takes them, see whether their payer can pay."""
        if not self._here.is_named(raw, tx_id):
            raise ValueError(f"the bytes of {tx_id} have another hash; nothing was sent")
        accepted, hint = await self._nodes.send(raw)
        if accepted:
            return Submission(accepted=True, hint=hint)
        return Submission(accepted=False, hint=hint, fund=await self._shortfall(raw))

    async def observe(self, task: Task, attempts: Sequence[Attempt]) -> Observation:
        """Look for the effect, then at what became of the attempts."""
        return await self._observer.observe(task, attempts)

    async def prove(self, task: Task, settled: Settled) -> tuple[Proof, ...]:
        """Build evidence of a final outcome and verify it as a stranger would."""
        return await self._prover.prove(task, settled)

    async def balance(self, holder: str, asset: str) -> int:
        """Return what ``holder`` owns of ``asset`` at the newest block."""
        facts = self._assets.get(asset)
        if facts is None:
            raise Rejected(f"{asset} is no asset of {self._chain}")
        if facts.contract is None:
            return int(await self._read("eth_getBalance", (holder, "latest")), 16)
        data = encode("balanceOf(address)", ("address",), (holder,))
        call = {"to": facts.contract, "data": f"0x{data.hex()}"}
        answer = await self._read("eth_call", (call, "latest"))
        try:
            return int(decode(("uint256",), bytes.fromhex(answer.removeprefix("0x")))[0])
        except (AbiError, ValueError):
            raise Rejected(f"{facts.contract} does not answer like an ERC-20 token") from None

    async def health(self) -> list[tuple[bool, str, str]]:
        """Return how each node stands, and for each configured contract whether its code is the
        pinned one, with a hint.
        """
        with suppress(Transient):  # each node's standing has it
            await self._nodes.newest(self._settings.finality.tag, all_of_them=True)
        found = self._nodes.roster.findings()
        for name, contract in sorted(self._settings.contracts.items()):
            code = await self._read("eth_getCode", (contract.address, "latest"))
            digest = f"0x{hash_of(bytes.fromhex(str(code).removeprefix('0x'))).hex()}"
            well = digest == contract.code_hash
            text = f"contract {name} {contract.address} has " + (
                "the pinned code" if well else f"code {digest}, pinned is {contract.code_hash}"
            )
            found.append((well, text, "" if well else "look at the address and at code_hash"))
        return found

    def troubles(self) -> str:
        """Return the standing of every node that is not well, empty where all are."""
        return self._nodes.roster.troubles()

    def node_troubles(self) -> Mapping[str, str]:
        """Return the nodes that are not well, each with one word for it."""
        return self._nodes.roster.words()

    def is_agreed(self) -> bool:
        """Tell whether a majority of the nodes is well."""
        return self._nodes.roster.is_agreed()

    def surveyor(self) -> EvmSurveyor:
        """Return a surveyor of this chain for a recovery; see `adapters.survey`."""
        own = [item.address for item in self._settings.contracts.values() if item.artifact]
        return EvmSurveyor(self._nodes, self._settings, self._accounts, own)

    # ----------------------------------------------------------------------------------- private

    async def _check(self, task: Task, *, unused: bool) -> None:
        action = task.action
        call = call_of(task)
        ground = None
        if unused and action["kind"] in OPERATIONS:
            ground = preflight.OwnGround(
                action["contract"], action["account"], action["group"], task.op_id
            )
        await preflight.check(
            self._nodes,
            call,
            max_fee_wei=caps_of(task, "effect").max_fee_wei,
            native=self._native.name,
            code=action["code"],
            abi=self._settings.abi_of(call.to),
            ground=ground,
            returns_bool=action.get("token") == call.to and action["kind"] not in OPERATIONS,
        )

    async def _shortfall(self, raw: bytes) -> tuple[str, str, int] | None:
        """Return what the sender of refused bytes lacks, if they can still take effect."""
        try:
            signed = read_signed(raw)
        except ValueError:  # a signer of another make
            return None
        try:
            nonce = await self._read("eth_getTransactionCount", (signed.sender, "latest"))
            balance = await self._read("eth_getBalance", (signed.sender, "latest"))
        except Transient:
            return None
        missing = signed.worst_cost_wei - int(balance, 16)
        if int(nonce, 16) > signed.tx.nonce or missing <= 0:
            return None
        return signed.sender, self._native.name, missing

    async def _read(self, method: str, params: Sequence[Any]) -> Any:
        try:
            return await self._nodes.call(method, params)
        except RpcError as error:
            raise Transient(f"a node of {self._chain} can not read state: {error}") from error
