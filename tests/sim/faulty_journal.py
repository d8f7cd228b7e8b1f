"""A journal whose appends break by name; see `tests.sim.faults`."""

import asyncio
from collections.abc import Sequence

from coordinator.errors import JournalBroken
from coordinator.journal.base import (
    ClaimRow,
    Entry,
    Journal,
    Raw,
    Record,
    ReservationRow,
    SagaRow,
)
from tests.sim.faults import Faults, Process

__all__ = ["FaultyJournal"]


class FaultyJournal:
    """A journal whose appends break; once broken it stays so until the next process."""

    def __init__(self, inner: Journal, faults: Faults, process: Process) -> None:
        self._inner = inner
        self._faults = faults
        self._process = process
        self._broken = False

    async def append(
        self,
        stream: str,
        expected: int,
        entries: Sequence[Entry],
        raws: Sequence[Raw] = (),
        evidence: Sequence[bytes] = (),
    ) -> list[Record]:
        if self._process.hindered:
            await self._process.running()
        if self._broken:
            raise JournalBroken("the journal failed before; nothing more is written")
        name = "append " + "+".join([_entry_name(entry) for entry in entries])
        way = self._faults.way(name)
        if way == "crash_before":
            self._process.crash()
        if way == "error":
            self._broken = True
            raise JournalBroken("disk full; nothing of this was written")
        if way == "delay":
            await asyncio.sleep(2)
            await self._process.running()
        records = await self._inner.append(stream, expected, entries, raws, evidence)
        if self._process.hindered:
            await self._process.running()
        if way is None:
            self._faults.back(name)
        if way == "crash_after":
            self._process.crash()
        if way == "lost":
            self._broken = True
            raise JournalBroken("fsync failed; what was written is not known")
        return records

    def read(self, stream: str, after: int = 0) -> list[Record]:
        self._process.alive()
        return self._inner.read(stream, after)

    def streams(self, prefix: str = "saga:") -> list[str]:
        return self._inner.streams(prefix)

    def sagas(self, *, open_only: bool = False) -> list[SagaRow]:
        return self._inner.sagas(open_only=open_only)

    def saga(self, saga: str) -> SagaRow | None:
        return self._inner.saga(saga)

    def sagas_after(self, position: int) -> list[SagaRow]:
        return self._inner.sagas_after(position)

    def position_at(self, at_ms: int) -> int:
        return self._inner.position_at(at_ms)

    def saga_of_key(self, key: str) -> SagaRow | None:
        return self._inner.saga_of_key(key)

    def evidence(self, digest: str) -> bytes:
        self._process.alive()
        return self._inner.evidence(digest)

    def raw(self, tx_id: str) -> bytes:
        self._process.alive()
        return self._inner.raw(tx_id)

    def claims(self, chain: str) -> list[ClaimRow]:
        return self._inner.claims(chain)

    def claim(self, chain: str, resource: str, value: int) -> ClaimRow | None:
        return self._inner.claim(chain, resource, value)

    def locked(self, chain: str) -> dict[str, str]:
        return self._inner.locked(chain)

    def reservations(self, chain: str) -> list[ReservationRow]:
        return self._inner.reservations(chain)

    def last_position(self) -> int:
        self._process.alive()
        return self._inner.last_position()

    def tail(self, after: int) -> list[tuple[int, str, int]]:
        self._process.alive()
        return self._inner.tail(after)

    async def drive(self, saga: str, instance: str | None) -> None:
        self._process.alive()
        await self._inner.drive(saga, instance)

    async def close(self) -> None:
        await self._inner.close()


def _entry_name(entry: Entry) -> str:
    data = entry.data
    if "step" not in data:
        return entry.kind
    direction = data.get("dir", "forward" if entry.kind == "refused" else "confirm")
    return f"{entry.kind}:{data['step']}.{direction}"
