"""Transactions of others as nodes tell them, hashed and their sender recovered here.

A nonce of ours that a transaction consumed is evidence only if the fields that the node gives hash
to the name it gives, and the signature in them is by our key. Types: legacy, 1 (EIP-2930),
2 (EIP-1559), 3 (EIP-4844), 4 (EIP-7702).
"""

from collections.abc import Mapping
from typing import Any, Final

from adapters.evm import rlp
from adapters.evm.abi import hash_of
from adapters.evm.signing import recover

__all__ = ["verified_sender"]

_HEAD: Final = {
    1: ("chainId", "nonce", "gasPrice", "gas"),
    2: ("chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas"),
    3: ("chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas"),
    4: ("chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas"),
}


def verified_sender(fields: Mapping[str, Any]) -> str:
    """Return the account that signed a transaction given as JSON by a node.

    Raises:
        ValueError: the fields do not hash to its ``hash``, or are no transaction that we know.
    """
    try:
        kind = int(fields.get("type") or "0x0", 16)
        if kind == 0:
            unsigned, prefix, parity = _legacy(fields)
        else:
            unsigned, prefix, parity = _typed(kind, fields), bytes([kind]), _parity(fields)
        r, s = _number(fields["r"]), _number(fields["s"])
        # A legacy signature carries its parity inside v; all others as it is.
        last = _number(fields["v"]) if kind == 0 else parity
        body = unsigned if kind else unsigned[:6]
        whole = prefix + rlp.encode([*body, last, r, s])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a transaction with a missing or odd field: {error}") from None
    if f"0x{hash_of(whole).hex()}" != fields["hash"]:
        raise ValueError("the fields of a transaction do not hash to its name")
    return recover(hash_of(prefix + rlp.encode(unsigned)), parity, r, s)


def _legacy(fields: Mapping[str, Any]) -> tuple[list[rlp.Item], bytes, bytes]:
    names = ("nonce", "gasPrice", "gas")
    items: list[rlp.Item] = [_number(fields[name]) for name in names]
    items += [_data(fields["to"]), _number(fields["value"]), _data(fields["input"])]
    v = int(fields["v"], 16)
    if v in (27, 28):
        return items, b"", rlp.integer(v - 27)
    # EIP-155: the chain id is signed, and v = chain id * 2 + 35 + parity.
    items += [rlp.integer((v - 35) // 2), b"", b""]
    return items, b"", rlp.integer((v - 35) % 2)


def _typed(kind: int, fields: Mapping[str, Any]) -> list[rlp.Item]:
    if kind not in _HEAD:
        raise ValueError(f"a transaction of the unknown type {kind}")
    items: list[rlp.Item] = [_number(fields[name]) for name in _HEAD[kind]]
    items += [_data(fields["to"]), _number(fields["value"]), _data(fields["input"])]
    items.append(
        [
            [_data(entry["address"]), [_data(slot) for slot in entry["storageKeys"]]]
            for entry in fields.get("accessList") or ()
        ]
    )
    if kind == 3:
        hashes = [_data(value) for value in fields["blobVersionedHashes"]]
        items += [_number(fields["maxFeePerBlobGas"]), hashes]
    if kind == 4:
        items.append([_authorisation(entry) for entry in fields["authorizationList"]])
    return items


def _authorisation(entry: Mapping[str, Any]) -> list[rlp.Item]:
    numbers = [_number(entry[name]) for name in ("chainId", "nonce", "yParity", "r", "s")]
    return [numbers[0], _data(entry["address"]), *numbers[1:]]


def _parity(fields: Mapping[str, Any]) -> bytes:
    return _number(fields.get("yParity") or fields["v"])


def _number(text: str) -> bytes:
    return rlp.integer(int(text, 16))


def _data(text: str | None) -> bytes:
    return bytes.fromhex((text or "0x")[2:])
