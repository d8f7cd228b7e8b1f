"""The reference scenario when the mint on Ethereum reverts: its owner paused the token.

The pause comes after the plan was accepted; once before the mint's intent, where the repeated
preflight meets it, and once when the mint is signed and durable, where the chain does.
"""

import asyncio
from pathlib import Path

import pytest

from coordinator.journal.base import Record
from tests.e2e.network import (
    BITCOIN_STEP,
    VARIANTS,
    Moment,
    coordinator,
    expect_equal_but_for_fees,
    intents,
    settled,
    verify_rollback,
)
from tests.e2e.trouble import World


def undone_steps(variant: str) -> list[str]:
    """What was done before the mint, in reverse; a payment comes after it and never starts."""
    return ["lock"] if variant == "pay" else [BITCOIN_STEP[variant], "lock"]


def paused_when(world: World, folder: Path, variant: str, moment: Moment) -> list[Record]:
    """Run the plan, pause the token at the moment; the chains must be as they were."""
    before = settled(world.devnet)

    async def story() -> tuple[list[Record], dict[str, int]]:
        async with coordinator(world.devnet, folder) as ours:
            saga = await ours.accept(variant)
            state = await ours.drive(saga, {moment: lambda: world.pause("ethereum", "token")})
            assert state.state == "rolled_back"
            return ours.records(saga), dict(state.fees)

    records, fees = asyncio.run(story())
    expect_equal_but_for_fees(before, settled(world.devnet), fees)
    return records


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_pause_that_the_repeated_preflight_meets_rolls_back_before_anything_of_the_mint_is_sent(
    world: World, tmp_path: Path, variant: str
) -> None:
    records = paused_when(world, tmp_path, variant, ("intent", "lock", "forward"))

    assert {r.data["step"] for r in intents(records)} == set(undone_steps(variant))
    refused = next(r for r in records if r.kind == "refused")
    assert (refused.data["step"], refused.data["code"]) == ("mint", "refused")
    verify_rollback(
        world.devnet,
        records,
        undone=undone_steps(variant),
        cause={"kind": "refused", "step": "mint", "text": "paused"},
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_pause_that_only_the_chain_meets_rolls_back_and_the_mint_itself_is_not_undone(
    world: World, tmp_path: Path, variant: str
) -> None:
    records = paused_when(world, tmp_path, variant, ("intent", "mint", "forward"))

    (mint,) = intents(records, "mint")
    failed = next(r for r in records if r.kind == "not_done")
    assert (failed.data["step"], failed.data["tx"]) == ("mint", mint.data["tx"])
    receipt = world.devnet.rpc("ethereum", "eth_getTransactionReceipt", mint.data["tx"])
    assert receipt["status"] == "0x0"
    assert {r.data["step"] for r in intents(records)} == {"mint", *undone_steps(variant)}
    verify_rollback(
        world.devnet,
        records,
        undone=undone_steps(variant),
        cause={"kind": "failed", "step": "mint", "text": "paused"},
    )
