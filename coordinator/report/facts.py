"""What a saga's report says, worked out from its records alone: frozen values, no clock, no I/O.

The same records always give the same report: two people who hold the same log can lay their pages
side by side. Times of records are the coordinator's own clock and so a claim; block times are what
the chain says. Both are kept apart everywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from coordinator.errors import CoordinatorError
from coordinator.held_back import held_back
from coordinator.journal.base import Record
from coordinator.open_claims import open_claims
from coordinator.report.acts import Act, OpenItem, acts_beside, acts_of, open_items
from coordinator.report.efforts import EffortFacts
from coordinator.report.tracing import Tracer
from coordinator.report.value import Flow, FlowTracer
from coordinator.report.verdict import Verdict, verdict_of
from coordinator.report.verification import Verification
from coordinator.saga import IllegalRecord, SagaState, Step, apply
from coordinator.saga.table import ENDS

__all__ = [
    "ChainFacts",
    "ReportFacts",
    "Sign",
    "StepFacts",
    "UnreadableRecords",
    "facts_of",
]

_TAKEN: Final = frozenset({"included", "done"})


class UnreadableRecords(CoordinatorError):
    """The records are no saga that this version can read; nothing was sent."""

    exit_code = 40


@dataclass(frozen=True, slots=True)
class StepFacts:
    """One step of the plan; ``number`` counts from 1. Directions it does not have are None."""

    number: int
    id: str
    chain: str
    effect_class: str
    text: str
    confirm_text: str
    undo_text: str
    expiry: str | None
    forward: EffortFacts
    confirm: EffortFacts | None
    undo: EffortFacts | None
    #: why there is nothing to take back, in a rollback that leaves this step alone.
    not_undone: str | None

    @property
    def efforts(self) -> tuple[EffortFacts, ...]:
        """Return what was tried, in the order forward, confirm, undo."""
        return tuple(e for e in (self.forward, self.confirm, self.undo) if e is not None)


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """What the plan fixed for one chain: where finality comes from, and who told it."""

    name: str
    network: str
    finality: str
    nodes: int
    proof: str


@dataclass(frozen=True, slots=True)
class Sign:
    """A moment of the saga as a whole, for the timeline's first lane."""

    kind: str
    at_ms: int
    seq: int
    text: str


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """Everything on the page.

    Attributes:
        closed_ms: when the saga ended, None while it has not; ``last_ms``: its last record.
        decision: ``commit``, ``rollback`` or None.
        undone, to_undo: how many effects were taken back, of how many that had to be.
        positions: first and last place of its records in the log, which it shares with others.
        head: hash of its last record.
    """

    saga: str
    plan: str
    key: str
    digest: str
    verdict: Verdict
    state: str
    decision: str | None
    started_ms: int
    deadline_s: int
    decided_ms: int | None
    closed_ms: int | None
    last_ms: int
    instances: tuple[str, ...]
    steps: tuple[StepFacts, ...]
    confirm_order: tuple[str, ...]
    chains: tuple[ChainFacts, ...]
    flows: tuple[Flow, ...]
    signs: tuple[Sign, ...]
    acts: tuple[Act, ...]
    open_items: tuple[OpenItem, ...]
    undone: int
    to_undo: int
    records: int
    positions: tuple[int, int]
    first_hash: str
    head: str
    verification: Verification | None

    @property
    def rolls_back(self) -> bool:
        """Whether the story is one of taking back."""
        return self.decision == "rollback"

    @property
    def title(self) -> str:
        """What the page is called."""
        if self.decision is None:
            return "Saga report"
        return "Rollback report" if self.rolls_back else "Commit report"

    @property
    def told_steps(self) -> tuple[StepFacts, ...]:
        """Return the steps in the order in which they are told: a rollback backwards."""
        return tuple(reversed(self.steps)) if self.rolls_back else self.steps


def facts_of(
    records: Sequence[Record],
    verification: Verification | None = None,
    operator: Sequence[Record] = (),
) -> ReportFacts:
    """Work out the report of one saga from all records of its stream.

    Args:
        operator: records of the stream ``operator``: pauses that touched it are among its acts.

    Raises:
        UnreadableRecords: they are not a saga, or one lacks what its kind must have.
    """
    try:
        return _facts_of(records, verification, operator)
    except (IllegalRecord, KeyError, TypeError, ValueError, AttributeError) as error:
        what = error if isinstance(error, IllegalRecord) else f"a record is damaged: {error!r}"
        raise UnreadableRecords(
            f"these records can not be told as a saga: {what}. Nothing was sent. See: "
            "coordinator audit verify"
        ) from error


def _merged(own: tuple[Act, ...], beside: tuple[Act, ...]) -> tuple[Act, ...]:
    """Return the saga's own acts in the order of its records, others between them by their time."""
    return tuple(sorted((*own, *beside), key=lambda act: act.at_ms)) if beside else own


def _facts_of(
    records: Sequence[Record], verification: Verification | None, operator: Sequence[Record]
) -> ReportFacts:
    state: SagaState | None = None
    tracer, flows = Tracer(), FlowTracer()
    for record in records:
        state = apply(state, record)
        tracer.see(record)
        flows.see(state, record)
    if state is None:
        raise IllegalRecord("a saga's stream is empty")
    decided = [record for record in records if record.kind == "decided"]
    decision = decided[-1].data["decision"] if decided else None
    steps = tuple(_step(state, step, tracer, decision) for step in state.steps)
    wanted = [s for s in steps if s.undo is not None]
    undone = sum(s.undo is not None and s.undo.phase == "done" for s in wanted)
    told_flows = flows.flows(state)
    items = open_items(
        state, records, open_claims(state, records), steps, told_flows, held_back(operator)
    )
    first, last = records[0], records[-1]
    return ReportFacts(
        saga=state.saga,
        plan=state.name,
        key=state.key,
        digest=state.digest,
        verdict=verdict_of(state, undone),
        state=state.state,
        decision=decision,
        started_ms=state.started_ms,
        deadline_s=state.deadline_s,
        decided_ms=decided[-1].at_ms if decided else None,
        closed_ms=_closed_ms(records) if state.state in ENDS else None,
        last_ms=last.at_ms,
        instances=_instances(records),
        steps=steps,
        confirm_order=tuple(state.plan["confirm_order"]),
        chains=tuple(_chain(state, name) for name in _chain_names(state)),
        flows=told_flows,
        signs=_signs(records),
        acts=_merged(acts_of(records), acts_beside(state, operator)),
        open_items=items,
        undone=undone,
        to_undo=len(wanted),
        records=state.seq,
        positions=(first.position, last.position),
        first_hash=first.hash,
        head=last.hash,
        verification=verification,
    )


def _closed_ms(records: Sequence[Record]) -> int:
    return next(record.at_ms for record in reversed(records) if record.kind == "closed")


def _instances(records: Sequence[Record]) -> tuple[str, ...]:
    """Return the processes that drove the saga, in order."""
    seen = [r.data["instance"] for r in records if r.kind in ("started", "taken_over")]
    return tuple(dict.fromkeys(str(instance) for instance in seen))


def _step(state: SagaState, step: Step, tracer: Tracer, decision: str | None) -> StepFacts:
    forward = tracer.facts(state, step, "forward")
    wants_undo = (
        decision == "rollback" and step.undo and forward.phase in ("unknown", "included", "done")
    )
    has_undo = wants_undo or (step.id, "undo") in state.efforts
    has_confirm = step.confirm or (step.id, "confirm") in state.efforts
    return StepFacts(
        number=step.index + 1,
        id=step.id,
        chain=step.chain,
        effect_class=step.effect_class,
        text=step.text,
        confirm_text=step.confirm_text,
        undo_text=step.undo_text,
        expiry=_expiry(state, step),
        forward=forward,
        confirm=tracer.facts(state, step, "confirm")
        if has_confirm and decision != "rollback"
        else None,
        undo=tracer.facts(state, step, "undo") if has_undo else None,
        not_undone=None if has_undo or decision != "rollback" else _why_not_undone(step, forward),
    )


def _why_not_undone(step: Step, forward: EffortFacts) -> str:
    if forward.phase == "idle":
        return "never started: nothing to take back"
    if forward.phase == "not_done":
        return "failed, so nothing to take back"
    if forward.phase == "written_off":
        return "written off by operators: not taken back"
    return "can not be taken back" if not step.undo else "nothing to take back"


def _expiry(state: SagaState, step: Step) -> str | None:
    expiry: Mapping[str, int] | None = state.expiries.get(step.id)
    if not expiry:
        return None
    return ", ".join(f"{name} {value}" for name, value in sorted(expiry.items()))


def _chain_names(state: SagaState) -> list[str]:
    """Return the plan's chains in the order in which its steps come to them."""
    return list(dict.fromkeys([*(step.chain for step in state.steps), *state.plan["chains"]]))


def _chain(state: SagaState, name: str) -> ChainFacts:
    terms: Mapping[str, Any] = state.plan["chains"][name]
    number, network = terms.get("chain_id"), terms.get("network")
    about = f"chain id {number}" if number is not None else str(network or "")
    return ChainFacts(
        name=name,
        network=" ".join(part for part in (str(terms["kind"]), about) if part),
        finality=str(terms.get("finality") or f"{terms['finality_blocks']} blocks"),
        nodes=int(terms.get("nodes", 1)),
        proof=str(terms.get("proof", "none")),
    )


def _signs(records: Sequence[Record]) -> tuple[Sign, ...]:
    found = []
    for record in records:
        words = _SIGNS.get(record.kind)
        if words is not None:
            text = words.format(**record.data) if "{" in words else words
            found.append(Sign(record.kind, record.at_ms, record.seq, text))
    return tuple(found)


_SIGNS: Final = {
    "started": "started",
    "decided": "decided: {decision}",
    "asked": "asked to {what}",
    "verdict": "verdict {verdict}",
    "stuck": "stuck",
    "paused": "paused",
    "unpaused": "unpaused",
    "taken_over": "taken over",
    "reopened": "reopened",
    "closed": "closed",
}
