"""Transactions of a simulated chain: a few fields, one encoding, an id from the bytes."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, json

__all__ = ["Tx", "decode", "encode"]

_DECODE = json.Decoder().decode
_ENCODE = json.Encoder(order="sorted").encode


class Tx(Struct):
    """One signed transaction.

    Attributes:
        sender: the account that signs and pays ``fee`` (base units of the native asset).
        nonce: account nonce on a chain of kind ``nonce``, -1 on one of kind ``coins``.
        inputs: outpoints spent, on a chain of kind ``coins``.
        fee: the most that it pays; on a chain of kind ``coins`` exactly that.
        tip: the most that it adds to the base fee, on a chain of kind ``nonce`` (EIP-1559).
        op: what it does (see `ledger.Ledger.refusal`), with its arguments in ``args``.
    """

    tx_id: str
    chain: str
    sender: str
    nonce: int
    inputs: tuple[str, ...]
    fee: int
    op: str
    args: Mapping[str, Any]
    tip: int = 0

    @property
    def claims(self) -> tuple[tuple[str, int], ...]:
        """What it consumes: (account, nonce), or its outpoints."""
        if self.nonce >= 0:
            return ((self.sender, self.nonce),)
        return tuple((outpoint, 0) for outpoint in self.inputs)


def encode(
    chain: str,
    sender: str,
    nonce: int,
    inputs: Sequence[str],
    fee: int,
    op: str,
    args: Mapping[str, Any],
    tip: int | None = None,
) -> tuple[str, bytes]:
    """Return (transaction id, bytes); equal arguments give equal bytes. No ``tip`` is all of it."""
    fields: list[Any] = [chain, sender, nonce, inputs, fee, op, args]
    raw = _ENCODE(fields if tip is None or tip == fee else [*fields, tip])
    return hashlib.sha256(raw).hexdigest(), raw


def decode(raw: bytes) -> Tx:
    """Return the transaction whose bytes are ``raw``."""
    chain, sender, nonce, inputs, fee, op, args, *tip = _DECODE(raw)
    tx_id = hashlib.sha256(raw).hexdigest()
    return Tx(tx_id, chain, sender, nonce, tuple(inputs), fee, op, args, *(tip or (fee,)))
