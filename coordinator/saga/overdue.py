"""When a wait has lasted too long: the record that says so, and when to look again. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from coordinator.journal.base import Entry
from coordinator.saga.commands import Decision, Now, Wait
from coordinator.saga.questions import WAITS, allowed, code_of, evidence_of, question_of
from coordinator.saga.state import SagaState

__all__ = ["overdue", "says_already", "stuck_entry"]

#: The next look after an alarm: twice the time waited so far, within these bounds.
_NEXT_S_MIN: Final = 60
_NEXT_S_MAX: Final = 6 * 3600
_NOTHING: Final[Mapping[tuple[str, str], str]] = {}


def overdue(
    state: SagaState,
    decision: Decision,
    now: Now,
    said: Mapping[tuple[str, str], str] = _NOTHING,
) -> Entry | None:
    """Return the ``stuck`` record due now, or None while every wait is within its time.

    Args:
        said: (step, direction) → what a node last said to its bytes.
    """
    late = [wait for wait in decision.waits if wait.until_s <= now.host_s]
    if state.stuck is not None and now.host_s < state.stuck["until_s"]:
        late = [wait for wait in late if wait.urgent and wait.until_s > state.stuck["at_s"]]
    if not late:
        return None
    wait = min(late, key=lambda wait: wait.until_s)
    standing = _standing(state, wait)
    words = said.get((wait.step or "", wait.direction or ""), "")
    if standing is not None and (standing.get("code") or "waiting") not in WAITS:
        # What was refused is still refused: the same words again, not weaker ones.
        again = {"verdicts": _verdicts(state, wait), "evidence": evidence_of(state, wait, now)}
        return Entry("stuck", {**standing, **again, **_times(state, wait, now)})
    reason = f"still waiting for {wait.reason}"
    if words and code_of(state, wait) == "not_prepared":
        reason = f"{reason}: {words}"
    return stuck_entry(state, wait, now, reason=reason, said=words)


def stuck_entry(
    state: SagaState,
    wait: Wait,
    now: Now,
    *,
    reason: str,
    code: str | None = None,
    fund: tuple[str, str, int] | None = None,
    said: str = "",
) -> Entry:
    """Build a ``stuck`` record: reason, code, question, allowed verdicts, evidence, next look.

    Args:
        code: the stable word of a refusal (`adapters.errors.Rejected.code`), None for a mere wait.
        said: what a node last said.
    """
    code = code or code_of(state, wait)
    data: dict[str, Any] = {
        "reason": reason,
        "code": code,
        "question": question_of(state, wait, code, fund),
        "verdicts": _verdicts(state, wait),
        "evidence": evidence_of(state, wait, now, said),
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
        and (stuck.get("step"), stuck.get("dir"), stuck.get("code")) == (step, direction, code)
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


def _verdicts(state: SagaState, wait: Wait) -> list[str]:
    if wait.step is None or wait.direction is None or wait.proof or wait.held:
        return []
    return list(allowed(state, state.step(wait.step), wait.direction))
