"""A claim that a tombstone left open, on real nodes: burnt before the process leaves, or named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from coordinator.devnet.ledger import evm_address
from tests.e2e.terminal import Call, Terminal
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.e2e.trouble import World

TREASURY = evm_address("treasury_evm")

pytestmark = pytest.mark.timeout(300)


def next_nonce(world: World) -> int:
    answer = world.devnet.rpc("ethereum", "eth_getTransactionCount", TREASURY, "latest")
    return int(answer, 16)


def cancelled(world: World, terminal: Terminal) -> tuple[Call, str, int]:
    """Begin a run whose mint is cancelled because its account is empty; polygon's undo waits.

    Returns the call, the saga and what the account had in wei.
    """
    world.hold_blocks("ethereum")
    call = terminal.start("run", terminal.plan(), "--execute")
    saga = terminal.awaits("intent", "mint")
    wait_until(lambda: world.waiting("ethereum"), what="the mint in the pool")
    had_wei = world.set_balance("ethereum", TREASURY, 0)
    world.drop("ethereum")
    world.hold_blocks("polygon")
    terminal.run("rollback", saga, "--reason", "no money today", "--by", "ada")
    world.release_blocks("ethereum")
    terminal.awaits("not_done", "mint")
    return call, saga, had_wei


def still_open(terminal: Terminal, saga: str) -> bool:
    seen = [r for r in terminal.records(saga) if r.kind == "not_done" and r.data["step"] == "mint"]
    return bool(seen[-1].data["claim_open"])


def test_an_account_that_is_funded_in_time_is_freed_by_the_run_that_ended_the_saga(
    world: World, terminal: Terminal
) -> None:
    before = next_nonce(world)
    call, saga, had_wei = cancelled(world, terminal)
    assert still_open(terminal, saga)
    world.set_balance("ethereum", TREASURY, had_wei)
    world.release_blocks("polygon")
    call.ended(10)

    assert "ROLLED_BACK in" in call.out
    assert not still_open(terminal, saga)
    assert next_nonce(world) == before + 1
    assert "still claimed" not in call.err + terminal.run("show", saga).out
    terminal.run("audit", "verify")
    terminal.run("journal", "check")


def test_an_account_that_stays_empty_is_named_by_run_status_show_and_doctor_until_it_is_freed(
    world: World, terminal: Terminal
) -> None:
    before = next_nonce(world)
    call, saga, had_wei = cancelled(world, terminal)
    world.release_blocks("polygon")
    call.ended(10)

    place = f"nonce {before} of {TREASURY} on ethereum"
    (line,) = [line for line in call.err.splitlines() if "still claimed" in line]
    assert place in line
    assert f"coordinator resume {saga}" in line
    assert place in terminal.run("status").out
    assert place in terminal.run("show", saga).out
    assert place in terminal.run("doctor", "--offline").out
    assert place in terminal.run("resume", "--all").err

    world.set_balance("ethereum", TREASURY, had_wei)
    terminal.run("resume", saga, code=10)
    assert not still_open(terminal, saga)
    assert next_nonce(world) == before + 1
    for command in (("status",), ("show", saga), ("doctor", "--offline")):
        assert f"nonce {before} of" not in terminal.run(*command).out
    terminal.run("run", terminal.plan(), "--execute", "--key", "after")
