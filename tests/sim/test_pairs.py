"""Every pair of faults on the three-step plan: in recovery, in an undo, two errors in a row."""

import os
import random
from collections.abc import Iterator
from itertools import islice

import pytest

from tests.sim.cases import CASES, Case, build, distinct, hold, pairs
from tests.sim.counts import Counts

#: ``all``: every pair of every way in which the plan can fail too, not only a sample of those.
ALL = os.environ.get("SIM_PAIRS", "") == "all"
PLAN = "reference"
FAILS = [case for case in CASES if case.plan == PLAN]
#: The first step is refused: there is little in which anything could go wrong.
NOTHING_SENT = "lock:refused"
EXHAUSTIVE = FAILS if ALL else [Case(PLAN)]
#: Workers take a part each. What merges with another run merges within its part only: with more of
#: them there is more to run.
PARTS = 6
SAMPLE = 100


def _firsts(case: Case, part: int) -> Iterator[Case]:
    return islice(distinct(case), part, None, PARTS)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("case", EXHAUSTIVE, ids=str)
def test_a_plan_survives_every_two_faults(case: Case, part: int) -> None:
    counts, known = Counts("pair"), set[bytes]()
    for first in _firsts(case, part):
        for number, pair in enumerate(distinct(first)):
            # Resuming once more costs a tenth: every fourth pair is resumed.
            with counts.judging():
                counts.add(hold(pair, known, resume=number % 4 == 0))
    sent = case.fail != NOTHING_SENT
    counts.tell(
        ("append/error", "append/crash_after", *(("submit/ambiguous", "observe/error") * sent))
    )
    assert counts.worlds > (50 if sent else 5)


@pytest.mark.parametrize("case", [] if ALL else FAILS, ids=str)
def test_a_plan_survives_a_sample_of_two_faults(case: Case) -> None:
    rng, counts = random.Random(str(case)), Counts("pair")
    firsts = list(distinct(case))
    for _ in range(SAMPLE):
        seconds = list(distinct(rng.choice(firsts)))
        if seconds:
            with counts.judging():
                counts.add(hold(rng.choice(seconds)))
    assert counts.worlds > SAMPLE // 2
    counts.tell()


@pytest.mark.parametrize("case", [Case(PLAN), Case(PLAN, "mint:reverted")], ids=str)
def test_what_is_not_run_twice_would_have_run_alike(case: Case) -> None:
    """The runs that merge with an earlier one are run to their end here, and end as that one."""
    known: dict[bytes, list[bytes]] = {}
    merged = 0
    for pair in islice(pairs(case), 0, None, 97):
        world = build(pair)
        world.known = set()  # remembers where processes began, and merges with nothing
        world.run()
        bodies = [record.body for record in world.store.records]
        for digest in world.begun:
            merged += digest in known
            assert known.setdefault(digest, bodies) == bodies
    for single in distinct(case):
        world = build(single)
        world.known = set()
        world.run()
        bodies = [record.body for record in world.store.records]
        for digest in world.begun:
            merged += digest in known
            assert known.setdefault(digest, bodies) == bodies
    assert merged > 5
