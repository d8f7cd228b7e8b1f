"""Receipts, and which entries of a node's answer a chain's header commits to.

A receipt does not name its transaction: only the transaction at the same index does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proofs import rlp
from proofs.errors import ProofUnavailable, Refused
from proofs.evm_form import node_data, node_quantity, reading
from proofs.keccak import keccak256

__all__ = [
    "CHECK",
    "COMMITMENT_RULES",
    "COMMIT_ALL",
    "CommitmentRule",
    "Log",
    "Receipt",
    "commitment_rule",
    "encode_receipt",
    "read_receipt",
]

#: Name of the check that refuses bytes which are no receipt.
CHECK: Final = "evm-receipt"


@dataclass(frozen=True, slots=True)
class Log:
    """An event: 20 bytes of address, topics of 32 bytes, data."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a transaction; ``kind`` is its type."""

    kind: int
    succeeded: bool
    cumulative_gas: int
    logs: tuple[Log, ...]


@dataclass(frozen=True, slots=True)
class CommitmentRule:
    """Which entries that a node lists for a block its header does not commit to.

    Attributes:
        name: for records and reports.
        state_sync_from: on Polygon, the height from which the header commits to the transaction
            of the block's state sync; below it, the entry that nodes append is no part of the
            block. None where there is no such entry.
    """

    name: str
    state_sync_from: int | None = None

    def left_out(self, height: int, block_hash: bytes) -> bytes | None:
        """Return the name of the transaction that is no part of the block, if there may be one."""
        if self.state_sync_from is None or height >= self.state_sync_from:
            return None
        # Bor gives the entry a name of its own making (core/types/bor_receipt.go).
        return keccak256(b"matic-bor-receipt-" + height.to_bytes(8, "big") + block_hash)


#: Headers commit to every transaction that nodes list.
COMMIT_ALL: Final = CommitmentRule("all")
#: By chain id. Polygon includes state sync since its fork Madhugiri (PIP-74).
COMMITMENT_RULES: Final[Mapping[int, CommitmentRule]] = {
    137: CommitmentRule("polygon-state-sync", 80_084_800),
    80002: CommitmentRule("polygon-amoy-state-sync", 28_899_616),
}


def commitment_rule(chain_id: int) -> CommitmentRule:
    """Return the rule of a chain."""
    return COMMITMENT_RULES.get(chain_id, COMMIT_ALL)


def encode_receipt(fields: Mapping[str, Any]) -> bytes:
    """Return the bytes that a block commits to for a receipt that a node gave as JSON.

    Any type below 128 is written as EIP-2718 has it; where a chain's own types have more fields,
    the root shows that.

    Raises:
        ProofUnavailable: ``malformed_answer``.
    """
    with reading("a receipt"):
        kind = node_quantity(fields.get("type") or "0x0")
        if kind >= 0x80:
            raise ProofUnavailable("unknown_transaction_type", f"a receipt of type {kind:#x}")
        status = fields.get("status")
        # Before Byzantium (EIP-658) a receipt had a state root in this place.
        first = node_data(fields["root"], 32) if status is None else _flag(node_quantity(status))
        items = (
            rlp.encode_bytes(first),
            rlp.encode_int(node_quantity(fields["cumulativeGasUsed"])),
            rlp.encode_bytes(node_data(fields["logsBloom"], 256)),
            rlp.encode_list(map(_encode_log, fields["logs"])),
        )
        return (bytes((kind,)) if kind else b"") + rlp.encode_list(items)


def read_receipt(raw: bytes) -> Receipt:
    """Return the receipt in ``raw``.

    Raises:
        Refused: no canonical receipt with a status.
    """
    kind = raw[0] if raw and raw[0] < 0x80 else 0
    if raw[:1] == b"\0":
        raise Refused(CHECK, "a legacy receipt has no type byte")
    fields = rlp.list_of(rlp.decode(raw[1:] if kind else raw))
    if len(fields) != 4:
        raise Refused(CHECK, f"{len(fields)} fields where a receipt has 4")
    status = rlp.string_of(fields[0])
    if status not in {b"", b"\x01"}:
        raise Refused(CHECK, "a receipt that does not say whether its transaction succeeded")
    rlp.string_of(fields[2], 256)
    return Receipt(
        kind=kind,
        succeeded=status == b"\x01",
        cumulative_gas=rlp.number_of(fields[1], 64),
        logs=tuple(_read_log(log) for log in rlp.list_of(fields[3])),
    )


def _flag(status: int) -> bytes:
    if status > 1:
        raise ValueError("a status that is neither 0 nor 1")
    return b"\x01" * status


def _encode_log(log: Mapping[str, Any]) -> bytes:
    topics = [rlp.encode_bytes(node_data(topic, 32)) for topic in log["topics"]]
    address = rlp.encode_bytes(node_data(log["address"], 20))
    data = rlp.encode_bytes(node_data(log["data"]))
    return rlp.encode_list((address, rlp.encode_list(topics), data))


def _read_log(item: rlp.Item) -> Log:
    address, topics, data = rlp.list_of(item, least=3, most=3)
    return Log(
        address=rlp.string_of(address, 20),
        topics=tuple(rlp.string_of(topic, 32) for topic in rlp.list_of(topics, most=4)),
        data=rlp.string_of(data),
    )
