"""Undoing: back in reverse order, each undo after the one before is final. Pure."""

from coordinator.saga.commands import Act, Decision, Draft, Now, Send, Wait
from coordinator.saga.evidence import before_closing, want
from coordinator.saga.pursuit import closed, finished, pursue, push
from coordinator.saga.state import Effort, SagaState, Step
from coordinator.saga.waits import finality, inclusion

__all__ = ["undoing"]


def undoing(state: SagaState, now: Now) -> Decision:
    """Return what takes back the last effect that still stands."""
    plan = Draft()
    blocked = False
    for step in reversed(state.steps):
        if not step.forward:
            continue
        if blocked:
            # Order binds undos only; an attempt that may still land is ended at once.
            _settle_forward(state, step, now, plan, only_kill=True)
        else:
            blocked = not _taken_back(state, step, now, plan)
    if blocked:
        want(state, plan)
        return plan.done()
    return before_closing(state) or Decision((closed(state, "rolled_back"),))


def _taken_back(state: SagaState, step: Step, now: Now, plan: Draft) -> bool:
    """Plan the next act for ``step``; True when nothing of it stands any more."""
    forward = state.effort(step.id, "forward")
    if forward.phase in ("idle", "not_done", "written_off"):
        return True
    if forward.phase != "done":
        _settle_forward(state, step, now, plan)
        return False
    if finished(state, step, "undo"):
        return True
    pursue(state, step, "undo", now, plan)
    return False


def _settle_forward(
    state: SagaState, step: Step, now: Now, plan: Draft, *, only_kill: bool = False
) -> None:
    """Bring a forward effort whose outcome is open to one."""
    effort = state.effort(step.id, "forward")
    if effort.phase == "included" and not only_kill:
        plan.waits.append(finality(step, "forward", effort))
    if effort.phase != "unknown":
        return
    if state.effort(step.id, "undo").phase in ("unknown", "included", "done"):
        # Its undo is out already: it must be there for the undo to stand on.
        plan.commands.append(Send(step, "forward"))
    elif not step.kill:
        plan.waits.append(
            Wait(
                "a person's verdict: its outcome is unknown and it can not be burnt",
                effort.until_s,
                step.id,
                "forward",
            )
        )
        return
    elif not effort.killing or _tombstone_due(state, step, effort):
        plan.commands.append(Act(step, "forward", kill=True))
    else:
        push(state, step, "forward", now, plan, kill=True)
        return
    plan.waits.append(inclusion(state, step, "forward", effort, now))


def _tombstone_due(state: SagaState, step: Step, effort: Effort) -> bool:
    """The burn's account ran dry: another signer can cancel the operation id instead."""
    stuck = state.stuck
    return (
        "tombstone" in step.kill
        and not effort.has("tombstone")
        and stuck is not None
        and stuck.get("step") == step.id
        and stuck.get("fund") is not None
    )
