"""What has been read of the chain: which block spends an outpoint, and how deep that block lies.

Pure bookkeeping over blocks that `adapters.bitcoin.follower` hands in; nothing here asks a node.
Of each block it keeps the fingerprints of all outpoints that the block spends (eight bytes each,
about 64 KB for a full block) and the few transactions that concern us. A fingerprint can be wrong
only towards "look again": the follower then reads the block once more.
"""

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from adapters.bitcoin.script import ScriptError, parse_hold, spending_path
from adapters.bitcoin.transactions import Block, Tx, TxInput

__all__ = ["BlockNote", "ChainView", "Spender", "note_of", "signed_by"]

#: Items in the witness of a P2WPKH input: signature and public key.
_KEY_WITNESS: Final = 2


@dataclass(slots=True)
class BlockNote:
    """What is remembered of a block.

    Attributes:
        time_s: the header's time, Unix seconds.
        spent: sorted fingerprints of the outpoints it spends.
        kept: its transactions that were looked up or concern us, by each outpoint that they spend.
    """

    hash: str
    parent: str
    height: int
    time_s: int
    spent: "array[int]"
    kept: dict[str, Tx] = field(default_factory=dict)

    def may_spend(self, outpoint: str) -> bool:
        """Tell whether the block may spend ``outpoint``; False is certain."""
        return self.has(fingerprint(outpoint))

    def has(self, wanted: int) -> bool:
        """Tell whether the block spends an outpoint of this fingerprint."""
        index = bisect_left(self.spent, wanted)
        return index < len(self.spent) and self.spent[index] == wanted

    def spender(self, outpoint: str) -> Tx | None:
        """Return the kept transaction that spends ``outpoint``."""
        return self.kept.get(outpoint)

    def keep(self, tx: Tx) -> None:
        """Keep a transaction of this block."""
        self.kept.update(dict.fromkeys((item.outpoint for item in tx.inputs), tx))


@dataclass(frozen=True, slots=True)
class Spender:
    """A transaction in a block of the best chain, as read."""

    tx: Tx
    block_hash: str
    height: int
    time_s: int


def fingerprint(outpoint: str) -> int:
    """Return 64 bits of an outpoint."""
    tx_id, _, index = outpoint.partition(":")
    return (int(tx_id[:16], 16) + int(index)) & 0xFFFFFFFFFFFFFFFF


class ChainView:
    """The blocks from `low` to `top`, without a gap; empty until the first `connect`."""

    def __init__(self) -> None:
        self._notes: dict[int, BlockNote] = {}
        self._low = 0
        self._high = -1

    @property
    def low(self) -> int:
        """Height of the lowest block read."""
        return self._low

    @property
    def top(self) -> BlockNote | None:
        """The highest block read."""
        return self._notes.get(self._high)

    @property
    def bottom(self) -> BlockNote | None:
        """The lowest block read."""
        return self._notes.get(self._low)

    def at(self, height: int) -> BlockNote | None:
        """Return the block at ``height``, if it was read."""
        return self._notes.get(height)

    def connect(self, note: BlockNote) -> None:
        """Add the block above the top, or the very first one."""
        top = self.top
        assert top is None or (note.parent == top.hash and note.height == self._high + 1)
        if top is None:
            self._low = note.height
        self._high = note.height
        self._notes[note.height] = note

    def extend_down(self, note: BlockNote) -> None:
        """Add the block below the lowest."""
        bottom = self.bottom
        assert bottom is not None
        assert bottom.parent == note.hash
        self._low = note.height
        self._notes[note.height] = note

    def forget_below(self, height: int) -> list[BlockNote]:
        """Drop the blocks below ``height``, never the newest; return them."""
        lowest = min(height, self._high)
        dropped = [self._notes.pop(low) for low in range(self._low, lowest)]
        self._low = max(self._low, lowest)
        return dropped

    def disconnect(self) -> BlockNote:
        """Take the top block back."""
        note = self._notes.pop(self._high)
        self._high -= 1
        return note

    def confirmations(self, height: int) -> int:
        """Return the depth of a height: 1 for the top block."""
        return self._high - height + 1

    def spenders(self, outpoint: str) -> Iterator[BlockNote]:
        """Yield the blocks that may spend ``outpoint``, lowest first."""
        wanted = fingerprint(outpoint)
        for height in range(self._low, self._high + 1):
            if self._notes[height].has(wanted):
                yield self._notes[height]


def note_of(
    block: Block,
    height: int,
    watched: Collection[str],
    scripts: Collection[bytes],
    keys: Collection[bytes] = (),
) -> BlockNote:
    """Return what is to be remembered of ``block``.

    Args:
        watched: outpoints whose spenders are kept at once.
        scripts: output scripts whose transactions are kept (our own).
        keys: public keys whose transactions are kept (our own): a process that begins reads the
            blocks before it knows which of their coins its sagas claim.
    """
    spent = array("Q", sorted(fingerprint(i.outpoint) for tx in block.txs for i in tx.inputs))
    note = BlockNote(block.hash, block.parent, height, block.time_s, spent)
    for tx in block.txs:
        if (
            any(item.outpoint in watched or signed_by(item) in keys for item in tx.inputs)
            or any(output.script in scripts for output in tx.outputs)
        ):  # fmt: skip
            note.keep(tx)
    return note


def signed_by(item: TxInput) -> bytes:
    """Return the public key whose signature an input shows: a P2WPKH witness names it (BIP-141),
    that of a hold's refund has it in its script; empty for others.
    """
    witness = item.witness
    if len(witness) == _KEY_WITNESS:
        return witness[1]
    if spending_path(witness) != "refund":
        return b""
    try:
        return parse_hold(witness[-1]).payer
    except ScriptError:
        return b""
