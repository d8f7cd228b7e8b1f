"""Signatures of the participants that a plan names, as any wallet makes them (EIP-712).

Each signs the saga, its outcome, its own role and the hash of the bundle's payload. The domain
names no chain: a settlement spans several. Contract accounts (EIP-1271) can not be checked without
a chain and are no participants here.
"""

from collections.abc import Mapping
from typing import Any, Final

from proofs.checkpoint import recover
from proofs.errors import Refused
from proofs.keccak import keccak256

__all__ = ["digest_of", "entry_of", "typed_data", "verify_signature"]

_NAME: Final = "cross-chain settlement"
_VERSION: Final = "1"
_DOMAIN: Final = (("name", "string"), ("version", "string"))
_FIELDS: Final = (
    ("saga", "string"),
    ("outcome", "string"),
    ("role", "string"),
    ("payload", "bytes32"),
)


def _type_hash(name: str, fields: tuple[tuple[str, str], ...]) -> bytes:
    return keccak256(f"{name}({','.join(f'{kind} {field}' for field, kind in fields)})".encode())


_SEPARATOR: Final = keccak256(
    _type_hash("EIP712Domain", _DOMAIN) + keccak256(_NAME.encode()) + keccak256(_VERSION.encode())
)
_TYPE: Final = _type_hash("Settlement", _FIELDS)


def digest_of(saga: str, outcome: str, role: str, payload: bytes) -> bytes:
    """Return the 32 bytes that a participant signs.

    Args:
        payload: the canonical bytes of the bundle's payload.
    """
    texts = b"".join(keccak256(text.encode()) for text in (saga, outcome, role))
    return keccak256(b"\x19\x01" + _SEPARATOR + keccak256(_TYPE + texts + keccak256(payload)))


def typed_data(saga: str, outcome: str, role: str, payload: bytes) -> dict[str, Any]:
    """Return the document that wallets sign by ``eth_signTypedData_v4``; the same digest."""
    return {
        "types": {
            "EIP712Domain": [{"name": name, "type": kind} for name, kind in _DOMAIN],
            "Settlement": [{"name": name, "type": kind} for name, kind in _FIELDS],
        },
        "primaryType": "Settlement",
        "domain": {"name": _NAME, "version": _VERSION},
        "message": {
            "saga": saga,
            "outcome": outcome,
            "role": role,
            "payload": f"0x{keccak256(payload).hex()}",
        },
    }


def entry_of(role: str, address: str, signature: bytes) -> dict[str, str]:
    """Return a signature as it stands in a bundle.

    Args:
        address: with or without ``0x``, in any case.
        signature: 65 bytes r, s, v.
    """
    return {
        "role": role,
        "address": address.removeprefix("0x").lower(),
        "signature": signature.hex(),
    }


def verify_signature(
    entry: Mapping[str, str], *, saga: str, outcome: str, payload: bytes, address: str
) -> None:
    """Check that ``address`` signed this payload in the entry's role.

    Raises:
        Refused: ``signature-address`` (another is named), ``signature-form`` (not one at all),
            ``signature-high-s``, ``signature-signer`` (another's, or of other content).
    """
    if entry["address"] != address:
        raise Refused("signature-address", f"it names 0x{entry['address']}, the plan 0x{address}")
    digest = digest_of(saga, outcome, entry["role"], payload)
    try:
        signer = recover(digest, bytes.fromhex(entry["signature"]))
    except Refused as refused:
        check = "signature-high-s" if refused.check == "note-high-s" else "signature-form"
        raise Refused(check, refused.reason) from None
    if signer.hex() != address:
        raise Refused("signature-signer", "another key made it, or it signs something else")
