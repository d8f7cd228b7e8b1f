"""What happens if: one row for every prefix of a plan and every way in which the next step can go.

Derived from the lock alone, in the words of the protocol (DESIGN.md §3); nothing here decides
anything, the saga's own table does. Also the worst-case loss after each prefix.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from coordinator.plan.value import GONE, fees_of, pivot_index

__all__ = ["FailureRow", "Outcome", "WorstCase", "failure_table", "worst_cases"]

_Lock = Mapping[str, Any]
_Step = Mapping[str, Any]
Outcome = Literal["fails", "unknown", "reorganised away", "late success"]

OUTCOMES: Final[tuple[Outcome, ...]] = ("fails", "unknown", "reorganised away", "late success")


@dataclass(frozen=True, slots=True)
class FailureRow:
    """One answer.

    Attributes:
        after: how many steps had taken effect before.
        step: the step that goes wrong.
        outcome: how: it fails for good; nobody can tell yet; its effect was included and its block
            is gone; it takes effect after the rollback was decided.
        action: the next action, in words.
        undone: ids of the steps that are undone, in this order; where the outcome is still open,
            if it ends badly.
        end: the state in which the saga ends if it goes well from there.
    """

    after: int
    step: str
    outcome: Outcome
    action: str
    undone: tuple[str, ...]
    end: Literal["committed", "rolled_back"]


@dataclass(frozen=True, slots=True)
class WorstCase:
    """The most that can be lost or bound once ``after`` steps took effect and the next one fails.

    Attributes:
        fees: asset → caps of all forwards and of all undos or confirms, whichever cost more, and
            of the burn of the attempt that failed; after the point of no return no undos.
        bound: asset → what our accounts have put into escrow until confirm or undo.
        irreversible: asset → what went out at or after the point of no return for good.
    """

    after: int
    fees: Mapping[str, int]
    bound: Mapping[str, int]
    irreversible: Mapping[str, int]


def failure_table(lock: _Lock) -> list[FailureRow]:
    """Return the rows by prefix, then by outcome."""
    return [row for index in range(len(lock["steps"])) for row in _rows(lock, index)]


def _rows(lock: _Lock, index: int) -> Iterator[FailureRow]:
    step = lock["steps"][index]
    words = {"pivot": _pivot_words, "retriable": _retriable_words}.get(step["class"], _words)
    for outcome in OUTCOMES:
        back = outcome in {"fails", "late success"} and step["class"] != "retriable"
        # A pivot that lands late has landed: it decides for commit.
        if step["class"] == "pivot" and outcome == "late success":
            back = False
        through = index + 1 if outcome == "late success" else index
        undone = _undone(lock, through) if back or _may_go_back(step, outcome) else ()
        yield FailureRow(
            index, step["id"], outcome, words(step, outcome), undone,
            "rolled_back" if back else "committed",
        )  # fmt: skip


def _may_go_back(step: _Step, outcome: Outcome) -> bool:
    """Tell whether an outcome that is still open leads to a rollback if it ends badly."""
    return outcome in {"unknown", "reorganised away"} and step["class"] != "retriable"


def _undone(lock: _Lock, through: int) -> tuple[str, ...]:
    return tuple(step["id"] for step in reversed(lock["steps"][:through]) if step["undo"])


def _kill(step: _Step) -> str:
    ways = {
        "burn": "burn its claim by a self-spend",
        "tombstone": "cancel its operation id on the chain",
    }
    if not step["kill"]:
        return "ask a person for a verdict"
    return ", or ".join(ways[way] for way in step["kill"])


def _words(step: _Step, outcome: Outcome) -> str:
    match outcome:
        case "fails":
            return "decide rollback at once; nothing later starts; this step is not undone"
        case "unknown":
            return (
                "look again and send the same bytes; start nothing new; after the deadline decide "
                f"rollback and {_kill(step)} before anything is undone"
            )
        case "reorganised away":
            return (
                "count it as unknown again and send the same bytes; no decision until it is final"
            )
    return f"undo it too, first of all, because it is the newest: {step['undo_text']}"


def _pivot_words(step: _Step, outcome: Outcome) -> str:
    match outcome:
        case "fails":
            return "the point of no return was not passed: decide rollback when that is final"
        case "unknown":
            return (
                "look again and send the same bytes, whatever the clock says; on request "
                f"{_kill(step)}; the decision follows this effect alone"
            )
        case "reorganised away":
            return "send the same bytes; the decision waits until it is final or proven absent"
    return "it decides: commit; nothing is undone"


def _retriable_words(_: _Step, outcome: Outcome) -> str:
    match outcome:
        case "fails":
            return "try again with a new generation, for ever, with alarms: there is no way back"
        case "unknown":
            return "look again and send the same bytes, higher in fee, for ever"
        case "reorganised away":
            return "send the same bytes, then a new generation once the former is proven absent"
    return "it counts: any generation of it is the effect"


def worst_cases(lock: _Lock) -> list[WorstCase]:
    """Return the worst case of each prefix, the empty and the whole one included."""
    return [_worst(lock, after) for after in range(len(lock["steps"]) + 1)]


def _worst(lock: _Lock, after: int) -> WorstCase:
    fees: dict[str, int] = defaultdict(int)
    bound: dict[str, int] = defaultdict(int)
    gone: dict[str, int] = defaultdict(int)
    passed = after > pivot_index(lock)
    for index, step in enumerate(lock["steps"][: after + 1]):
        fees[step["fee_asset"]] += _worst_fee(step, passed=passed, failing=index == after)
        for move in step["moves"] if index < after else ():
            if step["class"] == "pivot" or move["target"] in GONE:
                gone[move["asset"]] += int(move["amount"])
            elif step["undo"] and move["source"] not in {"issued", "outside"}:
                bound[move["asset"]] += int(move["amount"])
    return WorstCase(after, dict(fees), dict(bound), dict(gone))


def _worst_fee(step: _Step, *, passed: bool, failing: bool) -> int:
    """Return the caps of one step: there is no way back once the point of no return is passed."""
    if passed:
        return fees_of(step, ("forward", "confirm"))
    if failing:
        return fees_of(step, ("forward", "undo", "burn"))
    return fees_of(step, ("forward",)) + max(fees_of(step, ("undo",)), fees_of(step, ("confirm",)))
