"""One record more, on a saga that another process may be driving right now."""

from collections.abc import Callable
from typing import Final, Protocol

from coordinator.errors import Conflict, Fenced, Irreversible, PlanError
from coordinator.journal.base import Entry, Journal, Record, SagaRow, Streams
from coordinator.saga import IllegalRecord, SagaState, apply, fold

__all__ = ["Readable", "append_one", "load"]

_TRIES: Final = 8


class Readable(Streams, Protocol):
    """The part of a journal that reading needs; `coordinator.journal.reading` has it alone."""

    def sagas(self, *, open_only: bool = False) -> list[SagaRow]:
        """Return saga rows, oldest first."""

    def saga(self, saga: str) -> SagaRow | None:
        """Return the row of a saga, None if there is none of this id."""


def load(journal: Readable, saga: str) -> SagaState:
    """Return the fold of ``saga``.

    Raises:
        PlanError: there is no such saga.
    """
    records = journal.read(f"saga:{saga}")
    if not records:
        raise PlanError(f"there is no saga {saga} in this journal. Nothing was sent.")
    return fold(records)


async def append_one(
    journal: Journal, saga: str, entry_of: Callable[[SagaState], Entry | None]
) -> SagaState:
    """Append one record to a saga that another process may be driving right now; none where
    ``entry_of`` returns None.

    The record is folded before it is written: one that the table refuses would make the saga
    unreadable for ever.
    """
    for _ in range(_TRIES):
        state = load(journal, saga)
        entry = entry_of(state)
        if entry is None:
            return state
        record = Record(0, "", state.seq + 1, entry.kind, 1, 0, entry.data, "", "", b"")
        try:
            apply(state, record)
        except IllegalRecord as error:
            raise Irreversible(
                f"saga {saga} has moved on: {error}. Nothing was recorded and nothing was sent."
            ) from None
        try:
            await journal.append(f"saga:{saga}", state.seq, [entry])
        except Fenced:
            continue
        return load(journal, saga)
    raise Conflict(f"saga {saga} moves too fast to take this record; nothing was sent, try again.")
