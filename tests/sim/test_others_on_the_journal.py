"""What one process learns of others that write to the same journal, without a restart."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coordinator.driving import Driver
from coordinator.journal.base import Entry
from coordinator.journal.liveness import Instance
from coordinator.runner import Runner
from coordinator.saga import fold
from coordinator.service import ask_rollback, only
from coordinator.watchdog import Watchdog
from tests.no_sagas import none_until
from tests.sim import virtual_time
from tests.sim.adapter import SimAdapter
from tests.sim.later import ticking
from tests.sim.memory_journal import MemoryJournal
from tests.sim.plans import ASSETS, lock_of, started_of
from tests.sim.preimages import Preimages
from tests.sim.world import World, saga_id

SAGA = saga_id(0)


class Scene:
    """A plan of transfers, three chains with a block each second, and processes."""

    def __init__(self, folder: Path = Path()) -> None:
        self.folder = folder
        self.world = World("transfers")
        self.chains = self.world.chains
        self.store = self.world.store

    def runner(self, name: str) -> Runner:
        return Runner(
            journal=MemoryJournal(self.store, lambda: self.world.clock.now_ms),
            adapters={name: SimAdapter(chain, ASSETS) for name, chain in self.chains.items()},
            secrets=Preimages(),
            clock=virtual_time.VirtualClock(self.world.clock),
            instance=name,
            deliver=lambda *_: None,
        )

    async def start(self) -> None:
        adapters = {name: SimAdapter(chain, ASSETS) for name, chain in self.chains.items()}
        lock = await lock_of("transfers", adapters)
        data = started_of(SAGA, "key", lock, adapters, self.chains, self.world.clock.now_ms)
        journal = MemoryJournal(self.store, lambda: self.world.clock.now_ms)
        await journal.append(f"saga:{SAGA}", 0, [Entry("started", data)])

    def kinds(self) -> list[tuple[str, str]]:
        return [(record.kind, record.data.get("step", "")) for record in self.store.records]


async def until(probe: Callable[[], object], within_s: int = 60) -> None:
    for _ in range(within_s * 4):
        if probe():
            return
        await asyncio.sleep(0.25)
    raise AssertionError("it never came")


def test_a_coin_that_a_saga_kept_is_free_here_when_another_process_has_closed_the_saga() -> None:
    scene = Scene()

    async def story() -> None:
        await scene.start()
        async with ticking(scene.world):
            driving = asyncio.create_task(scene.runner("driver").run(only(SAGA)))
            await until(lambda: ("intent", "two") in scene.kinds())
            over = asyncio.Event()
            other = scene.runner("other")
            watching = asyncio.create_task(other.run(none_until(over)))
            intent = next(
                r for r in scene.store.records if (r.kind, r.data.get("step")) == ("intent", "two")
            )
            coin = intent.data["facts"]["outpoint"]
            assert other.claims["bit"].scope().taken(coin)
            await driving
            assert fold(MemoryJournal(scene.store, int).read(f"saga:{SAGA}")).state == "committed"
            await asyncio.sleep(2)
            assert not other.claims["bit"].scope().taken(coin)
            over.set()
            await watching

    virtual_time.run(scene.world.clock, story())


async def taken_over(scene: Scene, heir: Runner) -> None:
    """Let the driver of the saga die with its first intent, and another process take it over."""
    driving = asyncio.create_task(scene.runner("driver").run(only(SAGA)))
    await until(lambda: ("intent", "one") in scene.kinds())
    driving.cancel()
    await asyncio.gather(driving, return_exceptions=True)
    row = next(row for row in heir.journal.sagas() if row.saga == SAGA)
    instance = Instance.enter(scene.folder / "journal.db")
    watchdog = Watchdog(heir.waking.earliest_due_ms, lambda _notice: None)
    journal: Any = heir.journal
    driver = Driver(journal=journal, instance=instance, runner=heir, watchdog=watchdog)
    assert await driver.take_over(row)
    instance.leave()


def test_what_a_saga_claims_is_spoken_for_in_a_process_that_takes_it_over(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    async def story() -> None:
        await scene.start()
        async with ticking(scene.world):
            over = asyncio.Event()
            heir = scene.runner("heir")
            waiting = asyncio.create_task(heir.run(none_until(over)))
            await asyncio.sleep(1)
            await taken_over(scene, heir)
            assert not heir.claims["poly"].taken("ops", 0)
            heir.take(SAGA)
            assert heir.claims["poly"].taken("ops", 0)
            over.set()
            await waiting

    virtual_time.run(scene.world.clock, story())
    assert fold(MemoryJournal(scene.store, int).read(f"saga:{SAGA}")).state == "committed"


def test_what_is_asked_between_taking_over_and_the_first_turn_is_heard(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    async def story() -> None:
        await scene.start()
        over = asyncio.Event()
        heir = scene.runner("heir")
        waiting = asyncio.create_task(heir.run(none_until(over)))
        await taken_over(scene, heir)
        await ask_rollback(scene.runner("operator").journal, SAGA, by="ada", reason="stop")
        await asyncio.sleep(2)  # the heir has looked at the journal; the saga has no turn yet
        heir.take(SAGA)
        assert heir.live[SAGA].state.asked is not None
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    virtual_time.run(scene.world.clock, story())
