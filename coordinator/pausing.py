"""Pausing, and letting go on: what operators hold back, as records (DESIGN.md R11).

A pause of one saga stands on its own stream, so that its fence makes the pause effective at once;
a pause of a signer, a chain or everything stands on ``operator``, and the journal asks for it in
the transaction that would begin a step. Confirm, undo, burn and stored bytes are never held back.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from coordinator.appending import append_one
from coordinator.errors import Conflict, Fenced, Held, Irreversible
from coordinator.journal.base import Entry, Journal, Streams
from coordinator.journal.derive import OPERATOR_STREAM
from coordinator.journal.pauses import Pause, Pauses, fold_pauses
from coordinator.pause_view import letting_go
from coordinator.saga import SagaState

__all__ = ["pause", "pause_saga", "pauses_in", "require_unpaused", "unpause", "unpause_saga"]

_TRIES: Final = 8


def pauses_in(journal: Streams) -> Pauses:
    """Return the pauses of signers, chains and everything that stand now."""
    return fold_pauses(journal.read(OPERATOR_STREAM))


async def pause(
    journal: Journal,
    scope: str,
    name: str,
    *,
    accounts: Sequence[str] = (),
    by: str,
    reason: str,
) -> tuple[Pause, bool]:
    """Hold back what is new on a chain, by a signer, or everywhere.

    Args:
        scope: ``signer``, ``chain`` or ``all`` (then ``name`` is empty).
        accounts: the signer's addresses.

    Returns:
        The pause that stands, and whether this call recorded it.
    """
    for _ in range(_TRIES):
        standing = pauses_in(journal)
        former = standing.of(scope, name)
        if former is not None:
            return former, False
        data = {"scope": scope, "name": name, "accounts": list(accounts)}
        if await _append(journal, standing.seq, "paused", data, by, reason):
            made = pauses_in(journal).of(scope, name)
            if made is not None:
                return made, True
    raise Conflict("the operator's stream moves too fast; nothing was recorded, try again.")


async def unpause(journal: Journal, scope: str, name: str, *, by: str, reason: str) -> Pause | None:
    """Let what was paused go on; return the pause that ended, None if there was none."""
    for _ in range(_TRIES):
        standing = pauses_in(journal)
        former = standing.of(scope, name)
        if former is None:
            return None
        data = {"scope": scope, "name": name, "accounts": list(former.accounts)}
        if await _append(journal, standing.seq, "unpaused", data, by, reason):
            return former
    raise Conflict("the operator's stream moves too fast; nothing was recorded, try again.")


async def pause_saga(journal: Journal, saga: str, *, by: str, reason: str) -> SagaState:
    """Hold back the steps of one saga that have not begun; it still rolls back at its deadline.

    Raises:
        Irreversible: nothing of it can be held back any more.
    """

    def paused(state: SagaState) -> Entry | None:
        if state.state != "running":
            raise Irreversible(
                f"saga {saga} is {state.state}: a pause holds back only steps that have not begun, "
                "and nothing else is ever held back. Nothing was recorded and nothing was sent."
            )
        return None if state.paused else Entry("paused", {"by": by, "reason": reason})

    return await append_one(journal, saga, paused)


async def unpause_saga(journal: Journal, saga: str, *, by: str, reason: str) -> SagaState:
    """Let one saga go on; nothing is recorded where it was not paused.

    Raises:
        Irreversible: it has ended.
    """

    def unpaused(state: SagaState) -> Entry | None:
        return Entry("unpaused", {"by": by, "reason": reason}) if state.paused else None

    return await append_one(journal, saga, unpaused)


def require_unpaused(journal: Streams, lock: Mapping[str, Any]) -> None:
    """Refuse to start a plan that a pause would hold back (R11: charged for the whole plan).

    Raises:
        Held: naming every pause that touches a step of it.
    """
    standing = pauses_in(journal)
    if not standing.standing:
        return
    held: dict[Pause, list[str]] = {}
    for step in lock["steps"]:
        for payer in set(step["payers"].values()) or {None}:
            for found in standing.on(step["chain"], payer):
                steps = held.setdefault(found, [])
                steps += [] if step["id"] in steps else [step["id"]]
    if held:
        told = "; ".join(f"{found.words} (steps {', '.join(s)})" for found, s in held.items())
        ways = "; ".join(letting_go(found) for found in held)
        raise Held(f"{told}. The plan was not started and nothing was sent. To go on: {ways}")


async def _append(
    journal: Journal, seq: int, kind: str, data: dict[str, Any], by: str, reason: str
) -> bool:
    """Write one record behind ``seq``; False when another came in between."""
    entry = Entry(kind, {**data, "by": by, "reason": reason})
    try:
        await journal.append(OPERATOR_STREAM, seq, [entry])
    except Fenced:
        return False
    return True
