"""Do enough nodes show, as final, just what one of them showed?

The follower reads each block from one node. Before anything it read counts as final, a majority of
the configured nodes has to have that very block, call it final, and show in it the same receipt,
down to the logs; where the outcome rests on the *absence* of an effect, also an operation that is
not where the effect would have taken it. A node that forges, leaves out or makes up is outvoted.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from adapters.errors import Transient
from adapters.evm.abi import decode, encode
from adapters.evm.blocks import Header, Landed, Operation, read_header, receipt_shows
from adapters.evm.effects import OPERATION_STATE, OperationEffect, OperationStatus
from adapters.evm.nodes import Calls, Nodes
from adapters.evm.settings import Finality
from adapters.evm.values import AbiError
from adapters.rpc import RpcError

__all__ = ["Claimed", "Quorum", "Vote"]

_REMEMBERED_MAX: Final = 10_000
_OPENED: Final = frozenset(
    {OperationStatus.OPEN, OperationStatus.RELEASED, OperationStatus.REFUNDED}
)


@dataclass(frozen=True, slots=True)
class Claimed:
    """What one node showed, as far as an outcome rests on it.

    Attributes:
        landed: the transaction of ours that consumed a claim, if the outcome rests on it.
        operation: the change of an operation's status, if the outcome rests on it.
        absent: the effect that did not happen, where that can be asked of a contract.
    """

    tx_id: str
    header: Header
    landed: Landed | None = None
    operation: Operation | None = None
    absent: OperationEffect | None = None


class Vote(Enum):
    """What a node, or a majority of them, says to what another node showed."""

    CONFIRMED = "it shows the same, as final"
    CONTRADICTED = "it has that very block, with something else in it"
    OPEN = "it has no final block there yet, another one, or no answer"


class Quorum:
    """Asks all nodes about what one of them showed as final.

    Nodes that are away or set aside count as not agreeing. With a single node there is nothing to
    ask: it is trusted by name (``single_node``).
    """

    def __init__(self, nodes: Nodes, finality: Finality) -> None:
        self._nodes = nodes
        self._finality = finality
        self._agreed: OrderedDict[Claimed, None] = OrderedDict()

    async def vote(self, claimed: Claimed) -> Vote:
        """Return what a majority says; who is contradicted by it is asked after all others.

        What was confirmed is remembered, because it is about one block.
        """
        if len(self._nodes) == 1 or claimed in self._agreed:
            return Vote.CONFIRMED
        votes = await self._nodes.votes(
            self._calls(claimed), lambda answers: self._judge(answers, claimed), self._is_decided
        )
        verdict = next((vote for _, vote in votes if self._is_majority(vote, votes)), Vote.OPEN)
        if verdict is Vote.CONFIRMED:
            self._remember(claimed)
        elif verdict is Vote.CONTRADICTED:
            for seat, vote in votes:
                if vote is Vote.CONFIRMED:
                    what = f"in block {claimed.header.height} transaction {claimed.tx_id}"
                    self._nodes.roster.contradicted(seat, what)
        return verdict

    def _is_decided(self, votes: Sequence[Vote]) -> bool:
        return votes.count(Vote.CONFIRMED) >= self._nodes.majority

    def _is_majority(self, vote: Vote, votes: Sequence[tuple[Any, Vote]]) -> bool:
        return [other for _, other in votes].count(vote) >= self._nodes.majority

    def _remember(self, claimed: Claimed) -> None:
        self._agreed[claimed] = None
        if len(self._agreed) > _REMEMBERED_MAX:
            self._agreed.popitem(last=False)

    async def hidden(
        self, tx_ids: Sequence[str], known: Callable[[int], Header | None]
    ) -> int | None:
        """Return the height of a block that was read without one of these transactions, although a
        majority shows it there; None if there is none.

        Args:
            known: the header that was read at a height.
        """
        calls: Calls = [("eth_getTransactionReceipt", (tx_id,)) for tx_id in tx_ids]

        def judge(answers: list[Any]) -> frozenset[int]:
            return frozenset(
                height for answer in answers if (height := _place(answer, known)) is not None
            )

        votes = await self._nodes.votes(calls, judge, lambda _: False)
        heights = [height for _, shown in votes for height in shown]
        found = [h for h in set(heights) if heights.count(h) >= self._nodes.majority]
        return min(found, default=None)

    def _calls(self, claimed: Claimed) -> Calls:
        calls: list[tuple[str, Any]] = [
            ("eth_getBlockByNumber", (hex(claimed.header.height), False)),
            ("eth_getTransactionReceipt", (claimed.tx_id,)),
            ("eth_getBlockByNumber", (self._finality.tag or "latest", False)),
        ]
        if claimed.absent is not None:
            calls.append(_state_call(claimed.absent))
        return calls

    def _judge(self, answers: list[Any], claimed: Claimed) -> Vote:
        there = (answers[0], *answers[2:])
        if None in there or any(isinstance(answer, RpcError) for answer in answers):
            return Vote.OPEN
        block, receipt, newest, *state = answers
        try:
            # The whole header: a time or parent that only one node tells is not agreed on.
            if read_header(block) != claimed.header:
                return Vote.OPEN
            if claimed.header.height > self._final_height(newest):
                return Vote.OPEN
            shown = (
                receipt is not None
                and receipt_shows(receipt, claimed.header, claimed.landed, claimed.operation)
                and (claimed.absent is None or _is_absent(state[0], claimed.absent))
            )
        except (Transient, AbiError, KeyError, TypeError, ValueError, AttributeError):
            return Vote.OPEN
        return Vote.CONFIRMED if shown else Vote.CONTRADICTED

    def _final_height(self, newest: Mapping[str, Any]) -> int:
        height = read_header(newest).height
        return self._finality.height(height, height if self._finality.tag else None)


def _state_call(effect: OperationEffect) -> tuple[str, Any]:
    values = (effect.group, effect.op_id)
    data = encode("operation(address,bytes32)", ("address", "bytes32"), values)
    return "eth_call", ({"to": effect.contract, "data": f"0x{data.hex()}"}, "latest")


def _is_absent(answer: str, effect: OperationEffect) -> bool:
    """Tell whether the contract's newest state is one without the effect: states go one way only,
    so what is not there now was not there before.
    """
    status, *_, params_hash = decode(OPERATION_STATE, bytes.fromhex(answer.removeprefix("0x")))
    after = _OPENED if effect.status == OperationStatus.OPEN else {effect.status}
    return status not in after or params_hash.hex() != effect.params_hash


def _place(receipt: Any, known: Callable[[int], Header | None]) -> int | None:
    """Return the height of a receipt's block, if that block is one that was read."""
    if receipt is None or isinstance(receipt, RpcError):
        return None
    try:
        header = known(int(receipt["blockNumber"], 16))
        same = header is not None and receipt["blockHash"].lower() == header.hash
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return header.height if header is not None and same else None
