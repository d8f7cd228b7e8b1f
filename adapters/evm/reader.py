"""Asks nodes for blocks: headers, and whole blocks reduced to what concerns us."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final

from adapters.errors import Transient
from adapters.evm.blocks import Block, Header, read_block, read_header
from adapters.evm.nodes import Calls, Nodes
from adapters.rpc import RpcError

__all__ = ["BlockReader"]

#: Most blocks in one request when catching up; halved when that fails, then raised again.
_SPAN_MAX: Final = 32
_SPAN_FIRST: Final = 8


class BlockReader:
    """Reads blocks for a set of accounts and contracts, which may grow.

    Args:
        tag: the block tag that stands for finality, None where confirmations do.
        accounts: our accounts, checksummed.
        contracts: our contracts with operation ids, checksummed.
    """

    def __init__(
        self, nodes: Nodes, tag: str | None, accounts: Iterable[str], contracts: Iterable[str]
    ) -> None:
        self._nodes = nodes
        self._tag = tag
        self._accounts = set(accounts)
        self._contracts = set(contracts)
        #: Rises whenever the sets grow: blocks read before that lack what was added.
        self.epoch = 0
        #: How many blocks one request reads at present.
        self.span = _SPAN_FIRST

    def watch(self, accounts: Iterable[str], contracts: Iterable[str]) -> bool:
        """Add to the sets; True if that was new."""
        accounts, contracts = set(accounts), set(contracts)
        if accounts <= self._accounts and contracts <= self._contracts:
            return False
        self._accounts |= accounts
        self._contracts |= contracts
        self.epoch += 1
        return True

    async def latest(self, *, patient: bool = False) -> tuple[Header, int | None]:
        """Return the latest header and, with a tag, the height that the node calls final."""
        calls = self._latest_calls()
        answers = await (self._nodes.batch(calls) if patient else self._nodes.once(calls))
        return read_header(_result(answers[0])), _tagged(answers[1:2])

    async def latest_and(self, height: int) -> tuple[Header, int | None, Block | None]:
        """Return what `latest` does, and the block at ``height`` if it is there, in one request."""
        answers = await self._nodes.once([*self._latest_calls(), *_block_calls(height)])
        *heads, block, receipts = answers
        latest, tagged = read_header(_result(heads[0])), _tagged(heads[1:2])
        # Nodes say null or an error about a block that is not there yet.
        missing = block is None or receipts is None or isinstance(block, RpcError)
        found = None if missing else self._read(block, _result(receipts))
        return latest, tagged, found

    async def headers(self, heights: list[int]) -> list[Header | None]:
        """Return the headers at these heights, None where the chain does not reach."""
        calls = [("eth_getBlockByNumber", (hex(height), False)) for height in heights]
        answers = [_result(answer) for answer in await self._nodes.once(calls)]
        return [None if answer is None else read_header(answer) for answer in answers]

    async def blocks(self, low: int, high: int) -> list[Block]:
        """Read blocks low … high.

        Raises:
            Transient: they are not all there, or do not hang together.
            WrongChain: they are not there because the chain is another one.
        """
        calls = [call for height in range(low, high + 1) for call in _block_calls(height)]
        try:
            answers = [_result(answer) for answer in await self._nodes.once(calls)]
        except Transient:
            self.span = max(1, self.span // 2)
            raise
        self.span = min(_SPAN_MAX, self.span + 1)
        if None in answers:
            await self.recheck()
            raise Transient(f"a node does not have all of the blocks {low} to {high}")
        blocks = [
            self._read(block, receipts)
            for block, receipts in zip(answers[::2], answers[1::2], strict=True)
        ]
        for below, above in pairwise(blocks):
            if above.header.parent != below.header.hash:
                raise Transient("the chain was reorganised while it was read")
        return blocks

    async def recheck(self) -> None:
        """Compare the node's identity with the pinned one again.

        Raises:
            WrongChain: the chain was exchanged for another.
        """
        await self._nodes.recheck()

    def _latest_calls(self) -> Calls:
        calls: list[tuple[str, Any]] = [("eth_getBlockByNumber", ("latest", False))]
        if self._tag is not None:
            calls.append(("eth_getBlockByNumber", (self._tag, False)))
        return calls

    def _read(self, block: Any, receipts: Any) -> Block:
        return read_block(block, receipts, self._accounts, self._contracts)


def _block_calls(height: int) -> list[tuple[str, Any]]:
    return [
        ("eth_getBlockByNumber", (hex(height), True)),
        ("eth_getBlockReceipts", (hex(height),)),
    ]


def _result(answer: Any) -> Any:
    if isinstance(answer, RpcError):
        raise Transient(f"a node refused to show a block: {answer}")
    return answer


def _tagged(answers: list[Any]) -> int | None:
    """Return the height of the tagged block; None while the chain has none yet."""
    if not answers or answers[0] is None or isinstance(answers[0], RpcError):
        return None
    return read_header(answers[0]).height
