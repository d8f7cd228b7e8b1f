"""What an adapter asks of a key that another process holds, and what it may answer.

The answer is nothing but bytes: whoever asked verifies them against the pinned address or public
key before it builds anything from them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

__all__ = ["RemoteKey", "SigningRequest"]


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """One signature that is wanted.

    Attributes:
        hash: how ``digest`` follows from what is signed: ``keccak256`` of ``payload``, or
            ``sha256d`` as BIP-143 says.
        digest: 32 bytes, what ECDSA is made over.
        payload: the bytes themselves: an unsigned EIP-1559 transaction, or a Bitcoin transaction
            without witnesses.
        facts: JSON with what else the digest follows from, for the holder's own policy.
    """

    hash: Literal["keccak256", "sha256d"]
    digest: bytes
    payload: bytes
    facts: Mapping[str, Any] = field(default_factory=dict)


class RemoteKey(Protocol):
    """Somebody who signs and shows no key. Asking again is harmless: nothing is sent by it."""

    @property
    def name(self) -> str:
        """The signer's name in chains.toml, for messages."""

    async def signature(self, request: SigningRequest) -> bytes:
        """Return a signature as the holder gave it, not verified yet.

        Raises:
            Transient: it did not answer, or not in a form that means anything.
            Rejected: it refuses (``code="signer"``).
        """
