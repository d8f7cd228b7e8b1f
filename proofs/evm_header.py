"""Block headers of EVM chains: rebuilt from a node's JSON, read from RLP, always hashed here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proofs import rlp
from proofs.errors import ProofUnavailable, Refused
from proofs.evm_form import node_data, node_quantity, reading
from proofs.keccak import keccak256

__all__ = ["CHECK", "MAX_BYTES", "Header", "header_of", "read_header"]

#: Name of the check that refuses a header of no fork's form.
CHECK: Final = "evm-header"
#: Chains with signers in their headers fill ``extraData``; Ethereum's own headers have 700 bytes.
MAX_BYTES: Final = 1 << 16

_ANY: Final = -1
_NUMBER: Final = 0
#: The fields in their order, each a string of so many bytes, a number, or any string.
_FIELDS: Final[tuple[tuple[str, int], ...]] = (
    ("parentHash", 32),
    ("sha3Uncles", 32),
    ("miner", 20),
    ("stateRoot", 32),
    ("transactionsRoot", 32),
    ("receiptsRoot", 32),
    ("logsBloom", 256),
    ("difficulty", _NUMBER),
    ("number", _NUMBER),
    ("gasLimit", _NUMBER),
    ("gasUsed", _NUMBER),
    ("timestamp", _NUMBER),
    ("extraData", _ANY),
    ("mixHash", 32),
    ("nonce", 8),
    # Each fork since London appends; a field is there only with all before it.
    ("baseFeePerGas", _NUMBER),  # London, EIP-1559
    ("withdrawalsRoot", 32),  # Shanghai, EIP-4895
    ("blobGasUsed", _NUMBER),  # Cancun, EIP-4844
    ("excessBlobGas", _NUMBER),  # Cancun, EIP-4844
    ("parentBeaconBlockRoot", 32),  # Cancun, EIP-4788
    ("requestsHash", 32),  # Prague, EIP-7685; Osaka adds none
    ("blockAccessListHash", 32),  # Amsterdam, EIP-7928
    ("slotNumber", _NUMBER),  # Amsterdam, EIP-7843
)
_OLDEST: Final = 15
#: How many fields the headers of a fork have.
_LENGTHS: Final = frozenset({_OLDEST, 16, 17, 20, 21, 23})
_AT: Final = {name: at for at, (name, _) in enumerate(_FIELDS)}


@dataclass(frozen=True, slots=True)
class Header:
    """What proofs need of a header; hashes and roots are 32 bytes, ``time_s`` is Unix seconds."""

    hash: bytes
    parent_hash: bytes
    state_root: bytes
    transactions_root: bytes
    receipts_root: bytes
    height: int
    time_s: int


def header_of(block: Mapping[str, Any]) -> bytes:
    """Return the RLP of the header of a block that a node gave as JSON.

    Raises:
        ProofUnavailable: ``malformed_answer``, or ``header_mismatch`` where the fields do not hash
            to the block's name or are those of no fork (the chain has fields of its own, or the
            node is wrong).
    """
    with reading("a block header"):
        raw = rlp.encode_list(_encoded(block))
        name = node_data(block["hash"], 32)
    if keccak256(raw) != name:
        raise ProofUnavailable("header_mismatch", f"the fields do not hash to {name.hex()}")
    try:
        read_header(raw)
    except Refused as refused:
        raise ProofUnavailable("header_mismatch", str(refused)) from None
    return raw


def read_header(raw: bytes) -> Header:
    """Return the header in ``raw``.

    Raises:
        Refused: it has the form of no fork.
    """
    if len(raw) > MAX_BYTES:
        raise Refused(CHECK, f"{len(raw)} bytes, the limit is {MAX_BYTES}")
    fields = rlp.list_of(rlp.decode(raw))
    if len(fields) not in _LENGTHS:
        raise Refused(CHECK, f"{len(fields)} fields, which no fork's headers have")
    for (name, size), field in zip(_FIELDS, fields, strict=False):
        if size == _NUMBER:
            rlp.number_of(field)
        elif size == _ANY:
            rlp.string_of(field)
        elif not isinstance(field, bytes) or len(field) != size:
            raise Refused(CHECK, f"{name} has not {size} bytes")
    return Header(
        hash=keccak256(raw),
        parent_hash=rlp.string_of(fields[_AT["parentHash"]]),
        state_root=rlp.string_of(fields[_AT["stateRoot"]]),
        transactions_root=rlp.string_of(fields[_AT["transactionsRoot"]]),
        receipts_root=rlp.string_of(fields[_AT["receiptsRoot"]]),
        height=rlp.number_of(fields[_AT["number"]], 53),
        time_s=rlp.number_of(fields[_AT["timestamp"]], 64),
    )


def _encoded(block: Mapping[str, Any]) -> list[bytes]:
    items: list[bytes] = []
    for at, (name, size) in enumerate(_FIELDS):
        value = block.get(name)
        if value is None and at >= _OLDEST:
            break
        if size == _NUMBER:
            items.append(rlp.encode_int(node_quantity(value)))
        else:
            items.append(rlp.encode_bytes(node_data(value, *([] if size == _ANY else [size]))))
    return items
