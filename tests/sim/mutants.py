"""Engines that are broken on purpose. If the checker lets one pass, the tests prove nothing.

Each mutant breaks one rule at one of two seams: what the engine hears from and says to a chain
(`wrap`), or what it decides (`decide`). The rest of the engine is the real one. Which case catches
it, with which words, stands with all other mutants in ``tests/mutants/``.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any, Final

from msgspec.structs import replace

from adapters.base import (
    Adapter,
    Attempt,
    ClaimBook,
    Consumed,
    Found,
    Observation,
    Prepared,
    Proof,
    Purpose,
    Settled,
    Submission,
    Task,
)
from coordinator import turn
from coordinator.saga import Decision, Effort, Now, SagaState, decide
from tests.sim.adapter import SimAdapter
from tests.sim.chain import SimChain
from tests.sim.plans import ASSETS
from tests.sim.preimages import preimage_of
from tests.sim.tx import decode, encode
from tests.sim.world import World

__all__ = ["MUTANTS", "Mutant", "broken", "installed"]

Deciding = Callable[[SagaState, Now], Decision]


class SendsFirst(SimAdapter):
    """Sends before the intent is durable."""

    async def prepare(
        self, task: Task, purpose: Purpose, book: ClaimBook, former: Sequence[Attempt]
    ) -> Prepared:
        prepared = await super().prepare(task, purpose, book, former)
        await self.submit(prepared.tx_id, prepared.raw)
        return prepared


class SignsAgain(SimAdapter):
    """Does not send stored bytes again after a restart, but signs with the next free nonce."""

    def __init__(self, chain: SimChain) -> None:
        super().__init__(chain, ASSETS)
        self._mine: set[str] = set()

    async def prepare(
        self, task: Task, purpose: Purpose, book: ClaimBook, former: Sequence[Attempt]
    ) -> Prepared:
        prepared = await super().prepare(task, purpose, book, former)
        self._mine.add(prepared.tx_id)
        return prepared

    async def submit(self, tx_id: str, raw: bytes) -> Submission:
        if tx_id not in self._mine and self._chain.kind == "nonce":
            old = decode(raw)
            pending = sum(tx.sender == old.sender for tx in self._chain.mempool.values())
            nonce = self._chain.ledger.nonces[old.sender] + pending
            tx_id, raw = encode(old.chain, old.sender, nonce, (), old.fee, old.op, old.args)
        return await super().submit(tx_id, raw)


class TimeoutIsFailure(SimAdapter):
    """Takes an unclear answer to a send for the proof that nothing happened."""

    def __init__(self, chain: SimChain) -> None:
        super().__init__(chain, ASSETS)
        self._unclear: set[str] = set()

    async def submit(self, tx_id: str, raw: bytes) -> Submission:
        said = await super().submit(tx_id, raw)
        self._unclear.add(tx_id)
        return said

    async def observe(self, task: Task, attempts: Sequence[Attempt]) -> Observation:
        seen = await super().observe(task, attempts)
        lost = attempts and attempts[-1].tx_id in self._unclear and task.direction == "forward"
        if lost and seen.found is None and seen.consumed is None:
            tip = self._chain.tip
            return Observation(
                tip.height,
                consumed=Consumed(
                    attempts[-1].tx_id, tip.hash, tip.height, True, "timeout", {"fee": "0"}
                ),
            )
        return seen


class ProvesAnother(SimAdapter):
    """Hands out the evidence of whatever is oldest in the chain."""

    async def prove(self, task: Task, settled: Settled) -> tuple[Proof, ...]:
        block = next(block for block in self._chain.blocks if block.receipts)
        other = replace(
            settled,
            tx_id=block.receipts[-1].tx.tx_id,
            block_hash=block.hash,
            height=block.height,
        )
        return await super().prove(task, other)


class MempoolIsFinal(SimAdapter):
    """Calls an effect done as soon as it was broadcast."""

    async def observe(self, task: Task, attempts: Sequence[Attempt]) -> Observation:
        seen = await super().observe(task, attempts)
        if seen.found is not None:
            return replace(seen, found=replace(seen.found, final=True))
        for attempt in attempts:
            if attempt.tx_id in self._chain.mempool:
                tip = self._chain.tip
                facts = {"fee": attempt.fee["fee"], "time": tip.time_s, **attempt.facts}
                return Observation(
                    tip.height, Found(attempt.tx_id, tip.hash, tip.height + 1, True, facts)
                )
        return seen


class ReadsStatusAlone(SimAdapter):
    """Believes that a transaction in a block means its effect, reverted or not."""

    async def observe(self, task: Task, attempts: Sequence[Attempt]) -> Observation:
        seen = await super().observe(task, attempts)
        gone = seen.consumed
        if gone is not None and gone.reason == "reverted":
            return Observation(
                seen.height, Found(gone.tx_id, gone.block_hash, gone.height, gone.final, gone.facts)
            )
        return seen


class SecretInFacts(SimAdapter):
    """Notes the preimage in the forward intent."""

    async def prepare(
        self, task: Task, purpose: Purpose, book: ClaimBook, former: Sequence[Attempt]
    ) -> Prepared:
        prepared = await super().prepare(task, purpose, book, former)
        if task.hashlock is None:
            return prepared
        secret = preimage_of(task.saga, task.step, 1)
        assert hashlib.sha256(secret).hexdigest() == task.hashlock
        return replace(prepared, facts={**prepared.facts, "note": secret.hex()})


class TriesDeadNonces(SimAdapter):
    """Makes an undo again under the nonce that its failure has consumed."""

    def __init__(self, chain: SimChain) -> None:
        super().__init__(chain, ASSETS)
        self._first: dict[tuple[str, str], int] = {}

    async def prepare(
        self, task: Task, purpose: Purpose, book: ClaimBook, former: Sequence[Attempt]
    ) -> Prepared:
        prepared = await super().prepare(task, purpose, book, former)
        tx = decode(prepared.raw)
        if task.direction != "undo" or tx.nonce < 0:
            return prepared
        nonce = self._first.setdefault((task.saga, task.step), tx.nonce)
        if nonce == tx.nonce:
            return prepared
        tx_id, raw = encode(tx.chain, tx.sender, nonce, (), tx.fee, tx.op, tx.args)
        return replace(prepared, tx_id=tx_id, raw=raw, claim=((tx.sender, nonce),))


class BalanceIsEffect(SimAdapter):
    """Takes a transfer for done when its target holds that much more than at first."""

    def __init__(self, chain: SimChain) -> None:
        super().__init__(chain, ASSETS)
        self._before: dict[tuple[str, str], int] = {}

    async def prepare(
        self, task: Task, purpose: Purpose, book: ClaimBook, former: Sequence[Attempt]
    ) -> Prepared:
        held = self._chain.ledger.balances[task.action["to"], task.action["asset"]]
        self._before.setdefault((task.saga, task.step), held)
        return await super().prepare(task, purpose, book, former)

    async def observe(self, task: Task, attempts: Sequence[Attempt]) -> Observation:
        before = self._before.get((task.saga, task.step))
        held = self._chain.ledger.balances[task.action["to"], task.action["asset"]]
        risen = before is not None and held >= before + int(task.action["amount"])
        if not risen or task.direction != "forward" or not attempts:
            return await super().observe(task, attempts)
        tip = self._chain.tip
        facts = {**attempts[-1].facts, "fee": "0", "time": tip.time_s}
        return Observation(tip.height, Found(attempts[-1].tx_id, tip.hash, tip.height, True, facts))


def _efforts(state: SagaState, change: Callable[[str, str, Effort], str]) -> SagaState:
    """Return ``state`` with the phases of its efforts as ``change`` says."""
    seen = state.copied()
    seen.efforts = {}
    for (step, direction), effort in state.efforts.items():
        other = copy(effort)
        other.phase = change(step, direction, effort)
        if other.phase != effort.phase:
            other.proof = "proved"  # such an engine would not wait for evidence either
        seen.efforts[step, direction] = other
    return seen


def undo_forwards(state: SagaState, now: Now) -> Decision:
    """Undo in the order in which the steps were made."""
    if state.state == "undoing":
        state = state.copied()
        state.steps = tuple(reversed(state.steps))
    return decide(state, now)


def undo_the_failed(state: SagaState, now: Now) -> Decision:
    """Undo the step that failed, too."""
    if state.state == "undoing":
        state = _efforts(
            state,
            lambda _step, direction, effort: (
                "done"
                if direction == "forward" and effort.phase == "not_done" and effort.attempts
                else effort.phase
            ),
        )
    return decide(state, now)


def undo_unawaited(state: SagaState, now: Now) -> Decision:
    """Take an undo for done once it was sent."""
    if state.state == "undoing":
        state = _efforts(
            state,
            lambda _step, direction, effort: (
                "done"
                if direction == "undo" and effort.phase in {"unknown", "included"}
                else effort.phase
            ),
        )
    return decide(state, now)


def undo_forgotten(state: SagaState, now: Now) -> Decision:
    """Lose one undo: the first step's."""
    if state.state == "undoing":
        first = state.steps[0].id
        state = _efforts(
            state,
            lambda step, direction, effort: (
                "not_done" if (step, direction) == (first, "forward") else effort.phase
            ),
        )
    return decide(state, now)


def commit_early(state: SagaState, now: Now) -> Decision:
    """Decide when everything is included, not final."""
    if state.state == "running":
        state = _efforts(
            state, lambda _s, _d, effort: "done" if effort.phase == "included" else effort.phase
        )
    return decide(state, now)


def commit_unproved(state: SagaState, now: Now) -> Decision:
    """Decide without the evidence that a chain requires."""
    if state.state == "running":
        state = state.copied()
        state.steps = tuple(replace(step, proof="wanted") for step in state.steps)
    return decide(state, now)


def close_unproved(state: SagaState, now: Now) -> Decision:
    """End without a word on evidence."""
    if state.state != "running":
        state = state.copied()
        state.evidence = False
    return decide(state, now)


def confirm_skipped(state: SagaState, now: Now) -> Decision:
    """End without any confirm."""
    if state.state == "confirming":
        state = state.copied()
        state.plan = {**state.plan, "confirm_order": []}
    return decide(state, now)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A world's adapters wrapped, its decisions replaced, or its preimages leaked."""

    name: str
    wrap: Callable[[SimChain], Adapter] | None = None
    decide: Deciding | None = None
    #: hand the preimage to its channel when the forward intent is made.
    tells_early: bool = False

    def prepare(self, world: World) -> None:
        """Give ``world`` the broken parts."""
        if self.wrap is not None:
            world.make_adapter = self.wrap
        world.tells_early = self.tells_early


def _plain(kind: Any) -> Callable[[SimChain], Adapter]:
    return lambda chain: kind(chain, ASSETS)


MUTANTS: Final = (
    Mutant("send before the journal", _plain(SendsFirst)),
    Mutant("new nonce on resume", SignsAgain),
    Mutant("timeout is failure", TimeoutIsFailure),
    Mutant("broadcast is final", _plain(MempoolIsFinal)),
    Mutant("a receipt is an effect", _plain(ReadsStatusAlone)),
    Mutant("secret in a record", _plain(SecretInFacts)),
    Mutant("secret before the decision", tells_early=True),
    Mutant("undo in forward order", decide=undo_forwards),
    Mutant("undo of the failed step", decide=undo_the_failed),
    Mutant("undo not awaited", decide=undo_unawaited),
    Mutant("undo forgotten", decide=undo_forgotten),
    Mutant("commit before final", decide=commit_early),
    Mutant("commit without proof", decide=commit_unproved),
    Mutant("close without proof", decide=close_unproved),
    Mutant("proof of another block", _plain(ProvesAnother)),
    Mutant("confirm skipped", decide=confirm_skipped),
    Mutant("undo retried under a dead nonce", TriesDeadNonces),
    Mutant("close by shared balances", BalanceIsEffect),
)


def broken(name: str) -> Callable[[World], None]:
    """Break this process's engine for good; return what prepares a world for it."""
    mutant = next(one for one in MUTANTS if one.name == name)
    engine: Any = turn
    if mutant.decide is not None:
        engine.decide = mutant.decide
    return mutant.prepare


@contextmanager
def installed(mutant: Mutant) -> Iterator[Callable[[World], None]]:
    """Break the engine for the duration; the value prepares a world for it."""
    engine: Any = turn
    real = engine.decide
    try:
        yield broken(mutant.name)
    finally:
        engine.decide = real
