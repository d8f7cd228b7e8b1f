"""Faults by name: one call of an adapter or journal, addressed by what it is about, breaks.

A point is named by method, step, direction, purpose and occurrence, never by an index over the
whole run, so that it means the same whatever else happens: ``submit mint.forward.effect#1``,
``append intent:pay.forward#1``. A run without faults lists its points; each is then broken in each
way that its kind allows (`ways`).
"""

import asyncio
from collections import defaultdict
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

__all__ = ["Crash", "Faults", "FaultyAdapter", "Process", "ways"]

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
    #: set while the process is stopped (SIGSTOP): nothing goes out and nothing comes in.
    thaw: asyncio.Event | None = None

    @property
    def hindered(self) -> bool:
        """Whether the process is stopped or dead: `running` has something to wait for, or says."""
        return self.dead or self.thaw is not None

    async def running(self) -> None:
        """Come back when the process is not stopped."""
        while self.thaw is not None:
            await self.thaw.wait()
        self.alive()

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
        #: counts everything outside processes that ever changes, and the time; the world sets it.
        self.mark: Callable[[], Any] = int
        #: point → the marks when it was passed, and when its call came back; kept if asked for.
        self.marks: dict[str, list[Any]] | None = None
        self._counts: defaultdict[str, int] = defaultdict(int)

    @property
    def spent(self) -> bool:
        """Whether every fault that was wanted has fired."""
        return len(self.fired) == len(self.wanted)

    def way(self, name: str) -> str | None:
        """Pass the point ``name``; return how it breaks now, or None."""
        self._counts[name] += 1
        point = f"{name}#{self._counts[name]}"
        self.points.append(point)
        if self.marks is not None:
            self.marks[point] = [self.mark()]
        if not self.on:
            return None
        way = self.choose(point)
        if way is not None:
            self.fired.append((point, way))
        return way

    def back(self, name: str) -> None:
        """The call of the point ``name`` that was passed last has come back."""
        if self.marks is not None:
            self.marks[f"{name}#{self._counts[name]}"].append(self.mark())

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

    def keep_from(self, height: int) -> None:
        self._inner.keep_from(height)

    def nudge(self) -> None:
        self._inner.nudge()

    async def balance(self, holder: str, asset: str) -> int:
        return await self._inner.balance(holder, asset)

    async def follow(self, since: int) -> AsyncIterator[BlockEvent]:
        async for event in self._inner.follow(since):
            if self._process.hindered:
                await self._process.running()
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
        if self._process.hindered:
            await self._process.running()
        way = self._faults.way(name)
        if way == "error":
            return Submission(accepted=False, hint="connection refused")
        if way == "crash_before":
            self._process.crash()
        said = await self._inner.submit(tx_id, raw)
        if self._process.hindered:
            await self._process.running()
        if way is None:
            self._faults.back(name)
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
        if self._process.hindered:
            await self._process.running()
        way = self._faults.way(name)
        if way is None:
            result = await call()
            if self._process.hindered:
                await self._process.running()
            self._faults.back(name)
            return result
        if way == "error":
            raise Transient("connection refused")
        if way == "rejected":
            raise Rejected("the node's simulation says no")
        if way == "crash_before":
            self._process.crash()
        result = await call()
        await self._process.running()
        if way == "crash_after":
            self._process.crash()
        if way == "lost":
            raise Transient("timeout after the request was sent")
        if way == "delay":
            await asyncio.sleep(3)
            await self._process.running()
        return result


def _about(task: Task) -> str:
    return f"{task.step}.{task.direction}"
