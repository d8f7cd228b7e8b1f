"""A process that is stopped (SIGSTOP) while it holds SQLite's write lock, and one beside it.

It is stopped where its transaction is open and COMMIT has not begun, and where COMMIT has written
its pages and waits for the disk (see `commits`). The one beside it says what holds it up, sends
nothing new, and goes on as soon as the first goes on or is killed.
"""

from __future__ import annotations

import signal
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from tests.crash.chain_judge import unintended
from tests.crash.commits import HOLDS_THE_LOCK
from tests.crash.ground import Ground
from tests.crash.two_coordinators import Standing
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.crash.ground import Run
    from tests.crash.life import Life

pytestmark = pytest.mark.timeout(240)

#: The second's patience where it is to run out; production's is ten seconds.
BUSY_S = 0.3
#: Exit code of a command whose journal failed.
JOURNAL = 30
PAYS_TWICE = "intent:move.forward#1"
#: End, append, moment, and what becomes of the first: bytes that would move a coin twice under
#: another claim, the decision with its reveal, and the point of no return.
STOPS = [
    ("committed", PAYS_TWICE, "begun", "continued"),
    ("committed", PAYS_TWICE, "begun", "killed"),
    ("committed", PAYS_TWICE, "written", "continued"),
    ("committed", PAYS_TWICE, "written", "killed"),
    ("hold_committed", "reveal:hold#1", "begun", "killed"),
    ("hold_committed", "reveal:hold#1", "written", "continued"),
    ("pay_committed", "intent:pay.forward#1", "begun", "continued"),
    ("pay_committed", "intent:pay.forward#1", "written", "killed"),
]
#: How long a broken engine may take.
BROKEN_S = 1.5


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with Ground.open(tmp_path_factory.mktemp("stopped")) as ground:
        yield ground


def stopped_in(run: Run, moment: str, append: str) -> Life:
    """A life that holds the write lock and does not move."""
    life = run.live(stop_at=f"{moment} append {append}", by=signal.SIGSTOP)
    life.stopped()
    return life


def expect_each_effect_from_one_transaction(run: Run) -> None:
    """Whoever sent, and however often: all of them sent the same bytes."""
    sent: defaultdict[str, set[str]] = defaultdict(set)
    for note in run.scene().sent:
        sent[note["what"]].add(note["tx"])
    assert {what: txs for what, txs in sent.items() if len(txs) > 1} == {}


def begins_to_wait(life: Life) -> bool:
    """Whether it has handed in an append; while another holds the lock it gets no further."""
    passed = life.passed()
    return bool(passed) and passed[-1].startswith("before append ")


@pytest.mark.parametrize(("end", "append", "moment", "then"), STOPS)
def test_the_second_says_what_holds_it_up_sends_nothing_and_goes_on_once_the_first_is(
    ground: Ground, end: str, append: str, moment: str, then: str
) -> None:
    with ground.run(end) as run:
        first = stopped_in(run, moment, append)
        before = Standing.of(run)

        second = run.live(command=("resume", "--all"), busy_s=BUSY_S)
        assert second.exit_code() == JOURNAL, second.story()
        said = " ".join(second.said().split())
        assert f"another process has held {run.journal} for {BUSY_S:g} s" in said
        assert "Nothing was written and nothing of this was sent." in said
        assert "Let it go on or end it, then run 'coordinator resume'." in said
        assert "Traceback" not in said
        assert Standing.of(run) == before
        assert unintended(run.scene(over=False)) == []

        if then == "continued":
            first.go_on()
            first.ended()
        else:
            first.kill()
        run.live(command=("resume", "--all"), busy_s=BUSY_S).ended()
        run.settle()
        assert run.verdict() == []
        expect_each_effect_from_one_transaction(run)


@pytest.mark.parametrize("then", ["continued", "killed"])
@pytest.mark.parametrize("moment", HOLDS_THE_LOCK)
def test_a_second_that_still_waits_goes_on_in_the_moment_in_which_the_first_does_or_dies(
    ground: Ground, moment: str, then: str
) -> None:
    with ground.run("committed") as run:
        first = stopped_in(run, moment, PAYS_TWICE)
        second = run.live()
        wait_until(lambda: begins_to_wait(second), what="a second that waits", timeout_s=60)
        before = Standing.of(run)
        if then == "continued":
            first.go_on()
            first.ended()
        else:
            first.kill()
        second.ended()
        run.settle()

        assert Standing.of(run).records[: len(before.records)] == before.records
        assert run.verdict() == [], second.story()
        expect_each_effect_from_one_transaction(run)
        if then == "continued":
            # It wanted the same record number; the fence made it fold again.
            assert any(line.startswith("lost append ") for line in second.passed())


def test_what_the_first_committed_and_told_no_second_place_the_second_tells_it_before_it_sends(
    ground: Ground,
) -> None:
    with ground.run("committed") as run:
        run.live(stop_at="before prepare lock.forward#1").died()
        gate = run.folder / "go"
        second = run.live(meet=gate)
        wait_until(second.is_ready, what="a second that has opened everything", timeout_s=60)
        first = stopped_in(run, "committed", PAYS_TWICE)
        gate.touch()
        second.ended()
        first.go_on()
        first.ended()
        run.settle()

        # Among it K11: what is sent again is known there.
        assert run.verdict() == []
        sent = [note for note in run.scene().sent if note["what"] == "move.forward"]
        assert {note["life"] for note in sent} >= {2}
        expect_each_effect_from_one_transaction(run)


# ---------------------------------------------------------------- negative controls


@pytest.mark.parametrize("moment", HOLDS_THE_LOCK)
def test_a_second_that_sends_what_it_could_not_write_is_caught(ground: Ground, moment: str) -> None:
    with ground.run("committed") as run:
        stopped_in(run, moment, PAYS_TWICE)
        before = Standing.of(run)
        run.live(
            engine="shrugs at a busy journal", busy_s=BUSY_S, timeout_s=BROKEN_S
        ).exit_code()  # fmt: skip

        # The coin was not claimed in any record that the second could read: it took one.
        assert any(line.startswith("K2 bitcoin") for line in unintended(run.scene(over=False)))
        assert Standing.of(run) != before


@pytest.mark.parametrize("moment", HOLDS_THE_LOCK)
def test_a_first_that_sends_before_its_commit_is_through_is_caught(
    ground: Ground, moment: str
) -> None:
    with ground.run("committed") as run:
        run.live(
            engine="sends first", stop_at=f"{moment} append {PAYS_TWICE}",
            by=signal.SIGSTOP,
        ).stopped()  # fmt: skip

        assert any(line.startswith("K2 bitcoin") for line in unintended(run.scene(over=False)))
