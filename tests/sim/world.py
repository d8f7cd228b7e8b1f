"""The real engine in a simulated world: processes that die and come again, blocks that tick."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from adapters.base import Adapter
from coordinator.errors import ClaimTaken, Fenced, JournalBroken, KeyTaken
from coordinator.journal.base import Entry, SagaRow
from coordinator.reserving import coins_of
from coordinator.runner import Runner
from tests.sim import virtual_time
from tests.sim.adapter import SimAdapter
from tests.sim.chain import SimChain, SimClock
from tests.sim.checker import Evidence
from tests.sim.faults import Crash, Faults, FaultyAdapter, FaultyJournal, Process
from tests.sim.memory_journal import MemoryJournal, MemoryStore
from tests.sim.plans import ASSETS, build_chains, lock_of, started_of
from tests.sim.preimages import LeakingPreimages, Preimages, preimage_of

__all__ = ["NotLive", "Stamp", "World", "evidence_of", "saga_id", "unfinished"]

ENDS: Final = frozenset({"committed", "rolled_back", "closed_by_operator"})

#: A supervisor needs a moment to start the next process.
RESTART_S: Final = 0.3


class NotLive(AssertionError):
    """A saga neither ended nor said that it is stuck, although all faults are over."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the world looked like at a moment: records so far, and every chain's height."""

    records: int
    heights: Mapping[str, int]


def _plain_adapter(chain: SimChain) -> SimAdapter:
    return SimAdapter(chain, ASSETS)


def saga_id(number: int) -> str:
    """Return the ``number``-th saga's id, in the form of a ULID."""
    return f"01SM{number:022d}"


@dataclass(slots=True)
class World:
    """One simulation.

    Args:
        plan: name in `plans.PLANS`; ``sagas`` of it start together.
        events: tick → what happens then.
        coordinators: how many processes drive the same sagas at once.
    """

    plan: str
    faults: Faults = field(default_factory=Faults)
    sagas: int = 1
    events: Mapping[int, Callable[["World"], None]] = field(default_factory=dict)
    max_ticks: int = 600
    confirmations: int = 2
    coordinators: int = 1
    payee_ticks: int = 1
    #: negative controls put a broken adapter here, or leak secrets.
    make_adapter: Callable[[SimChain], Adapter] = _plain_adapter
    tells_early: bool = False

    clock: SimClock = field(init=False)
    chains: dict[str, SimChain] = field(init=False)
    store: MemoryStore = field(init=False)
    #: heights of all chains when record n+1 was written.
    stamps: list[Mapping[str, int]] = field(init=False, default_factory=list)
    starts: dict[str, dict[tuple[str, str], int]] = field(init=False)
    logs: list[tuple[int, str]] = field(init=False, default_factory=list)
    lives: int = field(init=False, default=0)
    ticks: int = field(init=False, default=0)
    _deliveries: list[tuple[int, str]] = field(init=False, default_factory=list)
    _up: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.clock = SimClock()
        self.chains = build_chains(
            self.clock, confirmations=self.confirmations, rich=max(1, self.sagas)
        )
        self.store = MemoryStore()
        self.store.written = self._note
        self.starts = {name: dict(chain.ledger.balances) for name, chain in self.chains.items()}
        for chain in self.chains.values():
            chain.stamp = self.stamp
        self.faults.stamp = self.stamp

    def _note(self, records: int) -> None:
        heights = self.stamp().heights
        self.stamps.extend(heights for _ in range(records))

    def stamp(self) -> Stamp:
        return Stamp(
            len(self.store.records), {name: c.tip.height for name, c in self.chains.items()}
        )

    # ------------------------------------------------------------ running

    def run(self) -> "World":
        """Run until every saga has ended or is stuck, then once more to see that nothing moves."""
        handler = _Collect(self)
        logging.getLogger().addHandler(handler)
        try:
            virtual_time.run(self.clock, self._main())
        finally:
            logging.getLogger().removeHandler(handler)
        return self

    async def _main(self) -> None:
        ticker = asyncio.create_task(self._tick_for_ever())
        try:
            while not self._over():
                self.lives += 1
                if self.lives > 400:
                    raise NotLive(f"{self.lives} processes were not enough")
                await self._one_life()
                await asyncio.sleep(RESTART_S)
        finally:
            ticker.cancel()
            with suppress(asyncio.CancelledError):
                await ticker

    def _over(self) -> bool:
        if self.ticks >= self.max_ticks:
            return True
        rows = self.rows()
        return len(rows) == self.sagas and all(row.state in ENDS for row in rows)

    def rows(self) -> list[SagaRow]:
        """Return the sagas as the journal lists them."""
        return self.store.reader.sagas()

    async def _one_life(self) -> None:
        """Start the coordinators and wait until one of them dies, or all have finished."""
        lives = [
            asyncio.create_task(self._coordinator(number)) for number in range(self.coordinators)
        ]
        clock = asyncio.create_task(self._time_is_up())
        await asyncio.wait([*lives, clock], return_when=asyncio.FIRST_COMPLETED)
        if not clock.done() and self.coordinators > 1:
            await asyncio.wait(lives, timeout=30)  # the other one goes on alone for a while
        for task in (*lives, clock):
            task.cancel()
        for result in await asyncio.gather(*lives, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(
                result, (Crash, JournalBroken, asyncio.CancelledError)
            ):
                raise result

    async def _time_is_up(self) -> None:
        await self._up.wait()

    async def _coordinator(self, number: int) -> None:
        process = Process(asyncio.Event())
        run = asyncio.create_task(self._process(process, number))
        died = asyncio.create_task(process.died.wait())
        try:
            await asyncio.wait([run, died], return_when=asyncio.FIRST_COMPLETED)
            process.dead = process.dead or died.done()
        finally:
            if not run.done():
                process.dead = True
            died.cancel()
            run.cancel()
        await run

    async def _process(self, process: Process, number: int) -> None:
        journal = FaultyJournal(
            MemoryJournal(self.store, lambda: self.clock.now_ms),
            self.faults,
            process,
        )
        plain = {name: _plain_adapter(chain) for name, chain in self.chains.items()}
        adapters = {
            name: FaultyAdapter(self.make_adapter(chain), self.faults, process)
            for name, chain in self.chains.items()
        }
        for adapter in adapters.values():
            await adapter.open()
        runner = Runner(
            journal=journal,
            adapters=adapters,
            secrets=self._secrets(),
            clock=virtual_time.VirtualClock(self.clock),
            instance=f"sim-{number}",
            deliver=self._deliver,
        )
        await runner.run(self._ids(journal, plain))

    async def _ids(
        self, journal: FaultyJournal, adapters: Mapping[str, SimAdapter]
    ) -> AsyncIterator[str]:
        """Start the sagas that are not there yet (the service's part), name the open ones."""
        for number in range(self.sagas):
            saga = saga_id(number)
            while journal.saga_of_key(f"key-{number}") is None:
                lock = await lock_of(self.plan, adapters)
                data = started_of(
                    saga, f"key-{number}", lock, adapters, self.chains, self.clock.now_ms
                )
                if coins := await coins_of(journal, adapters, lock):
                    data["coins"] = coins
                with suppress(KeyTaken, Fenced, ClaimTaken):
                    await journal.append(f"saga:{saga}", 0, [Entry("started", data)])
            row = journal.saga_of_key(f"key-{number}")
            if row is not None and row.state not in ENDS:
                yield saga

    def _show(self, saga: str, step: str) -> None:
        self.faults.shown.append((self.stamp(), f"{saga} {step}"))

    def _secrets(self) -> Preimages:
        return LeakingPreimages(self._show) if self.tells_early else Preimages()

    def _deliver(
        self, saga: str, step: str, deliver: str, preimage: bytes, facts: Mapping[str, Any]
    ) -> None:
        assert deliver in {"secret", "file"}, (deliver, facts)
        self._show(saga, step)
        self._deliveries.append((self.ticks + self.payee_ticks, preimage.hex()))

    # ------------------------------------------------------------ ticking

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.ticks += 1
            if self.ticks >= self.max_ticks:
                self._up.set()
            event = self.events.get(self.ticks)
            if event is not None:
                event(self)
            for chain in self.chains.values():
                chain.mine()
            for due, preimage in self._deliveries:
                if due <= self.ticks:
                    for chain in self.chains.values():
                        chain.learn(preimage)
            self._deliveries = [item for item in self._deliveries if item[0] > self.ticks]

    # ------------------------------------------------------------ afterwards

    def resume_idly(self) -> None:
        """Drive everything once more and see that nothing is written or sent (I8).

        A tombstone leaves its forward's claim open; burning that may still be under way.
        """
        added = self.resume()
        open_claim = any(
            record.kind == "not_done" and record.data["claim_open"] for record in self.store.records
        )
        if open_claim and added != (0, 0):
            self.resume()  # it was burnt, and is now seen to be
            added = self.resume()
        assert added == (0, 0), f"I8 resuming added {added[0]} records and {added[1]} sends"

    def resume(self) -> tuple[int, int]:
        """Drive everything once more for some ticks; return (new records, new sends)."""
        before = len(self.store.records), sum(len(c.received) for c in self.chains.values())
        virtual_time.run(self.clock, self._again())
        after = len(self.store.records), sum(len(c.received) for c in self.chains.values())
        return after[0] - before[0], after[1] - before[1]

    async def _again(self) -> None:
        self.max_ticks = self.ticks + 4
        self._up = asyncio.Event()
        ticker = asyncio.create_task(self._tick_for_ever())
        process = Process(asyncio.Event())
        journal = FaultyJournal(
            MemoryJournal(self.store, lambda: self.clock.now_ms),
            Faults(),
            process,
        )
        adapters = {name: _plain_adapter(chain) for name, chain in self.chains.items()}
        runner = Runner(
            journal=journal,
            adapters=adapters,
            secrets=Preimages(),
            clock=virtual_time.VirtualClock(self.clock),
            instance="sim-again",
            deliver=self._deliver,
        )
        task = asyncio.create_task(runner.run(_all([row.saga for row in self.rows()])))
        await self._time_is_up()
        for running in (task, ticker):
            running.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _all(sagas: list[str]) -> AsyncIterator[str]:
    for saga in sagas:
        yield saga


class _Collect(logging.Handler):
    """Keeps log lines, with the length of the journal when they were written."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        self._world.logs.append((len(self._world.store.records), record.getMessage()))


def evidence_of(world: World, *, finality_broke: bool = False) -> Evidence:
    """Hand what the run left behind to the checker."""
    preimages = {}
    for record in world.store.records:
        if record.kind == "started":
            for step in record.data["plan"]["steps"]:
                if step["reveals"]:
                    saga = record.data["saga"]
                    preimages[saga, step["id"]] = preimage_of(saga, step["id"], 1)
    return Evidence(
        bodies=[record.body for record in world.store.records],
        stamps=world.stamps,
        raws=world.store.raws,
        chains=world.chains,
        starts=world.starts,
        preimages=preimages,
        shown=world.faults.shown,
        logs=world.logs,
        proofs=world.store.proofs,
        finality_broke=finality_broke,
    )


def unfinished(world: World) -> list[str]:
    """Return the sagas that have not ended."""
    return [row.saga for row in world.rows() if row.state not in ENDS]
