"""When a wait has lasted too long: the record that says so, to whom, and what they may answer."""

from collections.abc import Mapping
from typing import Any, Final

from coordinator.journal.base import Entry
from coordinator.saga.commands import Decision, Now, Wait
from coordinator.saga.state import Direction, SagaState, Step

__all__ = ["overdue", "says_already", "stuck_entry"]

#: The next look after an alarm: twice the time waited so far, within these bounds.
_NEXT_S_MIN: Final = 60
_NEXT_S_MAX: Final = 6 * 3600


def overdue(state: SagaState, decision: Decision, now: Now) -> Entry | None:
    """Return the ``stuck`` record due now, or None while every wait is within its time."""
    if state.paused and state.state == "running":
        return None
    late = [wait for wait in decision.waits if wait.until_s <= now.host_s]
    if state.stuck is not None and now.host_s < state.stuck["until_s"]:
        late = [wait for wait in late if wait.urgent and wait.until_s > state.stuck["at_s"]]
    if not late:
        return None
    wait = min(late, key=lambda wait: wait.until_s)
    standing = _standing(state, wait)
    if standing is not None and standing["code"] is not None:
        # What was refused is still refused: the same words again, not weaker ones.
        return Entry("stuck", {**standing, **_times(state, wait, now)})
    return stuck_entry(state, wait, now, reason=f"still waiting for {wait.reason}")


def stuck_entry(
    state: SagaState,
    wait: Wait,
    now: Now,
    *,
    reason: str,
    code: str | None = None,
    fund: tuple[str, str, int] | None = None,
) -> Entry:
    """Build a ``stuck`` record: reason, question, allowed verdicts and the next look.

    Args:
        code: the stable word of a refusal (`adapters.errors.Rejected.code`), None for a mere wait.
    """
    data: dict[str, Any] = {
        "reason": reason,
        "code": code,
        "question": _question(state, wait, fund),
        "verdicts": _verdicts(state, wait),
        **_times(state, wait, now),
    }
    if wait.step is not None:
        data["step"], data["dir"] = wait.step, wait.direction
    if fund is not None:
        data["fund"] = [fund[0], fund[1], str(fund[2])]
    return Entry("stuck", data)


def says_already(state: SagaState, step: str, direction: str, code: str | None, now: Now) -> bool:
    """Whether the newest alarm says the same of the same effort, and its next look is to come."""
    stuck = state.stuck
    return (
        stuck is not None
        and (stuck.get("step"), stuck.get("dir"), stuck["code"]) == (step, direction, code)
        and now.host_s < stuck["until_s"]
    )


def _standing(state: SagaState, wait: Wait) -> Mapping[str, Any] | None:
    """Return the newest alarm if it is about the effort that ``wait`` is about."""
    stuck = state.stuck
    if stuck is None or (stuck.get("step"), stuck.get("dir")) != (wait.step, wait.direction):
        return None
    return stuck


def _times(state: SagaState, wait: Wait, now: Now) -> dict[str, int]:
    """When this trouble began, when it was last told, and when to look again: in twice the time."""
    standing = _standing(state, wait)
    since_s = standing["since_s"] if standing is not None else state.updated_ms // 1000
    waited_s = now.host_s - since_s
    until_s = now.host_s + min(max(2 * waited_s, _NEXT_S_MIN), _NEXT_S_MAX)
    if wait.next_s:
        until_s = min(until_s, wait.next_s)
    return {"since_s": since_s, "at_s": now.host_s, "until_s": until_s}


def _question(state: SagaState, wait: Wait, fund: tuple[str, str, int] | None) -> str:
    if fund is not None:
        return f"fund {fund[0]} with {fund[2]} base units of {fund[1]}"
    if wait.step is None:
        return "look at the chain and its node"
    step = state.step(wait.step)
    if wait.proof:
        return f"why does {step.chain} give no proof of a transaction that it calls final?"
    if wait.look_s:
        return f"why does {step.chain} refuse the {wait.direction} of step {step.id}?"
    if wait.direction == "confirm" and step.reveals:
        return f"ask the payee of step {step.id} to redeem: the preimage is public to them"
    return f"is {step.chain} reachable and moving, and are its fees within the plan's cap?"


def _verdicts(state: SagaState, wait: Wait) -> list[str]:
    if wait.step is None:
        return []
    step = state.step(wait.step)
    if wait.proof:
        return []
    verdicts = ["adopt", "write_off"]
    if wait.direction is not None and _is_ours_to_pay(state, step, wait.direction):
        verdicts.insert(1, "cap")
    if wait.direction == "forward" and step.kill:
        verdicts.insert(-1, "burn")
    if wait.direction == "confirm" and step.reveals:
        verdicts.insert(1, "reclaim")
    return verdicts


def _is_ours_to_pay(state: SagaState, step: Step, direction: Direction) -> bool:
    """Whether a fee of ours is still to be paid, so that another cap can change something."""
    if direction == "confirm" and step.reveals and step.deliver != "calldata":
        return False  # the payee pays for the redeem
    return state.effort(step.id, direction).phase not in ("included", "done", "written_off")
