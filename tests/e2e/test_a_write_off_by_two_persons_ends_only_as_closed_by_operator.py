"""``resolve --write-off``: a step's value is given up by two persons, and the rest is undone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from coordinator.devnet.ledger import Line, difference, read_ledger
from tests.e2e.network import intents, is_final, settled
from tests.e2e.terminal import PATIENCE_S
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.e2e.terminal import Terminal
    from tests.e2e.trouble import World

pytestmark = pytest.mark.timeout(300)

ONE = ("--by", "ada", "--by", "Ada ", "--reason", "the wallet is lost")
TWO = ("--by", "ada", "--by", "bob", "--reason", "the wallet is lost")
PATIENT = {"deadline_s = 60": "deadline_s = 600"}


def test_an_undo_that_never_lands_is_written_off_and_the_step_before_it_is_undone(
    world: World, terminal: Terminal
) -> None:
    before = settled(world.devnet)
    world.hold_blocks("ethereum")
    call = terminal.start("run", terminal.plan(changes=PATIENT), "--execute")
    saga = terminal.awaits("intent", "mint")
    wait_until(lambda: world.waiting("ethereum"), what="the mint in the pool")
    world.stop_bitcoin()
    world.drop("ethereum")
    world.release_blocks("ethereum")
    terminal.run("rollback", saga, "--reason", "wrong day", "--by", "ada")
    terminal.awaits("intent", "move", "undo")
    (undo,) = wait_until(lambda: world.waiting("bitcoin"), what="the undo in the mempool")

    refused = terminal.run("resolve", saga, "move", "--write-off", *ONE, code=4)
    assert "2 different persons" in refused.err
    terminal.run("resolve", saga, "move", "--write-off", *TWO)
    call.ended(20)

    records = terminal.records(saga)
    assert (records[-1].kind, records[-1].data["state"]) == ("closed", "closed_by_operator")
    done = [r for r in records if r.kind == "done" and r.data["dir"] == "undo"]
    assert [r.data["step"] for r in done] == ["lock"]
    assert is_final(world.devnet, "polygon", done[0].data["tx"])
    begun = next(r for r in intents(records, "lock") if r.data["dir"] == "undo")
    assert begun.seq > next(r.seq for r in records if r.kind == "verdict")
    changed = difference(before, read_ledger(world.devnet))
    assert changed[Line("bitcoin", "BTC", "settlement_btc")] == 1_500_000
    assert not [line for line in changed if line.asset == "ALZ"]
    assert world.waiting("bitcoin") == [undo]
    assert "CLOSED_BY_OPERATOR" in terminal.run("status").out
    shown = json.loads(terminal.run("show", saga, "--json").out)
    assert shown["steps"][1]["undo"]["phase"] == "written_off"
    terminal.run("audit", "verify")
    # The same command again says the same: it is neither of the two ends.
    terminal.run("resume", saga, code=20)


def test_a_forward_that_may_still_land_is_written_off_only_after_its_burn(
    world: World, terminal: Terminal
) -> None:
    before = settled(world.devnet)
    world.stop_bitcoin()
    call = terminal.start("run", terminal.plan(changes=PATIENT), "--execute")
    saga = terminal.awaits("intent", "move")
    wait_until(lambda: world.waiting("bitcoin"), what="the transfer in the mempool")

    early = terminal.run("resolve", saga, "move", "--write-off", *TWO, code=11)
    assert f"coordinator resolve {saga} move --burn" in early.err
    terminal.run("resolve", saga, "move", "--burn", "--by", "ada", "--reason", "end it first")
    wait_until(
        lambda: [r for r in intents(terminal.records(saga)) if r.data["purpose"] == "burn"],
        what="the burn", timeout_s=PATIENCE_S,
    )  # fmt: skip
    terminal.run("resolve", saga, "move", "--write-off", *TWO)
    call.ended(20)

    records = terminal.records(saga)
    assert records[-1].data["state"] == "closed_by_operator"
    assert [r.data["step"] for r in records if r.kind == "done" and r.data["dir"] == "undo"] == [
        "lock"
    ]
    assert next(r for r in records if r.kind == "decided").data["cause"]["kind"] == "written_off"
    changed = difference(before, read_ledger(world.devnet))
    assert not [line for line in changed if line.asset == "ALZ"]
    terminal.run("audit", "verify")
