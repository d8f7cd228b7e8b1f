"""Running: step by step to the decision, and the pivot before it. Pure."""

from typing import Any

from coordinator.journal.base import Entry
from coordinator.saga.commands import Act, Append, Decision, Draft, Now, Wait
from coordinator.saga.evidence import required, short_of_proof, waiting, want
from coordinator.saga.holding import halted, holders
from coordinator.saga.pursuit import decided, push
from coordinator.saga.state import SagaState, Step
from coordinator.saga.waits import (
    expiry_s,
    finality,
    inclusion,
    patience_s,
    settling_ms,
    short_margin,
)

__all__ = ["late_clocks", "running"]


def running(state: SagaState, now: Now) -> Decision:
    """Return what brings the saga nearer to its decision, or the decision."""
    pivot = state.pivot
    if pivot is not None and state.effort(pivot.id, "forward").phase != "idle":
        return _after_pivot(state, pivot, now)
    cause = _failure(state) or _request(state) or _lateness(state, now)
    if cause is not None:
        return Decision((decided("rollback", cause),))
    plan = Draft()
    want(state, plan)
    for step in state.steps:
        if not step.forward:
            continue
        effort = state.effort(step.id, "forward")
        if effort.phase == "done" and required(state, step):
            plan.waits.append(waiting(state, step))
        if effort.phase == "idle":
            _start(state, step, now, plan)
            return plan.done()
        if effort.phase == "unknown":
            if state.verdict("burn", step.id) is not None and not effort.killing:
                plan.commands.append(Act(step, "forward", kill=True))
                plan.waits.append(inclusion(state, step, "forward", effort, now))
            else:
                push(state, step, "forward", now, plan, kill=effort.killing)
            return plan.done()
        if effort.phase == "included":
            plan.waits.append(finality(step, "forward", effort))
            if step.wait_final:
                return plan.done()
    if plan.waits:
        return plan.done()
    return _commit(state, now)


def _start(state: SagaState, step: Step, now: Now, plan: Draft) -> None:
    """Begin ``step`` unless something holds it back."""
    if step.pivot and plan.waits:  # something before it is included and not yet final
        return
    # Nothing begins that could not be confirmed any more; a pivot's own worst case comes first.
    extra_ms = settling_ms(step) if step.pivot else 0
    short = short_margin(state, now, extra_ms, seen=not step.pivot)
    if short is not None:
        plan.commands.append(decided("rollback", short))
        return
    held = holders(state, step, now.pauses)
    if held:
        # At the deadline it rolls back, paused or not: no alarm before that.
        until_s = state.deadline_s + 1
        plan.waits.append(Wait(held[0].words, until_s, step.id, "forward", held=True))
        return
    halt = halted(state, step, "forward", now)
    if halt is not None:
        plan.waits.append(Wait(halt, state.deadline_s + 1, step.id, "forward", held=True))
        return
    plan.commands.append(Act(step, "forward"))
    plan.waits.append(Wait("being prepared", patience_s(state, step, now), step.id, "forward"))


def _after_pivot(state: SagaState, pivot: Step, now: Now) -> Decision:
    """The pivot's intent is durable (or its preflight refused): the decision follows it alone."""
    effort = state.effort(pivot.id, "forward")
    if effort.phase == "done":
        return _commit(state, now, margins=False)
    if effort.phase in ("not_done", "written_off"):
        # What the pivot was ended for is the cause, not that it was.
        why = _ended_by(state, pivot)
        if why is None and effort.killing:
            why = _request(state) or _lateness(state, now)
        failed = {"kind": "failed", "step": pivot.id, "text": effort.reason or "not done"}
        return Decision((decided("rollback", why or _failure(state) or failed),))
    plan = Draft()
    if effort.phase == "included":
        plan.waits.append(finality(pivot, "forward", effort))
        return plan.done()
    wants_back = (
        _request(state) or _lateness(state, now) or state.verdict("burn", pivot.id)
    ) is not None
    if wants_back and pivot.kill and not effort.killing:
        plan.commands.append(Act(pivot, "forward", kill=True))
        plan.waits.append(inclusion(state, pivot, "forward", effort, now))
    else:
        push(state, pivot, "forward", now, plan, kill=effort.killing)
    return plan.done()


def _commit(state: SagaState, now: Now, *, margins: bool = True) -> Decision:
    short = short_margin(state, now) if margins else None
    if short is not None:
        return Decision((decided("rollback", short),))
    entries = list(decided("commit", {"kind": "complete", "text": "every effect is final"}).entries)
    for step in state.steps:
        if step.reveals:
            forward = state.effort(step.id, "forward")
            entries.append(
                Entry(
                    "reveal",
                    {
                        "step": step.id,
                        "gen": 1,
                        "hashlock": forward.hashlock,
                        "deliver": step.deliver,
                        "until_s": expiry_s(state, step, now, share=2),
                    },
                )
            )
    return Decision((Append(tuple(entries)),))


def _failure(state: SagaState) -> dict[str, Any] | None:
    for step in state.steps:
        effort = state.efforts.get((step.id, "forward"))
        if effort is None:
            continue
        if effort.phase == "not_done":
            ended = _ended_by(state, step)
            if ended is not None:
                return ended
            kind = "refused" if not effort.attempts else "failed"
            return {"kind": kind, "step": step.id, "text": effort.reason or "not done"}
        if effort.phase == "written_off":
            return {"kind": "written_off", "step": step.id, "text": "written off by the operator"}
    return None


def _ended_by(state: SagaState, step: Step) -> dict[str, Any] | None:
    """Return who had the step burnt, if that is what ended it."""
    verdict, effort = state.verdict("burn", step.id), state.effort(step.id, "forward")
    landed = {attempt.tx_id: attempt.purpose for attempt in effort.attempts}.get(effort.tx or "")
    if verdict is None or landed not in ("burn", "tombstone"):
        return None
    who = ", ".join(verdict["by"])
    return {"kind": "operator", "step": step.id, "text": f"{who}: {verdict['reason']}"}


def _request(state: SagaState) -> dict[str, Any] | None:
    if state.asked is None:
        return None
    return {"kind": "operator", "text": f"{state.asked['by']}: {state.asked['reason']}"}


def late_clocks(state: SagaState, now: Now) -> list[str]:
    """Return whose clocks are past the deadline: going forward stops at any one of them."""
    deadline_s, clocks = state.deadline_s, now.chains
    late = ["the host's"] if now.host_s > deadline_s else []
    for chain in state.chains:  # no comprehension: this runs before every step of every saga
        if chain in clocks and clocks[chain].time_s > deadline_s:
            late += (f"{chain}'s",)
    return late


def _lateness(state: SagaState, now: Now) -> dict[str, Any] | None:
    late = late_clocks(state, now)
    if not late:
        return None
    text = f"deadline passed by {' and '.join(late)} clock"
    step = short_of_proof(state)
    if step is not None and all(
        state.effort(other.id, "forward").phase == "done"
        for other in state.steps
        if other.forward and not other.pivot
    ):
        why = state.effort(step.id, "forward").proof or "no answer"
        lacks = f"{text}; {step.chain} requires proof of step {step.id} and there is none ({why})"
        return {"kind": "unproved", "step": step.id, "text": lacks}
    return {"kind": "deadline", "text": text}
