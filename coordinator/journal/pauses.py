"""What operators hold back on the stream ``operator``: chains, signers, everything. Pure.

Two kinds of record, each about one scope::

    paused, unpaused   {"scope": "signer"|"chain"|"all", "name": "…", "accounts": […], "by": "…",
                        "reason": "…"}

``name`` is empty for ``all``; ``accounts`` are the addresses of a signer as they were when it was
paused. One saga is paused by a record of the same kinds on its own stream. A pause holds back the
first attempt of a forward step and of the pivot, and nothing else (DESIGN.md R11).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from coordinator.journal.base import Record

__all__ = ["NO_PAUSES", "SCOPES", "Pause", "Pauses", "begins_a_step", "fold_pauses"]

SCOPES: Final = ("signer", "chain", "all")


class Pause(Struct, frozen=True):
    """Who holds back what, since when, and why.

    Attributes:
        scope: ``saga``, ``signer``, ``chain`` or ``all``.
        name: of the saga, signer or chain; empty for ``all``.
        at_ms: host Unix ms of the record.
        accounts: addresses of a signer.
    """

    scope: str
    name: str
    by: str
    reason: str
    at_ms: int
    accounts: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """What is held back, in words."""
        return "everything" if self.scope == "all" else f"{self.scope} {self.name}"

    @property
    def words(self) -> str:
        """The pause in one line."""
        return f"{self.what} is paused by {self.by}: {self.reason}"

    @property
    def option(self) -> str:
        """The argument of ``pause`` and ``unpause`` that names it."""
        if self.scope == "saga":
            return self.name
        return f"--{self.scope} {self.name}".rstrip()


class Pauses(Struct, frozen=True):
    """Every pause that stands, as of record ``seq`` of the stream."""

    standing: tuple[Pause, ...] = ()
    seq: int = 0

    def on(self, chain: str, payer: str | None) -> tuple[Pause, ...]:
        """Return what holds back a step on ``chain`` that ``payer`` (an address) signs."""
        return tuple(pause for pause in self.standing if _holds(pause, chain, payer))

    def of(self, scope: str, name: str) -> Pause | None:
        """Return the pause of exactly this scope."""
        return next((p for p in self.standing if (p.scope, p.name) == (scope, name)), None)


NO_PAUSES: Final = Pauses()


def fold_pauses(records: Iterable[Record]) -> Pauses:
    """Return what the records of the stream ``operator`` leave paused, oldest first."""
    standing: dict[tuple[str, str], Pause] = {}
    seq = 0
    for record in records:
        seq = record.seq
        if record.kind not in ("paused", "unpaused"):
            continue
        data = record.data
        where = (data["scope"], data["name"])
        if record.kind == "unpaused":
            standing.pop(where, None)
        else:
            standing[where] = Pause(
                *where, data["by"], data["reason"], record.at_ms, tuple(data["accounts"])
            )
    return Pauses(tuple(standing.values()), seq)


def begins_a_step(data: Mapping[str, Any]) -> bool:
    """Whether an intent's data is the first attempt of a forward effect: the new risk that a pause
    holds back. What a recovery writes of attempts that were made already is none.
    """
    first = data["dir"] == "forward" and data["purpose"] == "effect" and data["n"] == 1
    return first and "adopted" not in data and "unsent" not in data


def _holds(pause: Pause, chain: str, payer: str | None) -> bool:
    if pause.scope == "signer":
        return payer is not None and payer.casefold() in {a.casefold() for a in pause.accounts}
    return pause.scope == "all" or pause.name == chain
