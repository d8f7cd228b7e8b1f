"""Keccak-256, the hash of Ethereum: the padding of the first Keccak, not that of SHA-3."""

from Crypto.Hash import keccak as _keccak

__all__ = ["keccak256"]


def keccak256(data: bytes) -> bytes:
    """Return the 32-byte Keccak-256 of ``data``."""
    return _keccak.new(data=data, digest_bits=256).digest()
