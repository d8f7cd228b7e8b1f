"""What every direction shares: bring one effort to `done`, with as many tries as it takes. Pure."""

from collections.abc import Mapping
from typing import Any

from coordinator.journal.base import Entry
from coordinator.saga.commands import Act, Append, Draft, Now, Send, Wait
from coordinator.saga.holding import halted
from coordinator.saga.state import Direction, SagaState, Step
from coordinator.saga.waits import (
    finality,
    inclusion,
    not_yet_refundable,
    passed_by,
    patience_s,
    regeneration,
)

__all__ = ["closed", "decided", "finished", "pursue", "push"]


def pursue(state: SagaState, step: Step, direction: Direction, now: Now, plan: Draft) -> None:
    """Bring confirm, undo or a repaired forward to ``done``, with as many tries as it takes."""
    effort = state.effort(step.id, direction)
    if effort.phase == "included":
        plan.waits.append(finality(step, direction, effort))
    elif effort.phase == "unknown" and effort.attempts:
        push(state, step, direction, now, plan)
    elif effort.phase == "not_done" and (gate := regeneration(state, step, direction, now)):
        plan.waits.append(gate)
    elif direction == "undo" and (closed := not_yet_refundable(state, step, now)):
        plan.waits.append(closed)
    elif halt := halted(state, step, direction, now):
        until_s = patience_s(state, step, now)
        plan.waits.append(Wait(halt, until_s, step.id, direction, held=True))
    else:
        plan.commands.append(Act(step, direction))
        plan.waits.append(Wait("being prepared", patience_s(state, step, now), step.id, direction))


def push(
    state: SagaState, step: Step, direction: Direction, now: Now, plan: Draft, *, kill: bool = False
) -> None:
    """Get what is out into a block: send it again, and replace it where that is due.

    It is due where an operator raised the cap since, and where the chain made blocks that passed
    the newest attempt by; a chain that stands still calls for nothing.
    """
    effort = state.effort(step.id, direction)
    if state.cap_raised(step.id, direction) or passed_by(state, step, direction, now):
        plan.commands.append(Act(step, direction, kill=kill, again=True))
    plan.commands.append(Send(step, direction, kill=kill))
    plan.waits.append(inclusion(state, step, direction, effort, now))


def finished(state: SagaState, step: Step, direction: str) -> bool:
    """Whether nothing is left to do for the step in this direction."""
    if state.effort(step.id, direction).phase in ("done", "written_off"):
        return True
    return direction == "confirm" and state.effort(step.id, "undo").phase == "done"


def decided(decision: str, cause: Mapping[str, Any]) -> Append:
    """Return the record of the decision, made once."""
    return Append((Entry("decided", {"decision": decision, "cause": dict(cause)}),))


def closed(state: SagaState, end: str) -> Append:
    """Return the closing record; a write-off or reclaim makes the end the operator's."""
    if any(verdict["verdict"] in ("write_off", "reclaim") for verdict in state.verdicts):
        end = "closed_by_operator"
    fees = {asset: str(amount) for asset, amount in sorted(state.fees.items())}
    return Append((Entry("closed", {"state": end, "records": state.seq + 1, "fees": fees}),))
