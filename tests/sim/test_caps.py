"""How far a fee may be raised is what the most generous of the persons who were asked said."""

from coordinator import service
from coordinator.journal.base import Entry
from tests.sim import virtual_time
from tests.sim.adapter import SimAdapter
from tests.sim.later import process, ticking, until
from tests.sim.memory_journal import MemoryJournal
from tests.sim.plans import ASSETS, lock_of, started_of
from tests.sim.world import World, saga_id


def test_a_cap_that_was_raised_meanwhile_does_not_fall() -> None:
    """Two persons are at it: the second looked before the first had answered."""
    world = World("single", sagas=1)
    chain = world.chains["poly"]
    adapters = {"poly": SimAdapter(chain, ASSETS)}
    journal = MemoryJournal(world.store, lambda: world.clock.now_ms)

    async def cap(pct: int) -> int:
        state = await service.record_verdict(
            journal, saga_id(0), "lock", direction="forward", verdict="cap", by=["ada"],
            reason="a spike", args={"pct": pct},
        )  # fmt: skip
        return state.cap_pct("lock")

    async def story() -> None:
        lock = await lock_of("single", adapters)
        now_ms = world.clock.now_ms
        data = started_of(saga_id(0), "key", lock, adapters, world.chains, now_ms)
        await journal.append(f"saga:{saga_id(0)}", 0, [Entry("started", data)])
        chain.trouble.stuck.add("lock")
        async with ticking(world), process(world) as (_, queue):
            queue.put_nowait(saga_id(0))
            await until(lambda: chain.received, "it was sent")
            assert [await cap(pct) for pct in (200, 120, 250)] == [200, 200, 250]

    virtual_time.run(world.clock, story())
