"""A world that somebody operates step by step, and a small model of what that person may see.

`Operated` keeps one event loop: between two calls nothing moves. `Model` knows neither steps nor
transactions. It knows what was asked and answered, and from that what states a saga may show next,
which ends are left to it, and what its accounts may hold.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from coordinator.errors import Irreversible
from coordinator.journal.base import Entry, Journal
from coordinator.pausing import pause_saga, unpause_saga
from coordinator.reserving import coins_of
from coordinator.service import ask_rollback
from tests.sim import virtual_time
from tests.sim.adapter import SimAdapter
from tests.sim.faults import Faults, Process, ways
from tests.sim.faulty_journal import FaultyJournal
from tests.sim.memory_journal import MemoryJournal
from tests.sim.plans import ASSETS, started_of
from tests.sim.world import ENDS, World, _Collect, saga_id

__all__ = ["ArmedFaults", "Model", "Operated"]

#: The next states that an operator may see, by the state that was seen last.
_NEXT: Final[Mapping[str, frozenset[str]]] = {
    "running": frozenset({"running", "confirming", "undoing", "committed", "rolled_back"}),
    "confirming": frozenset({"confirming", "committed"}),
    "undoing": frozenset({"undoing", "rolled_back"}),
    "committed": frozenset({"committed"}),
    "rolled_back": frozenset({"rolled_back"}),
}
#: How many sagas one world may start.
ROOM: Final = 6


class ArmedFaults(Faults):
    """The next call of an armed method breaks, once."""

    def __init__(self) -> None:
        super().__init__()
        self.armed: dict[str, str] = {}

    def choose(self, point: str) -> str | None:
        word = point.split(maxsplit=1)[0]
        return self.armed.pop(word) if self.armed.get(word) in ways(point) else None


class Operated(World):
    """A world without an end of its own; sagas start when they are told to."""

    def __init__(self) -> None:
        super().__init__("reference", ArmedFaults(), sagas=ROOM, max_ticks=1 << 40, bump_blocks=3)
        self.started = 0
        self.loop = virtual_time.Loop(self.clock)
        self.may_run = asyncio.Event()
        self.may_run.set()
        self._handler = _Collect(self)
        logging.getLogger().addHandler(self._handler)
        self._work = self.loop.create_task(self._main())
        self._plain = {name: SimAdapter(chain, ASSETS) for name, chain in self.chains.items()}

    @property
    def armed(self) -> dict[str, str]:
        assert isinstance(self.faults, ArmedFaults)
        return self.faults.armed

    def close(self) -> None:
        logging.getLogger().removeHandler(self._handler)
        self._work.cancel()
        self.loop.finish()

    def wait(self, seconds: float) -> None:
        """Let time pass; a process that fails for good fails here."""
        self.loop.run_until_complete(asyncio.sleep(seconds))
        if self._work.done():
            self._work.result()

    # ------------------------------------------------------------ processes

    def open_journal(self, process: Process) -> Journal:
        process.alive()  # it may be killed before its first step
        return self.journal()

    async def _main(self) -> None:
        ticker = asyncio.create_task(self._tick_for_ever())
        try:
            while True:
                while not self.may_run.is_set():
                    await self.may_run.wait()
                self.lives += 1
                await self._one_life()
                await asyncio.sleep(0.3)
        finally:
            ticker.cancel()
            with suppress(asyncio.CancelledError):
                await ticker

    async def _ids(
        self, journal: FaultyJournal, adapters: Mapping[str, SimAdapter]
    ) -> AsyncIterator[str]:
        assert adapters
        known: set[str] = set()
        while True:
            for row in journal.sagas(open_only=True):
                if row.saga not in known:
                    known.add(row.saga)
                    yield row.saga
            await asyncio.sleep(0.5)

    def crash(self) -> None:
        """Kill the process; nothing runs until `restart`."""
        self.may_run.clear()
        for process in self.processes.values():
            process.dead = True
            process.died.set()
        self.wait(0)

    def restart(self) -> None:
        self.may_run.set()

    # ------------------------------------------------------------ what an operator does

    def journal(self) -> MemoryJournal:
        return MemoryJournal(self.store, lambda: self.clock.now_ms)

    def start(self, plan: str) -> str:
        """Start one more saga; return its id."""
        saga = saga_id(self.started)
        self.plans = (*self.plans, plan)
        self.loop.run_until_complete(self._start(self.started, saga))
        self.started += 1
        return saga

    async def _start(self, number: int, saga: str) -> None:
        lock = await self._lock(number, self._plain)
        data = started_of(saga, f"key-{number}", lock, self._plain, self.chains, self.clock.now_ms)
        if coins := await coins_of(self.journal(), self._plain, lock):
            data["coins"] = coins
        await self.journal().append(f"saga:{saga}", 0, [Entry("started", data)])

    def ask_rollback(self, saga: str) -> bool:
        """Ask for it; False when the engine says that it is too late."""
        try:
            self.loop.run_until_complete(
                ask_rollback(self.journal(), saga, by="ann", reason="changed my mind")
            )
        except Irreversible:
            return False
        return True

    def pause(self, saga: str) -> int | None:
        """Ask for it; return how many steps had begun when it was taken, None if it was not."""
        try:
            self.loop.run_until_complete(pause_saga(self.journal(), saga, by="ann", reason="wait"))
        except Irreversible:
            return None
        return self.steps_begun(saga, "paused")

    def unpause(self, saga: str) -> None:
        with suppress(Irreversible):
            self.loop.run_until_complete(unpause_saga(self.journal(), saga, by="ann", reason="go"))

    # ------------------------------------------------------------ what an operator sees

    def states(self) -> dict[str, str]:
        return {row.saga: row.state for row in self.rows()}

    def steps_begun(self, saga: str, kind: str = "") -> int:
        """Return how many forward steps of a saga have begun, before its last ``kind`` if given."""
        records = self.store.read(saga)
        if kind:
            end = max(n for n, record in enumerate(records) if record.kind == kind)
            records = records[:end]
        return sum(
            record.kind == "intent"
            and (record.data["dir"], record.data["purpose"], record.data["n"])
            == ("forward", "effect", 1)
            for record in records
        )

    def sent(self) -> int:
        return sum(len(chain.received) for chain in self.chains.values())


@dataclass(slots=True)
class _Known:
    """What the model knows of one saga."""

    plan: str
    state: str = "running"
    #: a rollback was asked for while nothing was decided.
    asked: bool = False
    #: the forward steps that had begun when it was paused; None while it is not.
    held_at: int | None = None


@dataclass(slots=True)
class Model:
    """The reference: about as much as the operator's manual promises."""

    sagas: dict[str, _Known] = field(default_factory=dict)
    #: (records, bytes sent) when the process was killed; None while one runs.
    down_at: tuple[int, int] | None = None

    def started(self, saga: str, plan: str) -> None:
        self.sagas[saga] = _Known(plan)

    def asked(self, saga: str, *, taken: bool, after: str) -> None:
        """A rollback was asked for: it is taken as long as nothing is decided."""
        known = self.sagas[saga]
        assert taken or after != "running", f"{saga} is running and does not listen"
        assert not taken or known.state == "running", f"{saga} is {known.state} and listens"
        known.asked |= taken

    def paused(self, saga: str, begun: int | None, *, after: str) -> None:
        """A pause was asked for, and taken when ``begun`` steps had begun (None: it was not)."""
        assert begun is not None or after != "running", f"{saga} is running and not paused"
        if begun is not None:
            self.sagas[saga].held_at = begun

    def see(self, world: Operated) -> None:
        """Hold what an operator sees now against what may be seen.

        Raises:
            AssertionError: it may not.
        """
        states = world.states()
        assert states.keys() == self.sagas.keys(), f"{states} of {self.sagas}"
        for saga, known in self.sagas.items():
            assert states[saga] in _NEXT[known.state], f"{saga}: {known.state} → {states[saga]}"
            known.state = states[saga]
            if known.held_at is not None:
                assert world.steps_begun(saga) <= known.held_at, f"{saga} began a step while paused"
        if self.down_at is not None:
            now = (len(world.store.records), world.sent())
            assert now == self.down_at, "something was written or sent while no process ran"
        for row in world.rows():
            if row.stuck:
                told = [r.data for r in world.store.read(row.saga) if r.kind == "stuck"][-1]
                assert told["reason"], told
                assert told["until_s"] > 0, told
        self._balances(world, states)

    def _balances(self, world: Operated, states: Mapping[str, str]) -> None:
        """What `store` got on eth: all of every committed mint, at most that of open ones."""
        chain = world.chains["eth"]
        got = chain.ledger.balances["store", "ALZ"] - world.starts["eth"]["store", "ALZ"]
        least = sum(_BRINGS[k.plan] for s, k in self.sagas.items() if states[s] == "committed")
        most = least + sum(_BRINGS[k.plan] for s, k in self.sagas.items() if states[s] not in ENDS)
        assert least <= got <= most, f"store has {got} ALZ more on eth, not {least} to {most}"

    def see_end(self, world: Operated) -> None:
        """Faults are over and time has passed: every saga has ended as it may."""
        for saga, state in world.states().items():
            known = self.sagas[saga]
            allowed = {"committed", "rolled_back"}
            if known.asked and known.plan not in _PIVOTS:
                allowed = {"rolled_back"}
            assert state in allowed, f"{saga} ({known}) is {state}"


#: What a plan brings to `store` on eth, in base units of ALZ.
_BRINGS: Final[Mapping[str, Any]] = {
    "reference": 100_000, "transfers": 100_000, "pivot": 100_000, "onward": 0, "single": 0,
    "holds": 0,
}  # fmt: skip
#: Once their pivot may be out, a request to roll back may come too late.
_PIVOTS: Final = frozenset({"pivot", "onward"})
