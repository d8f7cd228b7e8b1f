"""When a wait has lasted too long: the record that says so, to whom, and what they may answer."""

from typing import Any, Final

from coordinator.journal.base import Entry
from coordinator.saga.commands import Decision, Now, Wait
from coordinator.saga.state import SagaState

__all__ = ["overdue", "stuck_entry"]

#: The next look after an alarm: twice the time waited so far, within these bounds.
_NEXT_S_MIN: Final = 60
_NEXT_S_MAX: Final = 6 * 3600


def overdue(state: SagaState, decision: Decision, now: Now) -> Entry | None:
    """Return the ``stuck`` record due now, or None while every wait is within its time."""
    if state.paused and state.state == "running":
        return None
    if state.stuck is not None and now.host_s < state.stuck["until_s"]:
        return None
    late = [wait for wait in decision.waits if wait.until_s <= now.host_s]
    if not late:
        return None
    wait = min(late, key=lambda wait: wait.until_s)
    return stuck_entry(state, wait, now, reason=f"still waiting for {wait.reason}")


def stuck_entry(
    state: SagaState,
    wait: Wait,
    now: Now,
    *,
    reason: str,
    fund: tuple[str, str, int] | None = None,
) -> Entry:
    """Build a ``stuck`` record: reason, question, allowed verdicts and the next look."""
    waited_s = now.host_s - state.updated_ms // 1000
    next_s = now.host_s + min(max(2 * waited_s, _NEXT_S_MIN), _NEXT_S_MAX)
    data: dict[str, Any] = {
        "reason": reason,
        "question": _question(state, wait, fund),
        "verdicts": _verdicts(state, wait),
        "until_s": next_s,
    }
    if wait.step is not None:
        data["step"], data["dir"] = wait.step, wait.direction
    if fund is not None:
        data["fund"] = [fund[0], fund[1], str(fund[2])]
    return Entry("stuck", data)


def _question(state: SagaState, wait: Wait, fund: tuple[str, str, int] | None) -> str:
    if fund is not None:
        return f"fund {fund[0]} with {fund[2]} base units of {fund[1]}"
    if wait.step is None:
        return "look at the chain and its node"
    step = state.step(wait.step)
    if wait.direction == "confirm" and step.reveals:
        return f"ask the payee of step {step.id} to redeem: the preimage is public to them"
    return f"is {step.chain} reachable and moving, and are its fees within the plan's cap?"


def _verdicts(state: SagaState, wait: Wait) -> list[str]:
    if wait.step is None:
        return []
    step = state.step(wait.step)
    verdicts = ["adopt", "write_off"]
    if wait.direction == "forward" and step.kill:
        verdicts.insert(1, "burn")
    if wait.direction == "confirm" and step.reveals:
        verdicts.insert(1, "reclaim")
    return verdicts
