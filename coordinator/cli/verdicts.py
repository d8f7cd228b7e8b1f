"""Giving a verdict: who, on what, whether it is taken, and who acts on it."""

import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from coordinator.cli.mistakes import ApprovalMissing, WrongUsage
from coordinator.cli.options import Options
from coordinator.errors import CoordinatorError, Irreversible, PlanError
from coordinator.saga.questions import allowed
from coordinator.saga.table import ENDS

if TYPE_CHECKING:
    from coordinator.config import Config
    from coordinator.saga import SagaState, Step
    from coordinator.saga.state import Direction

__all__ = ["Asked", "Check", "give", "persons"]

#: Verdicts that give value up or move it against the protocol's own course.
_TWO_PERSONS: Final = frozenset({"reclaim", "write_off"})


@dataclass(frozen=True)
class Asked:
    """One verdict as it was given; ``direction`` None means what is open."""

    verdict: str
    args: Mapping[str, Any]
    by: tuple[str, ...]
    reason: str
    direction: str | None

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise WrongUsage("--reason is empty; it stands in the audit log. Nothing was recorded.")


#: Refuses what chain, plan or state contradict; returns the arguments to record.
Check = Callable[
    ["Config", "SagaState", "Step", "Direction", Asked], Awaitable[Mapping[str, Any] | None]
]


def persons(by: list[str], verdict: str) -> tuple[str, ...]:
    """Return who decided; the same name in other letters is the same person.

    Raises:
        WrongUsage: nobody did.
        ApprovalMissing: the verdict needs another person.
    """
    names = {_same(name): name.strip() for name in by if _same(name)}
    if not names:
        raise WrongUsage("--by names nobody. Nothing was recorded.")
    if verdict in _TWO_PERSONS and len(names) < 2:
        raise ApprovalMissing(
            f"{verdict.replace('_', '-')} gives value up, so it needs 2 different persons: --by A "
            "--by B. Nothing was recorded."
        )
    return tuple(names.values())


def _same(name: str) -> str:
    """Return what two spellings of one person's name have in common."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    return " ".join("".join(c for c in plain if c.isprintable() or c.isspace()).split())


async def give(options: Options, saga: str, step_id: str, asked: Asked, check: Check) -> None:
    """Record a verdict on a step and say who acts on it.

    Raises:
        CoordinatorError: it is not taken; the message names the verdicts that are.
    """
    from coordinator.app import open_journal
    from coordinator.journal.liveness import is_attended
    from coordinator.service import find_saga, load, record_verdict, require_allowed

    config = options.load_run()
    journal = open_journal(config)
    try:
        name = find_saga(journal, saga)
        state = load(journal, name)
        step = _step_of(state, step_id)
        direction = _direction_of(state, step, asked)
        require_allowed(state, step, direction, asked.verdict)
        try:
            args = await check(config, state, step, direction, asked)
        except CoordinatorError as refusal:
            told = f"{refusal} {_taken(state, step, direction)}"
            raise type(refusal)(told) from refusal
        state = await record_verdict(
            journal, name, step_id, direction=direction, verdict=asked.verdict,
            by=asked.by, reason=asked.reason, args=asked.args if args is None else args,
        )  # fmt: skip
        attended = is_attended(journal, name)
    finally:
        await journal.close()
    value: dict[str, Any] = {"v": 1, "type": "verdict", "saga": name, **state.verdicts[-1]}
    options.out.document(value | {"attended": attended})
    options.out.data(f"recorded: {asked.verdict} of {step_id} {direction} in saga {name}")
    options.out.say(
        "this call sent nothing; the process that drives the saga acts on it now"
        if attended
        else f"nothing was sent: nobody drives the saga. Go on with: coordinator resume {name}"
    )


def _step_of(state: "SagaState", step_id: str) -> "Step":
    if step_id not in {step.id for step in state.steps}:
        known = ", ".join(step.id for step in state.steps)
        raise PlanError(
            f"saga {state.saga} has no step {step_id}; its steps: {known}. Nothing was recorded."
        )
    if state.state in ENDS:
        raise Irreversible(
            f"saga {state.saga} has ended ({state.state}); a verdict changes nothing any more. "
            f"Nothing was recorded. See: coordinator show {state.saga}"
        )
    return state.step(step_id)


def _direction_of(state: "SagaState", step: "Step", asked: Asked) -> "Direction":
    """Return the direction the verdict is about: as told, or the one that is open."""
    if asked.direction is not None:
        known: tuple[Direction, ...] = ("forward", "confirm", "undo")
        for direction in known:
            if asked.direction == direction:
                return direction
        raise WrongUsage("--direction is forward, confirm or undo. Nothing was recorded.")
    if asked.verdict == "burn":
        return "forward"
    if asked.verdict == "reclaim" or state.state == "confirming":
        return "confirm"
    forward_open = state.effort(step.id, "forward").phase in ("idle", "unknown", "included")
    return "undo" if state.state == "undoing" and not forward_open else "forward"


def _taken(state: "SagaState", step: "Step", direction: "Direction") -> str:
    known = ", ".join(allowed(state, step, direction)).replace("_", "-")
    return f"The {direction} of step {step.id} takes now: {known or 'no verdict'}."
