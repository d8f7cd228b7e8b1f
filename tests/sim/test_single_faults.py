"""Every single fault at every journal write and adapter call, for success and every failure."""

import os

import pytest

from tests.sim.cases import CASES, Case, pairs, parse, run, singles

PAIRS = int(os.environ.get("SIM_PAIRS", "25"))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_plan_ends_as_it_should_when_no_call_breaks(case: Case) -> None:
    run(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_plan_survives_each_single_fault(case: Case) -> None:
    fired = 0
    for single in singles(case):
        run(single, resume=bool(single.ways & {"crash_before", "crash_after"}))
        fired += 1
    assert fired > 10


@pytest.mark.parametrize("case", [case for case in CASES if case.plan == "reference"], ids=str)
def test_a_plan_survives_two_faults_the_second_one_during_recovery(case: Case) -> None:
    for pair in pairs(case, PAIRS):
        run(pair)


def test_a_case_is_named_so_that_it_can_be_replayed() -> None:
    for case in (CASES[0], next(singles(CASES[0])), next(pairs(CASES[0], 1))):
        assert parse(str(case)) == case
