"""``resolve --adopt TX``: a transaction made outside is the step's effect, if the chain says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from coordinator.devnet.ledger import Line, difference
from tests.e2e import outsider
from tests.e2e.network import intents, settled
from tests.waiting import wait_until

if TYPE_CHECKING:
    from coordinator.journal.base import Record
    from tests.e2e.terminal import Terminal
    from tests.e2e.trouble import World

pytestmark = pytest.mark.timeout(300)

WHO = ("--by", "ada", "--reason", "sent it from the other desk", "--direction", "forward")
PATIENT = {"deadline_s = 60": "deadline_s = 600"}


def left_waiting(
    world: World, terminal: Terminal, step: str, chain: str
) -> tuple[str, list[Record]]:
    """Start a plan whose step can not get on, and leave it; return the saga and its records."""
    plan = terminal.plan(changes=PATIENT)
    saga = terminal.leave_at(step, plan, sent=lambda: world.waiting(chain))
    assert world.waiting(chain) == [intents(terminal.records(saga), step)[0].data["tx"]]
    return saga, terminal.records(saga)


def done(terminal: Terminal, saga: str, step: str) -> str:
    found = [
        r for r in terminal.records(saga)
        if r.kind == "done" and (r.data["step"], r.data["dir"]) == (step, "forward")
    ]  # fmt: skip
    return str(found[-1].data["tx"])


def test_a_mint_of_the_same_operation_by_another_signer_is_adopted_and_commits(
    world: World, terminal: Terminal
) -> None:
    before = settled(world.devnet)
    world.hold_blocks("ethereum")
    saga, records = left_waiting(world, terminal, "mint", "ethereum")
    ours = intents(records, "mint")[0].data["tx"]
    early = terminal.run("resolve", saga, "mint", "--adopt", ours, *WHO, code=6)
    assert "shows no forward effect" in early.err
    call = world.pending("ethereum", ours)
    theirs = outsider.repeats_call(world, "ethereum", call, "rescue_evm")
    world.release_blocks("ethereum")
    receipts = [
        world.devnet.rpc("ethereum", "eth_getTransactionReceipt", tx) for tx in (theirs, ours)
    ]
    assert [bool(receipt["logs"]) for receipt in receipts] == [True, False], "ours opened it"
    wrong = terminal.run("resolve", saga, "mint", "--adopt", ours, *WHO, code=6)
    assert theirs in wrong.err
    assert len(terminal.records(saga)) == len(records), "a refused verdict left a record"
    terminal.run("resolve", saga, "mint", "--adopt", theirs, *WHO)
    terminal.run("resume", saga)

    assert done(terminal, saga, "mint") == theirs
    changed = difference(before, settled(world.devnet))
    assert changed[Line("ethereum", "ALZ", "receiver")] == 100 * 10**18
    assert changed[Line("ethereum", "ALZ", "supply")] == 100 * 10**18


def test_an_adopted_mint_whose_own_attempt_no_pool_holds_any_more_still_commits(
    world: World, terminal: Terminal
) -> None:
    world.hold_blocks("ethereum")
    saga, records = left_waiting(world, terminal, "mint", "ethereum")
    ours = intents(records, "mint")[0].data["tx"]
    call = world.pending("ethereum", ours)
    world.drop("ethereum")
    world.release_blocks("ethereum")
    theirs = outsider.repeats_call(world, "ethereum", call, "rescue_evm")
    terminal.run("resolve", saga, "mint", "--adopt", theirs, *WHO)
    terminal.run("resume", saga)

    assert done(terminal, saga, "mint") == theirs
    receipt = world.devnet.rpc("ethereum", "eth_getTransactionReceipt", ours)
    assert receipt["logs"] == [], "ours freed its nonce, and had no effect"


def test_a_bitcoin_payment_from_the_same_coins_is_adopted_and_commits(
    world: World, terminal: Terminal
) -> None:
    before = settled(world.devnet)
    world.stop_bitcoin()
    saga, records = left_waiting(world, terminal, "move", "bitcoin")
    ours = intents(records, "move")[0].data["tx"]

    early = terminal.run("resolve", saga, "move", "--adopt", ours, *WHO, code=6)
    assert "shows no forward effect" in early.err
    theirs = outsider.pays_instead(world, ours, "treasury_btc", extra_fee_sat=5_000)
    wait_until(lambda: not world.waiting("bitcoin"), what="our own to be gone")
    assert theirs in terminal.run("resolve", saga, "move", "--adopt", ours, *WHO, code=6).err
    terminal.run("resolve", saga, "move", "--adopt", theirs, *WHO)
    world.start_bitcoin()
    terminal.run("resume", saga)

    assert done(terminal, saga, "move") == theirs
    changed = difference(before, settled(world.devnet))
    assert changed[Line("bitcoin", "BTC", "settlement_btc")] == 1_500_000


def test_an_equal_payment_elsewhere_is_another_payment_and_is_refused(
    world: World, terminal: Terminal
) -> None:
    world.stop_bitcoin()
    saga, records = left_waiting(world, terminal, "move", "bitcoin")
    claimed = {outpoint for outpoint, _ in intents(records, "move")[0].data["claim"]}
    free = [coin for coin in world.coins("treasury_btc") if coin[0] not in claimed]
    coin, value_sat = max(free, key=lambda coin: coin[1])
    world.spend("treasury_btc", [coin], "settlement_btc", fee_sat=value_sat - 1_500_000)
    block = world.devnet.rpc("bitcoin", "getbestblockhash")
    equal = world.devnet.rpc("bitcoin", "getblock", block)["tx"][1]

    refused = terminal.run("resolve", saga, "move", "--adopt", equal, *WHO, code=6)
    assert "shows no forward effect" in refused.err
    world.start_bitcoin()
    terminal.run("resume", saga)
    assert done(terminal, saga, "move") == intents(records, "move")[0].data["tx"]
