"""Sagas that have ended: who is watched, for how long, and what becomes of finality that breaks."""

import asyncio
from typing import Any

import pytest

from coordinator import forgetting
from coordinator.driving import Driver
from coordinator.errors import ReservationShort
from coordinator.journal.base import Entry, SagaRow
from coordinator.runner import Runner
from coordinator.watchdog import Watchdog
from tests.sim.later import afterwards, until
from tests.sim.memory_journal import MemoryJournal
from tests.sim.plans import build_chains
from tests.sim.world import World, saga_id


@pytest.mark.parametrize("same", [True, False])
def test_what_ended_on_other_chains_of_these_names_is_not_looked_at(
    same: bool,  # noqa: FBT001 - a parameter of the case
) -> None:
    """Else chains that show nothing of it would have it withdrawn, and sent a second time."""
    world = World("transfers").run()
    others = build_chains(world.clock)
    for chain in others.values():
        chain.blocks[0].hash = "ab" * 32

    async def story(runner: Runner, _queue: asyncio.Queue[str]) -> None:
        journal: Any = MemoryJournal(world.store, lambda: world.clock.now_ms)
        instance: Any = None  # drives nothing here
        watchdog = Watchdog(lambda: None, lambda _: None)
        driver = Driver(journal=journal, instance=instance, runner=runner, watchdog=watchdog)
        assert driver.recently_ended() == ([saga_id(0)] if same else [])

    afterwards(world, story, None if same else others)


def test_what_ended_is_named_once_as_long_as_it_is_recent() -> None:
    world = World("single").run()

    async def story(runner: Runner, _queue: asyncio.Queue[str]) -> None:
        assert runner.ended.recent() == [saga_id(0)]
        assert runner.ended.recent() == []

    afterwards(world, story)


def test_who_looks_each_minute_begins_where_the_last_look_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World("single").run()
    asked: list[int] = []

    async def story(runner: Runner, _queue: asyncio.Queue[str]) -> None:
        read = runner.journal.sagas_after

        def sagas_after(position: int) -> list[SagaRow]:
            asked.append(position)
            return read(position)

        monkeypatch.setattr(runner.journal, "sagas_after", sagas_after)
        assert runner.ended.recent() == [saga_id(0)]
        assert runner.ended.recent() == []
        runner.ended.look_anew()
        assert runner.ended.recent() == [saga_id(0)]

    afterwards(world, story)
    last = len(world.store.records)
    assert asked == [0, last, 0]


def test_a_saga_that_was_opened_again_is_watched_until_it_is_buried_anew() -> None:
    world = World("transfers").run()
    poly = world.chains["poly"]

    async def story(runner: Runner, queue: asyncio.Queue[str]) -> None:
        queue.put_nowait(saga_id(0))
        await until(lambda: len(runner.ended) == 1, "it is watched")
        poly.reorg(poly.tip.height - landed_heights(world, "poly")[0] + 1)
        await until(lambda: kinds(world).count("closed") == 2, "it ended once more")
        heights = {name: chain.tip.height for name, chain in world.chains.items()}
        await until(lambda: not len(runner.ended), "it is buried")
        for name, chain in world.chains.items():
            landed = max(landed_heights(world, name))
            assert chain.tip.height >= landed + 3 * chain.confirmations, (name, heights)

    afterwards(world, story)


def test_blocks_are_kept_from_where_the_oldest_saga_began_that_is_driven_or_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What adapters forget is read again, but a reorganisation that nobody reads wakes nobody."""
    monkeypatch.setattr(forgetting, "_EVERY_BLOCKS", 1)
    world = World("transfers").run()
    kept: list[int] = []

    async def story(runner: Runner, queue: asyncio.Queue[str]) -> None:
        adapter: Any = runner.adapters["poly"]
        adapter.keep_from = kept.append
        began = world.store.records[0].data["clocks"]["poly"]["height"]
        queue.put_nowait(saga_id(0))
        await until(lambda: len(runner.ended) == 1, "it is watched")
        kept.clear()
        await until(lambda: kept, "the chain is told")
        assert kept[0] == began
        await until(lambda: not len(runner.ended), "it is buried")
        kept.clear()
        await until(lambda: kept, "the chain is told")
        assert kept[-1] == runner.now().chains["poly"].height > began

    afterwards(world, story)


def test_what_an_undo_had_given_back_is_kept_again_when_the_undo_is_gone() -> None:
    """It is in the account of our other key again, and no other plan may count on it."""
    world = World("transfers")
    world.chains["eth"].trouble.reverting.add("transfer")
    world.run()
    poly = world.chains["poly"]
    journal = MemoryJournal(world.store, lambda: world.clock.now_ms)

    def kept() -> list[tuple[str, str]]:
        return [(row.account, row.asset) for row in journal.reservations("poly") if row.amount]

    async def story(_: Runner, queue: asyncio.Queue[str]) -> None:
        assert [row.state for row in world.rows()] == ["rolled_back"]
        assert kept() == []
        queue.put_nowait(saga_id(0))
        undone = [r for r in world.store.records if r.kind == "done" and r.data["dir"] == "undo"]
        height = next(r.data["height"] for r in undone if r.data["step"] == "one")
        poly.trouble.stuck.add("transfer")
        poly.reorg(poly.tip.height - height + 1)
        await until(lambda: "reopened" in kinds(world), "it is opened again")
        assert kept() == [("store", "ALZ")]
        with pytest.raises(ReservationShort):
            await journal.append(f"saga:{saga_id(1)}", 0, [Entry("started", another(world))])
        poly.trouble.stuck.clear()
        await until(lambda: kinds(world).count("closed") == 2, "it ended once more")
        assert kept() == []

    afterwards(world, story)


def another(world: World) -> dict[str, Any]:
    """The first record of a saga that wants all of the account's tokens."""
    first = world.store.records[0].data
    wanted = [["poly", "store", "ALZ", "1", "1"]]
    return {**first, "saga": saga_id(1), "key": "another", "reservations": wanted, "locks": []}


def kinds(world: World) -> list[str]:
    return [record.kind for record in world.store.records]


def landed_heights(world: World, chain: str) -> list[int]:
    steps = {"poly": "one", "bit": "two", "eth": "three"}
    return [
        record.data["height"]
        for record in world.store.records
        if record.kind == "done" and record.data["step"] == steps[chain]
    ]


# ---------------------------------------------------------------- ended by a person


def written_off(world: World) -> None:
    """Two persons look away from the third step, which nothing can land or end."""
    journal = MemoryJournal(world.store, lambda: world.clock.now_ms)
    records = world.store.read(saga_id(0))
    data = {
        "step": "three", "dir": "forward", "verdict": "write_off", "by": ["ada", "bob"],
        "reason": "the chain takes nothing of ours", "args": {},
    }  # fmt: skip
    work = journal.append(f"saga:{saga_id(0)}", records[-1].seq, [Entry("verdict", data)])
    _KEPT.append(asyncio.get_running_loop().create_task(work))


_KEPT: list[asyncio.Task[Any]] = []


def closed_by_operator() -> World:
    world = World("transfers", events={30: written_off})
    world.chains["eth"].trouble.stuck |= {"transfer", "self"}
    world.run()
    assert [row.state for row in world.rows()] == ["closed_by_operator"]
    return world


def test_what_a_person_ended_is_watched_and_a_loss_of_it_is_an_alarm() -> None:
    world = closed_by_operator()
    poly, records = world.chains["poly"], len(world.store.records)

    async def story(runner: Runner, queue: asyncio.Queue[str]) -> None:
        for saga in runner.ended.recent():
            queue.put_nowait(saga)
        await until(lambda: len(runner.ended) == 1, "it is watched")
        assert not runner.notices()
        poly.reorg(poly.confirmations + 3, "lost")
        await until(lambda: runner.ended.notices, "an alarm")
        (notice,) = runner.ended.notices
        assert notice in runner.notices()
        assert "the undo of step one is done no more" in notice.reason
        assert notice.saga == saga_id(0)

    afterwards(world, story)
    assert len(world.store.records) == records, "a person ended it: nothing is written or sent"


def test_an_alarm_about_what_a_person_ended_goes_when_it_is_there_again() -> None:
    world = closed_by_operator()
    poly = world.chains["poly"]

    async def story(runner: Runner, queue: asyncio.Queue[str]) -> None:
        for saga in runner.ended.recent():
            queue.put_nowait(saga)
        await until(lambda: len(runner.ended) == 1, "it is watched")
        poly.trouble.stuck.add("transfer")
        poly.reorg(poly.confirmations + 3)
        await until(lambda: runner.ended.notices, "an alarm")
        poly.trouble.stuck.clear()
        await until(lambda: not runner.ended.notices, "its bytes are in a block again")

    afterwards(world, story)
