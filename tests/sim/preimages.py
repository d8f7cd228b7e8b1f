"""Preimages of holds in simulations: derived as the real ones are, from no secret at all."""

import hashlib
from collections.abc import Callable
from functools import lru_cache

from coordinator.signers.secret import Secret

__all__ = ["LeakingPreimages", "Preimages", "preimage_of"]


@lru_cache(maxsize=1 << 12)
def preimage_of(saga: str, step: str, generation: int) -> bytes:
    """Return the preimage of a hold."""
    return hashlib.sha256(f"preimage {saga} {step} {generation}".encode()).digest()


class Preimages:
    """The runner's `Secrets`."""

    def preimage(self, *, saga: str, step: str, generation: int) -> Secret:
        return Secret(preimage_of(saga, step, generation))

    def hashlock(self, *, saga: str, step: str, generation: int) -> str:
        return hashlib.sha256(preimage_of(saga, step, generation)).hexdigest()


class LeakingPreimages(Preimages):
    """Negative control: lets the preimage out (``show``) when its hash is asked for."""

    def __init__(self, show: Callable[[str, str], None]) -> None:
        self._show = show

    def hashlock(self, *, saga: str, step: str, generation: int) -> str:
        self._show(saga, step)
        return super().hashlock(saga=saga, step=step, generation=generation)
