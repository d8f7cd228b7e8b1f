"""The reference scenario when the coordinator is killed (kill -9) in the middle, and resumed.

`tests/crash` does it at every point of one variant; here each is killed where it hurts most.
"""

import asyncio
import signal
from pathlib import Path

import pytest

from coordinator.devnet.ledger import Line, difference
from coordinator.journal.base import Record
from tests.e2e.child import in_a_child
from tests.e2e.network import (
    Cues,
    coordinator,
    expect_equal_but_for_fees,
    intents,
    settled,
    verify_rollback,
)
from tests.e2e.points import Points, die_at
from tests.e2e.trouble import World

KEY = "killed"
ALZ = 100 * 10**18
COMMITTING = [
    ("hold", "after record intent hold forward"),
    ("hold", "after send hold forward"),
    ("hold", "before record reveal hold"),
    ("hold", "after record reveal hold"),
    ("hold", "after send mint confirm"),
    ("transfer", "after record intent move forward"),
    ("transfer", "after send move forward"),
    ("pay", "after record intent pay forward"),
    ("pay", "after send pay forward"),
    ("pay", "before record decided"),
]
UNDOING = [
    ("hold", ["hold", "lock"], "after send mint forward"),
    ("hold", ["hold", "lock"], "after record decided"),
    ("hold", ["hold", "lock"], "after record intent hold undo"),
    ("hold", ["hold", "lock"], "after send hold undo"),
    ("transfer", ["move", "lock"], "after send move undo"),
    ("pay", ["lock"], "after send lock undo"),
]


async def take_up(
    world: World, folder: Path, variant: str, *, fail: bool, points: Points | None = None
) -> list[Record]:
    """Start the plan or go on with it, as the same command does when it is given again."""
    async with coordinator(world.devnet, folder) as ours:
        watched = ours if points is None else points.wrap(ours)
        row = ours.journal.saga_of_key(KEY)
        saga = row.saga if row is not None else await watched.accept(variant, key=KEY)
        if intents(ours.records(saga), "mint") or not fail:
            await watched.drive(saga)
        else:
            cue: Cues = {("intent", "mint", "forward"): lambda: world.pause("ethereum", "token")}
            await watched.drive(saga, cue)
        return ours.records(saga)


def killed_and_resumed(
    world: World, folder: Path, variant: str, point: str, *, fail: bool
) -> list[Record]:
    points = Points(die_at(point))
    ended_by = in_a_child(
        lambda: asyncio.run(take_up(world, folder, variant, fail=fail, points=points))
    )
    assert ended_by == signal.SIGKILL, "the point never came"
    return asyncio.run(take_up(world, folder, variant, fail=fail))


@pytest.mark.parametrize(("variant", "point"), COMMITTING)
def test_a_coordinator_killed_on_its_way_forward_commits_when_it_is_resumed(
    world: World, tmp_path: Path, variant: str, point: str
) -> None:
    before = settled(world.devnet)

    records = killed_and_resumed(world, tmp_path, variant, point, fail=False)

    assert records[-1].data["state"] == "committed"
    moved = difference(before, settled(world.devnet))
    fees = {asset: int(fee) for asset, fee in records[-1].data["fees"].items()}
    assert moved[Line("polygon", "ALZ", "reserve")] == ALZ
    assert moved[Line("ethereum", "ALZ", "supply")] == ALZ
    assert moved[Line("bitcoin", "BTC", "treasury_btc")] == -1_500_000 - fees["BTC"]
    assert moved[Line("polygon", "POL", "treasury_evm")] == -fees["POL"]
    assert moved[Line("ethereum", "ETH", "treasury_evm")] == -fees["ETH"]


@pytest.mark.parametrize(("variant", "undone", "point"), UNDOING)
def test_a_coordinator_killed_in_a_failure_takes_everything_back_when_it_is_resumed(
    world: World, tmp_path: Path, variant: str, undone: list[str], point: str
) -> None:
    before = settled(world.devnet)

    records = killed_and_resumed(world, tmp_path, variant, point, fail=True)

    fees = {asset: int(fee) for asset, fee in records[-1].data["fees"].items()}
    expect_equal_but_for_fees(before, settled(world.devnet), fees)
    cause = {"kind": "failed", "step": "mint"}
    verify_rollback(world.devnet, records, undone=undone, cause=cause)
