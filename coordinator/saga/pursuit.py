"""What every direction shares: bring one effort to `done`, with as many tries as it takes. Pure."""

from collections.abc import Mapping
from typing import Any

from coordinator.journal.base import Entry
from coordinator.saga.commands import Act, Append, Draft, Now, Send, Wait
from coordinator.saga.state import Direction, SagaState, Step
from coordinator.saga.waits import finality, inclusion, not_yet_refundable, patience_s, regeneration

__all__ = ["closed", "decided", "finished", "pursue", "send"]


def pursue(state: SagaState, step: Step, direction: Direction, now: Now, plan: Draft) -> None:
    """Bring confirm, undo or a repaired forward to ``done``, with as many tries as it takes."""
    effort = state.effort(step.id, direction)
    if effort.phase == "included":
        plan.waits.append(finality(step, direction, effort))
    elif effort.phase == "unknown" and effort.attempts:
        plan.commands.append(send(state, step, direction))
        plan.waits.append(inclusion(step, direction, effort))
    elif effort.phase == "not_done" and (gate := regeneration(state, step, direction, now)):
        plan.waits.append(gate)
    elif direction == "undo" and (closed := not_yet_refundable(state, step, now)):
        plan.waits.append(closed)
    else:
        plan.commands.append(Act(step, direction))
        plan.waits.append(Wait("being prepared", patience_s(state, step, now), step.id, direction))


def send(state: SagaState, step: Step, direction: Direction, *, kill: bool = False) -> Act | Send:
    """Send what is stored, or first replace it where an operator raised the cap since."""
    if state.cap_raised(step.id, direction):
        return Act(step, direction, kill=kill)
    return Send(step, direction, kill=kill)


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
