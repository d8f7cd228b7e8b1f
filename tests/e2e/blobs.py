"""Transactions with a blob (EIP-4844, EIP-7594) whose blob is all zeros.

The commitment to the zero polynomial and each of its proofs are the point at infinity, so nothing
has to be computed: a library's set-up for that takes ten seconds of one core.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from proofs import rlp

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

__all__ = ["with_blob"]

_BLOB: Final = bytes(4096 * 32)
#: The point at infinity of BLS12-381's G1, compressed.
_INFINITY: Final = b"\xc0" + bytes(47)
_VERSIONED_HASH: Final = b"\x01" + hashlib.sha256(_INFINITY).digest()[1:]
_CELLS: Final = 128
_WRAPPER_VERSION: Final = 1


def with_blob(account: LocalAccount, fields: dict[str, Any]) -> str:
    """Sign a transaction of type 3 with one blob; return it as nodes take it, 0x-hex."""
    whole: dict[str, Any] = {"type": 3, "blobVersionedHashes": [_VERSIONED_HASH], **fields}
    body = bytes(account.sign_transaction(whole).raw_transaction)[1:]
    blobs, commitments, proofs = [_BLOB], [_INFINITY], [_INFINITY] * _CELLS
    sidecar = [
        rlp.encode_list(map(rlp.encode_bytes, part)) for part in (blobs, commitments, proofs)
    ]
    wrapped = rlp.encode_list([body, rlp.encode_int(_WRAPPER_VERSION), *sidecar])
    return f"0x03{wrapped.hex()}"
