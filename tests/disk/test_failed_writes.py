"""Every write and every sync fails once: the process stops, and nothing is lost or sent too early.

The real engine drives a saga on a real journal whose n-th operation fails, n = 1, 2, … until a run
passes unharmed: in the database, its log, the second place and the published heads. Whatever it had
sent by then must have been durable, and the next process must bring the saga to its end.
"""

import os

import pytest

from tests.disk.cases import PLANS, create_case, fault_case, gate_case
from tests.disk.outcome import report, sweep

#: DISK_ALL=1: every way for every plan.
ALL = bool(os.environ.get("DISK_ALL"))
#: More operations than any run here has.
MANY = range(1, 2000)
CASES = (
    [(plan, way, lasting) for plan in PLANS for way in ("EIO", "ENOSPC", "short")
     for lasting in (False, True)]
    if ALL
    else [("holds", "EIO", False), ("single", "ENOSPC", True), ("single", "short", False)]
)  # fmt: skip


@pytest.mark.parametrize(("plan", "way", "lasting"), CASES)
@pytest.mark.timeout(1800)
def test_a_write_or_sync_that_fails_stops_the_process_and_loses_nothing(
    plan: str, way: str, *, lasting: bool
) -> None:
    fired, bad = sweep(
        lambda number: fault_case(plan, way, number, lasting=lasting), MANY,
        f"{way}, lasting" if lasting else way,
        f"python -m tests.disk fault {plan} {way} {int(lasting)}",
    )  # fmt: skip
    report("write failed", fired, bad, 90)


@pytest.mark.parametrize("way", ["EIO", "ENOSPC", "short"])
def test_a_journal_that_can_not_be_made_whole_is_not_there_or_can_be_used(way: str) -> None:
    fired, bad = sweep(
        lambda number: create_case(way, number), MANY, f"{way}, creation",
        f"python -m tests.disk create {way}",
    )  # fmt: skip
    report("write failed", fired, bad, 15)


@pytest.mark.parametrize("plan", PLANS if ALL else ("single",))
@pytest.mark.parametrize("later", (1, 5, 12, 25, 45) if ALL else (1, 30))
def test_what_a_failed_sync_has_dropped_is_not_believed_after_a_restart(
    plan: str, later: int
) -> None:
    met = 0

    def case(number: int) -> list[str] | None:
        nonlocal met
        lost_power = gate_case(plan, number, later)
        met += bool(lost_power)
        return None if lost_power is None else ["sync"]

    fired, bad = sweep(
        case, MANY, "sync fails and drops, then a cut", f"python -m tests.disk gate {plan} {later}"
    )
    report("write failed", fired, bad, 10)
    assert met >= 5, f"the power failed in {met} runs only"
