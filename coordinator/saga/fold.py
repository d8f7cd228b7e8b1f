"""``apply``: the state after one more record. Pure; the table decides what is allowed."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from adapters.base import Attempt
from coordinator.journal.base import Record
from coordinator.journal.derive import is_progress
from coordinator.journal.pauses import Pause
from coordinator.saga.state import Effort, SagaState, Step
from coordinator.saga.table import INTENTS, LIVE, PHASES, SAGA

__all__ = ["IllegalRecord", "apply", "fold"]


#: The plan, its steps, and these by their names.
_Course = tuple[Mapping[str, Any], tuple[Step, ...], Mapping[str, Step]]
#: Plan digest → what follows from the plan, for plans folded lately: ten thousand open sagas of one
#: plan are folded in the memory of one. Only a plan that is equal is shared.
_COURSES: Final[dict[str, _Course]] = {}
_COURSES_KEPT: Final = 256


class IllegalRecord(Exception):
    """The table has no entry for this record in this state; the state is unchanged.

    From the engine's own appends this is a bug; from a stored journal it is damage.
    """


def fold(records: Iterable[Record]) -> SagaState:
    """Return the state after ``records``, which must begin with ``started``."""
    state: SagaState | None = None
    for record in records:
        if state is None:
            state = apply(None, record)
        else:
            _advance(state, record)  # nobody else has seen it: it may change in place
    if state is None:
        raise IllegalRecord("a saga's stream is empty")
    return state


def apply(state: SagaState | None, record: Record) -> SagaState:
    """Return the state after ``record``.

    Raises:
        IllegalRecord: the record may not follow this state.
    """
    if state is None:
        if record.kind != "started" or record.seq != 1:
            raise IllegalRecord(f"a saga begins with started, not {record.kind} {record.seq}")
        return _started(record)
    new = state.copied()
    _advance(new, record)
    return new


def _advance(state: SagaState, record: Record) -> None:
    """Change ``state`` to what it is after ``record``; after a refusal it is of no use."""
    if record.seq != state.seq + 1:
        raise IllegalRecord(f"record {record.seq} can not follow record {state.seq}")
    handler = _HANDLERS.get(record.kind)
    if handler is None:
        raise IllegalRecord(f"{record.kind} is not a record of a saga")
    handler(state, record)
    state.seq = record.seq
    state.updated_ms = record.at_ms
    if state.stuck is not None and is_progress(record.kind, record.data):
        state.stuck = None


def _started(record: Record) -> SagaState:
    data = record.data
    plan, steps, by_name = _course(data["digest"], data["plan"])
    return SagaState(
        saga=data["saga"],
        plan=plan,
        steps=steps,
        key=data["key"],
        digest=data["digest"],
        deadline_s=data["deadline_s"],
        expiries=data["expiries"],
        clocks=data["clocks"],
        started_ms=record.at_ms,
        by_name=by_name,
        chains=tuple(sorted({step.chain for step in steps})),
        evidence=any(step.proof != "none" for step in steps),
        pivot=next((step for step in steps if step.pivot), None),
        seq=record.seq,
        updated_ms=record.at_ms,
        coins=_coins(data["coins"]) if "coins" in data else {},
    )


def _coins(rows: Iterable[tuple[str, str, str]]) -> dict[str, tuple[str, ...]]:
    coins: dict[str, tuple[str, ...]] = {}
    for step, _chain, outpoint in rows:
        coins[step] = (*coins.get(step, ()), outpoint)
    return coins


def _course(digest: str, plan: Mapping[str, Any]) -> _Course:
    """Return the plan and its steps; sagas of equal plans share one copy of both."""
    known = _COURSES.get(digest)
    if known is None or (known[0] is not plan and known[0] != plan):
        if len(_COURSES) >= _COURSES_KEPT:
            _COURSES.clear()
        steps = _steps(plan)
        known = _COURSES[digest] = (plan, steps, {step.id: step for step in steps})
    return known


def _steps(plan: Mapping[str, Any]) -> tuple[Step, ...]:
    return tuple(
        Step(
            id=raw["id"],
            index=index,
            chain=raw["chain"],
            action=raw["action"],
            effect_class=raw["class"],
            confirm=raw["confirm"],
            undo=raw["undo"],
            kill=tuple(raw["kill"]),
            reveals=raw["reveals"],
            deliver=raw["deliver"],
            unique_by=raw["unique_by"],
            wait_final=raw["await"] == "final",
            undo_ms=raw["undo_ms"],
            confirm_ms=raw["confirm_ms"],
            fee_asset=raw["fee_asset"],
            text=raw["text"],
            confirm_text=raw["confirm_text"],
            undo_text=raw["undo_text"],
            finality_blocks=int(
                raw.get("finality_blocks") or plan["chains"][raw["chain"]]["finality_blocks"]
            ),
            slow_ms=int(plan["chains"][raw["chain"]]["block_time_ms"]["slow"]),
            proof=plan["chains"][raw["chain"]].get("proof", "none"),
            deeper="finality_blocks" in raw,
            bump_blocks=int(plan["chains"][raw["chain"]].get("fee", {}).get("bump_blocks", 0)),
        )
        for index, raw in enumerate(plan["steps"])
    )


def _move(state: SagaState, record: Record, refined: str) -> None:
    after = SAGA.get((state.state, refined))
    if after is None:
        raise IllegalRecord(f"{refined} may not follow {state.state} (record {record.seq})")
    state.state = after


def _decided(state: SagaState, record: Record) -> None:
    _move(state, record, f"decided:{record.data['decision']}")
    state.cause = record.data["cause"]


def _closed(state: SagaState, record: Record) -> None:
    if record.data["records"] != record.seq:
        raise IllegalRecord(f"closed counts {record.data['records']} records, not {record.seq}")
    _move(state, record, f"closed:{record.data['state']}")


def _reopened(state: SagaState, record: Record) -> None:
    _move(state, record, "reopened")


def _effort(state: SagaState, record: Record, kind: str, direction: str | None = None) -> Effort:
    """Return a fresh copy of the effort the record is about, in its new phase."""
    step = record.data["step"]
    key = (step, direction or record.data["dir"])
    old = state.efforts.get(key)
    if old is None:
        state.step(step)
        old = Effort()
    phase = PHASES.get((old.phase, kind))
    if phase is None:
        raise IllegalRecord(
            f"{kind} may not follow {old.phase} ({key[1]} of step {step}, record {record.seq})"
        )
    new = old.copied()
    new.phase = phase
    new.updated_ms = record.at_ms
    state.efforts = {**state.efforts, key: new}
    return new


def _refused(state: SagaState, record: Record) -> None:
    effort = _effort(state, record, "refused", "forward")
    effort.reason = record.data["reason"]


def _intent(state: SagaState, record: Record) -> None:
    data = record.data
    purpose = data["purpose"]
    if purpose not in INTENTS.get((state.state, data["dir"]), ()):
        raise IllegalRecord(f"no {purpose} of {data['dir']} while {state.state}")
    before = state.effort(data["step"], data["dir"])
    effort = _effort(state, record, "intent" if purpose == "effect" else "intent:kill")
    expected = before.generation + (before.phase == "not_done" and purpose == "effect")
    if data["gen"] != expected:
        raise IllegalRecord(f"generation {data['gen']} where {expected} is next")
    effort.generation = data["gen"]
    effort.attempts = (
        *before.attempts,
        Attempt(
            data["tx"],
            purpose,
            tuple([(resource, value) for resource, value in data["claim"]]),
            data["since"],
            data["fee"],
            data["facts"],
            data["gen"],
        ),
    )
    effort.until_s = data["until_s"]
    effort.hashlock = data.get("hashlock", effort.hashlock)


def _reveal(state: SagaState, record: Record) -> None:
    if state.state != "confirming":
        raise IllegalRecord(f"no reveal while {state.state}")
    effort = _effort(state, record, "reveal", "confirm")
    effort.revealed = True
    effort.revealed_ms = record.at_ms
    effort.hashlock = record.data["hashlock"]
    effort.until_s = record.data["until_s"]


def _included(state: SagaState, record: Record) -> None:
    effort = _effort(state, record, "included")
    _found(effort, record)
    effort.until_s = record.data["until_s"]


def _done(state: SagaState, record: Record) -> None:
    effort = _effort(state, record, "done")
    _found(effort, record)
    _pay(state, record)


def _found(effort: Effort, record: Record) -> None:
    data = record.data
    effort.tx, effort.block, effort.height = data["tx"], data["block"], data["height"]
    effort.facts = data["facts"]
    effort.executed_ms = effort.executed_ms or record.at_ms
    effort.proof = ""


def _pay(state: SagaState, record: Record, counted: int = 0) -> None:
    """Add what an outcome cost beyond what of it was ``counted``; nothing is taken back here."""
    fee = int(record.data["facts"].get("fee", "0")) - counted
    if fee:
        asset = state.step(record.data["step"]).fee_asset
        state.fees = {**state.fees, asset: state.fees.get(asset, 0) + fee}


def _orphaned(state: SagaState, record: Record) -> None:
    _forget(_effort(state, record, "orphaned"))


def _withdrawn(state: SagaState, record: Record) -> None:
    before = state.effort(record.data["step"], record.data["dir"])
    fee = int(before.facts.get("fee", "0"))
    effort = _effort(state, record, "withdrawn")
    if fee:
        asset = state.step(record.data["step"]).fee_asset
        state.fees = {**state.fees, asset: state.fees.get(asset, 0) - fee}
    _forget(effort)


def _forget(effort: Effort) -> None:
    effort.tx = effort.block = effort.reason = None
    effort.height, effort.facts, effort.executed_ms = 0, {}, 0
    effort.proof = ""


def _not_done(state: SagaState, record: Record) -> None:
    data = record.data
    before = state.effort(data["step"], data["dir"])
    # Again, when the claim that a tombstone had left open is consumed as well.
    counted = int(before.facts.get("fee", "0")) if before.phase == "not_done" else 0
    effort = _effort(state, record, "not_done")
    effort.tx, effort.block, effort.height = data["tx"], data["block"], data["height"]
    effort.reason, effort.facts = data["reason"], data["facts"]
    effort.claim_open = data["claim_open"]
    effort.proof = ""
    _pay(state, record, counted)


def _proved(state: SagaState, record: Record) -> None:
    _evidenced(state, record).proof = "proved"


def _unproved(state: SagaState, record: Record) -> None:
    effort = _evidenced(state, record)
    if effort.proof:
        raise IllegalRecord(f"record {record.seq} says again why there is no proof")
    effort.proof = record.data["reason"]


def _evidenced(state: SagaState, record: Record) -> Effort:
    """Return a copy of the effort whose present outcome the record is about."""
    data = record.data
    _must_live(state, record)
    effort = _effort(state, record, record.kind)
    if (data["tx"], data["block"], data["gen"]) != (effort.tx, effort.block, effort.generation):
        raise IllegalRecord(f"record {record.seq} is about another outcome than the present one")
    if effort.proof == "proved":
        raise IllegalRecord(f"record {record.seq} proves what is proved")
    return effort


def _verdict(state: SagaState, record: Record) -> None:
    data = record.data
    state.verdicts = (*state.verdicts, data)
    if data["verdict"] == "write_off":
        _effort(state, record, "verdict:write_off")


def _asked(state: SagaState, record: Record) -> None:
    _must_live(state, record)
    state.asked = record.data


def _stuck(state: SagaState, record: Record) -> None:
    state.stuck = record.data
    state.stuck_seq = record.seq


def _paused(state: SagaState, record: Record) -> None:
    _must_live(state, record)
    data = record.data
    state.pause = Pause("saga", state.saga, data["by"], data["reason"], record.at_ms)


def _unpaused(state: SagaState, record: Record) -> None:
    _must_live(state, record)
    state.pause = None


def _taken_over(_state: SagaState, _record: Record) -> None:
    """Another process goes on; the fold is the same for every process."""


def _must_live(state: SagaState, record: Record) -> None:
    if state.state not in LIVE:
        raise IllegalRecord(f"{record.kind} may not follow {state.state}")


_HANDLERS: Final[dict[str, Callable[[SagaState, Record], None]]] = {
    "refused": _refused,
    "intent": _intent,
    "reveal": _reveal,
    "included": _included,
    "orphaned": _orphaned,
    "done": _done,
    "not_done": _not_done,
    "proved": _proved,
    "unproved": _unproved,
    "withdrawn": _withdrawn,
    "decided": _decided,
    "asked": _asked,
    "verdict": _verdict,
    "stuck": _stuck,
    "paused": _paused,
    "unpaused": _unpaused,
    "taken_over": _taken_over,
    "reopened": _reopened,
    "closed": _closed,
}
