"""``resolve --burn``: what waits for a block never lands, and everything before it is undone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adapters.devnode.rpc import NodeRefused
from tests.e2e.network import expect_equal_but_for_fees, intents, settled, verify_rollback
from tests.e2e.terminal import PATIENCE_S
from tests.waiting import wait_until

if TYPE_CHECKING:
    from coordinator.journal.base import Record
    from tests.e2e.terminal import Terminal
    from tests.e2e.trouble import World

pytestmark = pytest.mark.timeout(300)

WHO = ("--by", "ada", "--reason", "wrong amount")
PATIENT = {"deadline_s = 60": "deadline_s = 600"}


def burn_in_the_pool(world: World, terminal: Terminal, saga: str, step: str, chain: str) -> str:
    """Give the verdict and wait until nothing but the burn waits for a block; return its id."""
    terminal.run("resolve", saga, step, "--burn", *WHO)

    def burn() -> str | None:
        found = [r for r in intents(terminal.records(saga), step) if r.data["purpose"] == "burn"]
        return found[0].data["tx"] if found else None

    tx = wait_until(burn, what="the burn's intent", timeout_s=PATIENCE_S)
    wait_until(
        lambda: world.waiting(chain) == [tx], what="the burn in the pool", timeout_s=PATIENCE_S
    )
    return tx


def fees_of(records: list[Record]) -> dict[str, int]:
    return {asset: int(fee) for asset, fee in records[-1].data["fees"].items()}


def test_a_pending_mint_is_burnt_on_chain_and_the_saga_rolls_back(
    world: World, terminal: Terminal
) -> None:
    before = settled(world.devnet)
    world.hold_blocks("ethereum")
    call = terminal.start("run", terminal.plan(changes=PATIENT), "--execute")
    saga = terminal.awaits("intent", "mint")
    wait_until(lambda: world.waiting("ethereum"), what="the mint in the pool")
    burn = burn_in_the_pool(world, terminal, saga, "mint", "ethereum")
    world.release_blocks("ethereum")
    call.ended(10)

    records = terminal.records(saga)
    effect = intents(records, "mint")[0]
    assert world.devnet.rpc("ethereum", "eth_getTransactionReceipt", effect.data["tx"]) is None
    mined = world.devnet.rpc("ethereum", "eth_getTransactionByHash", burn)
    assert (mined["from"], mined["value"], mined["input"]) == (mined["to"], "0x0", "0x")
    assert [mined["from"].lower(), int(mined["nonce"], 16)] == [
        effect.data["claim"][0][0].lower(), effect.data["claim"][0][1],
    ]  # fmt: skip
    expect_equal_but_for_fees(before, settled(world.devnet), fees_of(records))
    cause = {"kind": "operator", "step": "mint", "text": "ada: wrong amount"}
    verify_rollback(world.devnet, records, undone=["move", "lock"], cause=cause)
    assert "burn of mint forward by ada: wrong amount" in terminal.run("show", saga).out


def test_a_pending_bitcoin_transfer_is_burnt_by_its_own_coins_and_the_saga_rolls_back(
    world: World, terminal: Terminal
) -> None:
    before = settled(world.devnet)
    world.stop_bitcoin()
    call = terminal.start("run", terminal.plan(changes=PATIENT), "--execute")
    saga = terminal.awaits("intent", "move")
    wait_until(lambda: world.waiting("bitcoin"), what="the transfer in the mempool")
    burn = burn_in_the_pool(world, terminal, saga, "move", "bitcoin")
    world.start_bitcoin()
    call.ended(10)

    records = terminal.records(saga)
    effect = intents(records, "move")[0]
    with pytest.raises(NodeRefused):
        world.devnet.rpc("bitcoin", "getrawtransaction", effect.data["tx"], 1)
    spent = world.devnet.rpc("bitcoin", "getrawtransaction", burn, 1)["vin"]
    assert {f"{item['txid']}:{item['vout']}" for item in spent} == {
        outpoint for outpoint, _ in effect.data["claim"]
    }
    expect_equal_but_for_fees(before, settled(world.devnet), fees_of(records))
    cause = {"kind": "operator", "step": "move", "text": "ada: wrong amount"}
    verify_rollback(world.devnet, records, undone=["lock"], cause=cause)


def test_a_burn_is_refused_where_nothing_waits_for_a_block(
    world: World, terminal: Terminal
) -> None:
    world.hold_blocks("ethereum")
    saga = terminal.leave_at("mint", terminal.plan(changes=PATIENT))
    count = len(terminal.records(saga))

    refused = terminal.run("resolve", saga, "lock", "--burn", *WHO, code=11)
    assert "nothing of it waits" in refused.err
    assert "coordinator rollback" in refused.err
    assert len(terminal.records(saga)) == count
    world.release_blocks("ethereum")
    terminal.run("resume", saga)
    assert "committed" in terminal.run("resolve", saga, "mint", "--burn", *WHO, code=11).err
