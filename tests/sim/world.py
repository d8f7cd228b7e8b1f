"""The real engine in a simulated world: processes that die and come again, blocks that tick."""

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import Struct

from adapters.base import Adapter
from coordinator.errors import ClaimTaken, Fenced, JournalBroken, KeyTaken
from coordinator.journal.base import Entry, Journal, SagaRow
from coordinator.ports import Settings
from coordinator.reserving import coins_of
from coordinator.runner import Runner
from tests.sim import virtual_time
from tests.sim.adapter import SimAdapter
from tests.sim.chain import SimChain, SimClock
from tests.sim.checker import Evidence
from tests.sim.disturbance import Node
from tests.sim.faults import Crash, Faults, FaultyAdapter, Process
from tests.sim.faulty_journal import FaultyJournal
from tests.sim.memory_journal import MemoryJournal, MemoryStore
from tests.sim.plans import ASSETS, build_chains, lock_of, started_of
from tests.sim.preimages import LeakingPreimages, Preimages, preimage_of

__all__ = ["NotLive", "Stamp", "World", "evidence_of", "saga_id", "unfinished"]

ENDS: Final = frozenset({"committed", "rolled_back", "closed_by_operator"})

#: Others' records are looked for once a block, as blocks come each second.
SETTINGS: Final = Settings(journal_poll_ms=1_000)
#: (plan, terms of its chains) → LOCK.
_LOCKS: dict[tuple[str, tuple[str, ...]], Mapping[str, Any]] = {}

#: A supervisor needs a moment to start the next process.
RESTART_S: Final = 0.3


class NotLive(AssertionError):
    """A saga neither ended nor said that it is stuck, although all faults are over."""


class Stamp(Struct, frozen=True):
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
        plans: instead, one name for each saga (`plans.specs_of`).
        stagger_s: seconds between the starts of two sagas.
        events: tick → what happens then.
        coordinators: how many processes drive the same sagas at once.
        nodes: in front of each chain.
        bump_blocks: what so many blocks pass by is replaced (0: it waits).
        payee_ticks: what a payee needs before it redeems; None: it never does.
    """

    plan: str
    faults: Faults = field(default_factory=Faults)
    sagas: int = 1
    events: Mapping[int, Callable[["World"], None]] = field(default_factory=dict)
    max_ticks: int = 600
    confirmations: int = 2
    coordinators: int = 1
    payee_ticks: int | None = 1
    plans: tuple[str, ...] = ()
    stagger_s: float = 0
    nodes: int = 1
    bump_blocks: int = 0
    #: negative controls put a broken adapter here, or leak secrets.
    make_adapter: Callable[[SimChain], Adapter] = _plain_adapter
    tells_early: bool = False

    clock: SimClock = field(init=False)
    chains: dict[str, SimChain] = field(init=False)
    store: MemoryStore = field(init=False)
    #: heights of all chains when record n+1 was written.
    stamps: list[Mapping[str, int]] = field(init=False, default_factory=list)
    #: the same of the times that processes could know by then: of the newest blocks but those of
    #: this tick, which nobody need have read yet.
    times: list[Mapping[str, int]] = field(init=False, default_factory=list)
    starts: dict[str, dict[tuple[str, str], int]] = field(init=False)
    logs: list[tuple[int, str]] = field(init=False, default_factory=list)
    lives: int = field(init=False, default=0)
    ticks: int = field(init=False, default=0)
    #: the processes of this life, by number.
    processes: dict[int, Process] = field(init=False, default_factory=dict)
    #: where processes began in worlds that ended well; a process that begins there is not run.
    known: set[bytes] | None = None
    begun: list[bytes] = field(init=False, default_factory=list)
    #: heights of all chains when a process began.
    births: list[Mapping[str, int]] = field(init=False, default_factory=list)
    merged: bool = field(init=False, default=False)
    #: kinds of disturbances of processes that happened, beside `Faults.fired`.
    fired: Counter[str] = field(init=False, default_factory=Counter)
    _known_s: Mapping[str, int] = field(init=False)
    _ended: set[int] = field(init=False, default_factory=set)
    _thaws: list[tuple[int, Process]] = field(init=False, default_factory=list)
    _deliveries: list[tuple[int, str]] = field(init=False, default_factory=list)
    _up: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.clock = SimClock()
        if self.plans:
            self.sagas = len(self.plans)
        self.chains = build_chains(
            self.clock, confirmations=self.confirmations, rich=max(1, self.sagas)
        )
        self._known_s = self._tip_times()
        self.store = MemoryStore()
        self.store.written = self._note
        self.starts = {name: dict(chain.ledger.balances) for name, chain in self.chains.items()}
        for chain in self.chains.values():
            chain.stamp = self.stamp
            chain.nodes = [Node() for _ in range(self.nodes)]
            chain.bump_blocks = self.bump_blocks
        self.faults.stamp = self.stamp
        self.faults.mark = self._mark

    def _note(self, records: int) -> None:
        heights = self.stamp().heights
        self.stamps.extend(heights for _ in range(records))
        self.times.extend(self._known_s for _ in range(records))

    def _tip_times(self) -> dict[str, int]:
        return {name: chain.tip.time_s for name, chain in self.chains.items()}

    def stamp(self) -> Stamp:
        return Stamp(
            len(self.store.records), {name: c.tip.height for name, c in self.chains.items()}
        )

    def _mark(self) -> tuple[int, ...]:
        """Counts of whatever outlives a process: it changes if and only if one of them does."""
        sent = [len(chain.received) for chain in self.chains.values()]
        read = [len(chain.feed) for chain in self.chains.values()]
        told = len(self.faults.shown) + len(self._deliveries)
        return (self.clock.now_ms, len(self.store.records), *sent, *read, told)

    def digest(self) -> bytes:
        """Digest of whatever outlives a process: what the next one finds, and the checker reads.

        The past of two worlds of one case that have the same digest is the same, and if no fault is
        left to fire, so is their future.
        """
        found: list[Any] = [self.clock.now_ms, self._deliveries, self.faults.shown, self.stamps]
        found.append([record.hash for record in self.store.records])
        for chain in self.chains.values():
            found.append([(item.tx.tx_id, item.stamp) for item in chain.received])
            found.append([(block.hash, removed) for block, removed in chain.feed])
            found.append(list(chain.mempool))
        return hashlib.blake2b(repr(found).encode(), digest_size=16).digest()

    def _merges(self) -> bool:
        """Whether the next process begins where one of an earlier world of this case began, which
        ended well (``known``)."""
        if self.known is None or not self.lives or not self.faults.spent:
            return False
        digest = self.digest()
        self.merged = digest in self.known
        self.begun.append(digest)
        return self.merged

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
            while not self._over() and not self._merges():
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
        began_ms = self.clock.now_ms
        await asyncio.wait([*lives, clock], return_when=asyncio.FIRST_COMPLETED)
        if self.lives > 1 and self.clock.now_ms - began_ms <= 1_000 and not self._over():
            self.fired["died while recovering"] += 1
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
        process = self.processes[number] = Process(asyncio.Event())
        self.births.append(self.stamp().heights)
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

    def open_journal(self, process: Process) -> Journal:
        """Open the journal for one life; worlds with a disk have another one (tests/disk)."""
        assert not process.dead
        return MemoryJournal(self.store, lambda: self.clock.now_ms)

    async def _process(self, process: Process, number: int) -> None:
        journal = FaultyJournal(self.open_journal(process), self.faults, process)
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
            settings=SETTINGS,
        )
        await runner.run(self._ids(journal, plain))

    async def _ids(
        self, journal: FaultyJournal, adapters: Mapping[str, SimAdapter]
    ) -> AsyncIterator[str]:
        """Start the sagas that are not there yet (the service's part), name the open ones."""
        for number in range(self.sagas):
            if number in self._ended:
                continue
            saga = saga_id(number)
            while (row := journal.saga_of_key(f"key-{number}")) is None:
                if self.stagger_s:
                    await asyncio.sleep(self.stagger_s)
                lock = await self._lock(number, adapters)
                data = started_of(
                    saga, f"key-{number}", lock, adapters, self.chains, self.clock.now_ms
                )
                if coins := await coins_of(journal, adapters, lock):
                    data["coins"] = coins
                with suppress(KeyTaken, Fenced, ClaimTaken):
                    await journal.append(f"saga:{saga}", 0, [Entry("started", data)])
            if row.state in ENDS:
                self._ended.add(number)
            else:
                yield saga

    async def _lock(self, number: int, adapters: Mapping[str, SimAdapter]) -> Mapping[str, Any]:
        """Return the saga's LOCK; the same plan on the same terms is resolved once."""
        plan = self.plans[number] if self.plans else self.plan
        terms = tuple([str(adapter.terms()) for adapter in adapters.values()])
        lock = _LOCKS.get((plan, terms))
        if lock is None:
            lock = _LOCKS[plan, terms] = await lock_of(plan, adapters)
        return lock

    def freeze(self, number: int, ticks: int) -> None:
        """Stop one process (SIGSTOP) for some ticks, whatever it is about to do."""
        process = self.processes.get(number)
        if process is None or process.thaw is not None or process.dead:
            return
        process.thaw = asyncio.Event()
        self.fired["process stopped"] += 1
        self._thaws.append((self.ticks + ticks, process))

    def _go_on(self) -> None:
        """Let those processes go on whose time has come."""
        for due, process in self._thaws:
            if due <= self.ticks and process.thaw is not None:
                process.thaw.set()
                process.thaw = None
        self._thaws = [item for item in self._thaws if item[0] > self.ticks]

    def _show(self, saga: str, step: str) -> None:
        self.faults.shown.append((self.stamp(), f"{saga} {step}"))

    def _secrets(self) -> Preimages:
        return LeakingPreimages(self._show) if self.tells_early else Preimages()

    def _deliver(
        self, saga: str, step: str, deliver: str, preimage: bytes, facts: Mapping[str, Any]
    ) -> None:
        assert deliver in {"secret", "file"}, (deliver, facts)
        self._show(saga, step)
        if self.payee_ticks is not None:
            self._deliveries.append((self.ticks + self.payee_ticks, preimage.hex()))

    # ------------------------------------------------------------ ticking

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.ticks += 1
            self._known_s = self._tip_times()
            if self.ticks >= self.max_ticks:
                self._up.set()
            event = self.events.get(self.ticks)
            if event is not None:
                event(self)
            if self._thaws:
                self._go_on()
            for chain in self.chains.values():
                chain.tick()
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
        journal = FaultyJournal(self.open_journal(process), Faults(), process)
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
        times=world.times,
        raws=world.store.raws,
        chains=world.chains,
        starts=world.starts,
        preimages=preimages,
        shown=world.faults.shown,
        logs=world.logs,
        proofs=world.store.proofs,
        finality_broke=finality_broke,
        births=world.births,
    )


def unfinished(world: World) -> list[str]:
    """Return the sagas that have not ended."""
    return [row.saga for row in world.rows() if row.state not in ENDS]
