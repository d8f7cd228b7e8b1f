"""What is durable leaves once more when the journal takes nothing any more."""

from typing import Any

from coordinator.errors import JournalHeld
from coordinator.journal.base import Entry, Record
from tests.sim import virtual_time
from tests.sim.adapter import SimAdapter
from tests.sim.later import process, ticking, until
from tests.sim.memory_journal import MemoryJournal
from tests.sim.plans import ASSETS, lock_of, started_of
from tests.sim.world import World, saga_id


class Held(MemoryJournal):
    """After the first intent another process keeps it: stopped in the middle of a commit."""

    async def append(self, stream: str, expected: int, *rest: Any, **more: Any) -> list[Record]:
        if any(record.kind == "intent" for record in self.read(f"saga:{saga_id(0)}")):
            raise JournalHeld("another process has held it for 10 s")
        return await super().append(stream, expected, *rest, **more)


def test_a_journal_that_another_process_holds_does_not_keep_back_what_is_durable() -> None:
    world = World("single", sagas=1)
    chain = world.chains["poly"]
    adapters = {"poly": SimAdapter(chain, ASSETS)}
    journal = MemoryJournal(world.store, lambda: world.clock.now_ms)

    async def story() -> None:
        lock = await lock_of("single", adapters)
        data = started_of(saga_id(0), "key", lock, adapters, world.chains, world.clock.now_ms)
        await journal.append(f"saga:{saga_id(0)}", 0, [Entry("started", data)])
        async with ticking(world), process(world, journal=Held) as (runner, queue):
            queue.put_nowait(saga_id(0))
            # Its block comes, and that can not be written down.
            await until(lambda: runner.last_pass.sent, "the last pass", within_s=10)
            assert [item.tx.op for item in chain.received] == ["lock", "lock"]

    virtual_time.run(world.clock, story())
