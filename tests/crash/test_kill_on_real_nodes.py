"""kill -9 of the real process at every named point, on real nodes; then resume; then the judge.

A run that nobody disturbs lists the points (see `watching`); they are then killed one by one. What
the engine believes is never asked: `chain_judge` reads blocks and the journal's raw bytes.

Every point of every end is killed once. Of the moments inside a commit it is a sample, for they
are not named but counted; CRASH_ALL=1 is all of them.
"""

from __future__ import annotations

import os
import random
import shlex
import zlib
from typing import TYPE_CHECKING

import pytest

from tests.crash.ends import ENDS
from tests.crash.evidence import Journal
from tests.crash.ground import Crashed, Ground, crash, inside_commits, points_of, tell
from tests.crash.preimages import exposed
from tests.reliability.notes import broken_rules, note

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: All points of an end, or a hundred of its pairs, are some minutes.
pytestmark = pytest.mark.timeout(4 * 3600 if "CRASH_ALL" in os.environ else 400)

#: The points are shared out, so that workers can take a part each.
PARTS = 2
#: How many crashes are followed by a second one, for each end.
PAIRS = int(os.environ.get("CRASH_PAIRS", "4"))
#: A resuming process passes at least this many points after a kill in the first three quarters.
SECOND_AT_MOST = 4
#: At how many moments inside a commit each end is killed.
SAMPLE = 2
#: A broken engine may wait for ever.
BROKEN_S = 3.0


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with Ground.open(tmp_path_factory.mktemp("crash")) as ground:
        yield ground


def seed_of_this_run() -> int:
    """``CRASH_SEED`` plays a former run's choices again."""
    return int(os.environ.get("CRASH_SEED") or random.randrange(2**32))


def replay(end: str, point: str, then: int | None = None) -> str:
    """The command that does it again."""
    more = [] if then is None else ["--then", str(then)]
    return shlex.join(["python", "-m", "tests.crash", end, point, *more])


def judged(
    ground: Ground, end: str, point: str, then: int | None = None, *, suite: str
) -> tuple[int, list[str]]:
    """Crash once or twice; return how many kills that were, and what is wrong, with the command
    that shows it again.
    """
    kills = 1 if then is None else 2
    try:
        wrong = crash(ground, end, point, then=then).wrong
    except AssertionError as error:
        wrong, kills = (str(error),), 0
    side, call, names = point.split(" ", 2)
    kind = names.partition(":")[0].partition("#")[0] if call == "append" else ""
    note(
        "crash", f"kill -9 {side}", fired=kills, bad=bool(wrong), runs=1, suite=suite, end=end,
        point=f"{call} {kind}".strip(), name=point, rules=broken_rules(wrong),
    )  # fmt: skip
    return kills, [f"{line}\n    {replay(end, point, then)}" for line in wrong]


def chosen(points: list[str], dice: random.Random) -> list[str]:
    """Return a sample, in the order of the points."""
    if os.environ.get("CRASH_ALL"):
        return points
    some = dice.sample(points, min(SAMPLE, len(points)))
    return [point for point in points if point in some]


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("end", ENDS)
def test_killed_at_any_named_point_and_resumed_it_ends_right_with_every_effect_once(
    ground: Ground, end: str, part: int
) -> None:
    every = points_of(ground, end)
    expect_forward_points(every, ENDS[end].steps)
    # By the name: another part has its own list, which milliseconds may have put in another order.
    points = [point for point in every if zlib.crc32(point.encode()) % PARTS == part]

    done = [judged(ground, end, point, suite="points") for point in points]

    killed = sum(kills for kills, _ in done)
    wrong = [line for _, lines in done for line in lines]
    note(
        "crash", "points that have a name", fired=killed, bad=0, runs=0, suite="named",
        end=end, listed=len(points), part=part,
    )  # fmt: skip
    share = f"{killed} of {len(every)} points, each killed once"
    tell(f"a saga {end}, part {part + 1} of {PARTS}: {share}", points)
    assert not wrong, "\n".join(wrong)


def expect_forward_points(points: Sequence[str], steps: Sequence[str]) -> None:
    """The list is not empty by some mistake: what nobody can leave out is in it, once."""
    assert len(points) == len(set(points))
    for step in steps:
        for call in ("prepare ", "append intent:", "submit "):
            for side in ("before", "after"):
                assert f"{side} {call}{step}.forward#1" in points


@pytest.mark.parametrize("end", ENDS)
def test_killed_in_the_middle_of_a_commit_it_ends_right_whether_or_not_that_is_durable(
    ground: Ground, end: str
) -> None:
    seed = seed_of_this_run()
    inside = inside_commits(points_of(ground, end))
    points = chosen(inside, random.Random(seed))

    done = [judged(ground, end, point, suite="inside commits") for point in points]

    wrong = [line for _, lines in done for line in lines]
    tell(f"CRASH_SEED={seed}: {end}, {len(points)} of {len(inside)} inside a commit", points)
    assert not wrong, "\n".join([f"CRASH_SEED={seed}", *wrong])


@pytest.mark.parametrize("end", ENDS)
def test_killed_again_while_it_recovers_it_still_ends_right(ground: Ground, end: str) -> None:
    seed = seed_of_this_run()
    dice = random.Random(seed)
    points = points_of(ground, end)
    pairs = [
        (dice.choice(points[: len(points) * 3 // 4]), dice.randint(1, SECOND_AT_MOST))
        for _ in range(PAIRS)
    ]
    tell(
        f"CRASH_SEED={seed}: {end}, killed at a point, then at the n-th of the recovery",
        [f"{point}, then {then}" for point, then in pairs],
    )

    done = [judged(ground, end, point, then, suite="twice") for point, then in pairs]

    wrong = [line for _, lines in done for line in lines]
    assert not wrong, "\n".join([f"CRASH_SEED={seed}", *wrong])


def test_the_search_for_preimages_finds_them_where_they_are_after_a_redemption(
    ground: Ground,
) -> None:
    with ground.run("hold_committed") as run:
        run.live(stop_at="before append decided#1").died()
        assert list(exposed(run.scene(over=False))) == []
        run.live().ended()
        run.settle()
        places = list(exposed(run.scene()))

        assert run.verdict() == []
        saga = Journal.read(run.journal).records()[0]["data"]["saga"]
        delivered = f"recovery/preimages/{saga}.hold.json has the preimage of hold"
        with_a_node = [place for place in places if place.startswith("bitcoin has")]
        # The proof of the redemption shows what the payee's transaction made public.
        proof = {f"journal/journal.db{log} has the preimage of hold" for log in ("", "-wal")}
        rest = set(places) - set(with_a_node)
        assert len(with_a_node) == 1
        assert delivered in rest
        assert rest - {delivered} <= proof
        assert rest & proof


# ---------------------------------------------------------------- negative controls


def rules(crashed: Crashed) -> set[str]:
    """The numbers of the rules that were broken in the end."""
    return {line.split(" ")[0] for line in crashed.wrong if not line.startswith("at the death")}


@pytest.mark.parametrize("step", ["lock", "move"])
def test_an_engine_that_sends_before_the_intent_is_durable_is_caught(
    ground: Ground, step: str
) -> None:
    crashed = crash(
        ground, "committed", f"before append intent:{step}.forward#1",
        first="sends first", timeout_s=BROKEN_S,
    )  # fmt: skip

    assert any(line.startswith("at the death: K2 ") for line in crashed.wrong)
    # The coin moves twice; the vault's operation is there once, unknown to the journal.
    assert rules(crashed) >= ({"K1", "K2", "K4"} if step == "move" else {"K2", "K5"})


def test_an_engine_that_takes_a_new_coin_on_resume_is_caught(ground: Ground) -> None:
    crashed = crash(
        ground, "committed", "after submit move.forward#1",
        second="claims anew", timeout_s=BROKEN_S,
    )  # fmt: skip

    assert rules(crashed) >= {"K1", "K3", "K4"}


def test_an_engine_that_takes_a_new_nonce_on_resume_is_caught(ground: Ground) -> None:
    crashed = crash(
        ground, "committed", "before submit lock.forward#1",
        second="claims anew", timeout_s=BROKEN_S,
    )  # fmt: skip

    assert "K3" in rules(crashed)


@pytest.mark.parametrize("engine", ["stores preimages", "takes preimages out"])
def test_an_engine_that_lets_a_preimage_out_before_the_decision_is_caught(
    ground: Ground, engine: str
) -> None:
    crashed = crash(
        ground, "hold_committed", "after submit hold.forward#1",
        first=engine, timeout_s=BROKEN_S,
    )  # fmt: skip

    assert any(line.startswith("at the death: K10 ") for line in crashed.wrong)


def test_an_engine_that_undoes_in_the_order_of_the_plan_is_caught(ground: Ground) -> None:
    with ground.run("rolled_back") as run:
        run.live(engine="undoes in plan order").exit_code()
        run.settle()

        assert "K6" in broken_rules(run.verdict())
