"""`adapters.base.Adapter` for EVM chains: wiring, no rules of its own."""

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Final

from msgspec.structs import replace

from adapters.assets import AssetFacts
from adapters.base import (
    Attempt,
    BlockEvent,
    ChainClock,
    ClaimBook,
    Consumed,
    Found,
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
from adapters.evm import outcome, preflight
from adapters.evm.abi import decode, encode, hash_of
from adapters.evm.actions import OPERATIONS, call_of, effect_of, trial_task
from adapters.evm.attempts import AttemptBuilder
from adapters.evm.blocks import Header, nonce_key, operation_key
from adapters.evm.commitment import rule_of
from adapters.evm.fees import Price, caps_of
from adapters.evm.follower import Follower
from adapters.evm.line import Lines
from adapters.evm.nodes import Nodes
from adapters.evm.policy import require_expressible
from adapters.evm.proving import Prover
from adapters.evm.quorum import Quorum, Vote
from adapters.evm.reader import BlockReader
from adapters.evm.resolve import Resolver
from adapters.evm.settings import EvmSettings
from adapters.evm.signing import EvmSigner, read_signed
from adapters.evm.survey import EvmSurveyor
from adapters.evm.transactions import SignedHere
from adapters.evm.values import AbiError
from adapters.retry import reading
from adapters.rpc import RpcError
from adapters.standing import Pace
from adapters.tables import TableError

__all__ = ["EvmAdapter"]

_DETAILS_MAX: Final = 10_000
_FILL_GAS: Final = 21_000
#: What no block shows is asked of every node at most so often, and for so many attempts at once,
#: of which an effort adds its newest ones.
_HIDDEN_S: Final = 5.0
_HIDDEN_MAX: Final = 64
_HIDDEN_OF_ONE: Final = 16
_UNEXPLAINED_MAX: Final = 10_000


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
        here = SignedHere()
        reader = BlockReader(self._nodes, settings.finality.tag, accounts, own, rule, here)
        self._accounts = tuple(accounts)
        self._follower = Follower(reader, settings, time.monotonic)
        self._quorum = Quorum(self._nodes, settings.finality)
        self._prover = Prover(
            self._nodes, settings, lambda: self._follower.final_height, reader.kept
        )
        self._lines = Lines(time.monotonic)
        self._builder = AttemptBuilder(
            self._nodes, settings, accounts, self._native.name, self._lines, here
        )
        addresses = {name: signer.address for name, signer in signers.items()}
        self._resolver = Resolver(chain, settings, self._nodes, addresses, assets, self._native)
        #: by how much a block that is not final may be replaced by a lower one.
        self._margin = settings.finality.blocks
        #: why a transaction of ours reverted, once found out.
        self._details: OrderedDict[str, str] = OrderedDict()
        #: transactions that no block shows, those that were looked for longest ago first.
        self._unexplained: OrderedDict[str, None] = OrderedDict()
        #: monotonic time from which they may be looked for again.
        self._hidden_at_s = 0.0

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
        await self._reach(since - self._margin)

    async def _reach(self, low: int) -> None:
        if low < self._follower.index.low:
            await reading(lambda: self._follower.cover(low))

    def nudge(self) -> None:
        """Look for a new block sooner."""
        self._follower.nudge()

    def keys(self, task: Task, attempts: Sequence[Attempt]) -> frozenset[str]:
        """Name what concerns this effort: its nonces, and its operation id."""
        claims = [claim for attempt in attempts for claim in attempt.claim]
        keys = {nonce_key(account, nonce) for account, nonce in claims}
        contracts = []
        if task.action["kind"] in OPERATIONS:
            contracts = [task.action["contract"]]
            keys.add(operation_key(task.action["contract"], task.op_id))
        # A saga may be older than the configuration: what it needs is followed all the same.
        self._follower.watch((account for account, _ in claims), contracts)
        self._follower.index.ask(keys)
        return frozenset(keys)

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
        if f"0x{hash_of(raw).hex()}" != tx_id:
            raise ValueError(f"the bytes of {tx_id} have another hash; nothing was sent")
        accepted, hint = await self._nodes.send(raw)
        if accepted:
            return Submission(accepted=True, hint=hint)
        return Submission(accepted=False, hint=hint, fund=await self._shortfall(raw))

    async def observe(self, task: Task, attempts: Sequence[Attempt]) -> Observation:
        """Look for the effect, then at what became of the attempts."""
        self.keys(task, attempts)
        await self._reach(self._lowest(task, attempts))
        seen = outcome.observe(
            self._follower.index, task, attempts, effect_of(task), self._follower.final_height
        )
        seen = replace(seen, height=self._follower.sure_height)
        found = seen.found
        self._note(attempts, shown=found is not None or seen.consumed is not None)
        if found is None and seen.consumed is None:
            await self._look_for_hidden()
        if found is not None and found.final and not await self._agreed(task, attempts, found):
            return replace(seen, found=replace(found, final=False))
        if seen.consumed is not None:
            final = seen.consumed.final and await self._agreed(task, attempts, seen.consumed)
            return replace(seen, consumed=await self._explained(seen.consumed, final=final))
        return seen

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
            abi=self._abi(call.to),
            ground=ground,
            returns_bool=action.get("token") == call.to and action["kind"] not in OPERATIONS,
        )

    def _abi(self, address: str) -> Sequence[Mapping[str, Any]]:
        for contract in self._settings.contracts.values():
            if contract.address == address:
                return contract.abi
        return ()

    def _lowest(self, task: Task, attempts: Sequence[Attempt]) -> int:
        """Return the lowest block that can hold anything of an effort, as far as that is known."""
        heights = [attempt.since for attempt in attempts]
        if task.forward is not None and "height" in task.forward:
            heights.append(int(task.forward["height"]))
        return min(heights) - self._margin if heights else self._follower.index.low

    def _note(self, attempts: Sequence[Attempt], *, shown: bool) -> None:
        """Remember the attempts of an effort while no block shows what became of it."""
        if len(self._nodes) == 1:
            return
        for attempt in attempts if shown else attempts[-_HIDDEN_OF_ONE:]:
            if shown:
                self._unexplained.pop(attempt.tx_id, None)
            else:
                self._unexplained.setdefault(attempt.tx_id)
        while len(self._unexplained) > _UNEXPLAINED_MAX:
            self._unexplained.popitem(last=False)

    async def _look_for_hidden(self) -> None:
        """See whether the node that blocks were read from left out what a majority shows, of any
        effort: each waits for its turn, whoever asks.
        """
        now_s = time.monotonic()
        if not self._unexplained or now_s < self._hidden_at_s:
            return
        self._hidden_at_s = now_s + min(_HIDDEN_S, self._settings.block_slow_ms / 1000)
        names = list(islice(self._unexplained, _HIDDEN_MAX))
        for name in names:
            self._unexplained.move_to_end(name)
        # Blocks that are read while the nodes are asked were not looked at before.
        final = self._follower.final_height

        def known(height: int) -> Header | None:
            return self._follower.covered_header(height) if height <= final else None

        height = await self._quorum.hidden(names, known)
        if height is not None:
            self._follower.reread(height, height)

    async def _agreed(
        self, task: Task, attempts: Sequence[Attempt], result: Found | Consumed
    ) -> bool:
        """Tell whether a majority of the nodes shows what the outcome rests on."""
        claimed = outcome.claimed(self._follower.index, effect_of(task), result)
        verdict = await self._quorum.vote(claimed)
        if verdict is Vote.CONTRADICTED:
            high = claimed.header.height
            # An effect that was hidden may be in any block since the first attempt.
            low = high if claimed.absent is None else self._lowest(task, attempts)
            self._follower.reread(low, high)
        elif verdict is Vote.OPEN:
            self._follower.doubt(self.keys(task, attempts))
        return verdict is Vote.CONFIRMED

    async def _explained(self, consumed: Consumed, *, final: bool) -> Consumed:
        """Add the reason of a revert."""
        facts = dict(consumed.facts)
        if consumed.reason == "reverted" and "detail" not in facts:
            facts["detail"] = await self._revert_detail(consumed)
        return replace(consumed, final=final, facts=facts)

    async def _revert_detail(self, consumed: Consumed) -> str:
        key = consumed.tx_id + consumed.block_hash
        if key not in self._details:
            landed = self._follower.index.landed_as(consumed.tx_id, consumed.height)
            reason = None
            if landed is not None and landed.to is not None:
                reason = await preflight.replayed_reason(self._nodes, landed, self._abi(landed.to))
            self._details[key] = reason or "the chain does not say why"
            if len(self._details) > _DETAILS_MAX:
                self._details.popitem(last=False)
        return self._details[key]

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
