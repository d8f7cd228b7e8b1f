"""The reference scenario when a step waits for a block until the deadline has passed.

The host's clock is moved past it; the waiting transaction is then ended by a burn of its claim, or
lands all the same and is taken back.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest

from coordinator.journal.base import Record
from tests.e2e.network import (
    BITCOIN_STEP,
    VARIANTS,
    Coordinator,
    Cues,
    coordinator,
    eventually,
    expect_equal_but_for_fees,
    intents,
    settled,
    verify_rollback,
)
from tests.e2e.trouble import World

LATE_S = 3600
DEADLINE = {"kind": "deadline", "text": "deadline passed by the host's clock"}


def late(
    world: World,
    folder: Path,
    variant: str,
    cues: Cues,
    waits_on: str,
    afterwards: Callable[[Coordinator, str], Coroutine[Any, Any, None]] | None = None,
) -> list[Record]:
    """Run the plan; once a transaction waits on the chain, the deadline passes."""
    before = settled(world.devnet)

    async def story() -> tuple[list[Record], Mapping[str, int]]:
        async with coordinator(world.devnet, folder) as ours:
            saga = await ours.accept(variant)

            async def the_deadline_passes() -> None:
                await eventually(lambda: world.waiting(waits_on), what="something that waits")
                ours.clock.ahead_s = LATE_S
                if afterwards is not None:
                    await afterwards(ours, saga)

            state = await ours.drive(saga, cues, beside=the_deadline_passes())
            assert state.state == "rolled_back"
            return ours.records(saga), state.fees

    records, fees = asyncio.run(story())
    expect_equal_but_for_fees(before, settled(world.devnet), fees)
    return records


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_mint_that_waits_past_the_deadline_is_burnt_and_everything_is_taken_back(
    world: World, tmp_path: Path, variant: str
) -> None:
    records = late(
        world,
        tmp_path,
        variant,
        {
            ("intent", "lock", "forward"): lambda: world.hold_blocks("ethereum"),
            # From here on a block comes with each transaction: the burn is the next one.
            ("burn", "mint", "forward"): lambda: burn_first(world),
        },
        "ethereum",
    )

    effect, burn = intents(records, "mint")
    assert (effect.data["purpose"], burn.data["purpose"]) == ("effect", "burn")
    assert effect.data["claim"] == burn.data["claim"]
    failed = next(r for r in records if r.kind == "not_done")
    assert (failed.data["tx"], failed.data["reason"]) == (burn.data["tx"], "burnt")
    undone = ["lock"] if variant == "pay" else [BITCOIN_STEP[variant], "lock"]
    verify_rollback(world.devnet, records, undone=undone, cause=DEADLINE, ahead_s=LATE_S)


def burn_first(world: World) -> None:
    """The pool has lost the mint when blocks come again."""
    world.drop("ethereum")
    world.release_blocks("ethereum")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_mint_that_lands_after_the_decision_all_the_same_is_taken_back_first(
    world: World, tmp_path: Path, variant: str
) -> None:
    records = late(
        world,
        tmp_path,
        variant,
        {
            ("intent", "lock", "forward"): lambda: world.hold_blocks("ethereum"),
            ("burn", "mint", "forward"): lambda: world.release_blocks("ethereum"),
        },
        "ethereum",
    )

    effect = intents(records, "mint")[0]
    landed = next(r for r in records if r.kind == "done" and r.data["step"] == "mint")
    assert landed.data["tx"] == effect.data["tx"]
    others = ["lock"] if variant == "pay" else [BITCOIN_STEP[variant], "lock"]
    verify_rollback(world.devnet, records, undone=["mint", *others], cause=DEADLINE, ahead_s=LATE_S)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_bitcoin_step_that_waits_past_the_deadline_is_burnt_by_a_replacement(
    world: World, tmp_path: Path, variant: str
) -> None:
    step = BITCOIN_STEP[variant]

    async def blocks_come_with_the_burn(ours: Coordinator, saga: str) -> None:
        def burns() -> set[str]:
            found = intents(ours.records(saga), step)
            return {r.data["tx"] for r in found if r.data["purpose"] == "burn"}

        await eventually(lambda: burns() & set(world.waiting("bitcoin")), what="the burn")
        world.start_bitcoin()

    cues: Cues = {("intent", "lock", "forward"): world.stop_bitcoin}
    records = late(world, tmp_path, variant, cues, "bitcoin", blocks_come_with_the_burn)

    burn = next(r for r in intents(records, step) if r.data["purpose"] == "burn")
    failed = next(r for r in records if r.kind == "not_done")
    assert failed.data["tx"] == burn.data["tx"]
    assert failed.data["reason"].startswith("burnt")
    undone = ["mint", "lock"] if variant == "pay" else ["lock"]
    verify_rollback(world.devnet, records, undone=undone, cause=DEADLINE, ahead_s=LATE_S)
