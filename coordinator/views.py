"""What people see of a saga: plain JSON values made from its records alone (R10).

`saga_view` is the documented schema behind ``--json`` (`coordinator.views_schema`); the text output
is rendered from the same fold, so that both always agree.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from adapters.assets import format_amount
from coordinator.held_back import NOTHING_HELD, HeldBack, ways_on
from coordinator.journal.base import Record, SagaRow
from coordinator.open_claims import OpenClaim
from coordinator.pause_view import pause_view
from coordinator.saga import Effort, SagaState, Step, Wait, decide
from coordinator.saga.table import ENDS

__all__ = [
    "DIRECTIONS",
    "VIEW_VERSION",
    "advice",
    "amount_view",
    "events_view",
    "row_view",
    "saga_view",
    "standing",
    "timeline",
    "waiting",
]

#: Version of the JSON that views print; raised when a reader could break.
VIEW_VERSION: Final = 1

DIRECTIONS: Final = ("forward", "confirm", "undo")
_OUT: Final = frozenset({"unknown", "included", "done"})
#: Holders that never held value of ours: what comes from them is no value at risk.
_NOT_OURS: Final = frozenset({"issued", "outside", "pending"})


def saga_view(
    state: SagaState,
    *,
    now_ms: int,
    open_claims: Sequence[OpenClaim] = (),
    held: HeldBack = NOTHING_HELD,
) -> dict[str, Any]:
    """Return everything about one saga as JSON (``show --json``).

    Args:
        open_claims: those of a saga that has ended (`coordinator.open_claims`).
        held: what holds it back beside its own pause.
    """
    pause = pause_view(state, held.pauses)
    return {
        "v": VIEW_VERSION,
        "saga": state.saga,
        "plan": state.name,
        "digest": state.digest,
        "key": state.key,
        "state": state.state,
        "stuck": dict(state.stuck) if state.stuck else None,
        "paused": pause is not None,
        "pause": pause,
        "asked": dict(state.asked) if state.asked else None,
        "started_ms": state.started_ms,
        "updated_ms": state.updated_ms,
        "deadline_s": state.deadline_s,
        "records": state.seq,
        "cause": dict(state.cause) if state.cause else None,
        "steps": [_step_view(state, step) for step in state.steps],
        "fees": {
            asset: amount_view(state, asset, amount) for asset, amount in sorted(state.fees.items())
        },
        "verdicts": [dict(verdict) for verdict in state.verdicts],
        "waiting": waiting(state, now_ms, held),
        "open_claims": [claim.view() for claim in open_claims],
        "advice": advice(state, now_ms=now_ms, held=held),
    }


def amount_view(state: SagaState, asset: str, amount: int) -> dict[str, str]:
    """Return an amount of ``asset`` in base units and as a decimal of whole coins."""
    decimals = int(state.plan["assets"][asset])
    return {"base_units": str(amount), "value": format_amount(amount, decimals)}


def _step_view(state: SagaState, step: Step) -> dict[str, Any]:
    raw = state.plan["steps"][step.index]
    view: dict[str, Any] = {
        "id": step.id,
        "chain": step.chain,
        "class": step.effect_class,
        "text": step.text,
        "confirm_text": step.confirm_text,
        "undo_text": step.undo_text,
        "moves": [
            {"asset": move["asset"], "source": move["source"], "target": move["target"]}
            | amount_view(state, move["asset"], int(move["amount"]))
            for move in raw["moves"]
        ],
        "expiry": dict(state.expiries[step.id]) if step.id in state.expiries else None,
    }
    for direction in DIRECTIONS:
        effort = state.efforts.get((step.id, direction))
        view[direction] = _effort_view(effort) if effort else None
    return view


def _effort_view(effort: Effort) -> dict[str, Any]:
    return {
        "phase": effort.phase,
        "generation": effort.generation,
        "tx": effort.tx,
        "block": effort.block,
        "height": effort.height,
        "reason": effort.reason,
        "executed_ms": effort.executed_ms,
        "updated_ms": effort.updated_ms,
        "revealed": effort.revealed,
        "proof": effort.proof or None,
        "facts": dict(effort.facts),
        "attempts": [
            {
                "tx": attempt.tx_id,
                "purpose": attempt.purpose,
                "generation": attempt.generation,
                "claim": [[resource, value] for resource, value in attempt.claim],
                "fee": dict(attempt.fee),
            }
            for attempt in effort.attempts
        ],
    }


def waiting(state: SagaState, now_ms: int, held: HeldBack = NOTHING_HELD) -> list[dict[str, Any]]:
    """Return what a live saga waits for: reason, until when (Unix s), step and direction."""
    return [
        {"reason": wait.reason, "until_s": wait.until_s, "step": wait.step, "dir": wait.direction}
        for wait in _waits(state, now_ms, held)
    ]


def _waits(state: SagaState, now_ms: int, held: HeldBack) -> tuple[Wait, ...]:
    return () if state.state in ENDS else decide(state, held.now(now_ms)).waits


def row_view(
    row: SagaRow,
    state: SagaState | None,
    *,
    attended: bool,
    now_ms: int,
    open_claims: Sequence[OpenClaim] = (),
    held: HeldBack = NOTHING_HELD,
) -> dict[str, Any]:
    """Return one line of ``status --json``.

    Args:
        state: the fold of an open saga; None for one that has ended, which needs none.
        attended: a live process drives it.
        open_claims: those of a saga that has ended.
        held: what holds it back beside its own pause.
    """
    at_risk = _at_risk(state) if state is not None and state.state not in ENDS else {}
    waits = [] if state is None else waiting(state, now_ms, held)
    pause = None if state is None else pause_view(state, held.pauses)
    return {
        "v": VIEW_VERSION,
        "saga": row.saga,
        "plan": row.plan,
        "key": row.key,
        "state": row.state,
        "stuck": dict(state.stuck) if state is not None and state.stuck else None,
        "paused": pause is not None,
        "pause": pause,
        "started_ms": row.started_ms,
        "updated_ms": row.updated_ms,
        "deadline_s": row.deadline_s,
        "records": row.seq,
        "attended": attended,
        "waiting": waits,
        "open_claims": [claim.view() for claim in open_claims],
        "at_risk": {
            asset: amount_view(state, asset, amount) if state is not None else {}
            for asset, amount in sorted(at_risk.items())
        },
    }


def standing(state: SagaState) -> list[Step]:
    """Return the steps whose effect may be on its chain and is neither taken back nor confirmed."""
    return [
        step
        for step in state.steps
        if state.effort(step.id, "forward").phase in _OUT
        and state.effort(step.id, "undo").phase != "done"
        and state.effort(step.id, "confirm").phase != "done"
    ]


def _at_risk(state: SagaState) -> dict[str, int]:
    sums: dict[str, int] = {}
    for step in standing(state):
        for move in state.plan["steps"][step.index]["moves"]:
            if move["source"] not in _NOT_OURS:
                sums[move["asset"]] = sums.get(move["asset"], 0) + int(move["amount"])
    return sums


def advice(state: SagaState, *, now_ms: int, held: HeldBack = NOTHING_HELD) -> dict[str, Any]:
    """Answer what a person asks at 3 a.m.: is it safe, what stands, what now, until when."""
    open_steps = [] if state.state in ENDS else standing(state)
    return {
        "standing": [step.id for step in open_steps],
        "where": [place for step in open_steps for place in _places(state, step)],
        "irreversible": _irreversible(state),
        "next": _next_command(state, now_ms, held),
        "deadline_s": state.deadline_s,
        "left_s": state.deadline_s - now_ms // 1000,
    }


def _places(state: SagaState, step: Step) -> list[dict[str, Any]]:
    """Say where each amount that ``step`` moved is now, as far as the journal knows."""
    certain = state.effort(step.id, "forward").phase != "unknown"
    return [
        {
            "step": step.id,
            "chain": step.chain,
            "asset": move["asset"],
            **amount_view(state, move["asset"], int(move["amount"])),
            "holder": move["target"] if certain else f"{move['source']} or {move['target']}",
        }
        for move in state.plan["steps"][step.index]["moves"]
    ]


def _irreversible(state: SagaState) -> str:
    pivot = state.pivot
    if state.state == "confirming":
        return "the commit is decided: it only goes forward"
    if state.state in ENDS:
        return "nothing is open"
    if pivot is not None and state.effort(pivot.id, "forward").attempts:
        return f"step {pivot.id} may be paid already: the decision follows it alone"
    return "nothing: every effect so far can be taken back"


def _next_command(state: SagaState, now_ms: int, held: HeldBack) -> str:
    if state.state in ENDS:
        return f"coordinator audit show {state.saga}"
    if state.stuck is not None:
        return f"{state.stuck['question']}; then: coordinator resume {state.saga}"
    if state.state == "running" and now_ms // 1000 > state.deadline_s:
        return f"coordinator resume {state.saga}    (the deadline is past: it will roll back)"
    ways = ways_on(state, _waits(state, now_ms, held), held)
    return "; ".join(ways) or f"coordinator resume {state.saga}"


def events_view(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return records as JSON lines for ``audit show --json`` and ``watch --json``."""
    return [
        {
            "v": VIEW_VERSION,
            "type": "record",
            "position": record.position,
            "stream": record.stream,
            "seq": record.seq,
            "kind": record.kind,
            "at_ms": record.at_ms,
            "data": record.data,
            "prev": record.prev,
            "hash": record.hash,
        }
        for record in records
    ]


def timeline(record: Record) -> str:
    """Return one line of plain text for one record."""
    data: Mapping[str, Any] = record.data
    about = " ".join(str(data[key]) for key in ("step", "dir") if key in data)
    describe = _DETAILS.get(record.kind)
    detail = describe(data) if describe is not None else ""
    return " ".join(part for part in (record.kind, about, detail) if part)


def _place(data: Mapping[str, Any]) -> str:
    return f"tx {data['tx']} block {data['height']}"


def _cause(cause: Mapping[str, Any]) -> str:
    about = f"step {cause['step']}: " if "step" in cause else ""
    return f"{about}{cause['text']}"


def _scope(data: Mapping[str, Any]) -> str:
    """Return what a pause of the operator's stream is about; nothing for a saga's own."""
    if "scope" not in data:
        return ""
    return "everything " if data["scope"] == "all" else f"{data['scope']} {data['name']} "


_DETAILS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "started": lambda d: f"{d['plan']['name']} digest {d['digest'][:12]} key {d['key']}",
    "refused": lambda d: f"before anything was sent: {d['reason']}",
    "intent": lambda d: f"{d['purpose']} tx {d['tx']} attempt {d['n']} generation {d['gen']}",
    "reveal": lambda d: f"preimage may leave on channel {d['deliver']} (hash {d['hashlock'][:12]})",
    "included": _place,
    "orphaned": _place,
    "done": _place,
    "not_done": lambda d: f"{d['reason']} ({_place(d)})",
    "proved": lambda d: " ".join(proof["kind"] for proof in d["evidence"]) + f" {_place(d)}",
    "unproved": lambda d: f"{d['reason']}: {d['detail']} ({_place(d)})",
    "withdrawn": lambda d: f"was {d['was']}: {d['why']}",
    "decided": lambda d: f"{d['decision']}: {_cause(d['cause'])}",
    "asked": lambda d: f"{d['what']} by {d['by']}: {d['reason']}",
    "verdict": lambda d: f"{d['verdict']} by {', '.join(d['by'])}: {d['reason']}",
    "stuck": lambda d: f"{d['reason']}; {d['question']}",
    "paused": lambda d: f"{_scope(d)}by {d['by']}: {d['reason']}",
    "unpaused": lambda d: f"{_scope(d)}by {d['by']}: {d['reason']}",
    "closed": lambda d: f"{d['state']} after {d['records']} records",
    "taken_over": lambda d: f"by {d['instance']} from {d['from']}",
    "reopened": lambda d: str(d["why"]),
}
