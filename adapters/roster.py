"""All nodes of one chain: who is asked, who is set aside, and what a majority says.

Reads go to the first node that is well and move on when it is not. A majority is always one of the
configured nodes: those that are away or set aside stay in the count.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from adapters.errors import Busy, Rejected, Transient, WrongChain
from adapters.standing import Standing, State

__all__ = ["Roster", "Seat"]

N = TypeVar("N")
T = TypeVar("T")

#: Refusals that no node had a part in.
_OWN: Final = frozenset({"mismatch", "signer"})
#: After one node took what all are told, the others have so long to answer.
_TOLD_GRACE_S: Final = 0.25


@dataclass(slots=True, eq=False)
class Seat(Generic[N]):
    """A node and its standing."""

    node: N
    standing: Standing
    #: what it is being asked about its head, while that lasts.
    looking: "asyncio.Task[Any] | None" = None


class Roster(Generic[N]):
    """The nodes of one chain, in the order in which they are asked.

    Args:
        nodes: with the name of each for people (scheme, host and port).
        clock: monotonic seconds.
    """

    def __init__(
        self, chain: str, nodes: Sequence[tuple[str, N]], clock: Callable[[], float]
    ) -> None:
        self.chain = chain
        labels = _unique([label for label, _ in nodes])
        self.seats = [
            Seat(node, Standing(label)) for label, (_, node) in zip(labels, nodes, strict=True)
        ]
        self.clock = clock
        self._tasks: set[asyncio.Task[Any]] = set()
        #: the only node that reads may ask, within `alone`.
        self._only: ContextVar[Seat[N] | None] = ContextVar(f"only node of {chain}", default=None)

    def __len__(self) -> int:
        return len(self.seats)

    @property
    def majority(self) -> int:
        """How many of the configured nodes, those that are away included, have to agree."""
        return len(self.seats) // 2 + 1

    async def close(self) -> None:
        """End what is still being asked."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def require_open(self, results: Sequence[Transient | WrongChain | None]) -> None:
        """Judge by the first look at each node whether there is a chain to work with: one node that
        serves another keeps nobody from starting who has a majority without it.

        Raises:
            WrongChain: a node serves another chain, and no majority serves ours.
            Transient: none answers.
        """
        foreign = next((result for result in results if isinstance(result, WrongChain)), None)
        if foreign is not None and results.count(None) < self.majority:
            raise foreign
        if None not in results:
            told = "; ".join(map(str, results))
            raise Transient(f"no node of {self.chain} answers: {told}")

    # ------------------------------------------------------------ one answer

    async def first(
        self,
        ask: Callable[[N], Awaitable[T]],
        among: Sequence[Seat[N]] | None = None,
        useful: Callable[[T], bool] = lambda _answer: True,
    ) -> T:
        """Return the first answer of a node that is not set aside; see `first_seat`."""
        _, answer = await self.first_seat(ask, among, useful)
        return answer

    async def first_seat(
        self,
        ask: Callable[[N], Awaitable[T]],
        among: Sequence[Seat[N]] | None = None,
        useful: Callable[[T], bool] = lambda _answer: True,
    ) -> tuple[Seat[N], T]:
        """Return the first answer of a node that is not set aside, those that rest coming last,
        and who gave it.

        Args:
            useful: another answer than such a one is returned only where nobody has a better one:
                a node that keeps no old blocks is well, and another may have them.

        Raises:
            WrongChain: every node serves another chain.
            Transient: none answers; `Busy` where all want a pause.
        """
        troubles: list[Transient | WrongChain] = []
        poor: tuple[Seat[N], T] | None = None
        for seat in self._order(among):
            try:
                answer = await self.put(seat, ask)
            except (Transient, WrongChain) as error:
                troubles.append(error)
                continue
            if useful(answer):
                return seat, answer
            poor = poor or (seat, answer)
        if poor is not None:
            return poor
        raise self.silence(troubles)

    async def put(self, seat: Seat[N], ask: Callable[[N], Awaitable[T]]) -> T:
        """Put a question to one node and note how it stood to it.

        Raises:
            Busy: it wants a pause and was not asked.
        """
        now_s = self.clock()
        if seat.standing.held(now_s):
            left_s = seat.standing.hold_until_s - now_s
            raise Busy(f"{seat.standing.label} asked for a pause, {left_s:.1f} s are left", left_s)
        try:
            answer = await ask(seat.node)
        except (Transient, WrongChain) as error:
            seat.standing.failed(error, self.clock())
            raise
        seat.standing.answered(now_s)
        return answer

    @contextmanager
    def alone(self, seat: Seat[N]) -> Iterator[None]:
        """Let every read within ask this node only."""
        token = self._only.set(seat)
        try:
            yield
        finally:
            self._only.reset(token)

    def _order(self, among: Sequence[Seat[N]] | None) -> list[Seat[N]]:
        only = self._only.get()
        if only is not None:
            return [only]
        if len(self.seats) == 1:
            return self.seats
        now_s = self.clock()
        known = self.seats if among is None else [seat for seat in self.seats if seat in among]
        able = [seat for seat in known if not seat.standing.aside]
        # One that served another chain may have been mended.
        able += [
            seat
            for seat in known
            if seat.standing.state is State.FOREIGN and not seat.standing.rests(now_s)
        ]

        return sorted(able, key=lambda seat: _rank(seat.standing, now_s))

    def silence(self, troubles: Sequence[Transient | WrongChain]) -> Transient | WrongChain:
        """Return what to raise when nobody answered."""
        foreign = [seat for seat in self.seats if seat.standing.state is State.FOREIGN]
        if len(foreign) == len(self.seats):
            return next(
                (error for error in troubles if isinstance(error, WrongChain)),
                WrongChain("; ".join(seat.standing.trouble for seat in foreign)),
            )
        if len(self.seats) == 1 and troubles:
            return troubles[0]
        told = "; ".join(dict.fromkeys(str(error) for error in troubles))
        aside = [seat.standing.trouble for seat in self.seats if seat.standing.aside]
        text = "; ".join(part for part in (told, *dict.fromkeys(aside)) if part)
        waits = [error.wait_s for error in troubles if isinstance(error, Busy)]
        if waits and len(waits) == len(troubles) and None not in waits:
            least_s = min(wait_s for wait_s in waits if wait_s is not None)
            return Busy(f"no node of {self.chain} may be asked now: {text}", least_s)
        return Transient(f"no node of {self.chain} answers: {text}")

    # ------------------------------------------------------------ several answers

    async def each(
        self,
        ask: Callable[[N], Awaitable[T]],
        enough: Callable[[Sequence[T]], bool] = lambda _answers: False,
    ) -> list[T]:
        """Ask all that are not set aside at once; return when ``enough`` or when all are through.

        A slow node goes on in the background; only its standing hears of its answer.
        """
        pairs = await self.each_seat(ask, lambda pairs: enough([answer for _, answer in pairs]))
        return [answer for _, answer in pairs]

    async def each_seat(
        self,
        ask: Callable[[N], Awaitable[T]],
        enough: Callable[[Sequence[tuple[Seat[N], T]]], bool],
    ) -> list[tuple[Seat[N], T]]:
        """Do what `each` does, and tell who gave which answer."""
        able = [seat for seat in self.seats if len(self.seats) == 1 or not seat.standing.aside]
        now_s = self.clock()
        awake = [seat for seat in able if not seat.standing.rests(now_s)]
        if len(awake) >= self.majority:  # a vote waits for those that failed only if it needs them
            able = awake
        tasks = [self.background(self.quietly(seat, ask)) for seat in able]
        answers: list[tuple[Seat[N], T]] = []
        for done in asyncio.as_completed(tasks):
            answer = await done
            if answer is not None:
                answers.append(answer)
                if enough(answers):
                    break
        return answers

    async def majority_of(self, ask: Callable[[N], Awaitable[bool]]) -> bool:
        """Tell whether a majority of the configured nodes says yes."""

        def enough(answers: Sequence[bool]) -> bool:
            return answers.count(True) >= self.majority

        return enough(await self.each(ask, enough))

    async def unless_refused(
        self, attempt: Callable[[], Awaitable[T]], *, again: bool = False
    ) -> T:
        """Return what ``attempt`` returns; it is refused only where a majority refuses it.

        What one node says can not be done is asked of each of them: a node that lies, or is behind,
        must not end a step.

        Args:
            again: what failed for another reason (`Transient`) is tried with each node, too.

        Raises:
            Rejected: a majority of the configured nodes says so.
            Transient: too few nodes say so, and none says otherwise.
        """
        trouble: Transient | Rejected
        try:
            return await attempt()
        except Rejected as error:
            if len(self.seats) == 1 or error.code in _OWN:
                raise
            trouble = error
        except Transient as error:
            if len(self.seats) == 1 or not again:
                raise
            trouble = error
        refusals = 0
        for seat in self.seats:
            if seat.standing.aside:
                continue
            with self.alone(seat):
                try:
                    return await attempt()
                except Rejected as error:
                    refusals, trouble = refusals + 1, error
                except (Transient, WrongChain):
                    continue
            if refusals >= self.majority:
                raise trouble
        if not refusals:
            raise Transient(str(trouble))
        raise Transient(
            f"{refusals} of {len(self.seats)} nodes of {self.chain} refuse ({trouble}), "
            f"{self.majority} would have to; {self.troubles() or 'the others did not answer'}"
        )

    def undecided(self, what: str) -> Transient:
        """Return what to raise when too few answered: after which pause to ask them again, where
        one of them wants one.
        """
        now_s = self.clock()
        waits = [s.standing.hold_until_s - now_s for s in self.seats if s.standing.held(now_s)]
        text = "; ".join(part for part in (what, self.troubles()) if part)
        return Busy(text, max(waits)) if waits else Transient(text)

    def ranked(self) -> list[Seat[N]]:
        """Return all nodes, those that are well first, those that are set aside last."""
        now_s = self.clock()
        return sorted(self.seats, key=lambda seat: _rank(seat.standing, now_s))

    async def tell(
        self, tell: Callable[[Seat[N]], Coroutine[Any, Any, T]], taken: Callable[[T], bool]
    ) -> list[T]:
        """Tell every node, set aside or not, at once; return what they answer. Once one has taken
        it, the others have a moment longer; they go on in the background.
        """
        if len(self.seats) == 1:
            return [await tell(self.seats[0])]
        left = {self.background(tell(seat)) for seat in self.seats}
        said: list[T] = []
        grace_s: float | None = None
        while left:
            done, left = await asyncio.wait(
                left, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
            said += [task.result() for task in done]
            if any(map(taken, said)):
                grace_s = _TOLD_GRACE_S
        return said

    def contradicted(self, seat: Seat[N], what: str) -> None:
        """Note that a majority shows something else than this node."""
        seat.standing.contradicted(what, self.clock())

    def failed(self, seat: Seat[N], error: BaseException) -> None:
        """Note trouble that a node made outside of `put`."""
        cause = error.__cause__  # of a send that is ambiguous
        seat.standing.failed(cause if isinstance(cause, Busy) else error, self.clock())

    def keep(self, task: "asyncio.Task[Any]") -> None:
        """Let a task that nobody waits for go on until `close`."""
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def background(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Start a task that nobody has to wait for."""
        task = asyncio.create_task(work)
        self.keep(task)
        return task

    def _over(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may be waiting for it any more; its standing has it

    async def quietly(
        self, seat: Seat[N], ask: Callable[[N], Awaitable[T]]
    ) -> tuple[Seat[N], T] | None:
        """Do what `put` does; None where the node did not answer, which its standing tells."""
        try:
            return seat, await self.put(seat, ask)
        except (Transient, WrongChain):
            return None

    # ------------------------------------------------------------ for people

    def sentences(self) -> list[tuple[bool, str]]:
        """Return for each node whether it is well, and its standing in a line."""
        now_s = self.clock()
        return [
            (
                seat.standing.state in (State.WELL, State.NEW) and not seat.standing.suspect(now_s),
                seat.standing.sentence(now_s),
            )
            for seat in self.seats
        ]

    def findings(self) -> list[tuple[bool, str, str]]:
        """Return for each node (well, its standing, what to do if it is not)."""
        hint = "look at this node: a majority of all has to agree before anything is final"
        return [(well, text, "" if well else hint) for well, text in self.sentences()]

    def words(self) -> dict[str, str]:
        """Return the nodes that are not well, each with a word for it that lasts as long as it."""
        now_s = self.clock()
        return {
            seat.standing.label: seat.standing.word(now_s)
            for seat, (well, _) in zip(self.seats, self.sentences(), strict=True)
            if not well
        }

    def is_agreed(self) -> bool:
        """Tell whether a majority is well, so that something can become final."""
        return sum(well for well, _ in self.sentences()) >= self.majority

    def troubles(self) -> str:
        """Return the standing of every node that is not well, empty where all are."""
        return "; ".join(text for well, text in self.sentences() if not well)


def _unique(labels: Sequence[str]) -> list[str]:
    """Return labels of which no two are alike: several nodes may be behind one host and port."""
    counts: Counter[str] = Counter()
    found = []
    for label in labels:
        counts[label] += 1
        found.append(label if counts[label] == 1 else f"{label}#{counts[label]}")
    return found


def _rank(standing: Standing, now_s: float) -> tuple[bool, bool, bool, bool]:
    """Return a key that puts the best node first."""
    astray = standing.state is State.ASTRAY
    return standing.aside, standing.suspect(now_s), standing.rests(now_s), astray
