"""Engines that are broken on purpose, to see that the judge catches them.

Each is a change to the engine of the process that it is called in; that process is thrown away.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import coordinator.runner
import coordinator.saga.undoing
from coordinator.app import LazySecrets
from coordinator.errors import ClaimTaken, Fenced, JournalError
from coordinator.journal.sqlite import SqliteJournal
from coordinator.journal.witness import Witness
from coordinator.saga import SagaState, Step, fold
from coordinator.sending import Sending
from coordinator.turn import Turn
from tests.crash.watching import WatchedSecrets

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


def _stores_preimages() -> None:
    """The preimage lies beside the refund recipe, so that it need not be derived again."""
    hashlock = LazySecrets.hashlock

    def remembering(secrets: LazySecrets, *, saga: str, step: str, generation: int) -> str:
        preimage = secrets.preimage(saga=saga, step=step, generation=generation)
        folder = secrets._config.recovery_dir
        (folder / f"{saga}.{step}.preimage").write_text(preimage.reveal().hex(), encoding="ascii")
        return hashlock(secrets, saga=saga, step=step, generation=generation)

    broken: Any = LazySecrets
    broken.hashlock = remembering


def _takes_preimages_out() -> None:
    """The hash is worked out from a preimage that was taken out for it."""

    def hashed(secrets: WatchedSecrets, *, saga: str, step: str, generation: int) -> str:
        preimage = secrets.preimage(saga=saga, step=step, generation=generation)
        return hashlib.sha256(preimage.reveal()).hexdigest()

    broken: Any = WatchedSecrets
    broken.hashlock = hashed


def _shrugs_at_a_busy_journal() -> None:
    """What could not be written is sent all the same."""
    append = SqliteJournal.append

    async def shrugging(journal: SqliteJournal, *what: Any) -> list[Record]:
        try:
            return await append(journal, *what)
        except (Fenced, ClaimTaken):
            raise
        except JournalError:
            return []

    broken: Any = SqliteJournal
    broken.append = shrugging


def _tires_of_silence() -> None:
    """What no node has confirmed to have taken is begun again, with another claim."""
    send = Sending.send

    async def impatient(sending: Sending, step: Step, direction: Any, *sent: Any) -> Any:
        said: list[bool] = []
        adapter: Any = sending._runner.adapters[step.chain]
        submit = adapter.submit

        async def submitted(*what: Any) -> Any:
            answer = await submit(*what)
            said.append(answer.accepted)
            return answer

        adapter.submit = submitted
        try:
            return await send(sending, step, direction, *sent)
        finally:
            adapter.submit = submit
            if said == [False]:
                sending._live.state.efforts.pop((step.id, direction), None)

    broken: Any = Sending
    broken.send = impatient


def _keeps_the_second_place_in_the_dark() -> None:
    """Bytes leave when their intent is durable in the journal alone."""
    broken: Any = Witness
    broken.write = lambda *_: None


ENGINES: Final[dict[str, Callable[[], None]]] = {
    "real": _as_it_is,
    "sends first": _sends_first,
    "claims anew": _claims_anew,
    "undoes in plan order": _undoes_in_plan_order,
    "stores preimages": _stores_preimages,
    "takes preimages out": _takes_preimages_out,
    "shrugs at a busy journal": _shrugs_at_a_busy_journal,
    "tires of silence": _tires_of_silence,
    "keeps the second place in the dark": _keeps_the_second_place_in_the_dark,
}
