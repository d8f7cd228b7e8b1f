"""Transactions of our own: the unsigned form, who signs it, and its signed bytes (EIP-1559).

A lean signer, because eth-account spends 1.7 of its 1.8 ms on checks of forms that we never build;
a test compares its bytes with those of eth-account.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import coincurve
from eth_utils.address import to_checksum_address
from msgspec import Struct

from adapters.errors import Rejected
from adapters.evm.abi import hash_of
from adapters.remote_key import RemoteKey, SigningRequest
from proofs import rlp
from proofs.ecdsa import HALF_ORDER
from proofs.errors import ProofError

__all__ = [
    "Eip1559",
    "EvmSigner",
    "LocalEvmSigner",
    "RemoteEvmSigner",
    "SignedFields",
    "read_payload",
    "read_signed",
    "recover",
]

_TYPE = b"\x02"
#: The last byte of a 65-byte signature → parity of R's y (Yellow Paper, appendix F; EIP-2930).
_PARITIES: Final = {27: 0, 28: 1, 0: 0, 1: 1}


class Eip1559(Struct, frozen=True, dict=True):
    """A transaction of type 2 with an empty access list. Prices are wei per gas."""

    chain_id: int
    nonce: int
    max_priority_fee_wei: int
    max_fee_wei: int
    gas: int
    to: str
    value_wei: int
    data: bytes = b""

    @cached_property
    def fields(self) -> tuple[bytes, ...]:
        """The fields as RLP items in the order of EIP-1559, without the signature."""
        numbers = (self.chain_id, self.nonce, self.max_priority_fee_wei, self.max_fee_wei, self.gas)
        to = rlp.encode_bytes(bytes.fromhex(self.to.removeprefix("0x")))
        value, data = rlp.encode_int(self.value_wei), rlp.encode_bytes(self.data)
        return (*map(rlp.encode_int, numbers), to, value, data, rlp.encode_list(()))

    def payload(self) -> bytes:
        """Return the bytes whose keccak-256 is signed."""
        return _TYPE + rlp.encode_list(self.fields)

    def signing_hash(self) -> bytes:
        """Return the 32 bytes that are signed."""
        return hash_of(self.payload())


@dataclass(frozen=True, slots=True)
class SignedFields:
    """What the signed bytes of ours say, read back from them."""

    sender: str
    tx: Eip1559

    @property
    def worst_cost_wei(self) -> int:
        """The balance that the sender needs for a node to take these bytes."""
        return self.tx.gas * self.tx.max_fee_wei + self.tx.value_wei


class EvmSigner(Protocol):
    """Whoever holds a key."""

    @property
    def address(self) -> str:
        """The account, checksummed."""

    async def sign(self, unsigned: Eip1559) -> bytes:
        """Return the signed bytes, ready to be sent."""


class LocalEvmSigner:
    """A key in the memory of this process."""

    def __init__(self, secret: bytes) -> None:
        self._key = coincurve.PrivateKey(secret)
        public = self._key.public_key.format(compressed=False)[1:]
        self.address: str = to_checksum_address(hash_of(public)[-20:])

    def __repr__(self) -> str:
        return f"LocalEvmSigner({self.address})"

    async def sign(self, unsigned: Eip1559) -> bytes:
        """Return the signed bytes; the signature is deterministic (RFC 6979, low s)."""
        signature = self._key.sign_recoverable(unsigned.signing_hash(), hasher=None)
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
        return _with_signature(unsigned, signature[64], r, s)


class RemoteEvmSigner:
    """A key that another process holds; only its address is known here, pinned by the operator."""

    def __init__(self, key: RemoteKey, address: str) -> None:
        self._key = key
        self.address: str = address

    def __repr__(self) -> str:
        return f"RemoteEvmSigner({self._key.name}, {self.address})"

    async def sign(self, unsigned: Eip1559) -> bytes:
        """Return the signed bytes, built here from the signature that came back.

        Raises:
            Transient: no answer; nothing was signed that anybody here knows of.
            Rejected: the signer refuses, or its signature is none of the pinned address over these
                bytes in the one form that nodes take (65 bytes, lower s, EIP-2).
        """
        payload = unsigned.payload()
        digest = hash_of(payload)
        made = await self._key.signature(SigningRequest("keccak256", digest, payload))
        if len(made) != 65:
            raise self._refused(f"{len(made)} bytes long, not 65")
        parity = _PARITIES.get(made[64])
        r, s = int.from_bytes(made[:32], "big"), int.from_bytes(made[32:64], "big")
        if parity is None:
            raise self._refused(f"one whose last byte is {made[64]}, not 27 or 28")
        if s > HALF_ORDER:
            raise self._refused("the higher of two equivalent ones (EIP-2)")
        try:
            account = recover(digest, bytes([parity]), made[:32], made[32:64])
        except ValueError:
            raise self._refused("one that no key makes") from None
        if account != self.address:
            raise self._refused(f"by {account} over these bytes, or over other bytes")
        return _with_signature(unsigned, parity, r, s)

    def _refused(self, what: str) -> Rejected:
        return Rejected(
            f"signer {self._key.name}: its signature is {what}, and {self.address} is pinned for "
            f"it; it was thrown away and nothing was sent. Look at the signer: coordinator keys "
            f"test {self._key.name}",
            code="signer",
        )


def _with_signature(unsigned: Eip1559, parity: int, r: int, s: int) -> bytes:
    """Return a transaction as it is sent."""
    return _TYPE + rlp.encode_list([*unsigned.fields, *map(rlp.encode_int, (parity, r, s))])


def read_payload(payload: bytes) -> Eip1559:
    """Return what bytes that are about to be signed say; ``to`` is in lower case.

    Raises:
        ValueError: they are no unsigned EIP-1559 transaction to an address, with an empty access
            list and in the one canonical form.
    """
    try:
        items = rlp.list_of(rlp.decode(payload[1:]))
        if payload[:1] != _TYPE or len(items) != 9 or items[8] != []:
            raise ValueError("no unsigned EIP-1559 transaction without an access list")
        chain_id, nonce, tip, fee, gas = map(rlp.number_of, items[:5])
        return Eip1559(
            chain_id=chain_id,
            nonce=nonce,
            max_priority_fee_wei=tip,
            max_fee_wei=fee,
            gas=gas,
            to=f"0x{rlp.string_of(items[5], 20).hex()}",
            value_wei=rlp.number_of(items[6]),
            data=rlp.string_of(items[7]),
        )
    except ProofError as error:
        raise ValueError(f"no unsigned transaction: {error}") from None


def read_signed(raw: bytes) -> SignedFields:
    """Return what signed bytes of ours say.

    Raises:
        ValueError: they are no transaction as `LocalEvmSigner` makes them.
    """
    try:
        items = rlp.decode(raw[1:])
    except ProofError as error:
        raise ValueError(f"no signed transaction: {error}") from None
    if raw[:1] != _TYPE or isinstance(items, bytes) or len(items) != 12:
        raise ValueError("no signed EIP-1559 transaction")
    access_list = items[8]
    parts = [item for item in items if isinstance(item, bytes)]
    if isinstance(access_list, bytes) or access_list or len(parts) != 11:
        raise ValueError("no transaction in the form we sign")
    chain_id, nonce, tip, fee, gas, to, value, data, parity, r, s = parts
    tx = Eip1559(
        chain_id=int.from_bytes(chain_id, "big"),
        nonce=int.from_bytes(nonce, "big"),
        max_priority_fee_wei=int.from_bytes(tip, "big"),
        max_fee_wei=int.from_bytes(fee, "big"),
        gas=int.from_bytes(gas, "big"),
        to=f"0x{to.hex()}",
        value_wei=int.from_bytes(value, "big"),
        data=data,
    )
    return SignedFields(recover(tx.signing_hash(), parity, r, s), tx)


def recover(signing_hash: bytes, parity: bytes, r: bytes, s: bytes) -> str:
    """Return the account that made a signature; the parts are big-endian, of any length.

    Raises:
        ValueError: no key makes this signature.
    """
    if len(parity) > 1 or len(r) > 32 or len(s) > 32:
        raise ValueError("a signature with parts that are too long")
    signature = r.rjust(32, b"\0") + s.rjust(32, b"\0") + parity.rjust(1, b"\0")
    try:
        key = coincurve.PublicKey.from_signature_and_message(signature, signing_hash, hasher=None)
    except Exception as error:  # the binding raises Exception itself
        raise ValueError("a signature that no key makes") from error
    return to_checksum_address(hash_of(key.format(compressed=False)[1:])[-20:])
