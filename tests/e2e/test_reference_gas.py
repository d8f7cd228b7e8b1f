"""The reference scenario when a gas limit, right when the plan was accepted, is too low later.

A slot of the token's storage becomes zero, and writing it costs 20,000 gas more than before; in
real life the other operations of a contract do that. The operator's limit has no room for it.
"""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from coordinator.devnet.ledger import evm_address
from coordinator.journal.base import Record
from tests.contracts.slots import PENDING_SUPPLY, USED, mapping_slot
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

#: What a mint needs while its sender group has a history and none is pending: about 106,500.
LIMIT_GAS = 115_000
TIGHT = {
    '[chain.ethereum]\nkind = "evm"\n': f'[chain.ethereum]\nkind = "evm"\n'
    f"gas = {{ mint = {LIMIT_GAS} }}\n"
}
SLOT = mapping_slot(USED, evm_address("treasury_evm"))


@pytest.fixture
def dearer(world: World) -> Iterator[World]:
    """The group has a history on the token, and no credit is open; afterwards all is put back.

    A credit that another test left open would make each mint cheaper than what this limit is for.
    """
    had = {slot: world.set_slot("ethereum", "token", slot, 0) for slot in (PENDING_SUPPLY, SLOT)}
    world.set_slot("ethereum", "token", SLOT, 1)
    yield world
    for slot, value in had.items():
        world.set_slot("ethereum", "token", slot, value)


def raised_when(world: World, folder: Path, variant: str, moment: Moment) -> list[Record]:
    before = settled(world.devnet)

    async def story() -> tuple[list[Record], Mapping[str, int]]:
        async with coordinator(world.devnet, folder, TIGHT) as ours:
            saga = await ours.accept(variant)
            cue = {moment: lambda: world.set_slot("ethereum", "token", SLOT, 0)}
            state = await ours.drive(saga, cue)
            assert state.state == "rolled_back"
            return ours.records(saga), state.fees

    records, fees = asyncio.run(story())
    expect_equal_but_for_fees(before, settled(world.devnet), fees)
    return records


def undone_steps(variant: str) -> list[str]:
    return ["lock"] if variant == "pay" else [BITCOIN_STEP[variant], "lock"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_gas_limit_that_became_too_low_is_seen_by_the_repeated_preflight(
    dearer: World, tmp_path: Path, variant: str
) -> None:
    records = raised_when(dearer, tmp_path, variant, ("intent", "lock", "forward"))

    assert not intents(records, "mint")
    cause = {"kind": "refused", "step": "mint", "text": "gas"}
    verify_rollback(dearer.devnet, records, undone=undone_steps(variant), cause=cause)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_gas_limit_that_became_too_low_on_the_way_reverts_with_all_gas_used(
    dearer: World, tmp_path: Path, variant: str
) -> None:
    records = raised_when(dearer, tmp_path, variant, ("intent", "mint", "forward"))

    (mint,) = intents(records, "mint")
    receipt = dearer.devnet.rpc("ethereum", "eth_getTransactionReceipt", mint.data["tx"])
    assert (receipt["status"], int(receipt["gasUsed"], 16)) == ("0x0", LIMIT_GAS)
    cause = {"kind": "failed", "step": "mint", "text": "out of gas"}
    verify_rollback(dearer.devnet, records, undone=undone_steps(variant), cause=cause)
