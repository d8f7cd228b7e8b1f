"""Replay one simulated run, or make a failing one small: see USAGE."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from tests.sim import script as scripts
from tests.sim.cases import build, judge, parse
from tests.sim.schedules import deep_world_of, examine, stranger_of, wild_of, world_of
from tests.sim.world import World

USAGE = """usage: python -m tests.sim replay 'plan=…,fail=…,fault=…'
       python -m tests.sim seed N | deep N | wild N | stranger N
       python -m tests.sim script '{…}'        what a failing wild seed prints
       python -m tests.sim shrink '{…}'        fewer sagas, steps, faults while it still fails"""


def _print(world: World) -> None:
    names = ("step", "dir", "gen", "purpose", "height", "decision", "state", "reason", "fees")
    for record in world.store.records:
        about = {name: record.data[name] for name in names if name in record.data}
        print(f"{record.position:4} {record.stream} {record.at_ms} {record.kind} {about}")
    print(f"fired: {world.faults.fired}; processes: {world.lives}; blocks: {world.ticks}")
    for name, chain in world.chains.items():
        print(f"{name}: {dict(chain.fired)}")


def _run(world: World, check: Callable[[], None]) -> int:
    """Run ``world``, print its journal, and fail as it failed."""
    try:
        world.run()
    finally:
        _print(world)
    check()
    return 0


def _shrink(script: scripts.Script) -> int:
    smallest, failure = scripts.shrunk(script)
    if not failure:
        print("it does not fail")
        return 0
    print(f"{failure}; the smallest case that still fails so:\n{smallest.replay}")
    return 1


def main(arguments: list[str]) -> int:
    """Run what a failure's note names."""
    match arguments:
        case ["replay", text]:
            wanted = parse(text)
            world = build(wanted)
            return _run(world, partial(judge, wanted, world))
        case ["seed" | "deep" as kind, number]:
            world = deep_world_of(int(number)) if kind == "deep" else world_of(int(number))
            return _run(world, partial(examine, world, finality_broke=kind == "deep"))
        case ["wild" | "stranger" as kind, number]:
            script, faults = (wild_of if kind == "wild" else stranger_of)(int(number))
            world = scripts.build(script, faults)
            try:
                return _run(world, partial(scripts.examine, script, world))
            finally:
                print(f"as a script: {replace(script, faults=tuple(world.faults.fired))}")
        case ["script", text]:
            script = scripts.parse(text)
            world = scripts.build(script)
            return _run(world, partial(scripts.examine, script, world))
        case ["shrink", text]:
            return _shrink(scripts.parse(text))
    print(USAGE)
    return 2


sys.exit(main(sys.argv[1:]))
