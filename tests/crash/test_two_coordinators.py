"""Two coordinators on one journal: real processes, paused, continued and killed; one outcome."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.crash.evidence import Journal
from tests.crash.ground import Ground, tell
from tests.crash.two_coordinators import PATIENT, Standing, commands, no_bitcoin_blocks, stop
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(240)

#: The patience of a process goes on while it is stopped, and another one drives the saga.
PAUSED_S = 120.0

#: Ends of the transfer plan.
ENDS = ("committed", "rolled_back")
RACES = 2
NOBODY = "no saga is waiting for a driver"


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with Ground.open(tmp_path_factory.mktemp("two")) as ground:
        yield ground


@pytest.fixture
def ends() -> Iterator[ExitStack]:
    with ExitStack() as ends:
        yield ends


@pytest.mark.parametrize("end", ENDS)
def test_two_that_drive_one_saga_at_once_have_one_outcome_and_each_effect_once(
    ground: Ground, end: str
) -> None:
    lost = []
    for _ in range(RACES):
        with ground.run(end) as run:
            run.live(stop_at="before prepare lock.forward#1").died()
            gate = run.folder / "go"
            racers = [run.live(meet=gate) for _ in range(2)]
            gate.touch()
            for racer in racers:
                racer.ended()
                lost += [line for line in racer.passed() if line.startswith("lost")]
            run.settle()
            assert run.verdict() == [], "\n".join(racer.story() for racer in racers)

    tell(f"{end}: {len(lost)} appends lost to the other in {RACES} races", lost)
    # Else they never met, and this shows nothing.
    assert lost


@pytest.mark.parametrize("end", ENDS)
def test_two_commands_resume_everything_at_once_and_one_outcome_comes_of_it(
    ground: Ground, ends: ExitStack, end: str
) -> None:
    with ground.run(end) as run:
        # The mint is signed and the token paused, where it is to be.
        run.live(stop_at="after append intent:mint.forward#1").died()
        terminal = commands(run, ends)
        both = [terminal.start("resume", "--all") for _ in range(2)]
        for call in both:
            call.ended(0)
        run.settle()

        assert run.verdict() == []
        assert any(end.upper() in call.out.upper() for call in both)
        terminal.run("audit", "verify")


@pytest.mark.parametrize(
    ("end", "effort"),
    [("committed", "move.forward"), ("committed", "mint.confirm"), ("rolled_back", "move.undo")],
)
def test_one_that_is_paused_before_it_sends_wakes_to_a_finished_saga_and_sends_stored_bytes_at_most(
    ground: Ground, ends: ExitStack, end: str, effort: str
) -> None:
    with ground.run(end) as run:
        paused = run.live(
            stop_at=f"before submit {effort}#1", by=signal.SIGSTOP, timeout_s=PAUSED_S
        )
        paused.stopped()
        commands(run, ends).run("resume", "--all")
        before = Standing.of(run)
        woken_at = len(paused.passed())
        paused.go_on()
        paused.ended()

        # It sends what is durable once more, the chains take none of it, and it adds no record.
        woken = paused.passed()[woken_at:]
        assert f"after submit {effort}#1" in woken
        assert [line for line in woken if line.startswith("after append")] == []
        assert Standing.of(run) == before
        assert run.verdict() == []


@pytest.mark.parametrize("step", ["lock", "move"])
def test_one_that_is_paused_with_an_intent_in_its_hands_loses_it_and_never_sends_it(
    ground: Ground, ends: ExitStack, step: str
) -> None:
    with ground.run("committed") as run:
        paused = run.live(
            stop_at=f"before append intent:{step}.forward#1", by=signal.SIGSTOP, timeout_s=PAUSED_S
        )
        paused.stopped()
        commands(run, ends).run("resume", "--all")
        before = Standing.of(run)
        woken_at = len(paused.passed())
        paused.go_on()
        paused.ended()

        # Its view of the chains is older than the records it folds again; it denies none of them.
        assert paused.passed()[woken_at:] == [f"lost append intent:{step}.forward"]
        assert Standing.of(run) == before
        assert run.verdict() == []


def test_a_paused_command_keeps_its_saga_until_it_is_killed(
    ground: Ground, ends: ExitStack
) -> None:
    with ground.run("committed") as run:
        terminal = commands(run, ends)
        with no_bitcoin_blocks(run.devnet):
            first = terminal.start("run", terminal.plan(changes=PATIENT), "--execute")
            terminal.awaits("intent", "move")
            stop(first)
            before = Journal.read(run.journal).bodies
            assert NOBODY in (second := terminal.run("resume", "--all")).out + second.err
            assert Journal.read(run.journal).bodies == before
            first.signal(signal.SIGKILL).ended(-signal.SIGKILL)
        terminal.run("resume", "--all")
        run.settle()

        assert run.verdict() == []


def test_a_service_that_is_told_to_end_leaves_in_order_and_everything_can_be_resumed(
    ground: Ground, ends: ExitStack
) -> None:
    with ground.run("committed") as run:
        terminal = commands(run, ends)
        with no_bitcoin_blocks(run.devnet):
            first = terminal.start("run", terminal.plan(changes=PATIENT), "--execute")
            saga = terminal.awaits("intent", "move")
            first.signal(signal.SIGKILL).ended(-signal.SIGKILL)
            service = terminal.start("resume", "--all", "--follow")
            wait_until(lambda: "taken_over" in terminal.kinds(saga), what="a driver", timeout_s=60)
            service.signal(signal.SIGTERM).ended(0)
            assert [(row.state, row.driver) for row in terminal.rows()] == [("running", None)]
        terminal.run("resume", "--all")
        run.settle()

        assert run.verdict() == []
