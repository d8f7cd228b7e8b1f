"""Transactions of types 0 to 4: encoded from a node's JSON, read from bytes, sender recovered.

Type 0 is legacy, 1 EIP-2930, 2 EIP-1559, 3 EIP-4844, 4 EIP-7702. The bytes are those that a block
commits to; a blob transaction's are without its blobs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proofs import rlp
from proofs.ecdsa import HALF_ORDER, signer_of
from proofs.errors import ProofUnavailable, Refused
from proofs.evm_form import node_data, node_quantity, reading
from proofs.keccak import keccak256

__all__ = ["CHECK", "Transaction", "encode_transaction", "read_transaction"]

#: Name of the check that refuses bytes which are no transaction that we know.
CHECK: Final = "evm-transaction"
_SIGNATURE: Final = "evm-signature"

_ONE_PRICE: Final = ("chainId", "nonce", "gasPrice", "gas")
_TWO_PRICES: Final = ("chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas")
_NUMBERS: Final = {1: _ONE_PRICE, 2: _TWO_PRICES, 3: _TWO_PRICES, 4: _TWO_PRICES}
#: How many elements each type has.
_LENGTHS: Final = {0: 9, 1: 11, 2: 12, 3: 14, 4: 13}


@dataclass(frozen=True, slots=True)
class Transaction:
    """A signed transaction.

    Attributes:
        hash: its name, 32 bytes.
        kind: its type, 0 to 4.
        chain_id: the chain that its signature names; None before EIP-155.
        sender: who signed, 20 bytes.
        to: 20 bytes, or None where it creates a contract.
    """

    hash: bytes
    kind: int
    chain_id: int | None
    sender: bytes
    nonce: int
    to: bytes | None
    value_wei: int
    data: bytes


def encode_transaction(fields: Mapping[str, Any], raw: bytes | None = None) -> bytes:
    """Return the bytes that a block commits to for a transaction that a node gave as JSON.

    Args:
        raw: the bytes as the node gives them; needed for the types that only its chain knows.

    Raises:
        ProofUnavailable: ``malformed_answer``, or ``unknown_transaction_type`` without ``raw``.
    """
    if raw:
        return raw
    with reading("a transaction"):
        kind = node_quantity(fields.get("type") or "0x0")
        if kind not in _LENGTHS:
            name = fields["hash"]
            detail = f"transaction {name} is of type {kind:#x}; its raw bytes are needed"
            raise ProofUnavailable("unknown_transaction_type", detail)
        if kind == 0:
            items = _numbers(fields, ("nonce", "gasPrice", "gas")) + _call(fields)
            return rlp.encode_list(items + _numbers(fields, ("v", "r", "s")))
        items = _numbers(fields, _NUMBERS[kind]) + _call(fields) + [_access_list(fields)]
        if kind == 3:
            hashes = [
                rlp.encode_bytes(node_data(each, 32)) for each in fields["blobVersionedHashes"]
            ]
            items += [*_numbers(fields, ("maxFeePerBlobGas",)), rlp.encode_list(hashes)]
        if kind == 4:
            items.append(rlp.encode_list(map(_authorisation, fields["authorizationList"])))
        signature = _numbers(fields, (_parity(fields), "r", "s"))
        return bytes((kind,)) + rlp.encode_list(items + signature)


def read_transaction(raw: bytes) -> Transaction:
    """Return the transaction in ``raw``.

    Raises:
        Refused: no canonical transaction of types 0 to 4, or no key made its signature.
    """
    kind = raw[0] if raw and raw[0] < 0x80 else 0
    if kind not in _LENGTHS or (raw and raw[0] == 0):
        raise Refused(CHECK, f"a transaction of the unknown type {raw[0]:#x}")
    body = raw[1:] if kind else raw
    length = _LENGTHS[kind]
    items = rlp.list_of(rlp.decode(body))
    if len(items) != length:
        raise Refused(CHECK, f"{len(items)} elements where type {kind} has {length}")
    first = 3 if kind == 0 else len(_NUMBERS[kind])
    # Everything before the signature, byte for byte as it stands.
    spans = rlp.elements(body, length)
    unsigned = [body[spans[0][0] : spans[length - 4][1]]]
    chain_id, parity = _signer(kind, items)
    if kind == 0 and chain_id is not None:
        unsigned += [rlp.encode_int(chain_id), rlp.EMPTY, rlp.EMPTY]
    for item in items[:first]:
        rlp.number_of(item)
    _check_lists(kind, items[first + 3 : -3])
    to = rlp.string_of(items[first], *((20,) if kind in {3, 4} else (0, 20)))
    return Transaction(
        hash=keccak256(raw),
        kind=kind,
        chain_id=chain_id,
        sender=_recover(keccak256(raw[: kind > 0] + rlp.encode_list(unsigned)), parity, items),
        nonce=rlp.number_of(items[1 if kind else 0], 64),
        to=to or None,
        value_wei=rlp.number_of(items[first + 1]),
        data=rlp.string_of(items[first + 2]),
    )


def _signer(kind: int, items: Sequence[rlp.Item]) -> tuple[int | None, int]:
    """Return the chain that was signed for, and the parity of the signature's point."""
    v = rlp.number_of(items[-3])
    if kind:
        if v > 1:
            raise Refused(_SIGNATURE, "a parity that is neither 0 nor 1")
        return rlp.number_of(items[0]), v
    if v in {27, 28}:
        return None, v - 27
    if v < 35:
        raise Refused(_SIGNATURE, f"v is {v}, which no signature has")
    return (v - 35) // 2, (v - 35) % 2


def _recover(digest: bytes, parity: int, items: Sequence[rlp.Item]) -> bytes:
    r, s = rlp.number_of(items[-2]), rlp.number_of(items[-1])
    if s > HALF_ORDER:
        raise Refused(_SIGNATURE, "the larger of two forms of one signature")
    try:
        return signer_of(digest, r.to_bytes(32, "big") + s.to_bytes(32, "big"), parity)
    except ValueError:
        raise Refused(_SIGNATURE, "a signature that no key makes") from None


def _check_lists(kind: int, items: Sequence[rlp.Item]) -> None:
    """Check what stands between the call data and the signature."""
    if kind == 0:
        return
    for entry in rlp.list_of(items[0]):
        address, slots = rlp.list_of(entry, least=2, most=2)
        rlp.string_of(address, 20)
        for slot in rlp.list_of(slots):
            rlp.string_of(slot, 32)
    if kind == 3:
        rlp.number_of(items[1])
        for name in rlp.list_of(items[2], least=1):
            rlp.string_of(name, 32)
    if kind == 4:
        for entry in rlp.list_of(items[1], least=1):
            chain_id, address, *rest = rlp.list_of(entry, least=6, most=6)
            rlp.string_of(address, 20)
            for number in (chain_id, *rest):
                rlp.number_of(number)


def _numbers(fields: Mapping[str, Any], names: Sequence[str]) -> list[bytes]:
    return [rlp.encode_int(node_quantity(fields[name])) for name in names]


def _parity(fields: Mapping[str, Any]) -> str:
    """Return under which name a node gives the parity; both hold the same number."""
    return "yParity" if fields.get("yParity") is not None else "v"


def _call(fields: Mapping[str, Any]) -> list[bytes]:
    to = b"" if fields["to"] is None else node_data(fields["to"], 20)
    value = node_quantity(fields["value"])
    data = node_data(fields["input"])
    return [rlp.encode_bytes(to), rlp.encode_int(value), rlp.encode_bytes(data)]


def _access_list(fields: Mapping[str, Any]) -> bytes:
    entries = []
    for entry in fields.get("accessList") or ():
        slots = [rlp.encode_bytes(node_data(slot, 32)) for slot in entry["storageKeys"]]
        address = rlp.encode_bytes(node_data(entry["address"], 20))
        entries.append(rlp.encode_list((address, rlp.encode_list(slots))))
    return rlp.encode_list(entries)


def _authorisation(entry: Mapping[str, Any]) -> bytes:
    chain_id, *rest = _numbers(entry, ("chainId", "nonce", _parity(entry), "r", "s"))
    return rlp.encode_list((chain_id, rlp.encode_bytes(node_data(entry["address"], 20)), *rest))
