"""The reference scenario when the account that pays for gas on Ethereum runs dry.

Drained before the mint's intent, the repeated preflight refuses. Drained while the mint waits for a
block, the chain forgets it, and a person is told what to fund: before the deadline that lets it go
on; after it, another signer of the contract's group cancels the mint and nobody has to pay in.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from coordinator import service
from coordinator.devnet.ledger import Line, difference, evm_address
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

TREASURY = evm_address("treasury_evm")
RESCUE = evm_address("rescue_evm")


def before_the_mint(variant: str) -> list[str]:
    return ["lock"] if variant == "pay" else [BITCOIN_STEP[variant], "lock"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_account_drained_before_the_intent_is_refused_and_everything_is_taken_back(
    world: World, tmp_path: Path, variant: str
) -> None:
    before = settled(world.devnet)
    had_wei = before[Line("ethereum", "ETH", "treasury_evm")]

    async def story() -> tuple[list[Record], Mapping[str, int]]:
        async with coordinator(world.devnet, tmp_path) as ours:
            saga = await ours.accept(variant)
            state = await ours.drive(
                saga,
                {("intent", "lock", "forward"): lambda: world.set_balance("ethereum", TREASURY, 9)},
            )
            assert state.state == "rolled_back"
            return ours.records(saga), state.fees

    records, fees = asyncio.run(story())
    world.set_balance("ethereum", TREASURY, had_wei)

    refused = next(r for r in records if r.kind == "refused")
    assert (refused.data["step"], refused.data["code"]) == ("mint", "unfunded")
    assert not intents(records, "mint")
    expect_equal_but_for_fees(before, settled(world.devnet), fees)
    cause = {"kind": "refused", "step": "mint", "text": f"{TREASURY} lacks"}
    verify_rollback(
        world.devnet, records, undone=before_the_mint(variant), cause=cause, ahead_s=3600
    )


class Drought:
    """The treasury of Ethereum is emptied while its mint waits, and the node drops the mint."""

    def __init__(self, world: World, ours: Coordinator, saga: str) -> None:
        self.world, self.ours, self.saga = world, ours, saga
        self.had_wei = 0

    @property
    def cues(self) -> Cues:
        return {("intent", "lock", "forward"): lambda: self.world.hold_blocks("ethereum")}

    async def begin(self) -> Mapping[str, Any]:
        """Return the ``stuck`` record that names what is missing."""
        await eventually(lambda: self.world.waiting("ethereum"), what="the mint in the pool")
        self.had_wei = self.world.set_balance("ethereum", TREASURY, 0)
        self.world.drop("ethereum")
        self.world.release_blocks("ethereum")
        await eventually(
            lambda: self.ours.has(self.saga, "stuck"), what="the saga to ask for money"
        )
        return next(r.data for r in self.ours.records(self.saga) if r.kind == "stuck")


@pytest.mark.parametrize("variant", VARIANTS)
def test_funding_a_dry_account_before_the_deadline_lets_the_same_bytes_go_on_and_commits(
    world: World, tmp_path: Path, variant: str
) -> None:
    before = settled(world.devnet)
    stuck: dict[str, Any] = {}

    async def story() -> list[Record]:
        async with coordinator(world.devnet, tmp_path) as ours:
            saga = await ours.accept(variant)
            drought = Drought(world, ours, saga)

            async def fund_what_is_asked_for() -> None:
                stuck.update(await drought.begin())
                world.set_balance("ethereum", TREASURY, int(stuck["fund"][2]))
                await eventually(lambda: ours.has(saga, "decided"), what="the decision")
                # By a transaction: a balance that is written changes the state below the newest
                # block, which holds the mint or its confirm and of which a proof may be made now.
                world.give("ethereum", TREASURY, 10**18)

            state = await ours.drive(saga, drought.cues, beside=fund_what_is_asked_for())
            assert state.state == "committed"
            assert state.stuck is None
            return ours.records(saga)

    records = asyncio.run(story())

    address, asset, missing = stuck["fund"]
    assert (address, asset) == (TREASURY, "ETH")
    assert stuck["question"] == f"fund {TREASURY} with {missing} base units of ETH"
    (mint,) = [r for r in intents(records, "mint") if r.data["dir"] == "forward"]
    done = next(r for r in records if r.kind == "done" and r.data["step"] == "mint")
    assert done.data["tx"] == mint.data["tx"]
    minted = difference(before, settled(world.devnet))[Line("ethereum", "ALZ", "receiver")]
    assert minted == 100 * 10**18


def never_funded(world: World, folder: Path, variant: str, end: str) -> list[Record]:
    """Run into the drought; end it by the operator's ``rollback`` or by the ``deadline``."""
    before = settled(world.devnet)

    async def story() -> tuple[list[Record], Mapping[str, int], int]:
        async with coordinator(world.devnet, folder) as ours:
            saga = await ours.accept(variant)
            drought = Drought(world, ours, saga)

            async def give_up() -> None:
                await drought.begin()
                if end == "deadline":
                    ours.clock.ahead_s = 3600
                else:
                    await service.ask_rollback(
                        ours.journal, saga, by="operator", reason="no money today"
                    )

            state = await ours.drive(saga, drought.cues, beside=give_up())
            assert state.state == "rolled_back"
            return ours.records(saga), state.fees, drought.had_wei

    records, fees, had_wei = asyncio.run(story())
    assert world.set_balance("ethereum", TREASURY, had_wei) == 0
    expect_equal_but_for_fees(before, settled(world.devnet), fees)
    return records


@pytest.mark.parametrize("end", ["rollback", "deadline"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_without_funding_another_signer_cancels_the_mint_and_everything_is_taken_back(
    world: World, tmp_path: Path, variant: str, end: str
) -> None:
    records = never_funded(world, tmp_path, variant, end)

    tombstone = next(r for r in intents(records, "mint") if r.data["purpose"] == "tombstone")
    assert tombstone.data["claim"][0][0] == RESCUE
    failed = next(r for r in records if r.kind == "not_done")
    assert failed.data["step"] == "mint"
    assert failed.data["reason"].startswith("tombstone")
    assert failed.data["claim_open"]
    cause = {"kind": "operator" if end == "rollback" else "deadline"}
    verify_rollback(
        world.devnet, records, undone=before_the_mint(variant), cause=cause, ahead_s=3600
    )
