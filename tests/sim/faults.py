"""Faults by name: one call of an adapter or journal, addressed by what it is about, breaks.

A point is named by method, step, direction, purpose and occurrence, never by an index over the
whole run, so that it means the same whatever else happens: ``submit mint.forward.effect#1``,
``append intent:pay.forward#1``. A run without faults lists its points; each is then broken in each
way that its kind allows (`ways`).
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

from adapters.base import (
    Adapter,
    Attempt,
    BlockEvent,
    ChainClock,
    ClaimBook,
    Observation,
    Prepared,
    Proof,
    Purpose,
    Resolved,
    Settled,
    StepSpec,
    Submission,
    Task,
)
from adapters.errors import Ambiguous, Rejected, Transient
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

__all__ = ["Crash", "Faults", "FaultyAdapter", "FaultyJournal", "Process", "ways"]

T = TypeVar("T")
_READ: Final = ("error", "lost", "crash_before", "crash_after")
_WAYS: Final = {
    "preflight": (*_READ, "rejected"),
    "prepare": (*_READ, "rejected"),
    "submit": ("error", "lost", "ambiguous", "crash_before", "crash_after"),
    "observe": _READ,
    "unused": _READ,
    "fill": _READ,
    "cover": _READ,
    # It changes nothing, so whether its answer was lost or never made is the same.
    "prove": ("error", "crash_before"),
    # keys needs memory only, and a follower repairs itself: neither has an error to raise.
    "keys": ("crash_before",),
    "follow": ("crash_before",),
    "append": _READ,
}


def ways(point: str) -> tuple[str, ...]:
    """Return the ways in which ``point`` can break."""
    return _WAYS[point.partition(" ")[0]]


class Crash(BaseException):
    """The process is gone. No ``except Exception`` may stop it."""


@dataclass(slots=True)
class Process:
    """One life of the coordinator; after its end nothing that belongs to it has any effect."""

    died: asyncio.Event
    dead: bool = False

    def alive(self) -> None:
        if self.dead:
            raise Crash("this process is dead")

    def crash(self) -> NoReturn:
        self.dead = True
        self.died.set()
        raise Crash("crashed on purpose")


class Faults:
    """Which points were passed, which are to break, which did."""

    def __init__(self, wanted: Mapping[str, str] | None = None) -> None:
        self.wanted = dict(wanted or {})
        self.fired: list[tuple[str, str]] = []
        self.points: list[str] = []
        self.on = True
        #: transaction id → "step.direction.purpose", learnt when it was prepared.
        self.txs: dict[str, str] = {}
        #: anything outside that was shown a preimage: (stamp, where).
        self.shown: list[tuple[Any, str]] = []
        self.stamp: Callable[[], Any] = int
        self._counts: Counter[str] = Counter()

    def way(self, name: str) -> str | None:
        """Pass the point ``name``; return how it breaks now, or None."""
        self._counts[name] += 1
        point = f"{name}#{self._counts[name]}"
        self.points.append(point)
        if not self.on:
            return None
        way = self.choose(point)
        if way is not None:
            self.fired.append((point, way))
        return way

    def choose(self, point: str) -> str | None:
        """Return how ``point`` is to break; random schedules override this."""
        return self.wanted.get(point)


class FaultyAdapter:
    """An adapter whose calls break where the faults say so."""

    def __init__(self, inner: Adapter, faults: Faults, process: Process) -> None:
        self._inner = inner
        self._faults = faults
        self._process = process

    @property
    def chain(self) -> str:
        return self._inner.chain

    async def open(self) -> None:
        await self._inner.open()

    async def close(self) -> None:
        await self._inner.close()

    def terms(self) -> Mapping[str, Any]:
        return self._inner.terms()

    async def resolve(self, spec: StepSpec) -> Resolved:
        return await self._inner.resolve(spec)

    async def simulate(self, resolved: Resolved) -> str | None:
        return await self._inner.simulate(resolved)

    async def choose_coins(self, action: Mapping[str, Any], book: ClaimBook) -> tuple[str, ...]:
        return await self._inner.choose_coins(action, book)

    def clock(self) -> ChainClock:
        return self._inner.clock()

    def nudge(self) -> None:
        self._inner.nudge()

    async def balance(self, holder: str, asset: str) -> int:
        return await self._inner.balance(holder, asset)

    async def follow(self, since: int) -> AsyncIterator[BlockEvent]:
        async for event in self._inner.follow(since):
            self._process.alive()
            if self._faults.way(f"follow {self.chain}") == "crash_before":
                self._process.crash()
            yield event

    def keys(self, task: Task, attempts: Sequence[Attempt]) -> frozenset[str]:
        self._process.alive()
        if self._faults.way(f"keys {_about(task)}") == "crash_before":
            self._process.crash()
        return self._inner.keys(task, attempts)

    async def cover(self, since: int) -> None:
        await self._broken(f"cover {self.chain}", lambda: self._inner.cover(since))

    async def preflight(self, task: Task) -> None:
        self._show(task)
        await self._broken(f"preflight {_about(task)}", lambda: self._inner.preflight(task))

    async def prepare(
        self, task: Task, purpose: Purpose, book: ClaimBook, former: Sequence[Attempt]
    ) -> Prepared:
        self._show(task)
        name = f"{_about(task)}.{purpose}"
        prepared = await self._broken(
            f"prepare {name}", lambda: self._inner.prepare(task, purpose, book, former)
        )
        self._faults.txs[prepared.tx_id] = name
        return prepared

    def sequences(self) -> Collection[str]:
        return self._inner.sequences()

    async def unused(self, resource: str) -> int:
        name = f"unused {self.chain}/{resource}"
        return await self._broken(name, lambda: self._inner.unused(resource))

    async def fill(self, resource: str, value: int, former: Sequence[Attempt] = ()) -> Prepared:
        name = f"{self.chain}/{resource}"
        prepared = await self._broken(
            f"fill {name}", lambda: self._inner.fill(resource, value, former)
        )
        self._faults.txs[prepared.tx_id] = f"{name}.fill"
        return prepared

    async def submit(self, tx_id: str, raw: bytes) -> Submission:
        name = f"submit {self._faults.txs[tx_id]}"
        self._process.alive()
        way = self._faults.way(name)
        if way == "error":
            return Submission(accepted=False, hint="connection refused")
        if way == "crash_before":
            self._process.crash()
        said = await self._inner.submit(tx_id, raw)
        if way == "crash_after":
            self._process.crash()
        if way == "lost":
            return Submission(accepted=False, hint="timeout after the request was sent")
        if way == "ambiguous":
            raise Ambiguous("the reply was cut off")
        return said

    async def observe(self, task: Task, attempts: Sequence[Attempt]) -> Observation:
        self._show(task)
        return await self._broken(
            f"observe {_about(task)}", lambda: self._inner.observe(task, attempts)
        )

    async def prove(self, task: Task, settled: Settled) -> tuple[Proof, ...]:
        if task.preimage is not None:
            whom = f"evidence of {task.saga} {task.step}"
            self._faults.shown.append((self._faults.stamp(), whom))
        return await self._broken(f"prove {_about(task)}", lambda: self._inner.prove(task, settled))

    def _show(self, task: Task) -> None:
        if task.preimage is not None:
            self._faults.shown.append((self._faults.stamp(), f"{task.saga} {task.step}"))

    async def _broken(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        self._process.alive()
        way = self._faults.way(name)
        if way is None:
            return await call()
        if way == "error":
            raise Transient("connection refused")
        if way == "rejected":
            raise Rejected("the node's simulation says no")
        if way == "crash_before":
            self._process.crash()
        result = await call()
        if way == "crash_after":
            self._process.crash()
        if way == "lost":
            raise Transient("timeout after the request was sent")
        if way == "delay":
            await asyncio.sleep(3)
            self._process.alive()
        return result


def _about(task: Task) -> str:
    return f"{task.step}.{task.direction}"


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
        self._process.alive()
        if self._broken:
            raise JournalBroken("the journal failed before; nothing more is written")
        way = self._faults.way("append " + "+".join(_entry_name(entry) for entry in entries))
        if way == "crash_before":
            self._process.crash()
        if way == "error":
            self._broken = True
            raise JournalBroken("disk full; nothing of this was written")
        if way == "delay":
            await asyncio.sleep(2)
            self._process.alive()
        records = await self._inner.append(stream, expected, entries, raws, evidence)
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
