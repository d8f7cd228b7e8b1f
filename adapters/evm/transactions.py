"""Transactions of others as nodes tell them, hashed and their sender recovered here.

A nonce of ours that a transaction consumed is evidence only if the fields that the node gives hash
to the name it gives, and the signature in them is by our key. Types: see
`proofs.evm_transactions`.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from adapters.evm.values import checksum
from proofs.errors import ProofError
from proofs.evm_transactions import encode_transaction, read_transaction
from proofs.keccak import keccak256

__all__ = ["SignedHere", "verified_sender"]

_KNOWN_MAX: Final = 4096


class SignedHere:
    """The newest transactions that this process signed: their names say who did."""

    def __init__(self) -> None:
        self._accounts: OrderedDict[str, str] = OrderedDict()

    def add(self, tx_id: str, account: str) -> None:
        """Remember the name of what ``account`` signed; the oldest are forgotten."""
        self._accounts[tx_id] = account
        if len(self._accounts) > _KNOWN_MAX:
            self._accounts.popitem(last=False)

    def sender(self, tx_id: str) -> str | None:
        """Return the account that signed a transaction; None where it is not known here."""
        return self._accounts.get(tx_id)


def verified_sender(fields: Mapping[str, Any], here: SignedHere | None = None) -> str:
    """Return the account that signed a transaction given as JSON by a node.

    Args:
        here: saves recovering the key where a transaction is our own.

    Raises:
        ValueError: the fields do not hash to its ``hash``, or are no transaction that we know.
    """
    try:
        raw = encode_transaction(fields)
        name = f"0x{keccak256(raw).hex()}"
        account = here.sender(name) if here is not None else None
        if account is None:
            account = checksum(f"0x{read_transaction(raw).sender.hex()}")
    except ProofError as error:
        raise ValueError(f"a transaction that can not be read: {error}") from None
    if name != fields.get("hash"):
        raise ValueError("the fields of a transaction do not hash to its name")
    return account
