"""What persons did, what went otherwise than planned, and what is still open."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from coordinator.held_back import NOTHING_HELD, HeldBack
from coordinator.journal.base import Record
from coordinator.journal.pauses import fold_pauses
from coordinator.open_claims import OpenClaim
from coordinator.pause_view import letting_go, pause_of
from coordinator.report.value import Flow
from coordinator.report.words import amount_words, moment_s
from coordinator.saga import SagaState
from coordinator.saga.holding import held_steps, payer_of
from coordinator.saga.table import ENDS
from coordinator.views import advice, waiting

if TYPE_CHECKING:
    from coordinator.report.facts import StepFacts

__all__ = ["Act", "OpenItem", "acts_beside", "acts_of", "open_items"]


@dataclass(frozen=True, slots=True)
class Act:
    """One act or incident.

    Attributes:
        by_person: an operator's act; else something that happened.
        who: names as the record has them; the process for a take-over; empty where nobody is named.
    """

    seq: int
    at_ms: int
    kind: str
    by_person: bool
    who: str
    text: str


@dataclass(frozen=True, slots=True)
class OpenItem:
    """Something that is not in order, or not over; ``command`` goes on where there is one."""

    kind: str
    text: str
    command: str | None = None


def acts_of(records: Sequence[Record]) -> tuple[Act, ...]:
    """Return operator acts and incidents in the order of the records."""
    found = []
    for record in records:
        entry = _ACTS.get(record.kind)
        if entry is not None:
            by_person, who, text = entry
            found.append(
                Act(
                    record.seq,
                    record.at_ms,
                    record.kind,
                    by_person,
                    who(record.data),
                    text(record.data),
                )
            )
    return tuple(found)


def acts_beside(state: SagaState, operator: Sequence[Record]) -> tuple[Act, ...]:
    """Return the pauses of signers, chains and everything that touched the saga in its time.

    Args:
        operator: records of the stream ``operator``.
    """
    end_ms = state.updated_ms if state.state in ENDS else None
    found = []
    for record in operator:
        late = end_ms is not None and record.at_ms > end_ms
        if record.kind not in ("paused", "unpaused") or record.at_ms < state.started_ms or late:
            continue
        about = fold_pauses([replace(record, kind="paused")])
        if any(about.on(s.chain, payer_of(state, s)) for s in state.steps if s.forward):
            text = f"{record.kind} {about.standing[0].what}: {record.data['reason']}"
            who = str(record.data["by"])
            found.append(
                Act(record.seq, record.at_ms, f"{record.kind} (operator)", True, who, text)
            )
    return tuple(found)


_Words = Callable[[Mapping[str, Any]], str]


def _about(data: Mapping[str, Any]) -> str:
    return f"{data['dir']} of {data['step']}"


def _args(data: Mapping[str, Any]) -> str:
    args = ", ".join(f"{name} {value}" for name, value in sorted(data.get("args", {}).items()))
    return f" ({args})" if args else ""


def _stuck(data: Mapping[str, Any]) -> str:
    about = f"{_about(data)}: " if "step" in data and "dir" in data else ""
    return f"{about}{data['reason']}. {data['question']}"


#: Kind → by a person?, who, what.
_ACTS: Final[Mapping[str, tuple[bool, _Words, _Words]]] = {
    "asked": (True, lambda d: str(d["by"]), lambda d: f"asked to {d['what']}: {d['reason']}"),
    "verdict": (
        True,
        lambda d: ", ".join(str(name) for name in d["by"]),
        lambda d: f"verdict {d['verdict']} on {_about(d)}{_args(d)}: {d['reason']}",
    ),
    "paused": (True, lambda d: str(d["by"]), lambda d: f"paused: {d['reason']}"),
    "unpaused": (True, lambda d: str(d["by"]), lambda d: f"unpaused: {d['reason']}"),
    "stuck": (False, lambda _: "", _stuck),
    "taken_over": (False, lambda d: str(d["instance"]), lambda d: f"took over from {d['from']}"),
    "orphaned": (
        False,
        lambda _: "",
        lambda d: f"{_about(d)}: its block {d['height']} was taken back by the chain",
    ),
    "withdrawn": (False, lambda _: "", lambda d: f"{_about(d)} was {d['was']}: {d['why']}"),
    "reopened": (False, lambda _: "", lambda d: f"opened again: {d['why']}"),
}


# ---------------------------------------------------------------- open items


def open_items(
    state: SagaState,
    records: Sequence[Record],
    claims: Sequence[OpenClaim],
    steps: "Sequence[StepFacts]",
    flows: Sequence[Flow],
    held: HeldBack = NOTHING_HELD,
) -> tuple[OpenItem, ...]:
    """Return what is not in order or not over, what needs a person first."""
    found = [] if state.state in ENDS else _live(state, held)
    found += [OpenItem("open claim", claim.sentence(), claim.command) for claim in claims]
    found += [
        OpenItem(
            "given up",
            f"{amount_words(flow.asset, flow.given_up, flow.decimals)} on {flow.chain} "
            f"({flow.given_up} base units): written off by operators, neither returned nor "
            "delivered as far as the records say",
        )
        for flow in flows
        if flow.given_up
    ]
    found += _unproved(state, steps)
    return tuple(found + _fee_mismatch(records, flows))


def _live(state: SagaState, held: HeldBack) -> list[OpenItem]:
    told = advice(state, now_ms=state.updated_ms, held=held)
    resume = f"coordinator resume {state.saga}"
    found = []
    if state.stuck is not None:
        until = moment_s(int(state.stuck["until_s"]))
        allowed = ", ".join(str(verdict) for verdict in state.stuck.get("verdicts", ()))
        text = f"{_stuck(state.stuck)} (looked at again {until})"
        text += f"; verdicts allowed: {allowed}" if allowed else ""
        found.append(OpenItem("needs a person", text, f"coordinator show {state.saga}"))
    found += [
        OpenItem("paused", f"{pause.words}: {', '.join(steps)} held back", letting_go(pause))
        for pause in pause_of(state, held.pauses)
        if (steps := held_steps(state, held.pauses))
    ]
    if state.asked is not None and state.state == "running":
        found.append(OpenItem("asked", "a rollback was asked for and is not decided yet", resume))
    found += [
        OpenItem(
            "value out",
            f"{place['value']} {place['asset']} ({place['base_units']} base units) on "
            f"{place['chain']}, step {place['step']}: {place['holder']}",
        )
        for place in told["where"]
    ]
    for wait in waiting(state, state.updated_ms, held):
        about = f"step {wait['step']}: " if wait["step"] else ""
        until = moment_s(int(wait["until_s"]))
        found.append(OpenItem("waits", f"{about}{wait['reason']} (alarms at {until})", resume))
    return found


def _unproved(state: SagaState, steps: "Sequence[StepFacts]") -> list[OpenItem]:
    ended = state.state in ENDS
    found = []
    for step in steps:
        for effort in step.efforts:
            evidence, about = effort.evidence, f"{effort.direction} of {step.id} on {step.chain}"
            if evidence.status == "unproved":
                detail = f" ({evidence.detail})" if evidence.detail else ""
                found.append(OpenItem("no proof", f"{about}: {evidence.reason}{detail}"))
            elif evidence.status == "missing":
                text = "asked for, and the records have neither a proof nor a reason"
                found.append(OpenItem("no proof", f"{about}: {text if ended else 'not made yet'}"))
    return found


def _fee_mismatch(records: Sequence[Record], flows: Sequence[Flow]) -> list[OpenItem]:
    """Hold the closing record's fees against the sum of the outcomes, where it is the last word."""
    if records[-1].kind != "closed":
        return []
    summed: dict[str, int] = {}
    for flow in flows:
        summed[flow.asset] = summed.get(flow.asset, 0) + flow.fees
    named = {asset: int(fee) for asset, fee in records[-1].data["fees"].items()}
    return [
        OpenItem(
            "fees differ",
            f"{asset}: the closing record says {named.get(asset, 0)} base units, the outcomes sum "
            f"to {summed.get(asset, 0)}",
        )
        for asset in sorted({*named, *summed})
        if named.get(asset, 0) != summed.get(asset, 0)
    ]
