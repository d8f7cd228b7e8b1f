"""Reads one effort (a step in one direction) out of its records: when, which transaction, proof."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from coordinator.journal.base import Record
from coordinator.report.efforts import (
    AttemptFacts,
    EffortFacts,
    Evidence,
    Incident,
    Segment,
    UndoFacts,
)
from coordinator.saga import SagaState, Step

__all__ = ["Tracer"]

Key = tuple[str, str]

#: What a chain's ``proof`` setting means for an outcome of which there is no record yet.
_ASKED: Final = frozenset({"required", "wanted"})


@dataclass(slots=True)
class _Trace:
    """An effort while its records are read."""

    attempts: list[AttemptFacts] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)
    open_kind: str | None = None
    open_ms: int = 0
    included_ms: int | None = None
    final_ms: int | None = None
    outcome_seq: int = 0
    evidence: Evidence | None = None
    undo: UndoFacts | None = None

    def begin(self, kind: str, at_ms: int) -> None:
        if self.open_kind == kind:
            return
        self.end(at_ms)
        self.open_kind, self.open_ms = kind, at_ms

    def end(self, at_ms: int) -> None:
        if self.open_kind is not None:
            self.segments.append(Segment(self.open_kind, self.open_ms, max(at_ms, self.open_ms)))
        self.open_kind = None

    def forget(self) -> None:
        """Finality broke, or a block went: what the records said of the outcome is void."""
        self.included_ms = self.final_ms = None
        self.outcome_seq, self.evidence, self.undo = 0, None, None


class Tracer:
    """Reads the records of one saga in order; they are fold-checked by the caller."""

    def __init__(self) -> None:
        self._traces: dict[Key, _Trace] = {}

    def see(self, record: Record) -> None:
        """Take one more record into account."""
        handler = _HANDLERS.get(record.kind)
        if handler is not None:
            step = str(record.data["step"])
            direction = str(record.data.get("dir") or _DIRECTION[record.kind])
            handler(self._traces.setdefault((step, direction), _Trace()), record)

    def facts(self, state: SagaState, step: Step, direction: str) -> EffortFacts:
        """Return one effort; an idle one if there is no record of it."""
        trace = self._traces.get((step.id, direction), _Trace())
        effort = state.effort(step.id, direction)
        segments = tuple(trace.segments)
        if trace.open_kind is not None:
            segments += (Segment(trace.open_kind, trace.open_ms, None),)
        time_s = effort.facts.get("time")
        texts = {"forward": step.text, "confirm": step.confirm_text, "undo": step.undo_text}
        return EffortFacts(
            step=step.id,
            chain=step.chain,
            direction=direction,
            phase=effort.phase,
            text=texts[direction],
            attempts=tuple(trace.attempts),
            tx=effort.tx,
            block=effort.block,
            height=effort.height,
            included_ms=trace.included_ms,
            final_ms=trace.final_ms,
            block_s=int(time_s) if time_s is not None else None,
            outcome_seq=trace.outcome_seq,
            fee=int(effort.facts.get("fee", "0")),
            fee_asset=step.fee_asset,
            fee_decimals=int(state.plan["assets"][step.fee_asset]),
            failure=effort.reason if effort.phase == "not_done" else None,
            evidence=trace.evidence or _no_record(state, step, effort.phase, effort.tx),
            undo=trace.undo,
            segments=segments,
            incidents=tuple(trace.incidents),
        )


def _no_record(state: SagaState, step: Step, phase: str, tx: str | None) -> Evidence:
    if phase not in ("done", "not_done") or tx is None:
        return Evidence("nothing")
    asked = state.plan["chains"][step.chain].get("proof", "none")
    return Evidence("missing" if asked in _ASKED else "not asked", reason=str(asked))


# ---------------------------------------------------------------- one record


def _intent(trace: _Trace, record: Record) -> None:
    data = record.data
    trace.attempts.append(
        AttemptFacts(record.seq, record.at_ms, str(data["tx"]), data["purpose"], int(data["gen"]))
    )
    if data["purpose"] == "effect" or trace.open_kind is not None:
        trace.begin(trace.open_kind or "sent", record.at_ms)
    _note(trace, record, "intent" if data["purpose"] == "effect" else "kill", str(data["purpose"]))


def _reveal(trace: _Trace, record: Record) -> None:
    trace.attempts.append(
        AttemptFacts(record.seq, record.at_ms, None, "reveal", int(record.data["gen"]))
    )
    trace.begin("sent", record.at_ms)
    _note(trace, record, "reveal", "preimage revealed")


def _included(trace: _Trace, record: Record) -> None:
    trace.included_ms = record.at_ms
    trace.begin("block", record.at_ms)
    _note(trace, record, "included", f"in block {record.data['height']}")


def _orphaned(trace: _Trace, record: Record) -> None:
    trace.forget()
    trace.begin("sent", record.at_ms)
    _note(trace, record, "orphaned", f"block {record.data['height']} was taken back by its chain")


def _done(trace: _Trace, record: Record) -> None:
    data = record.data
    trace.included_ms = trace.included_ms or record.at_ms
    trace.final_ms, trace.outcome_seq = record.at_ms, record.seq
    trace.evidence = None
    trace.end(record.at_ms)
    _note(trace, record, "final", f"final, block {data['height']}")
    if data["dir"] == "undo":
        trace.undo = UndoFacts(
            int(data["executed_ms"]),
            int(data["undone_ms"]),
            str(data["reason"]),
            str(data["cause"].get("text", "unknown")),
            str(data["result"]),
        )


def _not_done(trace: _Trace, record: Record) -> None:
    trace.final_ms, trace.outcome_seq = record.at_ms, record.seq
    trace.evidence = None
    trace.end(record.at_ms)
    _note(trace, record, "failed", str(record.data["reason"]))


def _refused(trace: _Trace, record: Record) -> None:
    trace.outcome_seq = record.seq
    _note(trace, record, "failed", f"refused before anything was sent: {record.data['reason']}")


def _withdrawn(trace: _Trace, record: Record) -> None:
    trace.forget()
    trace.begin("sent", record.at_ms)
    _note(trace, record, "withdrawn", f"was {record.data['was']}: {record.data['why']}")


def _proved(trace: _Trace, record: Record) -> None:
    named = tuple((str(item["kind"]), str(item["sha256"])) for item in record.data["evidence"])
    trace.evidence = Evidence("proved", named)


def _unproved(trace: _Trace, record: Record) -> None:
    data: Mapping[str, Any] = record.data
    trace.evidence = Evidence("unproved", (), str(data["reason"]), str(data.get("detail", "")))


def _verdict(trace: _Trace, record: Record) -> None:
    if record.data["verdict"] == "write_off":
        trace.end(record.at_ms)
        trace.outcome_seq = record.seq
        _note(trace, record, "written_off", "written off by operators")


def _note(trace: _Trace, record: Record, kind: str, text: str) -> None:
    trace.incidents.append(Incident(kind, record.at_ms, record.seq, text))


#: Direction of the kinds whose records do not name one.
_DIRECTION: Final = {"refused": "forward", "reveal": "confirm"}
_HANDLERS: Final = {
    "intent": _intent,
    "reveal": _reveal,
    "refused": _refused,
    "included": _included,
    "orphaned": _orphaned,
    "done": _done,
    "not_done": _not_done,
    "withdrawn": _withdrawn,
    "proved": _proved,
    "unproved": _unproved,
    "verdict": _verdict,
}
