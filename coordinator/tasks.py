"""What an adapter is asked about one effort of a saga: the task and the attempts so far.

Both follow from the fold alone, so they are worked out once and kept as long as what they were
worked out from stays the same.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from adapters.base import Attempt, Task
from coordinator.saga import Effort, SagaState, Step, operation_id, saga_id32

if TYPE_CHECKING:
    from coordinator.ports import Clock, Secrets

__all__ = ["Asked", "Asking", "attempts_of", "forward_facts", "since"]

#: A contract's deadline for a forward effect that is made again after the commit.
_REPAIR_S: Final = 24 * 3600


class Asked(Struct):
    """A task with its effort's attempts, and the parts of the fold that they follow from."""

    task: Task
    attempts: tuple[Attempt, ...]
    effort: Effort
    forward: Effort
    durable_confirm: Effort
    verdicts: tuple[Mapping[str, Any], ...]


class Asking:
    """Works out tasks of one saga; losing what it keeps loses nothing."""

    def __init__(self, saga: str, secrets: "Secrets", clock: "Clock") -> None:
        self._saga = saga
        self._secrets = secrets
        self._clock = clock
        self._kept: dict[tuple[str, str], Asked] = {}

    def of(
        self,
        state: SagaState,
        durable: SagaState,
        step: Step,
        direction: str,
        generation: int | None = None,
    ) -> Asked:
        """Return what to ask about ``step`` in ``direction``.

        Args:
            state: the fold, including what is drafted.
            durable: the fold of what is durable; only its reveal lets a preimage out (R9).
            generation: other than the effort's own, for an attempt that begins a new one.
        """
        key = (step.id, direction)
        effort = state.effort(*key)
        forward = effort if direction == "forward" else state.effort(step.id, "forward")
        confirm = durable.effort(step.id, "confirm")
        generation = generation or effort.generation
        repaired = direction == "forward" and state.state == "confirming"
        kept = self._kept.get(key)
        if (
            kept is None
            or repaired
            or kept.verdicts is not state.verdicts
            or kept.durable_confirm is not confirm
            or kept.task.generation != generation
        ):
            task = self._task(state, step, direction, generation, effort, forward, confirm)
        elif kept.effort is effort and kept.forward is forward:
            return kept
        elif direction == "forward" and effort.phase != "not_done" and kept.task.cites is None:
            # Another attempt, or what a block showed of one, is no part of a forward's task.
            task = kept.task
        else:
            task = self._task(state, step, direction, generation, effort, forward, confirm)
        asked = Asked(task, effort.attempts, effort, forward, confirm, state.verdicts)
        if not repaired and task.preimage is None:
            self._kept[key] = asked
        return asked

    def _task(
        self,
        state: SagaState,
        step: Step,
        direction: str,
        generation: int,
        effort: Effort,
        forward: Effort,
        confirm: Effort,
    ) -> Task:
        repaired = direction == "forward" and state.state == "confirming"
        repair_s = self._clock.now_ms() // 1000 + _REPAIR_S if repaired else 0
        return Task(
            saga=self._saga,
            step=step.id,
            direction=direction,  # type: ignore[arg-type]
            generation=generation,
            action=step.action,
            op_id=operation_id(self._saga, step.id),
            saga_id32=saga_id32(self._saga),
            deadline_s=repair_s or state.deadline_s,
            expiry=state.expiries.get(step.id),
            forward=None if direction == "forward" else forward_facts(forward),
            cites=effort.facts if effort.phase == "not_done" else None,
            hashlock=(forward.hashlock or self.hashlock(step)) if step.reveals else None,
            preimage=self.preimage(step).hex()
            if step.reveals and direction == "confirm" and confirm.revealed
            else None,
            cap_pct=state.cap_pct(step.id),
            coins=state.coins.get(step.id, ()) if direction == "forward" else (),
            terms=state.plan["chains"][step.chain],
        )

    def hashlock(self, step: Step) -> str:
        """Return the SHA-256 of the step's preimage as 64 hex digits."""
        return self._secrets.hashlock(saga=self._saga, step=step.id, generation=1)

    def preimage(self, step: Step) -> bytes:
        """Return the step's preimage; for the plan's channel alone, after the reveal (R9)."""
        return self._secrets.preimage(saga=self._saga, step=step.id, generation=1).reveal()


def attempts_of(effort: Effort, generation: int | None = None) -> tuple[Attempt, ...]:
    """Return the effort's attempts, or those of one generation, oldest first."""
    if generation is None:
        return effort.attempts
    return tuple([attempt for attempt in effort.attempts if attempt.generation == generation])


def forward_facts(forward: Effort) -> dict[str, Any] | None:
    """What preparing knew of the forward effect, overlaid by what its block showed."""
    attempts = [attempt for attempt in forward.attempts if attempt.purpose == "effect"]
    if not attempts:
        return None
    chosen = next((a for a in attempts if a.tx_id == forward.tx), attempts[-1])
    seen = forward.facts if forward.phase in ("included", "done") else {}
    return {**chosen.facts, **seen, "tx": forward.tx or chosen.tx_id}


def since(state: SagaState, chain: str) -> int:
    """Return the lowest height at which anything of this saga was prepared or seen on ``chain``."""
    heights: list[int] = []
    for (name, _), effort in state.efforts.items():
        if state.step(name).chain == chain:
            heights += [attempt.since for attempt in effort.attempts]
            # A reorganisation may have put it below the block at which it was prepared.
            heights += [effort.height] if effort.height else []
    return min(heights, default=int(state.clocks[chain]["height"]))
