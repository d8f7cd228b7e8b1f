"""Which way a saga went in records that are lost, from what the chains show of it. Pure.

The table is in coordinator/README.md, "After a restore"; each rule here is one of its rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["REFUND_PERSONS", "Evidence", "Way", "answered", "way_of"]

Presence = Literal["there", "absent", "unclear"]
#: Who may say that a hold is refunded although its preimage may be out (DESIGN.md §4, Secrets).
REFUND_PERSONS: Final = 2


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one saga: its state in the backup, and final blocks.

    Attributes:
        state: as the backup knew it.
        forwards: every step that acts before the decision, the pivot included: whether its effect
            is there, is not and can not come, or hangs on an open question.
        pivot: the plan's point of no return, if it has one.
        confirmed, undone: steps whose confirm or undo the chain shows.
        secret: steps whose confirm reveals a preimage.
    """

    state: str
    forwards: Mapping[str, Presence]
    pivot: str | None = None
    confirmed: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    secret: frozenset[str] = frozenset()

    @property
    def complete(self) -> bool:
        """Whether every effect that a commit needs is there."""
        return all(presence == "there" for presence in self.forwards.values())


@dataclass(frozen=True, slots=True)
class Way:
    """What follows.

    Attributes:
        kind: ``on`` (it was decided in the backup), ``commit``, ``rollback``, ``ask`` (a person has
            to say which), ``wait`` (another question comes first).
        why: for the record and for people.
        persons: how many different persons a rollback needs, where one may be answered.
    """

    kind: Literal["on", "commit", "rollback", "ask", "wait"]
    why: str
    persons: int = 1


def way_of(seen: Evidence) -> Way:
    """Return the first row of the table that fits."""
    if seen.state != "running":
        return Way("on", f"it was {seen.state} in the backup and goes on")
    if "unclear" in seen.forwards.values():
        return Way("wait", "what a transaction was for has to be answered first")
    if seen.confirmed and seen.undone:
        return Way(
            "ask",
            f"the chains show both a confirm ({', '.join(seen.confirmed)}) and an undo "
            f"({', '.join(seen.undone)})",
            REFUND_PERSONS,
        )
    if seen.confirmed:
        return _commit(seen, f"the chains show the confirm of {', '.join(seen.confirmed)}")
    if seen.pivot is not None and seen.forwards[seen.pivot] == "there":
        return _commit(seen, f"the chains show the pivot {seen.pivot}")
    if any(step not in seen.secret for step in seen.undone):
        return Way("rollback", f"the chains show the undo of {', '.join(seen.undone)}")
    absent = [step for step, presence in seen.forwards.items() if presence != "there"]
    if absent:
        return Way(
            "rollback",
            f"{', '.join(absent)} did not happen and can not any more, so no commit was decided",
        )
    if seen.undone:
        return Way(
            "ask",
            f"the hold {', '.join(seen.undone)} is refunded and every other effect stands: a "
            "rollback under way, or a reclaim after a commit",
            REFUND_PERSONS,
        )
    if seen.secret:
        return Way(
            "ask",
            "every effect is there; whether the commit was decided, and so the preimage of "
            f"{', '.join(sorted(seen.secret))} told, no chain shows",
            REFUND_PERSONS,
        )
    return Way("rollback", "every effect is there, none is confirmed, and what may be out is dead")


def _commit(seen: Evidence, why: str) -> Way:
    """Commit, unless what a commit rests on is not there: that is for a person."""
    absent = [step for step, presence in seen.forwards.items() if presence != "there"]
    if absent:
        return Way("ask", f"{why}, but not the effect of {', '.join(absent)}", REFUND_PERSONS)
    return Way("commit", why)


def answered(seen: Evidence, way: Way, answer: str, persons: int) -> Way | str:
    """Return the way that a person's answer opens, or why it can not be taken."""
    if way.kind in {"commit", "on"}:
        return f"it is not a question any more: {way.why}"
    if answer == "commit":
        if way.kind == "wait":
            return way.why
        absent = [step for step, presence in seen.forwards.items() if presence != "there"]
        if absent:
            return f"it can not commit: {', '.join(absent)} did not happen"
        if seen.undone and not seen.confirmed and not seen.secret.issuperset(seen.undone):
            return f"it can not commit: {', '.join(seen.undone)} was taken back"
        return Way("commit", "a person's answer")
    if way.kind == "rollback":
        return way
    if way.kind == "wait":
        return way.why
    if persons < way.persons:
        return (
            f"a rollback takes back what a preimage or a confirm may have paid out, so it needs "
            f"{way.persons} different persons: --by A --by B"
        )
    return Way("rollback", "the answer of two persons")
