"""``resolve --reclaim``: a revealed hold that nobody redeemed before its expiry comes back.

Until the expiry the payee alone may take it; afterwards two persons may decide to. The saga ends as
``closed_by_operator``, because the payee did not get what the commit had promised.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from coordinator.devnet.control import mine_until
from coordinator.devnet.ledger import Line, difference
from coordinator.devnet.network import DevnetOptions, running
from tests.e2e.network import is_final, settled
from tests.e2e.terminal import PATIENCE_S, Terminal
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from coordinator.devnet.network import Devnet
    from coordinator.journal.base import Record
    from tests.e2e.trouble import World

pytestmark = pytest.mark.timeout(300)

ONE = ("--by", "ada", "--reason", "the payee is gone")
TWO = ("--by", "ada", "--by", "bob", "--reason", "the payee is gone")
VAULT_HOLD = """\
version = 1
name = "vault-hold"
deadline_s = 10

[input]
amount = { asset = "ALZ", value = "100" }
payee = { type = "evm_address", value = "0x0500BD70a3912a084BF19203EA8335301E3F6eb5" }

[[step]]
id = "hold"
chain = "polygon"
action = "hold"
[step.with]
vault = "AlzVault"
amount = "@amount"
payee = "@payee"
refund_after_s = 60
deliver = "secret"
"""


@contextmanager
def absent_payee(devnet: Devnet) -> Iterator[None]:
    """Nobody redeems a Bitcoin hold meanwhile."""
    mark = devnet.folder / "payee.paused"
    mark.touch()
    try:
        yield
    finally:
        mark.unlink()


def refund_of(records: list[Record]) -> Record:
    """The undo that a reclaim allowed; it was given by two and ended the saga."""
    verdict = next(r for r in records if r.kind == "verdict")
    assert (verdict.data["verdict"], verdict.data["by"]) == ("reclaim", ["ada", "bob"])
    (undone,) = (r for r in records if r.kind == "done" and r.data["dir"] == "undo")
    assert verdict.seq < undone.seq
    assert (records[-1].kind, records[-1].data["state"]) == ("closed", "closed_by_operator")
    assert next(r for r in records if r.kind == "decided").data["decision"] == "commit"
    return undone


def test_a_bitcoin_hold_is_refunded_to_us_and_what_was_confirmed_stays(
    world: World, terminal: Terminal
) -> None:
    before = settled(world.devnet)
    with absent_payee(world.devnet):
        call = terminal.start("run", terminal.plan("hold"), "--execute")
        saga = terminal.awaits("reveal", "hold", "")
        early = terminal.run("resolve", saga, "hold", "--reclaim", *TWO, code=11)
        assert "Until then only the payee may take it" in early.err
        expiry = json.loads(terminal.run("show", saga, "--json").out)["steps"][1]["expiry"]
        mine_until(world.devnet, "bitcoin", expiry["height"])
        alone = terminal.run("resolve", saga, "hold", "--reclaim", *ONE, code=4)
        assert "2 different persons" in alone.err
        terminal.run("resolve", saga, "hold", "--reclaim", *TWO)
        call.ended(20)

    undone = refund_of(terminal.records(saga))
    outpoint = next(
        r.data["facts"]["outpoint"] for r in terminal.records(saga)
        if r.kind == "intent" and r.data["step"] == "hold"
    )  # fmt: skip
    refund = world.devnet.rpc("bitcoin", "getrawtransaction", undone.data["tx"], 1)
    assert [f"{item['txid']}:{item['vout']}" for item in refund["vin"]] == [outpoint]
    assert is_final(world.devnet, "bitcoin", undone.data["tx"])
    changed = difference(before, settled(world.devnet))
    assert -10_000 < changed[Line("bitcoin", "BTC", "treasury_btc")] < 0, "fees alone"
    assert Line("bitcoin", "BTC", "payee_btc") not in changed
    assert changed[Line("ethereum", "ALZ", "receiver")] == 100 * 10**18
    assert "CLOSED_BY_OPERATOR" in terminal.run("status").out
    terminal.run("audit", "verify")
    # The payee is back, finds the preimage and is refused by the node: blocks must still come.
    terminal.run("run", terminal.plan("transfer"), "--execute")


def test_a_vault_hold_is_refunded_to_us_by_the_time_of_its_chain(tmp_path: Path) -> None:
    with running(tmp_path / "devnet", DevnetOptions.instant()) as devnet, ExitStack() as ends:
        terminal = Terminal.on(devnet, tmp_path, ends)
        before = settled(devnet)
        plan = tmp_path / "vault-hold.toml"
        plan.write_text(VAULT_HOLD, encoding="utf-8")
        call = terminal.start("run", str(plan), "--execute")
        saga = terminal.awaits("reveal", "hold", "")
        assert terminal.run("secret", saga, "hold").out.strip()
        early = terminal.run("resolve", saga, "hold", "--reclaim", *TWO, code=11)
        assert "Until then only the payee may take it" in early.err
        devnet.rpc("polygon", "evm_increaseTime", 120)
        devnet.rpc("polygon", "anvil_mine", "0x1")
        terminal.run("resolve", saga, "hold", "--reclaim", *TWO)
        call.ended(20)

        undone = refund_of(terminal.records(saga))
        assert is_final(devnet, "polygon", undone.data["tx"])
        changed = difference(before, settled(devnet))
        assert not [line for line in changed if line.asset == "ALZ"], "the vault gave it back"
        again = terminal.run("resolve", saga, "hold", "--reclaim", *TWO, code=11)
        assert "has ended" in again.err


def test_a_hold_that_was_redeemed_can_not_be_reclaimed(world: World, terminal: Terminal) -> None:
    world.hold_blocks("ethereum")
    call = terminal.start("run", terminal.plan("hold"), "--execute")
    saga = terminal.awaits("intent", "mint")
    before_reveal = terminal.run("resolve", saga, "hold", "--reclaim", *TWO, code=11)
    assert "no revealed hold" in before_reveal.err
    world.release_blocks("ethereum")
    call.ended(0)
    terminal.run("resolve", saga, "hold", "--reclaim", *TWO, code=11)
    wait_until(lambda: not world.waiting("bitcoin"), what="the redeem", timeout_s=PATIENCE_S)
