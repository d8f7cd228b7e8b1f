"""The nodes of one EVM chain: what is asked of one, of a majority, and what all are told.

Who is asked is `adapters.roster`'s, on which block a majority agrees `adapters.census`'.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from adapters.census import Census
from adapters.errors import Ambiguous, Transient, WrongChain
from adapters.evm.blocks import Header, read_header
from adapters.evm.node import Calls, Node, Pinned
from adapters.retry import Patience, reading
from adapters.roster import Roster, Seat
from adapters.rpc import RpcError
from adapters.standing import Pace

__all__ = ["Ask", "Calls", "Holders", "Newest", "NodeSeat", "Nodes", "height_of"]

T = TypeVar("T")
V = TypeVar("V")
#: Reads: a refused one is an `RpcError` in the list.
Ask = Callable[[Calls], Awaitable[list[Any]]]

_USUAL_PACE: Final = Pace()
_PATIENCE: Final = Patience(attempts=4, first_wait_s=0.05, longest_wait_s=1.0, total_s=20.0)


NodeSeat = Seat[Node]
#: Those that have a block; None: it does not matter who is asked.
Holders = Sequence[NodeSeat] | None


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest block, who has it, whether a majority does, and up to where that calls it final.

    ``tagged`` is None where no tag was asked for, or no majority names a block.
    """

    head: Header
    tagged: int | None
    holders: Sequence[Seat[Node]]
    agreed: bool = field(kw_only=True)


class Nodes:
    """All configured nodes of one chain.

    Args:
        urls: in the order in which they are asked.
        genesis: hash of block 0, or None to pin what the first reachable node says.
        clock: monotonic seconds.
        pace: how far a node may be behind.
        wall: Unix seconds.
    """

    def __init__(
        self,
        chain: str,
        urls: Sequence[str],
        *,
        timeout_s: float,
        chain_id: int,
        genesis: str | None,
        clock: Callable[[], float],
        pace: Pace = _USUAL_PACE,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._chain = chain
        self._pinned = Pinned(chain, chain_id, genesis)
        nodes = [Node(url, timeout_s, self._pinned) for url in urls]
        self.roster = Roster(chain, [(node.rpc.label, node) for node in nodes], clock)
        self._census = Census(self.roster, pace, wall)
        #: by account: the smallest one that no block had consumed when a majority told it last.
        self._nonces: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.roster)

    @property
    def genesis(self) -> str | None:
        """The pinned hash of block 0, None before any node was asked."""
        return self._pinned.genesis

    @property
    def majority(self) -> int:
        """How many of the configured nodes, those that are away included, have to agree."""
        return self.roster.majority

    async def open(self) -> None:
        """Check every node that answers.

        Raises:
            WrongChain: one of them serves another chain, and no majority serves ours.
            Transient: none answers.
        """
        results: list[Transient | WrongChain | None] = []
        for seat in self.roster.seats:  # one after the other: the first one pins the genesis
            try:
                # Before anything runs, nobody else repeats what a node did not answer.
                await reading(partial(self.roster.put, seat, Node.check), _PATIENCE)
            except (Transient, WrongChain) as error:
                results.append(error)
            else:
                results.append(None)
        self.roster.require_open(results)

    async def close(self) -> None:
        """Close all connections."""
        await self.roster.close()
        await asyncio.gather(*(seat.node.close() for seat in self.roster.seats))

    # ------------------------------------------------------------ reads

    async def batch(self, calls: Calls) -> list[Any]:
        """Return the results of short reads, from one node that is asked what others want to know
        at the same moment, too; a refused one is an `RpcError` in the list.

        Raises:
            Transient: no node answered, several times over.
            WrongChain: every node serves another chain.
        """

        async def read() -> list[Any]:
            try:
                return await self.roster.first(lambda node: node.batch(calls))
            except RpcError as error:
                raise self._refused(error) from error

        return await reading(read, _PATIENCE)

    async def apart(self, calls: Calls) -> list[Any]:
        """Return what `batch` does, in a request of its own: for long answers."""

        async def read() -> list[Any]:
            return await self.once(calls)

        return await reading(read, _PATIENCE)

    async def once(self, calls: Calls) -> list[Any]:
        """Return what `apart` does, without a second try; for callers that come back anyway."""
        _, answers = await self.read(calls, list)
        return answers

    async def read(
        self, calls: Calls, parse: Callable[[list[Any]], T], among: Holders = None
    ) -> tuple[Seat[Node], T]:
        """Return what ``parse`` makes of one node's answers, and who it was, without a second try;
        a node whose answers it does not take (`Transient`) has failed, and the next is asked.
        """

        async def ask(node: Node) -> T:
            answers = await node.apart(calls)
            try:
                return parse(answers)
            except Transient as error:
                raise Transient(f"{node.rpc.label}: {error}") from error

        try:
            return await self.roster.first_seat(ask, among)
        except RpcError as error:
            raise self._refused(error) from error

    def _refused(self, error: RpcError) -> Transient:
        return Transient(f"a node of {self._chain} refuses a batch: {error}")

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        """Return the result of one read.

        Raises:
            RpcError: the node refused it.
        """

        async def read() -> Any:
            return await self.roster.first(lambda node: node.call(method, params))

        return await reading(read, _PATIENCE)

    async def unused_nonce(self, account: str) -> int:
        """Return the smallest nonce that no block has consumed, as far as a majority has seen:
        no single node can make it higher.

        Raises:
            Transient: too few nodes answer.
        """
        return await reading(partial(self._shared_nonce, account), _PATIENCE)

    async def free_nonce(self, account: str) -> int:
        """Return from where on a nonce may be claimed: what `unused_nonce` does or, where too few
        nodes answer, what it did last. A confirm or an undo must not wait for a majority. What is
        too low is skipped, because claims are remembered; what one node's word makes too high would
        leave a hole for self-spends to fill.

        Raises:
            Transient: too few nodes answer, and since `open` there never were enough.
        """
        try:
            return await self._shared_nonce(account)
        except Transient:
            if account in self._nonces:
                return self._nonces[account]
        return await self.unused_nonce(account)

    async def learn_nonces(self, accounts: Iterable[str]) -> None:
        """Remember, as far as a majority tells them now, the nonces of these accounts."""

        async def learn(account: str) -> None:
            with suppress(Transient):
                await self._shared_nonce(account)

        await asyncio.gather(*map(learn, accounts))

    async def _shared_nonce(self, account: str) -> int:
        """Look once for what `unused_nonce` returns, and remember it."""
        found = await self._told_nonces(account)
        if len(found) < self.majority:
            raise Transient(
                f"{len(found)} of {len(self)} nodes of {self._chain} tell the nonce of "
                f"{account}, {self.majority} have to; {self.roster.troubles()}"
            )
        self._nonces[account] = found[self.majority - 1]
        return self._nonces[account]

    async def _told_nonces(self, account: str) -> list[int]:
        """Return what the nodes tell, the highest first; not more than make a majority alike."""
        calls: Calls = [("eth_getTransactionCount", (account, "latest"))]

        async def ask(node: Node) -> int:
            (answer,) = await _told(node.batch, calls)
            return _count(answer)

        if len(self) == 1:
            return [await self.roster.first(ask)]

        def enough(answers: Sequence[int]) -> bool:
            return any(answers.count(answer) >= self.majority for answer in answers)

        return sorted(await self.roster.each(ask, enough), reverse=True)

    async def votes(
        self,
        calls: Calls,
        judge: Callable[[list[Any]], V],
        enough: Callable[[Sequence[V]], bool],
    ) -> list[tuple[Seat[Node], V]]:
        """Return what ``judge`` makes of the answers of each node that is not set aside; does not
        wait for the others once ``enough`` are in.
        """

        async def ask(node: Node) -> V:
            try:
                return judge(await node.batch(calls))
            except RpcError as error:
                raise Transient(f"{node.rpc.label} refuses a batch: {error}") from error

        return await self.roster.each_seat(ask, lambda pairs: enough([vote for _, vote in pairs]))

    async def alike(self, calls: Calls, judge: Callable[[list[Any]], V]) -> V:
        """Return what ``judge`` makes of the answers of a majority, which answers alike.

        Raises:
            Transient: no majority does, several times over.
        """

        def most(told: Sequence[V]) -> Sequence[V]:
            return [each for each in told if told.count(each) >= self.majority]

        async def read() -> V:
            votes = await self.votes(calls, judge, lambda told: bool(most(told)))
            found = most([vote for _, vote in votes])
            if not found:
                raise Transient(
                    f"{len(votes)} of {len(self)} nodes of {self._chain} answer, and no majority "
                    f"of all does alike; {self.roster.troubles()}"
                )
            return found[0]

        return await reading(read, _PATIENCE)

    def alone(self) -> list[Ask]:
        """Return for each node a way to read from it alone, without a second try.

        What is returned raises `Transient`, or `WrongChain`, or `RpcError` for a refused batch.
        """

        def only(seat: Seat[Node]) -> Ask:
            async def ask(calls: Calls) -> list[Any]:
                return await self.roster.put(seat, lambda node: node.apart(calls))

            return ask

        return [only(seat) for seat in self.roster.seats]

    async def recheck(self) -> None:
        """Check the identity of the nodes again; a chain may have been exchanged.

        Raises:
            WrongChain: it was, at all of them.
        """
        for seat in self.roster.seats:
            seat.node.doubt()
        await self.roster.first(Node.check)

    # ------------------------------------------------------------ the newest block

    async def newest(self, tag: str | None, *, all_of_them: bool = False) -> Newest:
        """Return the newest block that a majority shares; see `Census.newest`.

        Args:
            tag: the block tag that stands for finality, None where confirmations do.

        Raises:
            Transient: nobody answers, or those who do share nothing.
        """
        calls: list[tuple[str, Any]] = [("eth_getBlockByNumber", ("latest", False))]
        if tag is not None:
            calls.append(("eth_getBlockByNumber", (tag, False)))

        async def look(node: Node) -> Header:
            latest, *tagged = await _told(node.apart, calls)
            node.tagged = height_of(tagged)
            return read_header(latest)

        async def at(node: Node, height: int) -> Header | None:
            (block,) = await _told(node.apart, [("eth_getBlockByNumber", (hex(height), False))])
            return None if block is None else read_header(block)

        found = await self._census.newest(look, at, all_of_them=all_of_them)
        tags = [seat.node.tagged for seat in found.holders if seat.node.tagged is not None]
        shared = sorted(tags, reverse=True)[self.majority - 1 : self.majority]
        tagged = shared[0] if shared and found.agreed else None
        return Newest(found.head, tagged, found.holders, agreed=found.agreed)

    async def holds(self, header: Header) -> bool:
        """Tell whether any node that is not set aside has this block in its chain."""
        calls: Calls = [("eth_getBlockByNumber", (hex(header.height), False))]

        async def ask(node: Node) -> bool:
            (block,) = await _told(node.apart, calls)
            return block is not None and read_header(block).hash == header.hash

        return True in await self.roster.each(ask, lambda answers: True in answers)

    # ------------------------------------------------------------ sending

    async def send(self, raw: bytes) -> tuple[bool, str]:
        """Give signed bytes to every node; return whether one took them, and what was said.

        Nobody is spared: bytes that are stored may always be sent, and the node that rests may be
        the only one that passes them on.
        """
        said = await self.roster.tell(lambda seat: self._send(seat, raw), lambda answer: answer[0])
        hints = dict.fromkeys(hint for _, hint in said if hint)
        return any(taken for taken, _ in said), "; ".join(hints)

    async def _send(self, seat: Seat[Node], raw: bytes) -> tuple[bool, str]:
        node = seat.node
        try:
            await node.send(raw)
        except RpcError as error:
            return False, str(error)
        except (Transient, Ambiguous, WrongChain) as error:
            node.doubt()
            self.roster.failed(seat, error)
            return False, str(error)
        return True, ""


async def _told(ask: Ask, calls: Calls) -> list[Any]:
    """Return answers, a refused one being trouble of the node; a tag may be refused."""
    try:
        answers = await ask(calls)
    except RpcError as error:
        raise Transient(f"a node refuses a batch: {error}") from error
    if isinstance(answers[0], RpcError):
        raise Transient(f"a node refused a read: {answers[0]}")
    return answers


def height_of(answers: Sequence[Any]) -> int | None:
    """Return the height in the answer for a tagged block, where it was asked for; None while the
    chain has none yet, and where the node refuses the tag.
    """
    if not answers or answers[0] is None or isinstance(answers[0], RpcError):
        return None
    return read_header(answers[0]).height


def _count(answer: Any) -> int:
    try:
        return int(answer, 16)
    except (TypeError, ValueError):
        raise Transient("a node told something that is no nonce") from None
