"""The reference scenario where finality takes time: blocks by the clock, two confirmations.

At the moment of each intent the nodes are asked whether what it waits for is final already.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coordinator.devnet.network import Devnet, DevnetOptions, running
from coordinator.journal.base import Record
from tests.e2e.network import (
    Coordinator,
    Cues,
    coordinator,
    expect_equal_but_for_fees,
    is_final,
    settled,
    verify_rollback,
)
from tests.e2e.trouble import World

CHAINS = {"lock": "polygon", "move": "bitcoin", "mint": "ethereum"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    options = DevnetOptions(evm_block_s=1, bitcoin_block_s=1, confirmations=2)
    with running(tmp_path_factory.mktemp("slow") / "devnet", options) as devnet:
        yield World(devnet)


def transactions(ours: Coordinator, saga: str, direction: str) -> dict[str, str]:
    """The newest transaction of each step in one direction."""
    return {
        record.data["step"]: record.data["tx"]
        for record in ours.records(saga)
        if record.kind == "intent" and record.data["dir"] == direction
    }


def depth_check(
    devnet: Devnet, ours: Coordinator, saga: str, direction: str, steps: list[str]
) -> Callable[[], None]:
    """Return a cue that asks the nodes whether these effects are final."""

    def check() -> None:
        sent = transactions(ours, saga, direction)
        for step in steps:
            assert is_final(devnet, CHAINS[step], sent[step]), f"{direction} {step} is not final"

    return check


def test_nothing_is_confirmed_before_every_effect_is_final(world: World, tmp_path: Path) -> None:
    async def story() -> None:
        async with coordinator(world.devnet, tmp_path) as ours:
            saga = await ours.accept("transfer")
            check = depth_check(world.devnet, ours, saga, "forward", ["lock", "move", "mint"])
            cues: Cues = {
                ("intent", "lock", "confirm"): check,
                ("intent", "mint", "confirm"): check,
            }
            assert (await ours.drive(saga, cues)).state == "committed"

    asyncio.run(story())


def test_no_undo_is_prepared_before_the_one_after_it_is_final(world: World, tmp_path: Path) -> None:
    before = settled(world.devnet)

    async def story() -> tuple[list[Record], dict[str, int]]:
        async with coordinator(world.devnet, tmp_path) as ours:
            saga = await ours.accept("transfer")
            cues: Cues = {
                ("intent", "move", "forward"): lambda: world.pause("ethereum", "token"),
                ("intent", "move", "undo"): depth_check(
                    world.devnet, ours, saga, "forward", ["move"]
                ),
                ("intent", "lock", "undo"): depth_check(world.devnet, ours, saga, "undo", ["move"]),
                ("closed", None, None): depth_check(
                    world.devnet, ours, saga, "undo", ["move", "lock"]
                ),
            }
            state = await ours.drive(saga, cues)
            assert state.state == "rolled_back"
            return ours.records(saga), dict(state.fees)

    records, fees = asyncio.run(story())
    world.unpause("ethereum", "token")

    expect_equal_but_for_fees(before, settled(world.devnet), fees)
    cause = {"kind": "refused", "step": "mint", "text": "paused"}
    verify_rollback(world.devnet, records, undone=["move", "lock"], cause=cause)
