"""What a recovery asks of a chain: everything that our keys did since a height (DESIGN.md R12).

An ordinary life never needs this: it knows its own attempts. A restored journal does not, so here
the question is turned round: not what became of this attempt, but which attempts there were.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from msgspec import Struct

from adapters.base import Claim, Prepared, Task

__all__ = ["Movement", "Survey", "Surveyable", "Surveyor"]


class Movement(Struct, frozen=True):
    """A transaction in a block that consumed or moved something of ours.

    Attributes:
        raw: its bytes, hashed here.
        final: whether its block is.
        claim: what of ours it consumed; empty where another's transaction settled an operation.
        accounts: our accounts that signed it.
        names: what ties it to one effect and no other: operation ids, scripts of holds.
        texts: what is known of it, for people.
    """

    tx_id: str
    raw: bytes
    block_hash: str
    height: int
    time_s: int
    final: bool
    claim: tuple[Claim, ...]
    accounts: tuple[str, ...]
    names: frozenset[str]
    texts: tuple[str, ...]


class Survey(Struct, frozen=True):
    """What blocks ``since`` … ``height`` show, oldest first."""

    since: int
    height: int
    movements: tuple[Movement, ...]


class Surveyor(Protocol):
    """Reads blocks for one recovery. Every coroutine may raise `Transient`; nothing is sent."""

    async def height_at(self, time_s: int) -> int:
        """Return a height at or before which every block is older than ``time_s``."""

    async def survey(self, since: int) -> Survey:
        """Read every block from ``since`` to the newest."""

    async def waiting(self) -> Sequence[Claim]:
        """Return what of ours a transaction consumes that nodes hold and no block has: nonces, in
        order and without a gap, or coins. Empty does not mean that there is nothing.
        """

    def name_of(self, task: Task) -> str | None:
        """Return the name by which a block tells this effect from every other; None where only its
        claim does. What is asked for here is looked for in the next survey.
        """

    def adopted(self, task: Task, movement: Movement) -> Prepared | None:
        """Return the attempt as its intent would have it, if ``movement``, which this surveyor
        found, carries the declared effect; None if it does not.
        """


@runtime_checkable
class Surveyable(Protocol):
    """An adapter whose chain can be surveyed; every real one is."""

    def surveyor(self) -> Surveyor:
        """Return a surveyor of this open adapter's chain and accounts."""
