"""``resolve --cap``: a forward that no block takes is replaced under its own claim, and lands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from coordinator.devnet.ledger import Line, difference
from tests.e2e.network import intents, is_final, settled
from tests.e2e.terminal import PATIENCE_S
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.e2e.terminal import Terminal
    from tests.e2e.trouble import World

pytestmark = pytest.mark.timeout(300)

WHO = ("--by", "ada", "--reason", "blocks are dear tonight")
PATIENT = {"deadline_s = 60": "deadline_s = 600"}


def test_a_mint_below_the_price_of_blocks_is_replaced_and_commits(
    world: World, terminal: Terminal
) -> None:
    before = settled(world.devnet)
    world.hold_blocks("ethereum")
    call = terminal.start("run", terminal.plan(changes=PATIENT), "--execute")
    saga = terminal.awaits("intent", "mint")
    (first,) = wait_until(lambda: world.waiting("ethereum"), what="the mint in the pool")
    world.raise_base_fee("ethereum", 200)
    world.release_blocks("ethereum")
    assert world.devnet.rpc("ethereum", "eth_getTransactionReceipt", first) is None

    assert (
        "--cap 90% is no more"
        in terminal.run("resolve", saga, "mint", "--cap", "90", *WHO, code=3).err
    )
    terminal.run("resolve", saga, "mint", "--cap", "400", *WHO)
    call.ended(0)

    old, new = [r for r in intents(terminal.records(saga), "mint") if r.data["dir"] == "forward"]
    assert (old.data["tx"], old.data["claim"]) == (first, new.data["claim"])
    assert int(old.data["fee"]["max_fee"]) < 200 * 10**9 < int(new.data["fee"]["max_fee"])
    assert world.devnet.rpc("ethereum", "eth_getTransactionReceipt", first) is None
    assert is_final(world.devnet, "ethereum", new.data["tx"])
    minted = difference(before, settled(world.devnet))[Line("ethereum", "ALZ", "receiver")]
    assert minted == 100 * 10**18


def test_a_bitcoin_transfer_that_no_miner_takes_is_replaced_and_commits(
    world: World, terminal: Terminal
) -> None:
    before = settled(world.devnet)
    world.stop_bitcoin()
    call = terminal.start("run", terminal.plan(changes=PATIENT), "--execute")
    saga = terminal.awaits("intent", "move")
    (first,) = wait_until(lambda: world.waiting("bitcoin"), what="the transfer in the mempool")
    # To a miner it is worth a whole coin less than it pays.
    world.devnet.rpc("bitcoin", "prioritisetransaction", first, 0, -(10**8))
    world.devnet.mine_bitcoin(1)
    assert world.waiting("bitcoin") == [first], "a block took it"

    terminal.run("resolve", saga, "move", "--cap", "200%", *WHO)
    wait_until(
        lambda: world.waiting("bitcoin") not in ([], [first]),
        what="its replacement", timeout_s=PATIENCE_S,
    )  # fmt: skip
    world.start_bitcoin()
    call.ended(0)

    old, new = intents(terminal.records(saga), "move")
    assert (old.data["tx"], old.data["claim"]) == (first, new.data["claim"])
    assert int(new.data["fee"]["fee_sat"]) > int(old.data["fee"]["fee_sat"])
    assert is_final(world.devnet, "bitcoin", new.data["tx"])
    moved = difference(before, settled(world.devnet))[Line("bitcoin", "BTC", "settlement_btc")]
    assert moved == 1_500_000
