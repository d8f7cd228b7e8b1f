"""Preimages of holds, derived when needed and never stored (DESIGN.md §4, Secrets)."""

import hashlib
import hmac
from typing import Final, final

from coordinator.signers.secret import Secret
from proofs.canonical import encode

__all__ = ["HoldSecrets", "seed_fingerprint"]

_FINGERPRINT_LABEL: Final = b"coordinator hold seed fingerprint v1\0"


@final
class HoldSecrets:
    """Every hold's own preimage, from one seed of 32 random bytes.

    ``preimage = HMAC-SHA256(seed, canonical {"generation", "hold": 1, "saga", "step"})`` and
    ``hashlock = SHA-256(preimage)``. HMAC is a pseudorandom function, so one preimage made public
    by its reveal says nothing about another. Losing the seed loses the preimage of every open
    hold, which then can only be refunded after its expiry: back it up with the keystores.
    """

    __slots__ = ("_seed",)

    def __init__(self, seed: Secret) -> None:
        self._seed = seed

    @property
    def fingerprint(self) -> str:
        """16 hex digits that tell seeds apart and nothing else about them."""
        return seed_fingerprint(self._seed.reveal())

    def preimage(self, *, saga: str, step: str, generation: int) -> Secret:
        """Return the 32-byte preimage of one hold.

        The caller must have made the reveal intent durable before the value goes anywhere (R9).
        """
        name = encode({"generation": generation, "hold": 1, "saga": saga, "step": step})
        return Secret(hmac.digest(self._seed.reveal(), name, "sha256"))

    def hashlock(self, *, saga: str, step: str, generation: int) -> str:
        """Return SHA-256 of the preimage as 64 lower-case hex digits; this is public."""
        preimage = self.preimage(saga=saga, step=step, generation=generation)
        return hashlib.sha256(preimage.reveal()).hexdigest()

    def __repr__(self) -> str:
        return f"HoldSecrets(fingerprint={self.fingerprint})"


def seed_fingerprint(seed: bytes) -> str:
    """Return the first 64 bits of a labelled SHA-256 of ``seed`` as 16 hex digits."""
    return hashlib.sha256(_FINGERPRINT_LABEL + seed).hexdigest()[:16]
