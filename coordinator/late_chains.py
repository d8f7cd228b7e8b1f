"""Chains whose nodes did not answer when this process began: opened when they do.

The sagas of other chains are driven meanwhile; those that need such a chain wait, and a person is
told which nodes they wait for.
"""

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self

from adapters.base import Adapter
from adapters.errors import AdapterError, Transient
from adapters.retry import Patience, reading_for_ever
from coordinator.alarm import Notice

__all__ = ["LateChains"]

_PAUSES: Final = Patience(first_wait_s=1.0, longest_wait_s=15.0)
#: Nodes restart; what is over by then concerns nobody.
_PATIENCE_S: Final = 60


class LateChains:
    """Asks for each chain that is away, for as long as it is entered.

    Args:
        away: name → its adapter, not open, and why it could not be opened.
        now_s: host time, Unix seconds.
    """

    def __init__(
        self, away: Mapping[str, tuple[Adapter, AdapterError]], now_s: Callable[[], int]
    ) -> None:
        self._adapters = {name: adapter for name, (adapter, _) in away.items()}
        #: chain → what its nodes said last; replaced as a whole, for readers in other threads.
        self._said = {name: str(error) for name, (_, error) in away.items()}
        self._until_s = now_s() + _PATIENCE_S
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def away(self) -> frozenset[str]:
        """The chains that are not in use yet."""
        return frozenset(self._said)

    async def __aenter__(self) -> Self:
        for name, adapter in self._adapters.items():
            opening = self._open(name, adapter)
            self._tasks[name] = asyncio.create_task(opening, name=f"open {name}")
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def opened(self) -> dict[str, Adapter]:
        """Return the chains that were opened since the last call; each is the caller's from now on.

        Raises:
            Exception: a chain could not be opened for a reason that is no trouble of its nodes.
        """
        done = [name for name, task in self._tasks.items() if task.done()]
        for name in done:
            self._tasks.pop(name).result()
        self._said = {name: said for name, said in self._said.items() if name not in done}
        return {name: self._adapters[name] for name in done}

    def notices(self) -> tuple[Notice, ...]:
        """Return one notice for each chain that is away; from any thread."""
        return tuple(
            Notice(
                saga=f"chain:{name}",
                state="waiting",
                reason=f"{name} is not open: {said}. No saga that needs it moves; all others do",
                question="are its nodes up, synced and ours? See: coordinator doctor",
                until_s=self._until_s,
                about="not open",
            )
            for name, said in self._said.items()
        )

    async def _open(self, name: str, adapter: Adapter) -> None:
        async def once() -> None:
            try:
                await adapter.open()
            except AdapterError as error:
                self._said = {**self._said, name: str(error)}
                # Also what is not transient may be mended while the other chains go on.
                raise Transient(str(error)) from error

        await reading_for_ever(once, _PAUSES)
