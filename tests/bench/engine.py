"""The real engine and the real journal on simulated chains that mine at once.

Only the chains are simulated, and as little of them as the plan needs: what they cost counts too.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from adapters.base import StepSpec
from coordinator.clock import HostClock
from coordinator.driving import Driver
from coordinator.journal.base import Record, SagaRow
from coordinator.journal.liveness import Instance
from coordinator.journal.sqlite import SqliteJournal
from coordinator.runner import Runner
from coordinator.saga import SagaState
from coordinator.saga.table import ENDS
from coordinator.service import start
from coordinator.signers.secret import Secret
from coordinator.watchdog import Watchdog
from proofs import canonical
from tests.bench.instant import InstantAdapter
from tests.sim.chain import SimChain, SimClock
from tests.sim.plans import build_chains, lock_of

__all__ = ["Engine", "Ran"]

_DEADLINE_S: Final = 3600
_TAKEN_AT_ONCE: Final = 128


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run of many sagas took and left behind."""

    sagas: int
    seconds: float
    records: int
    commits: int
    #: how each saga ended → how many did.
    ends: dict[str, int]
    #: what the plans' target has more than before, in how many amounts of one step.
    moved: int

    @property
    def per_second(self) -> float:
        """Sagas per second."""
        return self.sagas / self.seconds


_AMOUNT: Final = 100_000


def _transfer(name: str, chain: str) -> StepSpec:
    amount = {"asset": "ALZ", "value": f"0.{_AMOUNT:018d}"}
    return StepSpec(name, chain, "transfer", {"amount": amount, "from": "ops", "to": "store"})


#: Three plain steps.
_STEPS: Final = (
    _transfer("one", "poly"),
    _transfer("two", "poly"),
    _transfer("three", "eth"),
)


class _Clock(HostClock):
    """Host time, also for the chains."""

    def __init__(self, chains: SimClock) -> None:
        self._chains = chains

    def now_ms(self) -> int:
        """Unix time in milliseconds."""
        now_ms = self._chains.now_ms = time.time_ns() // 1_000_000
        return now_ms


def _adapters(clock: SimClock, confirmations: int, sagas: int) -> dict[str, InstantAdapter]:
    """Return two account chains."""
    chains = build_chains(clock, confirmations=confirmations)
    adapters = {name: InstantAdapter(chains[name]) for name in ("poly", "eth")}
    for name in adapters:
        _fund(chains[name], sagas)
    return adapters


def _fund(chain: SimChain, sagas: int) -> None:
    """Give our accounts enough for ``sagas``."""
    for account in chain.ours:
        for asset in (chain.native, "ALZ"):
            chain.fund(account, asset, sagas * 1_000_000)


class _Preimages:
    """Implements `coordinator.ports.Secrets`."""

    def preimage(self, *, saga: str, step: str, generation: int) -> Secret:
        return Secret(hashlib.sha256(f"{saga} {step} {generation}".encode()).digest())

    def hashlock(self, *, saga: str, step: str, generation: int) -> str:
        preimage = self.preimage(saga=saga, step=step, generation=generation)
        return hashlib.sha256(preimage.reveal()).hexdigest()


class Engine:
    """One process of the coordinator on simulated chains.

    Args:
        folder: where the journal and, in another folder of it, its second place are put.
        rich: for how many more sagas our accounts are funded.
        confirmations: the depth that is final.
        adapters: go on with the chains behind these, as a later process would.
    """

    def __init__(
        self,
        folder: Path,
        *,
        rich: int = 0,
        confirmations: int = 1,
        adapters: dict[str, InstantAdapter] | None = None,
    ) -> None:
        self.folder = folder
        clock = SimClock()
        self.clock = _Clock(clock)
        self.clock.now_ms()
        self.adapters = adapters or _adapters(clock, confirmations, rich)
        self.path = folder / "journal" / "journal.db"
        witness = folder / "second" / "witness"
        if not self.path.exists():
            SqliteJournal.create(self.path, witness)
        self.journal = SqliteJournal(self.path, witness)
        self.commits = 0
        self._count_commits()
        self._ended: dict[str, asyncio.Future[str]] = {}
        #: a starter waits until this says True of its saga.
        self._enough: Callable[[SagaState], bool] = _has_ended
        self._over = asyncio.Event()
        self.runner = Runner(
            journal=self.journal,
            adapters=self.adapters,
            secrets=_Preimages(),
            clock=self.clock,
            instance="bench",
            deliver=lambda *_: None,
            observer=self._saw,
        )
        self._running: asyncio.Task[None] | None = None

    def _count_commits(self) -> None:
        def count() -> bool:
            self.commits += 1
            return False

        self.journal._connection.set_commit_hook(count)

    def _saw(self, state: SagaState, _record: Record) -> None:
        if self._enough(state):
            ended = self._ended.pop(state.saga, None)
            if ended is not None:
                ended.set_result(state.state)

    async def _until_over(self) -> AsyncIterator[str]:
        """Name no sagas: they are handed to the runner as they start."""
        await self._over.wait()
        nobody: tuple[str, ...] = ()
        for saga in nobody:
            yield saga

    async def begin(self) -> dict[str, Any]:
        """Start the runner; return the resolved plan."""
        for adapter in self.adapters.values():
            await adapter.open()
        lock = await lock_of("plain", self.adapters, _STEPS)
        lock["deadline_s"] = _DEADLINE_S
        self._running = asyncio.create_task(self.runner.run(self._until_over()))
        self._running.add_done_callback(self._stopped)
        return lock

    def _stopped(self, running: asyncio.Task[None]) -> None:
        """Let nobody wait for a runner that failed."""
        error = None if running.cancelled() else running.exception()
        for ended in self._ended.values():
            if error is not None and not ended.done():
                ended.set_exception(error)

    async def end(self) -> None:
        """Let the runner end, and close the journal."""
        self._over.set()
        if self._running is not None:
            await self._running
        await self.journal.close()

    async def one(self, lock: dict[str, Any], digest: str, key: str) -> str:
        """Start one saga and return how it ended."""
        begun = await start(
            self.journal,
            self.adapters,
            lock,
            digest,
            key=key,
            instance="bench",
            now_ms=self.clock.now_ms(),
        )
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._ended[begun.saga] = ended
        assert begun.state is not None
        self.runner.remember(begun.state)
        self.runner.take(begun.saga)
        return await ended

    def fail_third(self) -> None:
        """Let the third step of every saga revert in its block."""
        self.adapters["eth"].fails = True

    async def leave_open(self, sagas: int, at_once: int) -> None:
        """Start ``sagas`` and leave when each waits for the height that makes its steps final."""
        self._enough = _all_included
        await self._start_all(await self.begin(), sagas, at_once)
        await self.abandon()

    async def abandon(self) -> None:
        """Leave as a process that is stopped does."""
        assert self._running is not None
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        for adapter in self.adapters.values():
            await adapter.close()
        await self.journal.close()

    async def take_all(self) -> None:
        """Take up every open saga as `coordinator resume --all` does, until each waits again."""
        for adapter in self.adapters.values():
            await adapter.open()
        instance = Instance.enter(self.path)
        watchdog = Watchdog(self.runner.waking.earliest_due_ms, lambda _text: None)
        driver = Driver(
            journal=self.journal, instance=instance, runner=self.runner, watchdog=watchdog
        )
        rows = driver.unattended()
        self._running = asyncio.create_task(self.runner.run(_taken(driver, rows)))
        lives = self.runner.live
        while len(lives) < len(rows) or any(live.task for live in lives.values()):
            if self._running.done():
                self._running.result()
            await asyncio.sleep(0.05)
        instance.leave()

    async def run(self, sagas: int, at_once: int) -> Ran:
        """Run ``sagas``, ``at_once`` at any time: each starter starts its next when one ends."""
        lock = await self.begin()
        before, commits = self.journal.last_position(), self.commits
        had = await self._has()
        begin_s = time.perf_counter()
        ends = await self._start_all(lock, sagas, at_once)
        seconds = time.perf_counter() - begin_s
        records = self.journal.last_position() - before
        commits = self.commits - commits
        await self.end()
        moved, rest = divmod(await self._has() - had, _AMOUNT)
        assert rest == 0
        return Ran(sagas, seconds, records, commits, ends, moved)

    async def _has(self) -> int:
        """Return what the plans' target has on all chains."""
        return sum([await one.balance("store", "ALZ") for one in self.adapters.values()])

    async def _start_all(self, lock: dict[str, Any], sagas: int, at_once: int) -> dict[str, int]:
        digest = canonical.digest(lock)
        ends: dict[str, int] = {}
        numbers = iter(range(sagas))

        async def starter() -> None:
            for number in numbers:
                end = await self.one(lock, digest, f"bench-{number}")
                ends[end] = ends.get(end, 0) + 1

        await asyncio.gather(*(starter() for _ in range(at_once)))
        return ends


async def _taken(driver: Driver, rows: list[SagaRow]) -> AsyncIterator[str]:
    for first in range(0, len(rows), _TAKEN_AT_ONCE):
        batch = rows[first : first + _TAKEN_AT_ONCE]
        await asyncio.gather(*(driver.take_over(row) for row in batch))
        for row in batch:
            yield row.saga


def _has_ended(state: SagaState) -> bool:
    return state.state in ENDS


def _all_included(state: SagaState) -> bool:
    efforts = state.efforts.values()
    return len(efforts) == len(state.steps) and all(e.phase == "included" for e in efforts)
