"""What must be true of a saga by its records alone, whatever any chain says.

The rules (DESIGN.md, R1 to R3 and the protocol) are written here a second time, from their words:
nothing is shared with the engine that made the records.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from proofs.errors import ProofError, Refused
from proofs.report import Check, failed, passed, unverified
from proofs.saga_course import apply
from proofs.saga_end import AfterEnd, Closing, Fees, Proofs, still_true
from proofs.saga_form import Line, lines_of
from proofs.saga_intents import Claims, Intents, OneEffect
from proofs.saga_order import (
    Decision,
    ForwardOrder,
    Operator,
    Reveals,
    UndoOrder,
    UndoRecords,
)
from proofs.saga_state import ENDS, Course

__all__ = ["RULES", "check_rules", "course_of"]


class _Rule(Protocol):
    @property
    def name(self) -> str: ...

    def see(self, course: Course, line: Line) -> None: ...


#: Every rule, with what a report says when nothing breaks it.
RULES: Final[Mapping[type[Any], str]] = {
    Intents: "every effect had its durable intent before it",
    OneEffect: "no step has two effects, and no transaction counts twice",
    Claims: "attempts of one generation share their claim, efforts share none",
    ForwardOrder: "steps began in the plan's order, before the deadline",
    Decision: "decided at most once, and only when it could be",
    Reveals: "no preimage was let out before the commit",
    UndoOrder: "undone in exactly reverse order, each after the one before",
    UndoRecords: "every undo says when, why and with what result",
    Operator: "value was given up by two persons or not at all",
    Proofs: "required evidence was there before the point of no return",
    Closing: "the end is what the efforts say",
    AfterEnd: "nothing was changed after the end",
    Fees: "the closing record counts the fees of all outcomes",
}


#: A journal that was restored from a backup lacks records. What they showed, nobody can check any
#: more: such a saga is never called valid, and not called false either.
_LOST: Final = "records were lost before this journal was recovered"
_SHOWN_BY_LOST: Final = frozenset({"intents", "forward-order", "decision", "undo-order", "proofs"})


def course_of(records: Sequence[Mapping[str, Any]]) -> Course:
    """Return the state after all records.

    Raises:
        Refused: ``record-form``, ``plan-steps``, ``saga-transition``.
    """
    course = Course()
    for line in lines_of(records):
        apply(course, line)
    if not course.state:
        raise Refused("saga-transition", "a saga without a record")
    return course


def check_rules(records: Sequence[Mapping[str, Any]]) -> tuple[Check, ...]:
    """Return what each rule says of these records; a broken one names the record."""
    rules: list[_Rule] = [rule() for rule in RULES]
    #: rule → number of the record that breaks it, and how.
    broken: dict[str, tuple[int, str]] = {}
    course, halted = Course(), None
    adopted = _adopted(records)
    try:
        for line in lines_of(records):
            if course.state:
                _see(rules, broken, course, line)
            apply(course, line)
        if not course.state:
            raise Refused("saga-transition", "a saga without a record")
    except ProofError as refused:
        halted = refused
    checks = [_transitions(halted, course)]
    for rule, good in zip(rules, RULES.values(), strict=True):
        name = f"rules.{rule.name}"
        if rule.name in broken:
            seq, reason = broken[rule.name]
            lost = rule.name in _SHOWN_BY_LOST and adopted and seq >= adopted[0]
            checks.append(unverified(name, f"{_LOST}; {reason}") if lost else failed(name, reason))
        elif adopted and halted is None and rule.name == Intents.name:
            named = ", ".join(map(str, adopted))
            checks.append(unverified(name, f"{_LOST}: the intents {named} were adopted"))
        elif halted is not None:
            checks.append(unverified(name, "the records could not be followed to their end"))
        else:
            checks.append(_ended(name, course, good))
    return tuple(checks)


def _adopted(records: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return which records are intents of a recovery: of effects that the chains show
    (``adopted``), or made only to be burnt (``unsent``).
    """
    found = []
    given: Sequence[Any] = records
    for seq, record in enumerate(given, start=1):
        data = record.get("data") if isinstance(record, Mapping) else None
        if not isinstance(data, Mapping) or record.get("kind") != "intent":
            continue
        if data.get("adopted") is True or data.get("unsent") is True:
            found.append(seq)
    return found


def _see(
    rules: Sequence[_Rule], broken: dict[str, tuple[int, str]], course: Course, line: Line
) -> None:
    """Show a record that the transitions may still refuse to every rule that is not broken."""
    step = line.data.get("step")
    if step is not None and step not in course.by_name:
        return
    for rule in rules:
        if rule.name in broken:
            continue
        try:
            rule.see(course, line)
        except Refused as refused:
            broken[rule.name] = line.seq, refused.reason


def _transitions(halted: ProofError | None, course: Course) -> Check:
    if halted is not None:
        return failed("rules.transitions", halted)
    return passed("rules.transitions", f"{course.seq} records, each allowed where it stands")


def _ended(name: str, course: Course, good: str) -> Check:
    if name != "rules.closing":
        return passed(name, good)
    if course.state not in ENDS:
        return unverified(name, f"the saga is {course.state}: records may be missing or to come")
    gone = still_true(course)
    if gone is not None:
        return unverified(name, f"what was final broke after the end: {gone}")
    return passed(name, good)
