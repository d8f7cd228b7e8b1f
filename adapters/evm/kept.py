"""Blocks that concern us, kept for a moment as their headers commit to them, for evidence."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proofs.evm_inclusion import CommittedBlock

__all__ = ["Kept", "KeptBlocks"]

#: So many transactions are kept in all, about a kilobyte each; one block may have more alone.
_TRANSACTIONS_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """A block.

    Attributes:
        fields: its header's, as a node told them.
        committed: its transactions and receipts, found to make the roots in the header.
    """

    fields: Mapping[str, Any]
    committed: CommittedBlock


class KeptBlocks:
    """The newest blocks, by hash."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[str, Kept] = OrderedDict()
        self._transactions = 0

    def keep(self, block: Mapping[str, Any], committed: CommittedBlock) -> None:
        """Keep a block as a node told it; the oldest ones go."""
        name = block["hash"].lower()
        if name in self._blocks:
            return
        fields = {key: block[key] for key in block if key != "transactions"}
        self._blocks[name] = Kept(fields, committed)
        self._transactions += len(committed.indexes)
        while self._transactions > _TRANSACTIONS_MAX:
            _, oldest = self._blocks.popitem(last=False)
            self._transactions -= len(oldest.committed.indexes)

    def get(self, block_hash: str) -> Kept | None:
        """Return the block, if it is kept."""
        return self._blocks.get(block_hash)
