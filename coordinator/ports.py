"""What a runner is given from outside: time, secrets, a way out for them, and its patience."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = [
    "Channel",
    "Clock",
    "Revealable",
    "Secrets",
    "Settings",
]


class Clock(Protocol):
    """Host time, as an argument so that tests can own it."""

    def now_ms(self) -> int:
        """Unix time in milliseconds."""

    async def sleep_until(self, due_ms: int | None, changed: asyncio.Event) -> None:
        """Return when ``due_ms`` is reached (None: never) or ``changed`` is set."""


class Revealable(Protocol):
    """A value that only an explicit call lets out."""

    def reveal(self) -> bytes:
        """Return the bytes."""


class Secrets(Protocol):
    """Preimages of holds, derived and never stored (R9); see `coordinator.signers.holds`."""

    def preimage(self, *, saga: str, step: str, generation: int) -> Revealable:
        """Return the 32-byte preimage, wrapped so that it can not be printed by accident."""

    def hashlock(self, *, saga: str, step: str, generation: int) -> str:
        """Return the SHA-256 of the preimage as 64 hex digits."""


class Channel(Protocol):
    """Where preimages go after their reveal: ``secret`` (asked for) or ``file``."""

    def __call__(
        self, saga: str, step: str, deliver: str, preimage: bytes, facts: Mapping[str, Any]
    ) -> None:
        """Put the preimage on the channel ``deliver``; doing it again changes nothing."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How patient a process is; none of it changes what may be sent."""

    #: stored bytes are sent again when a block is overdue by this factor of slow blocks.
    resend_slow_blocks: int = 3
    resend_ms_min: int = 5_000
    retry_ms_min: int = 250
    retry_ms_max: int = 60_000
    #: how soon a request of another process (rollback, verdict) is noticed.
    journal_poll_ms: int = 500
