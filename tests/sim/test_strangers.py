"""Who is taken for a stranger with our key, and what a person's word on it does."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from coordinator.journal.base import Entry, Record
from tests.sim import virtual_time
from tests.sim.adapter import SimAdapter
from tests.sim.later import process, ticking, until
from tests.sim.memory_journal import MemoryJournal
from tests.sim.plans import ASSETS, lock_of, started_of
from tests.sim.world import World, saga_id

ELSEWHERE = "aa" * 32


def unexplained(world: World) -> list[str]:
    return [record.data["tx"] for record in world.store.records if record.kind == "unexplained"]


class TooLate(MemoryJournal):
    """Every append to ``operator`` comes after another process's."""

    async def append(self, stream: str, *rest: Any, **more: Any) -> list[Record]:
        while stream == "operator" and not self.read("operator"):  # noqa: ASYNC110 - virtual
            await asyncio.sleep(0.1)
        return await super().append(stream, *rest, **more)


def test_what_another_process_claimed_is_no_stranger() -> None:
    """Two processes see one real stranger; the one that is too late compares its values again."""
    world = World("single", sagas=100)
    adapters = {"poly": SimAdapter(world.chains["poly"], ASSETS)}
    journal = MemoryJournal(world.store, lambda: world.clock.now_ms)

    async def start(number: int) -> str:
        lock = await lock_of("single", adapters)
        data = started_of(
            saga_id(number), f"key-{number}", lock, adapters, world.chains, world.clock.now_ms
        )
        await journal.append(f"saga:{saga_id(number)}", 0, [Entry("started", data)])
        return saga_id(number)

    def committed(number: int) -> Callable[[], bool]:
        return lambda: [row.state for row in world.rows()][number:] == ["committed"]

    async def story() -> None:
        late = process(world, journal=TooLate)
        async with ticking(world), late as (_, one), process(world) as (_, other):
            for number in range(4):
                (one, other)[number % 2].put_nowait(await start(number))
                await until(committed(number), f"saga {number} is committed")
            world.chains["poly"].consume("ops")
            await until(lambda: unexplained(world), "the stranger is seen")
            await asyncio.sleep(20)

    virtual_time.run(world.clock, story())
    (stranger,) = unexplained(world)
    assert not stranger.startswith("nonce"), "what a block showed, and nothing of our own"


Acting = Callable[[MemoryJournal], Awaitable[object]]


async def halt(journal: MemoryJournal) -> object:
    data = {
        "chain": "poly", "tx": ELSEWHERE, "block": "b", "height": 1, "time": 0,
        "step": "unexplained", "dir": "forward", "claim": [], "accounts": ["ops"], "names": [],
        "texts": ["it paid somebody"],
    }  # fmt: skip
    seq = len(journal.read("operator"))
    return await journal.append("operator", seq, [Entry("unexplained", data)])


async def adopt(journal: MemoryJournal) -> object:
    """A person says that it was the effect of the second saga's step, which accepts it."""
    stream = f"saga:{saga_id(1)}"
    data = {
        "step": "lock", "dir": "forward", "verdict": "adopt", "by": ["ada"], "reason": "it was us",
        "args": {"tx": ELSEWHERE},
    }  # fmt: skip
    return await journal.append(stream, journal.read(stream)[-1].seq, [Entry("verdict", data)])


async def accept(journal: MemoryJournal) -> object:
    data = {"txs": [["poly", ELSEWHERE]], "by": ["ada"], "reason": "it was us"}
    seq = len(journal.read("operator"))
    return await journal.append("operator", seq, [Entry("accepted", data)])


@pytest.mark.parametrize("end", [accept, adopt])
def test_whoever_stood_still_goes_on_at_once_when_a_person_has_looked(end: Acting) -> None:
    tasks: list[asyncio.Future[Any]] = []

    def at_once(act: Acting) -> Callable[[World], None]:
        def do(world: World) -> None:
            journal = MemoryJournal(world.store, lambda: world.clock.now_ms)
            tasks.append(asyncio.ensure_future(act(journal)))

        return do

    events = {1: at_once(halt), 5: at_once(end)}
    world = World("single", sagas=2, stagger_s=2.5, events=events, max_ticks=80).run()
    assert [task.exception() for task in tasks] == [None, None]
    assert [row.state for row in world.rows()] == ["committed", "committed"]
