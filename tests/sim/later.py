"""More processes on a world that has run, and whoever acts beside them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from coordinator.runner import Runner
from tests.sim import virtual_time
from tests.sim.adapter import SimAdapter
from tests.sim.chain import SimChain
from tests.sim.memory_journal import MemoryJournal
from tests.sim.plans import ASSETS
from tests.sim.preimages import Preimages
from tests.sim.world import World

__all__ = ["afterwards", "process", "ticking", "until"]


@asynccontextmanager
async def process(
    world: World,
    chains: dict[str, SimChain] | None = None,
    journal: type[MemoryJournal] = MemoryJournal,
) -> AsyncIterator[tuple[Runner, asyncio.Queue[str]]]:
    """A process that drives what is put into its queue."""
    adapters = {name: SimAdapter(chain, ASSETS) for name, chain in (chains or world.chains).items()}
    for adapter in adapters.values():
        await adapter.open()
    runner = Runner(
        journal=journal(world.store, lambda: world.clock.now_ms),
        adapters=adapters,
        secrets=Preimages(),
        clock=virtual_time.VirtualClock(world.clock),
        instance=f"later-{id(adapters)}",
        deliver=lambda *_: None,
    )
    queue: asyncio.Queue[str] = asyncio.Queue()

    async def ids() -> AsyncIterator[str]:
        while True:
            yield await queue.get()

    work = asyncio.create_task(runner.run(ids()))
    try:
        yield runner, queue
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


@asynccontextmanager
async def ticking(world: World) -> AsyncIterator[None]:
    """A block each second on every chain."""
    ticker = asyncio.create_task(world._tick_for_ever())
    try:
        yield
    finally:
        ticker.cancel()
        await asyncio.gather(ticker, return_exceptions=True)


def afterwards(
    world: World,
    story: Callable[[Runner, asyncio.Queue[str]], Awaitable[None]],
    chains: dict[str, SimChain] | None = None,
) -> None:
    """Let ``story`` happen in one more process, once ``world`` has run."""

    async def main() -> None:
        async with ticking(world), process(world, chains) as (runner, queue):
            await story(runner, queue)

    virtual_time.run(world.clock, main())


async def until(probe: Callable[[], object], what: str, within_s: int = 60) -> None:
    for _ in range(within_s * 4):
        if probe():
            return
        await asyncio.sleep(0.25)
    raise AssertionError(f"not within {within_s} s: {what}")
