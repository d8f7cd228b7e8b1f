"""A pause as people see it: what was asked for, and how far it is effective (R10)."""

from collections.abc import Mapping
from typing import Any

from coordinator.journal.pauses import Pause, Pauses
from coordinator.saga import SagaState
from coordinator.saga.holding import held_steps, holders, still_out

__all__ = ["letting_go", "pause_from", "pause_item", "pause_of", "pause_view"]


def pause_of(state: SagaState, pauses: Pauses) -> tuple[Pause, ...]:
    """Return every pause that touches a step of a running saga, each once."""
    if state.state != "running":
        return ()
    found = (pause for step in state.steps for pause in holders(state, step, pauses))
    return tuple(dict.fromkeys(found))


def pause_view(state: SagaState, pauses: Pauses) -> dict[str, Any] | None:
    """Return the pauses of a running saga as JSON, None where nothing holds it back.

    ``requested`` is what operators recorded. ``effective`` is false while forward steps that were
    begun before are still on their way (``still_out``): nothing new begins, and they may land.
    ``held`` are the steps that would have begun, or will be, but for the pause.
    """
    found = pause_of(state, pauses)
    if not found:
        return None
    out = [s for s in still_out(state) if holders(state, state.step(s), pauses)]
    return {
        "requested": [pause_item(pause) for pause in found],
        "effective": not out,
        "held": list(held_steps(state, pauses)),
        "still_out": out,
    }


def pause_item(pause: Pause) -> dict[str, Any]:
    """Return one pause as JSON."""
    return {
        "scope": pause.scope,
        "name": pause.name,
        "by": pause.by,
        "reason": pause.reason,
        "at_ms": pause.at_ms,
        "accounts": list(pause.accounts),
    }


def pause_from(item: Mapping[str, Any]) -> Pause:
    """Return the pause that `pause_item` told."""
    return Pause(**{**item, "accounts": tuple(item["accounts"])})


def letting_go(pause: Pause) -> str:
    """Return the command that ends a pause."""
    return f"coordinator unpause {pause.option} --reason TEXT"
