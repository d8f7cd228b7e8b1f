"""The course of a saga, retold from its records: states, phases, attempts, outcomes.

Own code, from the tables in coordinator/README.md: it shares nothing with the engine that wrote the
records. A record that may not follow what came before is refused by `apply`.
"""

from collections.abc import Mapping
from typing import Any, Final

from proofs.errors import Refused
from proofs.saga_form import Line
from proofs.saga_plan import steps_of
from proofs.saga_state import LIVE, Attempt, Course, Effort

__all__ = ["CHECK", "apply"]

#: Name of the check that refuses a record which may not follow those before it.
CHECK: Final = "saga-transition"

_DECIDED: Final[Mapping[str, str]] = {"commit": "confirming", "rollback": "undoing"}
_CLOSES: Final[Mapping[str, frozenset[str]]] = {
    "confirming": frozenset({"committed", "closed_by_operator"}),
    "undoing": frozenset({"rolled_back", "closed_by_operator"}),
}
_REOPENS: Final[Mapping[str, str]] = {"committed": "confirming", "rolled_back": "undoing"}

#: What may be sent for a direction while the saga is in a state.
_PURPOSES: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "running": {"forward": frozenset({"effect", "burn", "tombstone"})},
    "undoing": {
        "forward": frozenset({"burn", "tombstone"}),
        "undo": frozenset({"effect"}),
    },
    "confirming": {
        "forward": frozenset({"effect"}),
        "confirm": frozenset({"effect"}),
        "undo": frozenset({"effect"}),
    },
    "rolled_back": {"forward": frozenset({"burn"})},
    "closed_by_operator": {"forward": frozenset({"burn"})},
}

#: What a record makes of an effort: kind → phases it may follow → the phase after it.
_PHASES: Final[Mapping[str, Mapping[str, str]]] = {
    "refused": {"idle": "not_done"},
    "reveal": {"idle": "unknown"},
    "effect": {"idle": "unknown", "unknown": "unknown", "not_done": "unknown"},
    "kill": {"unknown": "unknown", "not_done": "not_done"},
    "included": {"unknown": "included", "included": "included"},
    "orphaned": {"included": "unknown"},
    "done": {"unknown": "done", "included": "done"},
    "not_done": {"unknown": "not_done", "not_done": "not_done"},
    "withdrawn": {"done": "unknown", "not_done": "unknown"},
    "proved": {"done": "done", "not_done": "not_done"},
    "unproved": {"done": "done", "not_done": "not_done"},
    "write_off": {
        "idle": "written_off",
        "unknown": "written_off",
        "included": "written_off",
        "not_done": "written_off",
    },
}


def apply(course: Course, line: Line) -> None:
    """Take in one more record.

    Raises:
        Refused: ``saga-transition``: it may not follow; ``record-form`` or ``plan-steps``: the
            plan is none.
    """
    if (line.kind == "started") == bool(course.state):
        raise _refused(line, "a saga begins with started, once")
    if line.seq != course.seq + 1:
        raise _refused(line, f"it does not follow record {course.seq}")
    step = line.data.get("step")
    if line.kind != "stuck" and step is not None and step not in course.by_name:
        raise _refused(line, "the plan has no such step")
    _APPLY[line.kind](course, line)
    course.seq = line.seq


def _move(course: Course, line: Line, kind: str, direction: str | None = None) -> Effort:
    """Lead the effort that a record is about to its next phase."""
    key = (line.data["step"], direction or line.data["dir"])
    effort = course.efforts.setdefault(key, Effort())
    after = _PHASES[kind].get(effort.phase)
    if after is None:
        raise _refused(line, f"the {key[1]} of step {key[0]} is {effort.phase}")
    effort.phase = after
    return effort


def _pay(course: Course, line: Line, facts: Mapping[str, Any], sign: int) -> None:
    """Count what a final transaction of ours cost, or take it back."""
    fee = int(facts.get("fee", "0"))
    if fee:
        asset = course.by_name[line.data["step"]].fee_asset
        course.fees[asset] = course.fees.get(asset, 0) + sign * fee


def _refused(line: Line, why: str) -> Refused:
    return Refused(CHECK, f"record {line.seq} ({line.kind}): {why}")


def _started(course: Course, line: Line) -> None:
    course.started, course.plan = line.data, line.data["plan"]
    course.steps = steps_of(course.plan)
    course.by_name = {step.id: step for step in course.steps}
    course.state = "running"


def _decided(course: Course, line: Line) -> None:
    if course.state != "running":
        raise _refused(line, f"the saga is {course.state}")
    course.decision, course.cause = line.data["decision"], line.data["cause"]
    course.state = _DECIDED[course.decision]


def _closed(course: Course, line: Line) -> None:
    if line.data["state"] not in _CLOSES.get(course.state, frozenset()):
        raise _refused(line, f"a saga that is {course.state} does not end so")
    if line.data["records"] != line.seq:
        raise _refused(line, f"it counts {line.data['records']} records")
    course.state = line.data["state"]


def _reopened(course: Course, line: Line) -> None:
    after = _REOPENS.get(course.state)
    if after is None:
        raise _refused(line, f"the saga is {course.state}")
    course.state = after


def _refuse(course: Course, line: Line) -> None:
    if course.state != "running":
        raise _refused(line, f"the saga is {course.state}")
    _move(course, line, "refused", "forward")


def _intent(course: Course, line: Line) -> None:
    data = line.data
    allowed = _PURPOSES.get(course.state, {}).get(data["dir"], frozenset())
    if data["purpose"] not in allowed:
        raise _refused(line, f"no {data['purpose']} of a {data['dir']} while {course.state}")
    before = course.effort(data["step"], data["dir"])
    effect = data["purpose"] == "effect"
    generation = before.generation + (effect and before.phase == "not_done")
    if data["gen"] != generation:
        raise _refused(line, f"generation {data['gen']} where {generation} is next")
    effort = _move(course, line, "effect" if effect else "kill")
    effort.generation = generation
    claim = frozenset((resource, value) for resource, value in data["claim"])
    effort.attempts.append(
        Attempt(line.seq, generation, data["purpose"], data["tx"], claim, data["facts"])
    )
    effort.hashlock = data.get("hashlock", effort.hashlock)


def _reveal(course: Course, line: Line) -> None:
    if course.state != "confirming":
        raise _refused(line, f"the saga is {course.state}")
    effort = _move(course, line, "reveal", "confirm")
    effort.revealed, effort.hashlock = True, line.data["hashlock"]


def _found(effort: Effort, line: Line) -> None:
    data = line.data
    effort.tx, effort.block, effort.height = data["tx"], data["block"], data["height"]
    effort.facts = data["facts"]
    effort.executed_ms = effort.executed_ms or line.at_ms
    effort.proof, effort.evidence = "", None


def _included(course: Course, line: Line) -> None:
    _found(_move(course, line, "included"), line)


def _orphaned(course: Course, line: Line) -> None:
    _move(course, line, "orphaned").forget()


def _done(course: Course, line: Line) -> None:
    effort = _move(course, line, "done")
    _same_generation(effort, line)
    _found(effort, line)
    effort.outcome_seq, effort.was_done = line.seq, True
    _pay(course, line, line.data["facts"], 1)


def _not_done(course: Course, line: Line) -> None:
    before = course.effort(line.data["step"], line.data["dir"])
    if before.phase == "not_done":  # again: a claim that was left open is consumed as well now
        _pay(course, line, before.facts, -1)
    effort = _move(course, line, "not_done")
    _same_generation(effort, line)
    data = line.data
    effort.tx, effort.block, effort.height = data["tx"], data["block"], data["height"]
    effort.facts, effort.claim_open = data["facts"], data["claim_open"]
    effort.outcome_seq, effort.proof, effort.evidence = line.seq, "", None
    _pay(course, line, data["facts"], 1)


def _withdrawn(course: Course, line: Line) -> None:
    before = course.effort(line.data["step"], line.data["dir"])
    if before.phase != line.data["was"]:
        raise _refused(line, f"it takes back {line.data['was']}, the effort is {before.phase}")
    _pay(course, line, before.facts, -1)
    _move(course, line, "withdrawn").forget()


def _proved(course: Course, line: Line) -> None:
    effort = _of_present_outcome(course, line)
    effort.proof, effort.evidence = "proved", line.data


def _unproved(course: Course, line: Line) -> None:
    effort = _of_present_outcome(course, line)
    if effort.proof:
        raise _refused(line, "it says again why there is no proof")
    effort.proof = line.data["reason"]


def _of_present_outcome(course: Course, line: Line) -> Effort:
    data = line.data
    effort = _move(course, line, line.kind)
    named = (data["tx"], data["block"], data["height"], data["gen"], data["outcome"])
    if named != (effort.tx, effort.block, effort.height, effort.generation, effort.phase):
        raise _refused(line, "it is about another outcome than the present one")
    if effort.proof == "proved":
        raise _refused(line, "the outcome is proved already")
    return effort


def _verdict(course: Course, line: Line) -> None:
    if course.state not in LIVE:
        raise _refused(line, f"the saga is {course.state}")
    if line.data["verdict"] == "write_off":
        _move(course, line, "write_off")
    course.verdicts.append(line.data)


def _asked(course: Course, line: Line) -> None:
    if course.state != "running":
        raise _refused(line, f"the saga is {course.state}")
    course.asked = True


def _live(course: Course, line: Line) -> None:
    if course.state not in LIVE:
        raise _refused(line, f"the saga is {course.state}")


def _always(_course: Course, _line: Line) -> None:
    """Another process goes on; nothing else changes."""


def _same_generation(effort: Effort, line: Line) -> None:
    if line.data["gen"] != effort.generation:
        raise _refused(line, f"generation {line.data['gen']} where it is {effort.generation}")


_APPLY: Final = {
    "started": _started,
    "refused": _refuse,
    "intent": _intent,
    "reveal": _reveal,
    "included": _included,
    "orphaned": _orphaned,
    "done": _done,
    "not_done": _not_done,
    "withdrawn": _withdrawn,
    "proved": _proved,
    "unproved": _unproved,
    "decided": _decided,
    "asked": _asked,
    "verdict": _verdict,
    "stuck": _live,
    "paused": _live,
    "unpaused": _live,
    "taken_over": _always,
    "reopened": _reopened,
    "closed": _closed,
}
