"""Which outcomes still want evidence, and what waits for it. Pure.

Only the pivot and the decision ever wait for a proof, and only where the chain's setting requires
one; undo, confirm and burn never do. Closing waits until each outcome has its proof or its reason,
because no record of a saga follows its last.
"""

from collections.abc import Iterator
from typing import Any

from coordinator.journal.base import Entry
from coordinator.saga.commands import Decision, Draft, Prove, Wait
from coordinator.saga.state import Direction, Effort, SagaState, Step

__all__ = ["before_closing", "proved", "required", "short_of_proof", "unproved", "waiting", "want"]

#: Somebody is told when evidence has not come after this time.
_ALARM_S = 600


def want(state: SagaState, plan: Draft) -> None:
    """Ask for the evidence of every final outcome that has none yet."""
    if state.evidence:
        plan.commands += [Prove(step, way) for step, way, _ in _wanting(state)]


def required(state: SagaState, step: Step) -> bool:
    """Whether pivot and decision have to wait for evidence of this step's effect."""
    if step.proof != "required" or step.pivot or state.state != "running":
        return False
    effort = state.effort(step.id, "forward")
    return effort.phase == "done" and effort.proof != "proved"


def short_of_proof(state: SagaState) -> Step | None:
    """Return the first step whose effect is final and whose required evidence is missing."""
    if not state.evidence:
        return None
    return next((step for step in state.steps if step.forward and required(state, step)), None)


def waiting(state: SagaState, step: Step) -> Wait:
    """Name the wait for a required proof."""
    effort = state.effort(step.id, "forward")
    why = f" (none so far: {effort.proof})" if effort.proof else ""
    until_s = effort.updated_ms // 1000 + _ALARM_S
    return Wait(
        f"proof of step {step.id} on {step.chain}{why}", until_s, step.id, "forward", proof=True
    )


def before_closing(state: SagaState) -> Decision | None:
    """Return what has to come before the last record; None when the saga can close."""
    if not state.evidence:
        return None
    plan = Draft()
    for step, direction, effort in _wanting(state):
        plan.commands.append(Prove(step, direction))
        until_s = max(effort.updated_ms, state.updated_ms) // 1000 + _ALARM_S
        text = f"proof of the {direction} of step {step.id} on {step.chain}"
        plan.waits.append(Wait(text, until_s, step.id, direction, proof=True))
    return plan.done() if plan.commands else None


def proved(step: Step, direction: str, effort: Effort, evidence: list[dict[str, str]]) -> Entry:
    """Build the record that names the evidence of ``effort``'s present outcome.

    Args:
        evidence: kind and SHA-256 of each proof.
    """
    return Entry("proved", {**_outcome(step, direction, effort), "evidence": evidence})


def unproved(step: Step, direction: str, effort: Effort, reason: str, detail: str) -> Entry:
    """Build the record that says why ``effort``'s present outcome has no evidence."""
    about = _outcome(step, direction, effort)
    return Entry("unproved", {**about, "reason": reason, "detail": detail})


def _outcome(step: Step, direction: str, effort: Effort) -> dict[str, Any]:
    return {
        "step": step.id,
        "dir": direction,
        "gen": effort.generation,
        "tx": effort.tx,
        "block": effort.block,
        "height": effort.height,
        "outcome": effort.phase,
    }


def _wanting(state: SagaState) -> Iterator[tuple[Step, Direction, Effort]]:
    for (name, direction), effort in state.efforts.items():
        if effort.phase not in ("done", "not_done") or effort.tx is None:
            continue
        step = state.step(name)
        if step.proof == "none":
            continue
        if not effort.proof or (direction == "forward" and required(state, step)):
            yield step, direction, effort  # type: ignore[misc]
