"""Random schedules from a seed.

Three families. ``seed``: one plan, many faults, shallow reorganisations. ``deep``: final blocks are
taken back. ``wild``: up to twenty sagas of different plans share accounts under everything that
`disturbance` knows, as a `Script`, so that a failure can be shrunk.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from tests.sim import script as scripts
from tests.sim.chain import Fate
from tests.sim.checker import check
from tests.sim.faults import Faults, ways
from tests.sim.plans import PLANS
from tests.sim.script import Script, Trouble
from tests.sim.world import NotLive, World, evidence_of, unfinished

__all__ = [
    "deep_world_of",
    "examine",
    "replay_seed",
    "replay_wild",
    "stranger_of",
    "wild_of",
    "world_of",
]

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
            _fate(rng, lost=0.3),
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
            _fate(rng, lost=0.4),
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


def _reorg(name: str, depth: int, fate: Fate) -> Callable[[World], None]:
    return lambda world: world.chains[name].reorg(depth, fate)


def _fate(rng: random.Random, *, lost: float) -> Fate:
    """Draw what becomes of transactions whose block is replaced."""
    drawn = rng.random()
    if drawn < lost:
        return "lost"
    return "wait" if drawn < (1 + lost) / 2 else "again"


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


# ---------------------------------------------------------------- wild

_OPS: Final = ("lock", "mint", "hold", "transfer", "release", "refund", "self")
_LIES: Final = ("denies", "forges", "reverts")


def wild_of(seed: int) -> tuple[Script, Faults]:
    """Draw the script that ``seed`` stands for, and the faults that come with it."""
    rng = random.Random(f"wild {seed}")
    sagas = rng.choice((1, 2, 3, 5, 8, 12, 20))
    script = Script(
        plans=tuple(rng.choice(sorted(PLANS)) for _ in range(sagas)),
        coordinators=rng.choice((1, 1, 2)),
        confirmations=rng.choice((2, 3)),
        payee_ticks=rng.choice((1, 1, 2, 4, 20, 45, None)),
        stagger_ms=rng.choice((0, 0, 300, 1500)),
        nodes=rng.choice((1, 3)),
        bump_blocks=rng.choice((0, 3)),
    )
    # Who waits for a payee for ever need not be watched for long.
    script = replace(script, max_ticks=220 if script.payee_ticks is None else 700)
    troubles: list[Trouble] = []
    for _ in range(rng.choice((0, 2, 4, 7))):
        troubles += rng.choice(_DRAWS)(rng, script)
    if script.coordinators == 2:
        for _ in range(rng.choice((0, 1, 3))):
            troubles += [(rng.randint(1, 30), "freeze", (rng.randint(0, 1), rng.randint(2, 25)))]
    # The more sagas, the more points: each process is to get some way before it dies.
    faults = RandomFaults(rng, rng.choice((0.0, 0.005, 0.015, 0.04)) / sagas**0.7)
    return replace(script, troubles=tuple(troubles)), faults


def _window(
    rng: random.Random, what: str, place: tuple[Any, ...], bad: Any, good: Any
) -> list[Trouble]:
    """Something is wrong from one tick to a later one."""
    start = rng.randint(1, 25)
    end = start + rng.choice((2, 5, 15, 40))
    return [(start, what, (*place, bad)), (end, what, (*place, good))]


def _drawn_reorg(rng: random.Random, script: Script) -> list[Trouble]:
    depth, fate = rng.randint(1, script.confirmations - 1), _fate(rng, lost=0.3)
    return [(rng.randint(1, 40), "reorg", (_chain(rng), depth, fate))]


def _drawn_call(rng: random.Random, _: Script) -> list[Trouble]:
    chain = _chain(rng)
    # A script on a chain of coins has nothing that could be paused or revert.
    kind = "stuck" if chain == "bit" else rng.choice(("paused", "reverting", "stuck"))
    return [(rng.randint(1, 30), "trouble", (chain, kind, rng.choice(_OPS)))]


def _drawn_fees(rng: random.Random, _: Script) -> list[Trouble]:
    """A block costs more than at first, than a forward may, than anything may; and less again."""
    level = rng.choice((15, 60, 400, 1_050, 5_000))
    chain = _chain(rng)
    found = _window(rng, "trouble", (chain, "base_fee"), level, 0)
    if rng.random() < 0.3:
        found.append((1, "trouble", (chain, "old_wins", True)))
    return found


def _drawn_pool(rng: random.Random, _: Script) -> list[Trouble]:
    if rng.random() < 0.4:
        # Something must wait to be forgotten.
        chain, start = _chain(rng), rng.randint(1, 25)
        return [
            (start, "trouble", (chain, "halted", True)),
            (start + 2, "evict", (chain,)),
            (start + rng.randint(3, 12), "trouble", (chain, "halted", False)),
        ]
    if rng.random() < 0.5:
        return _window(rng, "trouble", (_chain(rng), "relay_fee"), rng.choice((11, 40)), 0)
    return _window(rng, "trouble", (_chain(rng), "room"), rng.randint(1, 4), None)


def _drawn_time(rng: random.Random, _: Script) -> list[Trouble]:
    kind = rng.choice(("halted", "slow", "skew"))
    if kind == "halted":
        return _window(rng, "trouble", (_chain(rng), "halted"), True, False)
    if kind == "slow":
        return _window(rng, "trouble", (_chain(rng), "slow"), 3, 1)
    skew_s = rng.choice((-120, -20, -3, 3, 20, 120))
    return [(rng.randint(1, 20), "trouble", (_chain(rng), "skew_s", skew_s))]


def _drawn_node(rng: random.Random, script: Script) -> list[Trouble]:
    """One node of three lies, any of them lag or hang, or all are mute."""
    if script.nodes == 1:
        return []
    place = (_chain(rng), rng.randrange(script.nodes))
    kind = rng.choice(("lag", "lies", "hangs", "mute"))
    if kind == "lag":
        return _window(rng, "node", (*place, "lag"), rng.randint(1, 6), 0)
    if kind == "lies":
        return _window(rng, "node", (place[0], 0, "lies"), rng.choice(_LIES), "")
    if kind == "hangs":
        return _window(rng, "node", (*place, kind), True, False)
    start, end = (rng.randint(1, 10), rng.randint(11, 30))
    every = range(script.nodes)
    return [
        *((start, "node", (place[0], number, kind, True)) for number in every),
        *((end, "node", (place[0], number, kind, False)) for number in every),
    ]


def _chain(rng: random.Random) -> str:
    return rng.choice(("bit", "eth", "poly"))


_DRAWS: Final[tuple[Callable[[random.Random, Script], list[Trouble]], ...]] = (
    _drawn_reorg,
    _drawn_call,
    _drawn_fees,
    _drawn_fees,
    _drawn_pool,
    _drawn_time,
    _drawn_node,
)


def stranger_of(seed: int) -> tuple[Script, Faults]:
    """Draw a script in which somebody else uses keys of ours while sagas come and go."""
    rng = random.Random(f"stranger {seed}")
    sagas = rng.choice((1, 3, 6))
    script = Script(
        plans=tuple(rng.choice(sorted(PLANS)) for _ in range(sagas)),
        coordinators=rng.choice((1, 2)),
        stagger_ms=rng.choice((500, 2_000, 5_000)),
        max_ticks=220,
        stranger=True,
        troubles=tuple(
            (rng.randint(1, 25), "consume", (_chain(rng), rng.choice(("ops", "store"))))
            for _ in range(rng.choice((1, 1, 3)))
        ),
    )
    return script, RandomFaults(rng, rng.choice((0.0, 0.01)))


def replay_wild(seed: int, draw: Callable[[int], tuple[Script, Faults]] = wild_of) -> World:
    """Run the schedule of ``seed`` and check everything; a failure names its smallest case.

    Raises:
        AssertionError: with what is wrong and the commands that replay it.
    """
    script, faults = draw(seed)
    world = scripts.build(script, faults)
    try:
        world.run()
        scripts.examine(script, world)
    except Exception as error:
        error.add_note(f"replay: python -m tests.sim {draw.__name__.removesuffix('_of')} {seed}")
        smallest, failure = scripts.shrunk(replace(script, faults=tuple(world.faults.fired)))
        error.add_note(f"smallest case ({failure or 'does not fail by itself'}): {smallest.replay}")
        raise
    return world
