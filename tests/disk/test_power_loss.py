"""A power cut loses nothing that was acknowledged, and shows nothing that was half done."""

import os
import random
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from coordinator.journal.sqlite import SqliteJournal
from tests.disk.cases import PLANS, draw, folder, power_case, power_state, record, resume_case
from tests.disk.judge import judge, promised
from tests.disk.operations import Acknowledged, state_after, where
from tests.disk.outcome import report, sweep

#: DISK_ALL=1 for the nightly depth; DISK_STATES=N for another one.
STATES = int(os.environ.get("DISK_STATES", "12000" if os.environ.get("DISK_ALL") else "600"))
RESUMED = max(60, STATES // 6)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.timeout(3600)
def test_every_state_that_a_power_cut_may_leave_holds_all_that_was_acknowledged(plan: str) -> None:
    with folder() as place:
        operations = record(plan, place / "run")
        seen: set[int] = set()
        fired: Counter[tuple[str, str]] = Counter()
        bad: list[str] = []
        number = 0
        while len(seen) < STATES // len(PLANS):
            number += 1
            cut, state = power_state(operations, number)
            names = tuple(sorted((str(path), content) for path, content in state.files.items()))
            if (known := hash((cut, names))) in seen:
                continue
            seen.add(known)
            fired[draw(operations, number)[1], where(operations, cut)] += 1
            bad += [
                f"{text}\n  replay: python -m tests.disk power {plan} {number}"
                for text in power_case(operations, number, place)
            ]
    report("power loss", fired, bad, STATES // len(PLANS))


def test_every_moment_in_which_a_journal_is_made_leaves_none_or_a_whole_one() -> None:
    bad: list[str] = []
    with folder() as place:
        operations = record("single", place / "run")
        made = next(n for n, one in enumerate(operations) if isinstance(one, Acknowledged))
        cuts = [(cut, way) for cut in range(made + 7) for way in ("none", "any 512", "all")]
        for cut, variant in cuts:
            root = place / f"made-{cut}-{variant}"
            state_after(operations, cut, variant, random.Random(cut)).write(root)
            bad += [
                f"cut after {cut}, kept {variant}: {text}"
                for text in judge(root, promised(operations, cut))
            ]
    report("power loss", Counter((way, "creation") for _cut, way in cuts), bad, 200)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.timeout(3600)
def test_a_saga_goes_on_after_power_cuts_in_it_and_in_its_recovery(plan: str) -> None:
    runs = RESUMED // len(PLANS)
    met, bad = sweep(
        partial(resume_case, plan), range(runs), "cut", f"python -m tests.disk resume {plan}"
    )
    # Every third run is cut twice, where its recovery lasts long enough.
    report("power loss", met, bad, runs + 1)


def careless(journal: SqliteJournal) -> None:
    """Acknowledge what is not synced."""
    journal._connection.pragma("synchronous", "normal")


def forgetful(journal: SqliteJournal) -> None:
    """Let bytes leave before the second place knows."""
    witness = journal._witness
    descriptor = os.open(witness.path, os.O_RDWR | os.O_CLOEXEC)
    os.close(witness._descriptor)
    witness._descriptor = descriptor


def hasty(journal: SqliteJournal) -> None:
    """Tell the second place before the database is durable."""
    commit = journal._commit

    def first_the_witness() -> None:
        assert journal._writer.last is not None
        journal._witness.write(*journal._writer.last)
        commit()

    journal._commit = first_the_witness  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("weaken", "finding"),
    [
        (careless, "was acknowledged and is lost"),
        (forgetful, "the second place"),
        (hasty, "a legal state is refused"),
    ],
)
def test_a_journal_that_is_weaker_than_ours_is_caught(
    weaken: Callable[[SqliteJournal], None], finding: str
) -> None:
    with folder() as place:
        operations = record("holds", place / "run", weaken)
        found = [text for number in range(90) for text in power_case(operations, number, place)]
    assert [text for text in found if finding in text], found[:5]
