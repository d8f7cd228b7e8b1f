"""What holds a saga back: pauses, its own and those of its chains and signers (R11), and accounts
that stand still because nobody can explain what they signed (R12). Pure.
"""

from coordinator.journal.pauses import Pause, Pauses
from coordinator.saga.commands import Now
from coordinator.saga.state import Direction, SagaState, Step

__all__ = ["halted", "held_steps", "holders", "payer_of", "still_out"]


def holders(state: SagaState, step: Step, pauses: Pauses) -> tuple[Pause, ...]:
    """Return what holds back the first forward attempt of ``step``, the saga's own pause first."""
    own = () if state.pause is None else (state.pause,)
    return own + pauses.on(step.chain, payer_of(state, step))


def payer_of(state: SagaState, step: Step, direction: Direction = "forward") -> str | None:
    """Return the address that signs and pays for an effect, as the plan fixed it."""
    payer: str | None = state.plan["steps"][step.index]["payers"].get(direction)
    return payer


def halted(state: SagaState, step: Step, direction: Direction, now: Now) -> str | None:
    """Say why a new claim for ``direction`` waits: its account signed what nobody can explain
    (R12). What an operation id or an outpoint makes unique goes on, once the decision is made.
    """
    if not now.halts:
        return None
    if (direction != "forward" or state.state != "running") and step.unique_by != "claim":
        return None
    payer = payer_of(state, step, direction)
    return now.halts.get((step.chain, payer)) if payer is not None else None


def held_steps(state: SagaState, pauses: Pauses) -> dict[str, tuple[Pause, ...]]:
    """Return step → pauses for every forward step that has not begun and may not begin."""
    if state.state != "running":
        return {}
    return {
        step.id: found
        for step in state.steps
        if step.forward
        and state.effort(step.id, "forward").phase == "idle"
        and (found := holders(state, step, pauses))
    }


def still_out(state: SagaState) -> list[str]:
    """Return the forward steps of a running saga whose attempts no block has shown yet.

    They were durable before the pause, so they may land in spite of it; until they have, a pause
    is asked for and not wholly effective.
    """
    if state.state != "running":
        return []
    return [
        step.id
        for step in state.steps
        if step.forward and state.effort(step.id, "forward").phase == "unknown"
    ]
