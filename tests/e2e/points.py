"""Named points of a run at which its process can be made to die: what the engine gets is wrapped.

A name is ``before`` or ``after``, then what: ``record KIND STEP DIRECTION`` (the append that makes
it durable), ``prepare STEP DIRECTION`` or ``send STEP DIRECTION``.
"""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from adapters.base import Adapter, Attempt, ClaimBook, Prepared, Purpose, Submission, Task
    from coordinator.journal.base import Entry, Journal, Raw, Record
    from tests.e2e.network import Coordinator

__all__ = ["Points", "die_at"]


def die_at(name: str) -> Callable[[str], None]:
    """Kill this very process, as kill -9 does, when the point comes for the first time."""

    def passed(point: str) -> None:
        if point == name:
            os.kill(os.getpid(), signal.SIGKILL)

    return passed


class Points:
    """Wraps a journal and adapters; ``passed`` is called at every point.

    Args:
        send_first: a broken engine, for the control: bytes leave before their intent is durable.
    """

    def __init__(self, passed: Callable[[str], None], *, send_first: bool = False) -> None:
        self.passed = passed
        self.send_first = send_first
        #: transaction → what it is for; submit is told nothing else.
        self.purposes: dict[str, str] = {}

    def wrap(self, ours: Coordinator) -> Coordinator:
        """Return the coordinator with its journal and its adapters under watch."""
        journal: Any = _Journal(ours.journal, self)
        adapters: Any = {chain: _Adapter(adapter, self) for chain, adapter in ours.adapters.items()}
        return replace(ours, journal=journal, adapters=adapters)


class _Journal:
    def __init__(self, journal: Journal, points: Points) -> None:
        self._journal, self._points = journal, points

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def append(
        self,
        stream: str,
        expected: int,
        entries: Sequence[Entry],
        raws: Sequence[Raw] = (),
        evidence: Sequence[bytes] = (),
    ) -> list[Record]:
        names = [_name(entry) for entry in entries]
        for name in names:
            self._points.passed(f"before record {name}")
        records = await self._journal.append(stream, expected, entries, raws, evidence)
        for name in names:
            self._points.passed(f"after record {name}")
        return records


class _Adapter:
    def __init__(self, adapter: Adapter, points: Points) -> None:
        self._adapter, self._points = adapter, points

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)

    async def prepare(
        self, task: Task, purpose: Purpose, book: ClaimBook, former: Sequence[Attempt]
    ) -> Prepared:
        what = f"{task.step} {task.direction}"
        self._points.passed(f"before prepare {what}")
        prepared = await self._adapter.prepare(task, purpose, book, former)
        self._points.purposes[prepared.tx_id] = what
        if self._points.send_first:
            await self._adapter.submit(prepared.tx_id, prepared.raw)
        self._points.passed(f"after prepare {what}")
        return prepared

    async def submit(self, tx_id: str, raw: bytes) -> Submission:
        what = self._points.purposes.get(tx_id, tx_id)
        self._points.passed(f"before send {what}")
        said = await self._adapter.submit(tx_id, raw)
        self._points.passed(f"after send {what}")
        return said


def _name(entry: Entry) -> str:
    about = [str(entry.data[key]) for key in ("step", "dir") if key in entry.data]
    return " ".join([entry.kind, *about])
