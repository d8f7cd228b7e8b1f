"""Which nonces and coins are spoken for: the journal's claims, and what is being prepared now.

The journal alone makes a claim unique (R3); this book only keeps one process from trying values
that can not win. Losing a race to another process is an ordinary event: the book is read again.
"""

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from coordinator.journal.base import Journal

__all__ = ["Claims", "Scope"]


class Claims:
    """The book of one chain."""

    def __init__(self, journal: Journal, chain: str) -> None:
        self._journal = journal
        self._chain = chain
        #: resource → values that are claimed in the journal or held by a scope.
        self._taken: dict[str, set[int]] = {}
        self._held: set[tuple[str, int]] = set()
        #: resource → no value below this one is free (a hint that saves a walk).
        self._full_below: dict[str, int] = {}
        self._highest: dict[str, int] = {}
        self.reload()

    def reload(self) -> None:
        """Read the journal's claims again."""
        self._taken = {}
        self._full_below = {}
        for row in self._journal.claims(self._chain):
            self._enter(row.resource, row.value)
        for resource, value in self._held:
            self._enter(resource, value)

    def _enter(self, resource: str, value: int) -> None:
        self._taken.setdefault(resource, set()).add(value)
        self._highest[resource] = max(value, self._highest.get(resource, -1))

    def scope(self) -> "Scope":
        """Return the view that one ``prepare`` may take values through."""
        return Scope(self)

    def used(self, resource: str) -> bool:
        """Whether any value of the resource is claimed or held."""
        return bool(self._taken.get(resource))

    def taken(self, resource: str, value: int) -> bool:
        """Whether the value is claimed in the journal or held by a scope."""
        return value in self._taken.get(resource, ())

    def first_free(self, resource: str, floor: int) -> int:
        """Return the smallest value ≥ ``floor`` that is neither claimed nor held."""
        taken = self._taken.get(resource, set())
        value = max(floor, self._full_below.get(resource, floor))
        while value in taken:
            value += 1
        if self._full_below.get(resource, floor) >= floor:
            self._full_below[resource] = value
        return value

    def holes(self, resource: str, floor: int) -> list[int]:
        """Return the free values ≥ ``floor`` that lie below a taken one."""
        first, highest = self.first_free(resource, floor), self._highest.get(resource, -1)
        taken = self._taken.get(resource, ())
        return [value for value in range(first, highest) if value not in taken]

    def hold(self, claim: tuple[str, int]) -> None:
        """Hold a value for a scope."""
        self._held.add(claim)
        self._enter(*claim)

    def settle(self, held: Iterable[tuple[str, int]], claimed: Iterable[tuple[str, int]]) -> None:
        """End a scope: give back what it held, enter what became durable."""
        for claim in held:
            self._held.discard(claim)
            self._taken[claim[0]].discard(claim[1])
            if self._full_below.get(claim[0], claim[1]) > claim[1]:
                self._full_below[claim[0]] = claim[1]
            if self._highest.get(claim[0]) == claim[1]:
                self._highest[claim[0]] = max(self._taken[claim[0]], default=-1)
        for resource, value in claimed:
            self._enter(resource, value)


class Scope:
    """Implements `adapters.base.ClaimBook`; gives everything back unless told to keep it."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._held: list[tuple[str, int]] = []

    def take_next(self, resource: str, floor: int) -> int:
        """Take and return the smallest free value ≥ ``floor``."""
        value = self._claims.first_free(resource, floor)
        self._hold((resource, value))
        return value

    def take(self, resource: str, value: int = 0) -> bool:
        """Take one value; False when it is spoken for."""
        if self._claims.taken(resource, value):
            return False
        self._hold((resource, value))
        return True

    def taken(self, resource: str, value: int = 0) -> bool:
        """Whether the value is spoken for."""
        return self._claims.taken(resource, value)

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
