"""Engines that are broken on purpose, to see that the judge catches them.

Each is a change to the engine of the process that it is called in; that process is thrown away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import coordinator.runner
import coordinator.saga.undoing
from coordinator.saga import SagaState, fold
from coordinator.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coordinator.journal.base import Record

__all__ = ["ENGINES"]


def _as_it_is() -> None:
    """The real one."""


def _sends_first() -> None:
    """Bytes leave, and then their intent becomes durable."""
    flush = Turn._flush

    async def send_and_flush(turn: Turn) -> bool:
        for step, _, prepared in turn._draft.sends:
            await turn._runner.adapters[step.chain].submit(prepared.tx_id, prepared.raw)
        return await flush(turn)

    broken: Any = Turn
    broken._flush = send_and_flush


def _claims_anew() -> None:
    """A resumed step without an outcome begins again, with a nonce or coin of its own."""

    def forgetful(records: Sequence[Record]) -> SagaState:
        state = fold(records)
        state.efforts = {
            key: effort for key, effort in state.efforts.items() if effort.phase != "unknown"
        }
        return state

    module: Any = coordinator.runner
    module.fold = forgetful


def _undoes_in_plan_order() -> None:
    """The first step is taken back first."""
    module: Any = coordinator.saga.undoing
    module.reversed = tuple


ENGINES: Final[dict[str, Callable[[], None]]] = {
    "real": _as_it_is,
    "sends first": _sends_first,
    "claims anew": _claims_anew,
    "undoes in plan order": _undoes_in_plan_order,
}
