"""Bitcoin behind the adapter protocol: everything here only connects the parts."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from msgspec.structs import replace as restated

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
from adapters.bitcoin.actions import ActionResolver
from adapters.bitcoin.address import AddressError, own_address, parse_address, script_of_key
from adapters.bitcoin.fees import FeeDesk
from adapters.bitcoin.follower import Follower
from adapters.bitcoin.nodes import Nodes
from adapters.bitcoin.outcome import Sight, judge, outpoints_of
from adapters.bitcoin.prepare import Preparer
from adapters.bitcoin.proving import Prover
from adapters.bitcoin.settings import BitcoinSettings
from adapters.bitcoin.signing import BitcoinSigner
from adapters.bitcoin.survey import BitcoinSurveyor
from adapters.bitcoin.transactions import parse_tx, select_network
from adapters.bitcoin.wallet import Wallet
from adapters.errors import Rejected, Transient
from adapters.tables import TableError

__all__ = ["BitcoinAdapter"]


class BitcoinAdapter:
    """Implements `adapters.base.Adapter` for one Bitcoin network.

    Args:
        chain: the chain's name in chains.toml.
        settings: its table, read.
        signers: by name; each is one own P2WPKH address.
        assets: the assets on this chain; exactly one, native, with 8 decimals.
        recovery_dir: where refund recipes of holds are written.

    Raises:
        TableError: the assets are not that, the signer is missing, or this process already uses
            another Bitcoin network.
    """

    def __init__(
        self,
        chain: str,
        settings: BitcoinSettings,
        signers: Mapping[str, BitcoinSigner],
        assets: Mapping[str, AssetFacts],
        recovery_dir: Path,
    ) -> None:
        if len(assets) != 1 or not all(a.native and a.decimals == 8 for a in assets.values()):
            raise TableError(
                f"chain {chain} needs exactly one asset: its own, native, with 8 decimals"
            )
        if settings.signer not in signers:
            raise TableError(f"chain {chain} names signer {settings.signer!r}, which is not there")
        try:
            select_network(settings.network)
        except ValueError as error:
            raise TableError(f"chain {chain}: {error}") from None
        self._chain = chain
        self._settings = settings
        self._asset = next(iter(assets.values()))
        keys = [signer.public_key for signer in signers.values()]
        #: own address by output script.
        self._own = {script_of_key(key): own_address(key, settings.network) for key in keys}
        self._keys = {key: self._own[script_of_key(key)] for key in keys}
        self._nodes = Nodes(settings)
        self._follower = Follower(
            self._nodes,
            self._own,
            self._keys,
            poll_s=settings.poll_ms / 1000,
            margin=settings.confirmations,
        )
        self._resolver = ActionResolver(settings, signers, self._asset)
        by_address = {own_address(s.public_key, settings.network): s for s in signers.values()}
        self._preparer = Preparer(
            Wallet(self._nodes, self._follower.pool, by_address, settings.confirmations),
            FeeDesk(self._nodes, settings.fee),
            self._follower,
            settings.network.name,
            settings.genesis,
            recovery_dir,
        )
        self._prover = Prover(self._nodes, self.terms())

    @property
    def chain(self) -> str:
        """The chain's name in chains.toml."""
        return self._chain

    async def open(self) -> None:
        """Connect, check network and genesis, read the newest block, find our coins.

        Raises:
            WrongChain: a node serves another network.
            Transient: no node can be reached.
        """
        await self._nodes.open()
        await self._follower.open()

    async def close(self) -> None:
        """End all connections."""
        await self._nodes.close()

    def terms(self) -> Mapping[str, Any]:
        """What a plan fixes of this chain."""
        settings = self._settings
        return {
            "kind": "bitcoin",
            "network": settings.network.name,
            "genesis": settings.genesis,
            "finality_blocks": settings.confirmations,
            "block_time_ms": {"fast": settings.block_fast_ms, "slow": settings.block_slow_ms},
            "fee": {
                "max_sat_vb": settings.fee.max_sat_vb,
                "incremental_sat_vb": settings.fee.incremental_sat_vb,
                "bump_blocks": settings.fee.bump_blocks,
            },
            "nodes": len(settings.rpc),
            "native": self._asset.name,
            "proof": settings.proof,
            **({"tiers": [tier.json() for tier in settings.tiers]} if settings.tiers else {}),
        }

    # ------------------------------------------------------------ plans

    async def resolve(self, spec: StepSpec) -> Resolved:
        """Turn a plan's step into what runs; warns when coins are few.

        Raises:
            Rejected: with a reason for the plan's author.
        """
        resolved = self._resolver.resolve(spec)
        account = str(resolved.action["from"])
        least = self._settings.coins.min_confirmed
        coins = len(self._follower.pool.coins(account, self._settings.confirmations))
        if coins >= least or spec.action in {"split", "consolidate"}:
            return resolved
        warning = (
            f"{account} has {coins} final coins, fewer than {least}: sagas that run at the same "
            "time need a coin each; split some"
        )
        return replace(resolved, warnings=(*resolved.warnings, warning))

    async def simulate(self, resolved: Resolved) -> str | None:
        """Try the forward effect on today's coins and the node's policy.

        Raises:
            Rejected: it would fail today.
        """
        await self.preflight(self._trial_task(resolved.action))
        return None

    async def choose_coins(self, action: Mapping[str, Any], book: ClaimBook) -> tuple[str, ...]:
        """Take coins that pay the forward effect at its highest fee; none for a consolidation.

        Raises:
            Rejected: no free final coins suffice.
        """
        return await self._preparer.choose(self._trial_task(action), book)

    def _trial_task(self, action: Mapping[str, Any]) -> Task:
        """Return a task that no saga has, to try an action on today's state."""
        blocks = int(action.get("refund_after_blocks", 0))
        return Task(
            saga="",
            step="",
            direction="forward",
            generation=1,
            action=action,
            op_id="00" * 32,
            saga_id32="00" * 32,
            deadline_s=0,
            expiry={"height": self.clock().height + blocks},
            hashlock="00" * 32,
        )

    # ------------------------------------------------------------ following

    def clock(self) -> ChainClock:
        """Height and header time of the newest block read."""
        return self._follower.clock()

    def follow(self, since: int) -> AsyncIterator[BlockEvent]:
        """Read every block from height ``since`` once, for ever."""
        return self._follower.follow(since)

    async def cover(self, since: int) -> None:
        """Make `observe` see blocks from ``since`` on."""
        await self._follower.cover(since)

    def keep_from(self, height: int) -> None:
        """Let blocks be forgotten that no saga of this process needs."""
        self._follower.keep_from(height)

    def nudge(self) -> None:
        """Look for a new block sooner than the usual interval."""
        self._follower.nudge()

    def keys(self, task: Task, attempts: Sequence[Attempt]) -> frozenset[str]:
        """Return the outpoints (``txid:vout``) that tell something about this effort."""
        outpoints = outpoints_of(task, attempts)
        self._follower.watch(outpoints)
        return outpoints

    # ------------------------------------------------------------ effects

    async def preflight(self, task: Task) -> None:
        """Ask a node whether it would take the forward effect, built anew without signatures.

        Only its script check fails then, which is the last that a node makes; so nothing that
        could be sent leaves before its intent is durable. A coin that somebody else spends while
        it is tried says nothing about the effect: the trial goes on with another.

        Raises:
            Rejected: the node says no, or coins are missing.
        """
        gone: set[str] = set()
        while True:
            trial = await self._preparer.trial(task, gone)
            reason = await self._nodes.relay.refusal(trial.raw)
            if reason is None:
                return
            lost = {coin for coin in trial.coins if not await self._nodes.holdings.unspent(coin)}
            if not lost or not trial.others:
                raise Rejected(f"the node would refuse it: {reason}; nothing was sent")
            gone |= lost

    async def prepare(
        self, task: Task, purpose: Purpose, book: ClaimBook, former: Sequence[Attempt]
    ) -> Prepared:
        """Claim coins, build and sign; send nothing.

        Raises:
            Rejected: caps, dust, missing coins, a refund that is not open yet.
        """
        return await self._preparer.prepare(_capped(task), purpose, book, former)

    def sequences(self) -> Collection[str]:
        """Return nothing: every coin stands for itself."""
        return ()

    async def unused(self, resource: str) -> int:
        """Never asked: there are no sequences."""
        raise Rejected(f"{resource} is no sequence of {self._chain}")

    async def fill(
        self,
        resource: str,
        value: int,
        former: Sequence[Attempt] = (),  # noqa: ARG002
    ) -> Prepared:
        """Never asked: there are no sequences."""
        raise Rejected(f"{resource} {value} is no sequence of {self._chain}")

    async def submit(self, tx_id: str, raw: bytes) -> Submission:
        """Send stored bytes to every node; what they say is a hint."""
        assert parse_tx(raw).tx_id == tx_id, "stored bytes belong to another transaction"
        answers = await self._nodes.relay.broadcast(raw)
        self.nudge()
        hints = [str(answer) for answer in answers if isinstance(answer, Exception)]
        return Submission(accepted=tx_id in answers, hint="; ".join(hints))

    async def observe(self, task: Task, attempts: Sequence[Attempt]) -> Observation:
        """Look at what spends the outpoints of this effort, in blocks that were read and hashed.

        Raises:
            Transient: blocks since the first attempt were not read yet and can not be now.
        """
        await self._cover(attempts)
        outpoints = outpoints_of(task, attempts)
        spenders = {outpoint: await self._follower.spender(outpoint) for outpoint in outpoints}
        follower, depth = self._follower, self._settings.confirmations
        sight = Sight(
            height=follower.sure_height,
            spenders=spenders,
            final=lambda height: follower.confirmations(height) >= depth,
            own=self._own,
        )
        # An undo may have cost what a person's verdict allowed it to.
        seen = judge(_capped(task), attempts, sight)
        agreed = await self._agreed(seen)
        if agreed is not seen:
            self._follower.doubt(outpoints)
        return agreed

    async def prove(self, task: Task, settled: Settled) -> tuple[Proof, ...]:
        """Return an SPV proof of a final outcome, bound to the step and checked.

        Raises:
            ProofUnavailable: what the nodes answer makes none.
            Transient: a node is away, or has another block there now.
        """
        return await self._prover.prove(task, settled)

    async def balance(self, holder: str, asset: str) -> int:
        """Return the confirmed satoshi of an address, ours or not."""
        if asset != self._asset.name:
            raise Rejected(f"{self._chain} has no asset {asset}; it has {self._asset.name}")
        if holder in self._own.values():
            return self._follower.pool.balance(holder)
        try:
            script = parse_address(holder, self._settings.network).script
        except AddressError as error:
            raise Rejected(str(error)) from None
        scan = await self._nodes.holdings.scan([script])
        return sum(item.value_sat for item in scan.unspent)

    def surveyor(self) -> BitcoinSurveyor:
        """Return a surveyor of this chain for a recovery; see `adapters.survey`."""
        depth = self._settings.confirmations
        return BitcoinSurveyor(self._nodes, self._own, self._keys, self._follower.pool, depth)

    # ------------------------------------------------------------ parts

    async def health(self) -> list[tuple[bool, str, str]]:
        """Return how each node stands, and for each own address whether its coin pool lets sagas
        run side by side.
        """
        with suppress(Transient):  # each node's standing has it
            await self._nodes.newest(all_of_them=True)
        wanted = self._settings.coins.min_confirmed
        found = self._nodes.roster.findings()
        for address in sorted(set(self._own.values())):
            coins = len(self._follower.pool.coins(address, self._settings.confirmations))
            text = f"{address} has {coins} final coins"
            if coins < wanted:
                text += f", fewer than {wanted}: sagas that spend from it wait for each other"
            # Few coins are slow and not wrong: an address may only ever receive.
            found.append((True, text, ""))
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

    async def _cover(self, attempts: Sequence[Attempt]) -> None:
        """Keep the blocks since the first attempt, and read again what was dropped of them."""
        if not attempts:
            return
        since = min(attempt.since for attempt in attempts)
        self._follower.want(since)
        if self._follower.view.low > since:
            await self._follower.cover(since)

    async def _agreed(self, seen: Observation) -> Observation:
        """Call nothing final that a majority of the nodes does not have as deep in its chain."""
        result = seen.found or seen.consumed
        if result is None or not result.final:
            return seen
        if await self._nodes.agreed(result.block_hash, self._settings.confirmations):
            return seen
        if seen.found is not None:
            return restated(seen, found=restated(seen.found, final=False))
        assert seen.consumed is not None
        return restated(seen, consumed=restated(seen.consumed, final=False))


def _capped(task: Task) -> Task:
    """Return the task with the fee cap as far as an operator raised it."""
    if task.cap_pct == 100:
        return task
    fee = dict(task.action["fee"])
    fee["max_sat_vb"] = fee["max_sat_vb"] * task.cap_pct // 100
    return restated(task, action={**task.action, "fee": fee})
