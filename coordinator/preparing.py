"""Preparing: from an act that was decided to a signed attempt and the intent that makes it durable.

Nothing here is durable and nothing is sent; what comes out is a draft for the turn that asked.
"""

from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from adapters.base import Attempt, Direction, Prepared, Purpose
from adapters.errors import Rejected, Transient
from coordinator.claims import Scope
from coordinator.intents import intent_data
from coordinator.journal.base import Entry, Raw
from coordinator.patience import PATIENCE_BLOCKS, patience_s
from coordinator.saga import Act, SagaState, Step, Wait
from coordinator.saga.overdue import says_already, stuck_entry
from coordinator.saga.table import ENDS, INTENTS
from coordinator.tasks import attempts_of

if TYPE_CHECKING:
    from coordinator.live import Live
    from coordinator.runner import Runner

__all__ = ["Draft", "Preparing", "alarm_s"]


class Draft(Struct):
    """What a turn is about to make durable, and what to send once it is."""

    entries: list[Entry] = field(default_factory=list)
    raws: list[Raw] = field(default_factory=list)
    scopes: list[tuple[Scope, tuple[tuple[str, int], ...]]] = field(default_factory=list)
    sends: list[tuple[Step, Direction, Prepared]] = field(default_factory=list)
    evidence: list[bytes] = field(default_factory=list)

    def drop(self) -> None:
        """Give back what was claimed for it: it does not become durable."""
        for scope, _ in self.scopes:
            scope.drop()


class Preparing:
    """Prepares the acts of one turn of ``live``'s saga."""

    __slots__ = ("_live", "_runner")

    def __init__(self, runner: "Runner", live: "Live") -> None:
        self._runner = runner
        self._live = live

    async def prepare(self, state: SagaState, act: Act) -> Draft:
        """Return the intent of ``act``, or the record that says why there is none.

        Args:
            state: the fold that the act was decided from.
        """
        key = (act.step.id, act.direction)
        try:
            draft = await self._attempt(state, act)
        except Transient as trouble:
            self._live.said[key] = str(trouble)
            self._back_off(key)
            return Draft()
        except Rejected as refusal:
            first = not state.effort(*key).attempts
            if act.direction == "forward" and first and state.state == "running":
                data = {"step": act.step.id, "code": refusal.code, "reason": str(refusal)}
                return Draft([Entry("refused", data)])
            self._back_off(key)
            return await self._out_of_the_way(state, act, refusal)
        if self._live.retries:
            self._live.retries.pop(key, None)
            self._live.said.pop(key, None)
        return draft

    async def _attempt(self, state: SagaState, act: Act) -> Draft:
        step = act.step
        if not act.kill:
            if act.direction == "forward" and not state.effort(step.id, "forward").attempts:
                task = self._live.asking.of(state, self._live.state, step, "forward").task
                await self._runner.adapters[step.chain].preflight(task)
            return await self._build(state, step, act.direction, "effect")
        refusal: Rejected | None = None
        for purpose in _endings(state, act):
            try:
                return await self._build(state, step, act.direction, purpose)
            except Rejected as error:
                refusal = refusal or error
        raise refusal or Rejected("nothing is left that could end this attempt", code="policy")

    async def _build(
        self, state: SagaState, step: Step, direction: Direction, purpose: Purpose
    ) -> Draft:
        live, chain = self._live, step.chain
        effort = state.effort(step.id, direction)
        fresh = effort.phase == "not_done" and purpose == "effect"
        generation = effort.generation + fresh
        former = () if fresh else attempts_of(effort, generation)
        task = live.asking.of(state, live.state, step, direction, generation).task
        if former and self._is_jammed(chain, former[0]):
            task = replace(task, jammed=True)
        scope = self._runner.claims[chain].scope(
            state.saga, undo=direction == "undo", coins=task.coins
        )
        try:
            prepared = await self._runner.adapters[chain].prepare(task, purpose, scope, former)
        except BaseException:
            scope.drop()
            raise
        data = intent_data(
            prepared,
            step=step.id,
            direction=direction,
            generation=generation,
            number=len(effort.attempts) + 1,
            purpose=purpose,
            chain=chain,
            until_s=alarm_s(step, PATIENCE_BLOCKS, self._runner.clock.now_ms()),
        )
        if step.reveals and direction == "forward":
            data["hashlock"] = live.asking.hashlock(step)
        return Draft(
            [Entry("intent", data)],
            [Raw(prepared.tx_id, chain, prepared.raw)],
            [(scope, prepared.claim)],
            [(step, direction, prepared)],
        )

    def _is_jammed(self, chain: str, attempt: Attempt) -> bool:
        """Whether later claims of an account wait in line behind the attempt's."""
        claims, sequences = self._runner.claims[chain], self._runner.adapters[chain].sequences()
        return any(
            resource in sequences and claims.reaches_past(resource, value)
            for resource, value in attempt.claim
        )

    def _back_off(self, key: tuple[str, str]) -> None:
        self._live.back_off(key, self._runner.settings, self._runner.clock.now_ms())

    async def _out_of_the_way(self, state: SagaState, act: Act, refusal: Rejected) -> Draft:
        """End a forward attempt that may not get dearer while others wait in line behind it: its
        burn may cost a tenth more. What else was refused, a person is told.
        """
        effort = state.effort(act.step.id, act.direction)
        ours = act.again and not act.kill and refusal.code == "policy"
        allowed = INTENTS.get((state.state, act.direction), frozenset())
        if (
            ours
            and "burn" in act.step.kill
            and "burn" in allowed
            and self._is_jammed(act.step.chain, effort.attempts[-1])
        ):
            with suppress(Rejected, Transient):
                return await self._build(state, act.step, act.direction, "burn")
        return self._refused_again(state, act, refusal)

    def _refused_again(self, state: SagaState, act: Act, refusal: Rejected) -> Draft:
        """Confirm, undo and kill are never given up: a person is told, and it is tried again."""
        now = self._runner.now()
        if state.state in ENDS or says_already(
            state, act.step.id, act.direction, refusal.code, now
        ):
            return Draft()
        reason = f"{'ending' if act.kill else act.direction} of {act.step.id}: {refusal}"
        wait = Wait(reason, 0, act.step.id, act.direction)
        return Draft(
            [stuck_entry(state, wait, now, reason=reason, code=refusal.code, fund=refusal.fund)]
        )


def _endings(state: SagaState, act: Act) -> list[Purpose]:
    """How to end the attempt, best first: what is new, or again what a higher cap helps."""
    effort = state.effort(act.step.id, act.direction)
    allowed = INTENTS.get((state.state, act.direction), frozenset())
    known: list[Purpose] = [
        purpose
        for purpose in ("burn", "tombstone")
        if purpose in act.step.kill and purpose in allowed
    ]
    fresh = [purpose for purpose in known if not effort.has(purpose)]
    again = [purpose for purpose in known if effort.has(purpose)]
    return [*again, *fresh] if act.again else fresh


def alarm_s(step: Step, blocks: int, now_ms: int) -> int:
    """Return the host time (Unix s) at which ``blocks`` slow blocks of the step's chain are over,
    a minute from now at the soonest.
    """
    return now_ms // 1000 + patience_s(step.slow_ms, blocks)
