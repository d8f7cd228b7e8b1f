"""Random schedules from a seed: many faults, several sagas, two coordinators, shallow reorgs."""

import random
from collections.abc import Callable
from typing import Final

from tests.sim.checker import check
from tests.sim.faults import Faults, ways
from tests.sim.plans import PLANS
from tests.sim.world import NotLive, World, evidence_of, unfinished

__all__ = ["deep_world_of", "examine", "replay_seed", "world_of"]

#: Faults come until this tick (safety), then none (liveness).
CALM_AT: Final = 60


class RandomFaults(Faults):
    """Each point breaks with a small probability, in a way that it allows."""

    def __init__(self, rng: random.Random, rate: float) -> None:
        super().__init__()
        self._rng = rng
        self._rate = rate

    def choose(self, point: str) -> str | None:
        if self._rng.random() >= self._rate:
            return None
        possible = [way for way in ways(point) if way != "rejected"]
        if point.startswith(("prepare", "observe", "append")):
            possible.append("delay")
        return self._rng.choice(possible)


def world_of(seed: int) -> World:
    """Build the world that ``seed`` stands for."""
    rng = random.Random(seed)
    faults = RandomFaults(rng, rng.choice((0.0, 0.01, 0.03, 0.08)))
    world = World(
        rng.choice(sorted(PLANS)),
        faults,
        sagas=rng.choice((1, 1, 2, 5)),
        coordinators=rng.choice((1, 1, 2)),
        confirmations=rng.choice((2, 3)),
        payee_ticks=rng.randint(1, 4),
        max_ticks=900,
    )
    events: dict[int, Callable[[World], None]] = {CALM_AT: _calm}
    for _ in range(rng.choice((0, 1, 3))):
        events[rng.randint(1, 40)] = _reorg(
            rng.choice(sorted(world.chains)),
            rng.randint(1, world.confirmations - 1),
            drop=rng.random() < 0.3,
        )
    for _ in range(rng.choice((0, 1, 2))):
        events[rng.randint(1, 30)] = _trouble(
            rng.choice(sorted(world.chains)),
            rng.choice(("paused", "reverting", "stuck")),
            rng.choice(("lock", "mint", "hold", "transfer")),
        )
    world.events = events
    return world


def deep_world_of(seed: int) -> World:
    """Build a world in which final blocks are taken back while its saga is still open."""
    rng = random.Random(seed)
    world = World(rng.choice(sorted(PLANS)), max_ticks=400)
    world.events = {
        rng.randint(2, 10): _reorg(
            rng.choice(sorted(world.chains)),
            rng.randint(world.confirmations, world.confirmations + 2),
            drop=rng.random() < 0.4,
        )
        for _ in range(rng.choice((1, 2)))
    }
    if rng.random() < 0.5:
        chain = world.chains[rng.choice(("poly", "eth"))]
        chain.trouble.reverting.add(rng.choice(("lock", "mint", "transfer", "hold")))
    return world


def _calm(world: World) -> None:
    world.faults.on = False
    for chain in world.chains.values():
        for trouble in (chain.trouble.stuck, chain.trouble.paused, chain.trouble.reverting):
            trouble.clear()


def _reorg(name: str, depth: int, *, drop: bool) -> Callable[[World], None]:
    return lambda world: world.chains[name].reorg(depth, drop=drop)


def _trouble(name: str, kind: str, op: str) -> Callable[[World], None]:
    def start(world: World) -> None:
        chain = world.chains[name]
        # A script on a chain of coins has nothing that could be paused or revert.
        trouble = "stuck" if chain.kind == "coins" else kind
        getattr(chain.trouble, trouble).add(op)

    return start


def replay_seed(seed: int, *, deep: bool = False) -> World:
    """Run the schedule of ``seed`` and check everything.

    Raises:
        AssertionError: with what is wrong and the command that replays it.
    """
    world = deep_world_of(seed) if deep else world_of(seed)
    try:
        world.run()
        examine(world, finality_broke=deep)
    except Exception as error:
        error.add_note(f"replay: python -m tests.sim {'deep' if deep else 'seed'} {seed}")
        raise
    return world


def examine(world: World, *, finality_broke: bool = False) -> None:
    """Check what a schedule left behind.

    Raises:
        AssertionError: with what is wrong.
    """
    check(evidence_of(world, finality_broke=finality_broke))
    left = unfinished(world)
    if left:
        raise NotLive(f"{left} did not end in {world.ticks} ticks")
    world.resume_idly()
