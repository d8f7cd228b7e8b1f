"""An operator says that a transaction made an effect: the chain is asked before it is recorded."""

from adapters.base import Adapter, Direction, Observation, Task
from adapters.errors import AdapterError
from coordinator.errors import PreflightError
from coordinator.saga import SagaState, Step, operation_id, saga_id32
from coordinator.tasks import attempts_of, forward_facts, since

__all__ = ["require_effect_in", "task_of"]


async def require_effect_in(
    state: SagaState, step: Step, direction: Direction, tx_id: str, adapter: Adapter
) -> None:
    """Demand that the declared effect of ``step`` is on chain, and in exactly this transaction.

    Raises:
        PreflightError: it is not there, or in another transaction, or the chain is away.
    """
    seen = await _observe(state, step, direction, adapter)
    if seen.found is None:
        raise PreflightError(
            f"{step.chain} shows no {direction} effect of step {step.id} up to height "
            f"{seen.height}. The verdict was not recorded and nothing was sent."
        )
    if seen.found.tx_id.lower() != tx_id.lower():
        raise PreflightError(
            f"the {direction} effect of step {step.id} is in transaction {seen.found.tx_id}, not "
            f"in {tx_id}. The verdict was not recorded and nothing was sent."
        )


async def _observe(
    state: SagaState, step: Step, direction: Direction, adapter: Adapter
) -> Observation:
    task = task_of(state, step, direction)
    attempts = attempts_of(state.effort(step.id, direction))
    try:
        # Being asked for keys is what makes a follower look for them in the blocks it reads.
        adapter.keys(task, attempts)
        await adapter.cover(since(state, step.chain))
        return await adapter.observe(task, attempts)
    except AdapterError as error:
        raise PreflightError(
            f"{step.chain} can not be looked at: {error}. The verdict was not recorded and nothing "
            "was sent."
        ) from error


def task_of(state: SagaState, step: Step, direction: Direction) -> Task:
    """Return what a chain is asked about an effort by somebody who only looks: no secret in it."""
    effort = state.effort(step.id, direction)
    forward = state.effort(step.id, "forward")
    return Task(
        saga=state.saga,
        step=step.id,
        direction=direction,
        generation=effort.generation,
        action=step.action,
        op_id=operation_id(state.saga, step.id),
        saga_id32=saga_id32(state.saga),
        deadline_s=state.deadline_s,
        expiry=state.expiries.get(step.id),
        forward=forward_facts(forward),
        hashlock=forward.hashlock,
        cap_pct=state.cap_pct(step.id),
    )
