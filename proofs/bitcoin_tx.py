"""Bitcoin transactions: bytes in, values out, identities by our own hashing.

Reads both serialisations: the classic one and BIP-144's with witnesses. A transaction's id covers
the classic form only, so `Transaction.stripped` is what a Merkle branch proves; `Transaction.wtxid`
covers everything (BIP-141).
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from proofs.errors import Refused

__all__ = [
    "MAX_MONEY_SAT",
    "MAX_TX_BYTES",
    "Input",
    "Outpoint",
    "Output",
    "Transaction",
    "is_coinbase",
    "parse_tx",
    "sha256d",
    "shown",
]

#: More than any transaction that nodes relay (400,000 weight units) and than pools' coinbases.
MAX_TX_BYTES: Final = 1_000_000
#: Consensus rule MAX_MONEY: no output is worth more.
MAX_MONEY_SAT: Final = 21_000_000 * 100_000_000
_MIN_INPUT_BYTES: Final = 41
_MIN_OUTPUT_BYTES: Final = 9
_NO_TX: Final = bytes(32)
_NO_OUTPUT: Final = 0xFFFFFFFF


def sha256d(data: bytes) -> bytes:
    """Return SHA-256 of SHA-256, Bitcoin's hash of transactions, headers and tree nodes."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def shown(digest: bytes) -> str:
    """Return a 32-byte hash as people and nodes write it: reversed, in hex."""
    return digest[::-1].hex()


@dataclass(frozen=True, slots=True)
class Outpoint:
    """An output of an earlier transaction; ``txid`` as people write it."""

    txid: str
    n: int


@dataclass(frozen=True, slots=True)
class Input:
    """What is spent; the witness stands apart because the txid does not cover it."""

    outpoint: Outpoint
    script: bytes
    sequence: int
    witness: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Output:
    """An amount and the script that guards it."""

    value_sat: int
    script: bytes


@dataclass(frozen=True, slots=True)
class Transaction:
    """A decoded transaction.

    Attributes:
        raw: the bytes it was read from.
        stripped: the same without marker, flag and witnesses: what the txid hashes.
    """

    version: int
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    lock_time: int
    raw: bytes
    stripped: bytes

    @property
    def has_witness(self) -> bool:
        """Whether it was read from the serialisation with witnesses."""
        return self.raw != self.stripped

    @property
    def txid(self) -> bytes:
        """Its id in the byte order in which it is hashed."""
        return sha256d(self.stripped)

    @property
    def wtxid(self) -> bytes:
        """The hash of all of it, witnesses included (BIP-141)."""
        return sha256d(self.raw)


def is_coinbase(tx: Transaction) -> bool:
    """Tell whether it spends the null outpoint, as only the first of a block does."""
    first = tx.inputs[0].outpoint
    return len(tx.inputs) == 1 and first.n == _NO_OUTPUT and first.txid == _NO_TX.hex()


def parse_tx(raw: bytes) -> Transaction:
    """Decode exactly one transaction.

    Raises:
        Refused: ``tx-size`` or ``tx-form``: cut off, trailing bytes, a length not in its shortest
            form, no inputs or outputs, an impossible amount, empty witnesses for all inputs.
    """
    if len(raw) > MAX_TX_BYTES:
        raise Refused("tx-size", f"{len(raw)} bytes, the limit is {MAX_TX_BYTES}")
    reader = _Reader(raw)
    version = reader.integer(4)
    extended = raw[4:5] == b"\x00"
    if extended and reader.take(2) != b"\x00\x01":
        raise Refused("tx-form", "no inputs, or an unknown flag after the segwit marker")
    body = reader.at
    bare = [_input(reader) for _ in range(reader.count(_MIN_INPUT_BYTES))]
    outputs = tuple(_output(reader) for _ in range(reader.count(_MIN_OUTPUT_BYTES)))
    if not bare or not outputs:
        raise Refused("tx-form", f"{len(bare)} inputs and {len(outputs)} outputs")
    body_end = reader.at
    witnesses = [_witness(reader) for _ in bare] if extended else [()] * len(bare)
    if extended and not any(witnesses):
        raise Refused("tx-form", "the segwit form without any witness")
    lock_time = reader.integer(4)
    if reader.at != len(raw):
        raise Refused("tx-form", f"{len(raw) - reader.at} bytes after the end")
    inputs = tuple(
        Input(outpoint, script, sequence, witness)
        for (outpoint, script, sequence), witness in zip(bare, witnesses, strict=True)
    )
    stripped = raw[:4] + raw[body:body_end] + raw[-4:] if extended else raw
    return Transaction(version, inputs, outputs, lock_time, raw, stripped)


class _Reader:
    """A position in bytes; running past the end is refused, never a short read."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def take(self, length: int) -> bytes:
        end = self.at + length
        if end > len(self._data):
            raise Refused("tx-form", f"cut off: {length} bytes wanted at {self.at}")
        taken = self._data[self.at : end]
        self.at = end
        return taken

    def integer(self, length: int) -> int:
        return int.from_bytes(self.take(length), "little")

    def compact(self) -> int:
        """A CompactSize in its shortest form; Bitcoin Core refuses others, too."""
        first = self.integer(1)
        if first < 0xFD:
            return first
        length = 1 << (first - 0xFC)
        value = self.integer(length)
        if value < (0xFD if length == 2 else 1 << (4 * length)):
            raise Refused("tx-form", f"the length {value} is not in its shortest form")
        return value

    def count(self, least_bytes: int) -> int:
        """A number of things to follow, refused before any of them is read if they cannot fit."""
        number = self.compact()
        if number * least_bytes > len(self._data) - self.at:
            raise Refused("tx-form", f"{number} elements cannot fit into what is left")
        return number

    def text(self) -> bytes:
        return self.take(self.compact())


def _input(reader: _Reader) -> tuple[Outpoint, bytes, int]:
    outpoint = Outpoint(shown(reader.take(32)), reader.integer(4))
    return outpoint, reader.text(), reader.integer(4)


def _output(reader: _Reader) -> Output:
    value_sat = reader.integer(8)
    if value_sat > MAX_MONEY_SAT:
        raise Refused("tx-form", f"an output of {value_sat} sat, more than there can be")
    return Output(value_sat, reader.text())


def _witness(reader: _Reader) -> tuple[bytes, ...]:
    return tuple(reader.text() for _ in range(reader.count(1)))
