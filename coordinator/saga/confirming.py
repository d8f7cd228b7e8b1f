"""Confirming: after the commit there is only forward, for ever. Pure."""

from coordinator.saga.commands import Decision, Deliver, Draft, Now, Wait
from coordinator.saga.evidence import before_closing, want
from coordinator.saga.pursuit import closed, finished, pursue
from coordinator.saga.state import Effort, SagaState, Step
from coordinator.saga.waits import finality

__all__ = ["confirming"]


def confirming(state: SagaState, now: Now) -> Decision:
    """Return what brings every confirm to its end."""
    plan = Draft()
    for step in state.steps:  # finality that broke after the decision is repaired first
        effort = state.effort(step.id, "forward")
        if step.forward and effort.phase not in ("done", "written_off"):
            pursue(state, step, "forward", now, plan)
    for name in state.plan["confirm_order"]:
        step = state.step(name)
        if not step.confirm or finished(state, step, "confirm"):
            continue
        if state.verdict("reclaim", step.id) is not None:
            pursue(state, step, "undo", now, plan)
        elif step.reveals and step.deliver != "calldata":
            _await_redeem(state, step, now, plan)
        else:
            pursue(state, step, "confirm", now, plan)
    if plan.commands or plan.waits:
        want(state, plan)
        return plan.done()
    return before_closing(state) or Decision((closed(state, "committed"),))


def _await_redeem(state: SagaState, step: Step, now: Now, plan: Draft) -> None:
    """The preimage is out; the payee acts, and we never refund by ourselves."""
    effort = state.effort(step.id, "confirm")
    if effort.phase == "included":
        plan.waits.append(finality(step, "confirm", effort))
        return
    plan.commands.append(Deliver(step))
    plan.waits.append(_redeem_wait(step, effort, now))


def _redeem_wait(step: Step, effort: Effort, now: Now) -> Wait:
    """Alarms when half, a quarter and nothing is left of the time that the reveal gave."""
    half_s = effort.until_s
    half_span_s = max(1, half_s - effort.revealed_ms // 1000)
    points = (half_s, half_s + half_span_s // 2, half_s + half_span_s)
    passed = [point for point in points if point <= now.host_s]
    coming = [point for point in points if point > now.host_s]
    return Wait(
        f"the payee to redeem it ({step.text})",
        passed[-1] if passed else coming[0],
        step.id,
        "confirm",
        urgent=True,
        next_s=coming[0] if coming else 0,
    )
