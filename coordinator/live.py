"""What one process remembers of a saga that it drives."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from coordinator.ports import Settings
from coordinator.proving import Got
from coordinator.saga import Effort, SagaState
from coordinator.tasks import Asking

__all__ = ["Live"]


@dataclass(slots=True)
class Live:
    """What one process remembers of a saga beside its fold; losing it loses no safety."""

    state: SagaState
    asking: Asking
    keys: set[str] = field(default_factory=set)
    #: the efforts that ``keys`` were worked out for.
    watched: Mapping[tuple[str, str], Effort] | None = None
    #: host ms at which the next look is due, while one is.
    due_ms: int | None = None
    #: (chain, height) at which looks are due.
    due_heights: set[tuple[str, int]] = field(default_factory=set)
    #: (step, direction) → for how many attempts its keys are among ``keys``.
    effort_keys: dict[tuple[str, str], int] = field(default_factory=dict)
    #: (step, direction) → what asking for evidence of its outcome came to, until a turn takes it.
    proofs: dict[tuple[str, str], Got] = field(default_factory=dict)
    #: (step, direction), and the like, → (tries, not before ms) after a failed act.
    retries: dict[tuple[str, ...], tuple[int, int]] = field(default_factory=dict)
    #: (step, direction) → host ms at which its newest bytes were last sent by this process.
    sent_ms: dict[tuple[str, str], int] = field(default_factory=dict)
    #: (step, direction) → what a node last said to its bytes, or why there are none (a signer does
    #: not answer); for people, no evidence of anything.
    said: dict[tuple[str, str], str] = field(default_factory=dict)
    delivered: set[str] = field(default_factory=set)
    covered: set[str] = field(default_factory=set)
    #: a reorganisation touched it: finished efforts are looked at again, once.
    recheck: bool = False
    task: asyncio.Task[None] | None = None
    dirty: bool = False

    def due(self, key: tuple[str, ...], now_ms: int) -> bool:
        """Whether nothing failed lately that would hold another try back."""
        retry = self.retries.get(key)
        return retry is None or retry[1] <= now_ms

    def back_off(self, key: tuple[str, ...], settings: Settings, now_ms: int) -> None:
        """Hold the next try of ``key`` back, for longer after each failure."""
        tries = self.retries.get(key, (0, 0))[0]
        delay_ms = min(settings.retry_ms_min << min(tries, 16), settings.retry_ms_max)
        self.retries[key] = (tries + 1, now_ms + delay_ms)
