"""``decide``: what to do next, from the state and the clocks alone.

The answer never depends on what this process did before: a saga that is folded after a crash gets
the same answer as one that never stopped (R5). Commands that were carried out already are safe to
get again: an append is fenced, an act is skipped once its intent is folded, sending stored bytes
twice is harmless.
"""

from collections.abc import Iterator

from coordinator.saga.commands import Act, Decision, Draft, Now, Send
from coordinator.saga.confirming import confirming
from coordinator.saga.forward import running
from coordinator.saga.state import Effort, SagaState, Step
from coordinator.saga.undoing import undoing

__all__ = ["decide", "has_open_claims"]


def decide(state: SagaState, now: Now) -> Decision:
    """Return what the saga needs now."""
    if state.state == "running":
        return running(state, now)
    if state.state == "confirming":
        return confirming(state, now)
    if state.state == "undoing":
        return undoing(state, now)
    return _ended(state)


def _ended(state: SagaState) -> Decision:
    """After the end only a claim that a tombstone left unused is still worth an act."""
    plan = Draft()
    for step, effort in _open_claims(state):
        if not effort.has("burn") and "burn" in step.kill:
            plan.commands.append(Act(step, "forward", kill=True))
        else:
            plan.commands.append(Send(step, "forward", kill=True))
    return plan.done()


def has_open_claims(state: SagaState) -> bool:
    """Whether a tombstone left a claim that later claims of its account have to wait for."""
    return any(True for _ in _open_claims(state))


def _open_claims(state: SagaState) -> Iterator[tuple[Step, Effort]]:
    for step in state.steps:
        effort = state.effort(step.id, "forward")
        if effort.phase == "not_done" and effort.claim_open:
            yield step, effort
