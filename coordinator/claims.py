"""Which nonces and coins are spoken for: the journal's claims, and what is being prepared now.

The journal alone makes a claim unique (R3); this book only keeps one process from trying values
that can not win. Losing a race to another process is an ordinary event: the book is read again.
"""

from collections.abc import Collection, Iterable
from itertools import islice
from types import TracebackType
from typing import Final, Self

from coordinator.journal.base import Journal
from coordinator.runs import Runs, added, contains, first_absent, gaps, removed

__all__ = ["HOLES_WINDOW", "Claims", "Scope"]

#: How far above the first hole others are looked for: one absurd claim must not list millions. No
#: more nonces of an account are intended at once (four windows of sixteen), so a hole as wide as
#: this is no hole that a process left.
HOLES_WINDOW: Final = 64
#: What every coin's claim looks like, once for all of them: they stay as long as the process does.
_SPENT: Final[Runs] = (0, 1)


class Claims:
    """The book of one chain."""

    def __init__(self, journal: Journal, chain: str) -> None:
        self._journal = journal
        self._chain = chain
        #: resource → values that are claimed in the journal or held by a scope.
        self._taken: dict[str, Runs] = {}
        self._held: set[tuple[str, int]] = set()
        #: outpoint → open saga that keeps it, for the undo of the step that made it or to pay.
        self._kept: dict[str, str] = {}
        self.reload()

    def reload(self) -> None:
        """Read the journal's claims again."""
        self._taken = {}
        for row in self._journal.claims(self._chain):
            self._enter(row.resource, row.value)
        self._kept = dict(self._journal.locked(self._chain))
        for resource, value in self._held:
            self._enter(resource, value)

    def enter(self, claims: Iterable[tuple[str, int]]) -> None:
        """An intent that this process did not write has made ``claims`` durable."""
        for claim in claims:
            self._enter(*claim)

    def _enter(self, resource: str, value: int) -> None:
        runs = added(self._taken.get(resource, ()), value)
        self._taken[resource] = _SPENT if runs == _SPENT else runs

    def scope(self, saga: str = "", *, undo: bool = False, coins: Collection[str] = ()) -> "Scope":
        """Return the view that one ``prepare`` may take values through.

        Only an undo of ``saga`` may spend what that saga brought into an account of ours; ``coins``
        are those that it reserved for this effect.
        """
        return Scope(self, saga if undo else None, coins)

    def keep(self, outpoint: str, saga: str) -> None:
        """An output of ``saga`` is on its way, or a coin is reserved: it is kept for that saga."""
        self._kept[outpoint] = saga

    def free(self, saga: str) -> None:
        """The saga has closed: what it kept are coins like any other."""
        if not self._kept:
            return
        self._kept = {outpoint: keeper for outpoint, keeper in self._kept.items() if keeper != saga}

    def follow(self, sagas: Collection[str]) -> None:
        """Other processes wrote to ``sagas``: what those that closed had kept is free."""
        if any(keeper in sagas for keeper in self._kept.values()):
            self._kept = dict(self._journal.locked(self._chain))

    def kept_from(self, resource: str, undo_of: str | None) -> bool:
        """Whether an open saga keeps the outpoint, and not for the undo that asks."""
        keeper = self._kept.get(resource)
        return keeper is not None and keeper != undo_of

    def used(self, resource: str) -> bool:
        """Whether any value of the resource is claimed or held."""
        return bool(self._taken.get(resource))

    def taken(self, resource: str, value: int) -> bool:
        """Whether the value is claimed in the journal or held by a scope."""
        return contains(self._taken.get(resource, ()), value)

    def first_free(self, resource: str, floor: int) -> int:
        """Return the smallest value ≥ ``floor`` that is neither claimed nor held."""
        return first_absent(self._taken.get(resource, ()), floor)

    def holes(self, resource: str, floor: int) -> list[int]:
        """Return the free values ≥ ``floor`` that lie below a taken one, within a window."""
        runs = self._taken.get(resource, ())
        last = min(self._end(resource), first_absent(runs, floor) + HOLES_WINDOW)
        return list(gaps(runs, floor, last))

    def unclaimed_below(self, resource: str, head: int) -> list[int]:
        """Return the values from the smallest claimed one up to ``head`` that nobody claimed, the
        oldest first, as many as the window holds.
        """
        runs = self._taken.get(resource)
        return list(islice(gaps(runs, runs[0], head), HOLES_WINDOW)) if runs else []

    def reaches_past(self, resource: str, value: int) -> bool:
        """Whether a later value than ``value`` is claimed or held: it waits for it in line."""
        return self._end(resource) > value + 1

    def _end(self, resource: str) -> int:
        """Return the value after the highest one that is taken; 0 while none is."""
        return (self._taken.get(resource) or (0,))[-1]

    def hold(self, claim: tuple[str, int]) -> None:
        """Hold a value for a scope."""
        self._held.add(claim)
        self._enter(*claim)

    def settle(self, held: Collection[tuple[str, int]], claimed: Iterable[tuple[str, int]]) -> None:
        """End a scope: give back what it held, enter what became durable."""
        claimed = tuple(claimed)
        for claim in held:
            self._held.discard(claim)
            if claim not in claimed:
                self._give_back(*claim)
        for claim in claimed:
            if claim not in held:
                self._enter(*claim)

    def _give_back(self, resource: str, value: int) -> None:
        self._taken[resource] = removed(self._taken[resource], value)


class Scope:
    """Implements `adapters.base.ClaimBook`; gives everything back unless told to keep it."""

    def __init__(
        self, claims: Claims, undo_of: str | None = None, coins: Collection[str] = ()
    ) -> None:
        self._claims = claims
        self._undo_of = undo_of
        self._coins = coins
        self._held: list[tuple[str, int]] = []

    def take_next(self, resource: str, floor: int) -> int:
        """Take and return the smallest free value ≥ ``floor``."""
        value = self._claims.first_free(resource, floor)
        self._hold((resource, value))
        return value

    def take(self, resource: str, value: int = 0) -> bool:
        """Take one value; False when it is spoken for."""
        if self.taken(resource, value):
            return False
        self._hold((resource, value))
        return True

    def taken(self, resource: str, value: int = 0) -> bool:
        """Whether the value is spoken for."""
        if self._claims.taken(resource, value):
            return True
        return resource not in self._coins and self._claims.kept_from(resource, self._undo_of)

    def _hold(self, claim: tuple[str, int]) -> None:
        self._claims.hold(claim)
        self._held.append(claim)

    def keep(self, claim: Iterable[tuple[str, int]]) -> None:
        """The intent is durable: ``claim`` is in the journal, the rest is given back."""
        self._claims.settle(self._held, claim)
        self._held = []

    def drop(self) -> None:
        """Nothing became durable: give everything back."""
        self._claims.settle(self._held, ())
        self._held = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.drop()
