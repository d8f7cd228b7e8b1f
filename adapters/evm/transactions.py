"""Transactions of others as nodes tell them, hashed and their sender recovered here.

A nonce of ours that a transaction consumed is evidence only if the fields that the node gives hash
to the name it gives, and the signature in them is by our key. Types: see
`proofs.evm_transactions`.
"""

from collections.abc import Mapping
from typing import Any

from eth_utils.address import to_checksum_address

from proofs.errors import ProofError
from proofs.evm_transactions import encode_transaction, read_transaction

__all__ = ["verified_sender"]


def verified_sender(fields: Mapping[str, Any]) -> str:
    """Return the account that signed a transaction given as JSON by a node.

    Raises:
        ValueError: the fields do not hash to its ``hash``, or are no transaction that we know.
    """
    try:
        told = read_transaction(encode_transaction(fields))
    except ProofError as error:
        raise ValueError(f"a transaction that can not be read: {error}") from None
    if f"0x{told.hash.hex()}" != fields.get("hash"):
        raise ValueError("the fields of a transaction do not hash to its name")
    return to_checksum_address(told.sender)
