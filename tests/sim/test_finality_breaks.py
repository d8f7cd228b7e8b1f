"""Blocks that were final are taken back, at each moment of a saga's way.

Random schedules seldom meet the few seconds between an outcome and the saga's end.
"""

from collections.abc import Callable

import pytest

from tests.sim.chain import FATES, Fate, SimChain
from tests.sim.checker import check
from tests.sim.world import World, evidence_of

#: The longest of these sagas has ended by then.
TICKS = 30


def _commits(_: World) -> None:
    pass


def _is_refused(world: World) -> None:
    world.chains["eth"].trouble.reverting.add("mint")


def _is_burnt(world: World) -> None:
    """The mint waits until the deadline, then only its tombstone may come."""
    world.chains["eth"].trouble.stuck.add("mint")


def broken(lead: Callable[[World], None], tick: int, chain: str, fate: Fate) -> World:
    """Replace final blocks of ``chain`` and one more at ``tick``."""

    def act(world: World) -> None:
        theirs: SimChain = world.chains[chain]
        theirs.reorg(theirs.confirmations + 1, fate)

    world = World("reference", events={tick: act})
    lead(world)
    world.run()
    check(evidence_of(world, finality_broke=True))
    return world


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("lead", [_commits, _is_refused, _is_burnt])
def test_what_stands_in_the_end_is_in_the_chain(lead: Callable[[World], None], fate: Fate) -> None:
    whys: set[str] = set()
    for chain in ("bit", "eth", "poly"):
        for tick in range(2, TICKS):
            world = broken(lead, tick, chain, fate)
            assert {row.state for row in world.rows()} <= {"committed", "rolled_back"}
            whys |= {r.data["why"] for r in world.store.records if r.kind == "withdrawn"}
    assert whys, "no reorganisation took anything back that had been final"
