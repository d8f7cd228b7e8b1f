"""The newest block of a chain with several nodes: the highest that a majority of them shares.

While too few answer for a majority, the highest that anybody shows, marked as not agreed. On the
way each node is held against the others, so that laggards are set aside and whoever follows another
branch is known.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, Protocol, TypeVar

from adapters.errors import Transient, WrongChain
from adapters.roster import Roster, Seat
from adapters.standing import Pace, State

__all__ = ["Census", "Head", "Shared"]

N = TypeVar("N")

#: A block further in the future than this (Bitcoin's rule for headers) is no measure for others.
_FUTURE_S: Final = 7200
#: How far below the heads a common block is looked for, in steps that double.
_STEPS_MAX: Final = 14
#: So often a look waits a little for every node that does not rest, so that none stays unseen.
_CENSUS_S: Final = 5.0
_CENSUS_GRACE_S: Final = 0.25
#: While those that answered show different blocks, the others have so long to decide between them.
_DISPUTE_GRACE_S: Final = 2.0


class Head(Protocol):
    """A block as a node tells it; equal when it is the same block."""

    @property
    def height(self) -> int:
        """Its height."""

    @property
    def time_s(self) -> int:
        """Its time, Unix seconds."""


H = TypeVar("H", bound=Head)


@dataclass(frozen=True, slots=True)
class Shared(Generic[N, H]):
    """The highest block that some nodes share, who they are, and whether they are a majority."""

    head: H
    holders: tuple[Seat[N], ...]
    agreed: bool


class Census(Generic[N]):
    """Asks the nodes of a roster for their newest blocks.

    Args:
        pace: how far a node may be behind the others.
        wall: Unix seconds.
    """

    def __init__(self, roster: Roster[N], pace: Pace, wall: Callable[[], float]) -> None:
        self._roster = roster
        self._pace = pace
        self._wall = wall
        #: monotonic time from which all heads are waited for a little.
        self._census_at_s = 0.0

    async def newest(
        self,
        look: Callable[[N], Awaitable[H]],
        at: Callable[[N, int], Awaitable[H | None]],
        *,
        all_of_them: bool = False,
    ) -> Shared[N, H]:
        """Return the highest block that a majority shares, or, where too few nodes answer for one,
        the highest that anybody shows.

        Args:
            look: asks a node for its newest block.
            at: asks a node for its block at a height, None where it has none.
            all_of_them: wait for slow nodes too.

        Raises:
            Transient: nobody answers, or a majority answers and shares nothing near its heads.
        """
        if len(self._roster.seats) == 1:
            (seat,) = self._roster.seats
            found = await self._look_at(seat, look)
            return Shared(found[1], (seat,), agreed=True)
        heads = await self._heads(look, all_of_them=all_of_them)
        self._compare()
        able = [(seat, head) for seat, head in heads if not seat.standing.aside]
        if not able:
            raise self._roster.silence([])
        if len(able) >= self._roster.majority:
            return await self._common(able, at)
        best = max((head for _, head in able), key=lambda head: head.height)
        return Shared(best, tuple(seat for seat, head in able if head == best), agreed=False)

    async def _heads(
        self, look: Callable[[N], Awaitable[H]], *, all_of_them: bool
    ) -> list[tuple[Seat[N], H]]:
        """Ask all nodes for their heads; those that rest are left out, and slow ones waited for
        only while they could matter, unless ``all_of_them``. A slow one goes on in the background.
        """
        now_s = self._roster.clock()
        for resting in (all_of_them, True):
            for seat in self._roster.seats:
                if seat.looking is None and (resting or not seat.standing.rests(now_s)):
                    seat.looking = self._roster.background(self._look_at(seat, look))
            asked = [seat.looking for seat in self._roster.seats if seat.looking is not None]
            if asked:  # else all rest: whoever may be asked is
                break
        census = now_s >= self._census_at_s
        heads: list[tuple[Seat[N], H]] = []
        grace_s: float | None = None
        left = set(asked)
        while left:
            done, left = await asyncio.wait(
                left, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
            for task in filter(done.__contains__, asked):  # in the order of the nodes
                with suppress(Transient, WrongChain):  # its standing has it
                    heads.append(task.result())
            grace_s = None if all_of_them else self._grace_s(heads, census=census)
            if grace_s == 0:
                break
        if census:
            self._census_at_s = now_s + _CENSUS_S
        return heads

    def _grace_s(self, heads: Sequence[tuple[Seat[N], H]], *, census: bool) -> float | None:
        """Return how long the nodes that have not answered yet can still matter, in seconds."""
        able = [head for seat, head in heads if not seat.standing.aside]
        majority = self._roster.majority
        if any(able.count(head) >= majority for head in able):
            return _CENSUS_GRACE_S if census else 0
        return _DISPUTE_GRACE_S if len(able) >= majority else None

    async def _look_at(self, seat: Seat[N], look: Callable[[N], Awaitable[H]]) -> tuple[Seat[N], H]:
        try:
            head = await self._roster.put(seat, look)
        finally:
            seat.looking = None
        seat.standing.showed(head.height, head.time_s)
        return seat, head

    def _compare(self) -> None:
        """Set aside who is behind: behind the majority where there is one to spare, else the best.

        With one to spare no single node puts the others aside with a block that nobody else has.
        Without, it does, and then nothing is agreed: a majority of all would need those it put
        aside, and the newest block of one that lags must not pass for the chain's present.
        """
        standings = [s.standing for s in self._roster.seats if s.standing.height is not None]
        standings = [standing for standing in standings if not standing.fails]
        latest_s = self._wall() + _FUTURE_S
        credible = [(s.height or 0, s.time_s) for s in standings if s.time_s <= latest_s]
        ranked = sorted(credible, reverse=True)
        if not ranked:
            return
        majority = self._roster.majority
        height, time_s = ranked[majority - 1 if len(ranked) > majority else 0]
        now_s = self._roster.clock()
        for standing in standings:
            standing.compared(height, time_s, self._pace, now_s)

    async def _common(
        self, heads: Sequence[tuple[Seat[N], H]], at: Callable[[N, int], Awaitable[H | None]]
    ) -> Shared[N, H]:
        """Return the highest block that a majority shares; looks downwards in growing steps."""
        height = sorted((head.height for _, head in heads), reverse=True)[self._roster.majority - 1]
        for step in range(_STEPS_MAX):
            held = [(seat, head) for seat, head in heads if head.height == height]
            asked = [seat for seat, head in heads if head.height > height]
            there = partial(_at, at, height)
            answers = await asyncio.gather(*(self._roster.quietly(seat, there) for seat in asked))
            held += [
                (found[0], found[1])
                for found in answers
                if found is not None and found[1] is not None
            ]
            for _, head in held:
                holders = tuple(seat for seat, other in held if other == head)
                if len(holders) >= self._roster.majority:
                    self._astray(heads, holders, [seat for seat, _ in held])
                    return Shared(head, holders, agreed=True)
            if height == 0 or len(held) < self._roster.majority:
                break
            height = max(0, height - (1 << step))
        told = ", ".join(f"{seat.standing.label} at {head.height}" for seat, head in heads)
        raise Transient(
            f"the nodes of {self._roster.chain} do not share a block near their heads: {told}; "
            "nothing becomes final until a majority agrees, look at each of them"
        )

    def _astray(
        self,
        heads: Sequence[tuple[Seat[N], H]],
        holders: Sequence[Seat[N]],
        compared: Sequence[Seat[N]],
    ) -> None:
        """Mark who has another block where the majority agrees, and unmark who agrees."""
        for seat, _ in heads:
            standing = seat.standing
            if seat in holders:
                if standing.state is State.ASTRAY:
                    standing.state = State.WELL
            elif seat in compared:
                standing.state = State.ASTRAY
                standing.trouble = f"{standing.label} has another block than the majority"


async def _at(at: Callable[[N, int], Awaitable[H | None]], height: int, node: N) -> H | None:
    return await at(node, height)
