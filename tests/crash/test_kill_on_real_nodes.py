"""kill -9 of the real process at every named point, on real nodes; then resume; then the judge.

A run that nobody disturbs lists the points (see `kill_points`); they are then killed one by one.
What the engine believes is never asked: `chain_judge` reads blocks and the journal's raw bytes.
"""

from __future__ import annotations

import os
import random
import shlex
import zlib
from typing import TYPE_CHECKING

import pytest

from tests.crash.ground import ENDS, Crashed, Ground, crash, points_of, tell

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(400)

#: The points are shared out, so that workers can take a part each.
PARTS = 2
#: How many crashes are followed by a second one, for each end.
PAIRS = 4
#: A resuming process passes at least this many points after a kill in the first three quarters.
SECOND_AT_MOST = 4
#: How many of the points that both ends have each part of a success is killed at; CRASH_ALL=1: all.
SHARED = 2
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


def judged(ground: Ground, end: str, point: str, then: int | None = None) -> list[str]:
    """Crash once or twice; return what is wrong, with the command that shows it again."""
    try:
        wrong = crash(ground, end, point, then=then).wrong
    except AssertionError as error:
        wrong = (str(error),)
    return [f"{line}\n    {replay(end, point, then)}" for line in wrong]


def chosen(points: list[str], end: str, dice: random.Random) -> list[str]:
    """All points of a rollback; of a success those that only it has, and some of the others.

    Up to the failing mint both ways are the same: there a rollback is killed at every point.
    """
    if end == "rolled_back" or os.environ.get("CRASH_ALL"):
        return points
    shared = [point for point in points if ".forward" in point]
    some = dice.sample(shared, SHARED)
    return [point for point in points if point not in shared or point in some]


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("end", ENDS)
def test_killed_at_any_named_point_and_resumed_it_ends_right_with_every_effect_once(
    ground: Ground, end: str, part: int
) -> None:
    seed = seed_of_this_run()
    every = points_of(ground, end)
    expect_forward_points(every)
    # By the name: another part has its own list, which milliseconds may have put in another order.
    mine = [point for point in every if zlib.crc32(point.encode()) % PARTS == part]
    points = chosen(mine, end, random.Random(seed))

    wrong = [line for point in points for line in judged(ground, end, point)]

    killed = f"part {part + 1} of {PARTS}: {len(points)} of {len(every)} points, each killed once"
    tell(f"CRASH_SEED={seed}: a saga {end}, {killed}", points)
    assert not wrong, "\n".join([f"CRASH_SEED={seed}", *wrong])


def expect_forward_points(points: list[str]) -> None:
    """The list is not empty by some mistake: what nobody can leave out is in it, once."""
    assert len(points) == len(set(points))
    for step in ("lock", "move", "mint"):
        for call in ("prepare ", "append intent:", "submit "):
            for side in ("before", "after"):
                assert f"{side} {call}{step}.forward#1" in points


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

    wrong = [line for point, then in pairs for line in judged(ground, end, point, then)]

    assert not wrong, "\n".join([f"CRASH_SEED={seed}", *wrong])


# ---------------------------------------------------------------- negative controls


def rules(crashed: Crashed) -> set[str]:
    """The numbers of the rules that were broken in the end."""
    return {line[:2] for line in crashed.wrong if not line.startswith("at the death")}


@pytest.mark.parametrize("step", ["lock", "move"])
def test_an_engine_that_sends_before_the_intent_is_durable_is_caught(
    ground: Ground, step: str
) -> None:
    crashed = crash(
        ground, "committed", f"before append intent:{step}.forward#1",
        first="sends first", timeout_s=BROKEN_S,
    )  # fmt: skip

    assert any(line.startswith("at the death: K2") for line in crashed.wrong)
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


def test_an_engine_that_undoes_in_the_order_of_the_plan_is_caught(ground: Ground) -> None:
    with ground.run("rolled_back") as run:
        run.live(engine="undoes in plan order").exit_code()
        run.settle()

        assert any(line.startswith("K6") for line in run.verdict())
