"""Every single fault at every journal write and adapter call, for success and every failure."""

import pytest

from tests.sim.cases import CASES, Case, hold, pairs, parse, run, singles
from tests.sim.counts import Counts


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_plan_ends_as_it_should_when_no_call_breaks(case: Case) -> None:
    run(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_plan_survives_each_single_fault(case: Case) -> None:
    counts, known = Counts("single"), set[bytes]()
    for single in singles(case):
        with counts.judging():
            crashed = bool(single.ways & {"crash_before", "crash_after"})
            counts.add(hold(single, known, resume=crashed))
    # A refused first step leaves little that could break.
    counts.tell(("append/error", "append/lost", "append/crash_before", "append/crash_after"))
    assert counts.worlds > 10


def test_a_case_is_named_so_that_it_can_be_replayed() -> None:
    for case in (CASES[0], next(singles(CASES[0])), next(pairs(CASES[0]))):
        assert parse(str(case)) == case
