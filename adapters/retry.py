"""The one home of retries. Only reads are ever repeated, and only on `Transient`.

A send is never repeated here: the coordinator does that with stored bytes, from its journal.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    stop_before_delay,
    stop_never,
    wait_random_exponential,
)
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from adapters.errors import Busy, Transient

__all__ = ["Patience", "reading", "reading_for_ever"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a read is repeated: random waits that double, within both limits.

    A node that asks for a longer pause gets it; where that does not fit into ``total_s``, the read
    ends instead.
    """

    attempts: int = 4
    first_wait_s: float = 0.05
    longest_wait_s: float = 2.0
    total_s: float = 20.0


_DEFAULT = Patience()


class _Pause(wait_base):
    """The usual wait, or the pause that a busy node asked for, if that is longer."""

    def __init__(self, patience: Patience) -> None:
        self._usual = wait_random_exponential(patience.first_wait_s, patience.longest_wait_s)

    def __call__(self, retry_state: RetryCallState) -> float:
        usual_s = self._usual(retry_state)
        outcome = retry_state.outcome
        error = None if outcome is None else outcome.exception()
        asked_s = error.wait_s if isinstance(error, Busy) else None
        return usual_s if asked_s is None else max(usual_s, asked_s)


async def reading(read: Callable[[], Awaitable[T]], patience: Patience = _DEFAULT) -> T:
    """Return what ``read`` returns, repeating it while it raises `Transient`.

    Raises:
        Transient: the last one, when the patience is used up.
    """
    try:  # nearly every read succeeds at once and needs nothing of what follows
        return await read()
    except Transient as trouble:
        first = trouble
    stop = stop_after_attempt(patience.attempts) | stop_before_delay(patience.total_s)
    return await _again(read, patience, stop, first)


async def reading_for_ever(read: Callable[[], Awaitable[T]], patience: Patience = _DEFAULT) -> T:
    """Return what ``read`` returns, however long its `Transient` trouble lasts; for followers."""
    try:
        return await read()
    except Transient as trouble:
        first = trouble
    return await _again(read, patience, stop_never, first)


async def _again(
    read: Callable[[], Awaitable[T]], patience: Patience, stop: stop_base, first: Transient
) -> T:
    """Go on after the ``first`` try in vain."""
    failed = [first]

    async def once() -> T:  # tenacity awaits coroutine functions only
        if failed:
            raise failed.pop()
        return await read()

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(Transient), stop=stop, wait=_Pause(patience), reraise=True
    )
    return await retrying(once)
