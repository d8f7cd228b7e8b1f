"""How a question is put to the bitcoinds of a chain: who is asked, who may refuse, and what a
majority says.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from adapters.bitcoin.node import Node
from adapters.errors import Transient
from adapters.retry import reading
from adapters.roster import Roster, Seat
from adapters.rpc import RpcError

__all__ = ["INVALID_PARAMETER", "NOT_FOUND", "Asking"]

T = TypeVar("T")

#: RPC_INVALID_ADDRESS_OR_KEY: no such block or transaction.
NOT_FOUND: Final = -5
#: RPC_INVALID_PARAMETER: a height beyond the end of the chain.
INVALID_PARAMETER: Final = -8


class Asking:
    """Asks the nodes of a roster."""

    def __init__(self, roster: Roster[Node]) -> None:
        self.roster = roster

    async def read(
        self, read: Callable[[Node], Awaitable[T]], among: Sequence[Seat[Node]] | None = None
    ) -> T:
        """Do what `first` does where a node has no reason to refuse, unless it lacks the data."""
        try:
            return await self.first(read, among)
        except RpcError as error:
            raise Transient(f"a node refused a read: {error}") from error

    async def first(
        self, read: Callable[[Node], Awaitable[T]], among: Sequence[Seat[Node]] | None = None
    ) -> T:
        """Return what the first node that is well answers, several times over if need be.

        Raises:
            RpcError: all that answer refuse: what one lacks, or does not do, another may.
        """

        async def attempt(node: Node) -> T | RpcError:
            try:
                return await read(node)
            except RpcError as refusal:
                return refusal

        async def sweep() -> T | RpcError:
            return await self.roster.first(attempt, among, _is_answer)

        answer = await reading(sweep)
        if isinstance(answer, RpcError):
            raise answer
        return answer

    async def useful(self, read: Callable[[Node], Awaitable[T]], useful: Callable[[T], bool]) -> T:
        """Return the first useful answer, or one that is not where nobody has a better one."""

        async def sweep() -> T:
            return await self.roster.first(read, useful=useful)

        return await reading(sweep)

    async def verdict(self, ask: Callable[[Node], Awaitable[bool]], what: str) -> bool:
        """Return what a majority of the configured nodes says.

        Raises:
            Transient: too few say the same; `Busy` where one of them wants a pause first.
        """
        majority = self.roster.majority

        def decided(answers: Sequence[bool]) -> bool:
            return max(answers.count(True), answers.count(False)) >= majority

        answers = await self.roster.each(ask, decided)
        if decided(answers):
            return answers.count(True) >= majority
        raise self.roster.undecided(
            f"too few nodes tell of {what}: {answers.count(True)} of {len(self.roster)} show it, "
            f"{answers.count(False)} do not, {majority} would have to say the same"
        )

    def many(self, answers: Sequence[Any]) -> bool:
        """Tell whether so many answered that they are a majority of the configured nodes."""
        return len(answers) >= self.roster.majority


def _is_answer(answer: object) -> bool:
    return not isinstance(answer, RpcError)
