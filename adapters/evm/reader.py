"""Asks nodes for blocks: headers, and whole blocks reduced to what concerns us."""

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final

from adapters.errors import Transient
from adapters.evm.blocks import Block, Header, read_block, read_header
from adapters.evm.kept import Kept, KeptBlocks
from adapters.evm.nodes import Calls, Holders, Newest, Nodes, NodeSeat, height_of
from adapters.evm.transactions import SignedHere
from adapters.retry import reading
from adapters.rpc import RpcError
from proofs.evm_receipts import CommitmentRule

__all__ = ["BlockReader"]

#: Most blocks in one request when catching up; halved when that fails, then raised again.
_SPAN_MAX: Final = 32
_SPAN_FIRST: Final = 8
_SOURCES_MAX: Final = 10_000


class BlockReader:
    """Reads blocks for a set of accounts and contracts, which may grow.

    Args:
        tag: the block tag that stands for finality, None where confirmations do.
        accounts: our accounts, checksummed.
        contracts: our contracts with operation ids, checksummed.
        rule: what the chain's headers commit to, to be checked; None: nodes are believed.
        here: what this process signed.
    """

    def __init__(
        self,
        nodes: Nodes,
        tag: str | None,
        accounts: Iterable[str],
        contracts: Iterable[str],
        rule: CommitmentRule | None = None,
        here: SignedHere | None = None,
    ) -> None:
        self._nodes = nodes
        self._tag = tag
        self._rule = rule
        self._here = here
        self._accounts = set(accounts)
        self._contracts = set(contracts)
        #: Rises whenever the sets grow: blocks read before that lack what was added.
        self.epoch = 0
        #: who gave the block at a height, the newest ones last.
        self._sources: dict[int, NodeSeat] = {}
        #: How many blocks one request reads at present.
        self.span = _SPAN_FIRST
        self._kept = KeptBlocks()

    def watch(self, accounts: Iterable[str], contracts: Iterable[str]) -> bool:
        """Add to the sets; True if that was new."""
        accounts, contracts = set(accounts), set(contracts)
        if accounts <= self._accounts and contracts <= self._contracts:
            return False
        self._accounts |= accounts
        self._contracts |= contracts
        self.epoch += 1
        return True

    @property
    def several(self) -> bool:
        """Whether there is a majority to ask, or just the one node."""
        return len(self._nodes) > 1

    async def newest(self, *, patient: bool = False) -> Newest:
        """Return the newest block that a majority of the nodes shares, and what it calls final."""
        if self.several:

            async def look() -> Newest:
                return await self._nodes.newest(self._tag)

            return await (reading(look) if patient else look())
        calls = self._latest_calls()
        answers = await (self._nodes.batch(calls) if patient else self._nodes.once(calls))
        return self._newest(answers)

    async def newest_and(self, height: int) -> tuple[Newest, Block | None]:
        """Return what `newest` does and, where there is one node, in the same request, the block at
        ``height`` if it is there.
        """
        if self.several:
            return await self.newest(), None
        answers = await self._nodes.once([*self._latest_calls(), *_block_calls(height)])
        *heads, block, receipts = answers
        # Nodes say null or an error about a block that is not there yet.
        missing = block is None or receipts is None or isinstance(block, RpcError)
        found = None if missing else self._read(block, _result(receipts))
        return self._newest(heads), found

    async def headers(self, heights: list[int], among: Holders = None) -> list[Header | None]:
        """Return the headers at these heights, None where the chain does not reach."""
        calls = [("eth_getBlockByNumber", (hex(height), False)) for height in heights]

        def parse(answers: list[Any]) -> list[Header | None]:
            found = map(_result, answers)
            return [None if answer is None else read_header(answer) for answer in found]

        _, found = await self._nodes.read(calls, parse, among)
        return found

    async def blocks(self, low: int, high: int, among: Holders = None) -> list[Block]:
        """Read blocks low … high.

        Args:
            among: the nodes that may be asked; all where it is left out.

        Raises:
            Transient: they are not all there, or do not hang together.
            WrongChain: they are not there because the chain is another one.
        """
        calls = [call for height in range(low, high + 1) for call in _block_calls(height)]
        try:
            seat, blocks = await self._nodes.read(calls, self._linked, among)
        except Transient:
            self.span = max(1, self.span // 2)
            raise
        self.span = min(_SPAN_MAX, self.span + 1)
        if len(blocks) <= high - low:
            await self.recheck()
            raise Transient(f"a node does not have all of the blocks {low} to {high}")
        self._remember(seat, low, high)
        return blocks

    def _remember(self, seat: NodeSeat, low: int, high: int) -> None:
        if self.several:
            self._sources.update(dict.fromkeys(range(low, high + 1), seat))
            while len(self._sources) > _SOURCES_MAX:
                del self._sources[next(iter(self._sources))]

    def distrust(self, low: int, high: int) -> None:
        """The blocks low … high were not what a majority shows: whoever gave most of them is asked
        after all others.
        """
        givers = Counter(self._sources[at] for at in range(low, high + 1) if at in self._sources)
        for seat, _ in givers.most_common(1):
            self._nodes.roster.contradicted(seat, f"something else in the blocks {low} to {high}")

    def _linked(self, answers: list[Any]) -> list[Block]:
        """Return the blocks in the answers to `_block_calls`, the missing ones left out.

        Raises:
            Transient: they do not hang together.
        """
        answers = [_result(answer) for answer in answers]
        blocks = [
            self._read(block, receipts)
            for block, receipts in zip(answers[::2], answers[1::2], strict=True)
            if block is not None and receipts is not None
        ]
        for below, above in pairwise(blocks):
            if above.header.parent != below.header.hash:
                raise Transient("the chain was reorganised while it was read")
        return blocks

    async def holds(self, header: Header) -> bool:
        """Tell whether any node still has this block in its chain."""
        return await self._nodes.holds(header)

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

    def _newest(self, answers: list[Any]) -> Newest:
        head, tagged = read_header(_result(answers[0])), height_of(answers[1:2])
        return Newest(head, tagged, self._nodes.roster.seats, agreed=True)

    def _read(self, block: Any, receipts: Any) -> Block:
        found = read_block(block, receipts, self._accounts, self._contracts, self._rule, self._here)
        if found.committed is not None:
            self._kept.keep(block, found.committed)
        return found

    def kept(self, block_hash: str) -> Kept | None:
        """Return a block that concerns us, if it was read a moment ago and may be proved from."""
        return self._kept.get(block_hash)


def _block_calls(height: int) -> list[tuple[str, Any]]:
    return [
        ("eth_getBlockByNumber", (hex(height), True)),
        ("eth_getBlockReceipts", (hex(height),)),
    ]


def _result(answer: Any) -> Any:
    if isinstance(answer, RpcError):
        raise Transient(f"a node refused to show a block: {answer}")
    return answer
