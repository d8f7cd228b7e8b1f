"""Replay one simulated run: ``python -m tests.sim replay 'plan=…,fail=…,fault=…'``."""

import sys
from collections.abc import Callable
from functools import partial

from tests.sim.cases import build, judge, parse
from tests.sim.schedules import deep_world_of, examine, world_of
from tests.sim.world import World

USAGE = "usage: python -m tests.sim replay 'plan=…,fail=…,fault=…' | seed N | deep N"


def _print(world: World) -> None:
    names = ("step", "dir", "gen", "purpose", "height", "decision", "state", "reason", "fees")
    for record in world.store.records:
        about = {name: record.data[name] for name in names if name in record.data}
        print(f"{record.position:4} {record.stream} {record.at_ms} {record.kind} {about}")
    print(f"fired: {world.faults.fired}; processes: {world.lives}; blocks: {world.ticks}")


def main(arguments: list[str]) -> int:
    """Run what a failure's note names, print its journal, and fail as it failed."""
    check: Callable[[], None]
    match arguments:
        case ["replay", text]:
            wanted = parse(text)
            world = build(wanted)
            check = partial(judge, wanted, world)
        case ["seed" | "deep" as kind, number]:
            world = deep_world_of(int(number)) if kind == "deep" else world_of(int(number))
            check = partial(examine, world, finality_broke=kind == "deep")
        case _:
            print(USAGE)
            return 2
    try:
        world.run()
    finally:
        _print(world)
    check()
    return 0


sys.exit(main(sys.argv[1:]))
