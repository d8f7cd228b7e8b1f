"""Transactions of others as nodes tell them, hashed and their sender recovered here.

A nonce of ours that a transaction consumed is evidence only if the fields that the node gives hash
to the name it gives, and the signature in them is by our key. Types: see
`proofs.evm_transactions`.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from adapters.evm.signing import Eip1559
from adapters.evm.values import checksum
from proofs.errors import ProofError
from proofs.evm_transactions import encode_transaction, read_transaction
from proofs.keccak import keccak256

__all__ = ["SignedHere", "verified_sender"]

_KNOWN_MAX: Final = 1024


class SignedHere:
    """The newest transactions that this process signed: their names say by whom, and what."""

    def __init__(self) -> None:
        #: by name: who signed, what, and the bytes that were hashed to that name.
        self._signed: OrderedDict[str, tuple[str, Eip1559, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._signed)

    def add(self, account: str, tx: Eip1559, raw: bytes) -> str:
        """Remember what ``account`` signed and return its name; the oldest are forgotten."""
        tx_id = f"0x{keccak256(raw).hex()}"
        self._signed[tx_id] = account, tx, raw
        if len(self._signed) > _KNOWN_MAX:
            self._signed.popitem(last=False)
        return tx_id

    def is_named(self, raw: bytes, tx_id: str) -> bool:
        """Tell whether these bytes have this name."""
        known = self._signed.get(tx_id)
        return (known is not None and known[2] == raw) or f"0x{keccak256(raw).hex()}" == tx_id

    def sender(self, fields: Mapping[str, Any]) -> str | None:
        """Return the account that signed a transaction of this name with these fields; None where
        it is not known here. What its name stands for was hashed when it was signed.
        """
        known = self._signed.get(fields["hash"])
        if known is None:
            return None
        account, tx, _ = known
        told = (int(fields["nonce"], 16), int(fields["value"], 16), int(fields["gas"], 16))
        if told != (tx.nonce, tx.value_wei, tx.gas):
            return None
        to, data = str(fields["to"]).lower(), str(fields["input"]).lower()
        return account if (to, data) == (tx.to.lower(), f"0x{tx.data.hex()}") else None


def verified_sender(fields: Mapping[str, Any], here: SignedHere | None = None) -> str:
    """Return the account that signed a transaction given as JSON by a node.

    Args:
        here: saves hashing, and recovering the key, where a transaction is our own.

    Raises:
        ValueError: the fields do not hash to its ``hash``, or are no transaction that we know.
    """
    account = here.sender(fields) if here is not None else None
    if account is not None:
        return account
    try:
        raw = encode_transaction(fields)
        name = f"0x{keccak256(raw).hex()}"
        account = checksum(f"0x{read_transaction(raw).sender.hex()}")
    except ProofError as error:
        raise ValueError(f"a transaction that can not be read: {error}") from None
    if name != fields.get("hash"):
        raise ValueError("the fields of a transaction do not hash to its name")
    return account
