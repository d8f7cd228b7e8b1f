"""A service on simulated chains and the journal that is shipped: what it takes up, and what not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from adapters.errors import AdapterError, Transient, WrongChain
from coordinator.appending import load
from coordinator.cli import exits
from coordinator.cli.output import Output
from coordinator.cli.sweep import Sweep
from coordinator.driving import Driver
from coordinator.errors import Fenced
from coordinator.journal.base import Entry, Raw, Record
from coordinator.journal.liveness import Instance
from coordinator.journal.sqlite import SqliteJournal
from coordinator.late_chains import LateChains
from coordinator.runner import Runner
from coordinator.saga.table import ENDS
from coordinator.service import only
from coordinator.watchdog import Watchdog
from tests.disk.world import AtOnce, shut
from tests.sim import virtual_time
from tests.sim.adapter import SimAdapter
from tests.sim.plans import ASSETS, lock_of, started_of
from tests.sim.preimages import Preimages
from tests.sim.world import World, saga_id

if TYPE_CHECKING:
    from pathlib import Path

    from adapters.base import Adapter

ALL_CHAINS, POLY_ONLY = saga_id(0), saga_id(1)
PLANS = {ALL_CHAINS: "transfers", POLY_ONLY: "single"}


class Away(SimAdapter):
    """A chain whose nodes answer when ``trouble`` is over."""

    trouble: AdapterError | None = Transient("no node of bit answers: http://bit:1 is busy")
    asked = 0

    async def open(self) -> None:
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble
        await super().open()


class Foreign(SimAdapter):
    """Another chain of the same name."""

    def terms(self) -> Mapping[str, Any]:
        return {**super().terms(), "genesis": "another"}


class Contended(SqliteJournal):
    """Others append to a saga each time before this process does, so many times."""

    lost = 0

    async def append(
        self,
        stream: str,
        expected: int,
        entries: Sequence[Entry],
        raws: Sequence[Raw] = (),
        evidence: Sequence[bytes] = (),
    ) -> list[Record]:
        if self.lost and entries[0].kind == "taken_over":
            self.lost -= 1
            raise Fenced("others were faster")
        return await super().append(stream, expected, entries, raws, evidence)


@dataclass
class Scene:
    """Three chains with a block each second, and processes on one journal."""

    folder: Path
    world: World = field(default_factory=lambda: World("transfers"))
    open_journals: list[SqliteJournal] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "second").mkdir()
        SqliteJournal.create(self.folder / "journal.db", self.folder / "second" / "head")

    def journal(self, kind: type[SqliteJournal] = SqliteJournal) -> SqliteJournal:
        now_ms = lambda: self.world.clock.now_ms  # noqa: E731
        path = self.folder / "journal.db"
        journal = kind(path, self.folder / "second" / "head", now_ms=now_ms)
        journal._thread.shutdown()
        journal._thread = cast("Any", AtOnce())
        self.open_journals.append(journal)
        return journal

    def adapters(self) -> dict[str, SimAdapter]:
        return {name: SimAdapter(chain, ASSETS) for name, chain in self.world.chains.items()}

    async def start(self, *sagas: str) -> None:
        adapters, journal = self.adapters(), self.journal()
        for saga in sagas:
            lock = await lock_of(PLANS[saga], adapters)
            data = started_of(
                saga, saga, lock, adapters, self.world.chains, self.world.clock.now_ms
            )
            await journal.append(f"saga:{saga}", 0, [Entry("started", data)])

    def runner(self, journal: SqliteJournal, adapters: dict[str, Adapter]) -> Runner:
        return Runner(
            journal=journal, adapters=adapters, secrets=Preimages(),
            clock=virtual_time.VirtualClock(self.world.clock), instance="sim",
            deliver=lambda *_: None,
        )  # fmt: skip

    async def drive_elsewhere(self, saga: str) -> None:
        """Let another process drive a saga to its end."""
        journal = self.journal()
        instance = Instance.enter(journal.path)
        await journal.drive(saga, instance.name)
        await self.runner(journal, dict(self.adapters())).run(only(saga))
        instance.leave()

    def states(self) -> list[str]:
        return [row.state for row in self.open_journals[0].sagas()]

    @asynccontextmanager
    async def service(
        self,
        away: Away | None = None,
        foreign: Foreign | None = None,
        kind: type[SqliteJournal] = SqliteJournal,
    ) -> AsyncIterator[tuple[Driver, Sweep]]:
        """A service that runs for as long as it is entered."""
        adapters: dict[str, Adapter] = dict(self.adapters())
        if foreign is not None:
            adapters[foreign.chain] = foreign
        late: dict[str, tuple[Adapter, AdapterError]] = {}
        if away is not None:
            assert away.trouble is not None
            del adapters[away.chain]
            late[away.chain] = (away, away.trouble)
        journal, stop = self.journal(kind), asyncio.Event()
        runner = self.runner(journal, adapters)
        instance = Instance.enter(journal.path)
        watchdog = Watchdog(runner.waking.earliest_due_ms, lambda _: None)
        async with AsyncExitStack() as ends:
            ends.callback(instance.leave)
            chains = await ends.enter_async_context(
                LateChains(late, lambda: self.world.clock.now_ms // 1000)
            )
            sweep = Sweep(Output(as_json=False, quiet=True), chains, follow=True)
            driver = Driver(journal=journal, instance=instance, runner=runner, watchdog=watchdog)
            work = asyncio.create_task(driver.run(sweep.sagas(driver, stop), stop=stop))
            yield driver, sweep
            stop.set()
            await work

    def tell(self, story: Callable[[], Any]) -> None:
        """Run a story while the chains make their blocks."""

        async def whole() -> None:
            ticker = asyncio.create_task(self.world._tick_for_ever())
            await story()
            ticker.cancel()

        try:
            virtual_time.run(self.world.clock, whole())
        finally:
            for journal in self.open_journals:
                shut(journal)


async def until(probe: Callable[[], object], within_s: int = 90) -> None:
    for _ in range(within_s * 4):
        if probe():
            return
        await asyncio.sleep(0.25)
    raise AssertionError("it never came")


def test_a_chain_that_is_away_is_told_of_while_the_others_sagas_go_on(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    away = Away(scene.world.chains["bit"], ASSETS)

    async def story() -> None:
        await scene.start(ALL_CHAINS, POLY_ONLY)
        async with scene.service(away) as (_, sweep):
            await until(lambda: scene.states()[1] == "committed")
            assert scene.states()[0] == "running"
            (notice,) = sweep.notices()
            assert notice.saga == "chain:bit"
            assert "bit is not open: no node of bit answers: http://bit:1" in notice.reason
            assert "No saga that needs it moves" in notice.reason

            away.trouble = WrongChain("http://bit:1 serves another chain")
            await asyncio.sleep(60)
            (notice,) = sweep.notices()
            assert "http://bit:1 serves another chain" in notice.reason
            assert 4 < away.asked < 60, "it is asked with pauses, for ever"

            away.trouble = None
            await until(lambda: scene.states()[0] in ENDS)
            assert sweep.notices() == ()

    scene.tell(story)


def test_a_saga_that_moves_too_fast_is_taken_up_later_all_the_same(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    async def story() -> None:
        await scene.start(POLY_ONLY)
        async with scene.service(kind=Contended) as (driver, sweep):
            cast("Contended", driver.journal).lost = 20
            await until(lambda: scene.states() == ["committed"])
            assert sweep.notices() == ()

    scene.tell(story)


def test_a_saga_of_another_chain_alarms_as_long_as_nobody_else_drives_it(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    foreign = Foreign(scene.world.chains["poly"], ASSETS)

    async def story() -> None:
        await scene.start(POLY_ONLY)
        async with scene.service(foreign=foreign) as (_, sweep):
            await until(sweep.notices)
            (notice,) = sweep.notices()
            assert (notice.saga, notice.state) == (POLY_ONLY, "running")
            assert "is another chain than the saga began on" in notice.reason
            assert notice.question.endswith(f"coordinator resume {POLY_ONLY}")
            await scene.drive_elsewhere(POLY_ONLY)
            await until(lambda: sweep.notices() == ())

    scene.tell(story)


def test_a_saga_that_another_process_ended_after_the_start_is_watched(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    async def story() -> None:
        async with scene.service() as (driver, _):
            await asyncio.sleep(55)
            await scene.start(POLY_ONLY)
            await scene.drive_elsewhere(POLY_ONLY)
            assert len(driver.runner.ended) == 0
            await until(lambda: len(driver.runner.ended), 12)

    scene.tell(story)


def test_a_service_names_what_it_leaves_open_and_says_that_nobody_drives_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = Scene(tmp_path)

    async def story() -> None:
        await scene.start(POLY_ONLY)
        async with scene.service() as (driver, sweep):
            await until(lambda: scene.states() == ["committed"])
            await scene.start(ALL_CHAINS)
            await until(lambda: driver.driven() == [ALL_CHAINS])
            assert sweep.code(driver) == exits.of_saga(load(driver.journal, ALL_CHAINS))
            await driver.leave()
            (left,) = driver.journal.sagas(open_only=True)
            assert (left.saga, left.driver, driver.driven()) == (ALL_CHAINS, None, [])

    scene.tell(story)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [ALL_CHAINS]
