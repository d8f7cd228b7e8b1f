"""The command line on real nodes: run, attach, detach, resume, roll back, and their exit codes."""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from coordinator.devnet.ledger import evm_address
from tests.e2e.network import settled
from tests.e2e.terminal import PATIENCE_S
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.e2e.terminal import Terminal
    from tests.e2e.trouble import World

TREASURY = evm_address("treasury_evm")

pytestmark = pytest.mark.timeout(300)


def test_nothing_is_sent_and_no_journal_is_made_without_execute(
    world: World, terminal: Terminal
) -> None:
    before = settled(world.devnet)
    done = terminal.run("run", terminal.plan())

    assert "NOTHING SENT" in done.out
    assert "rollback order: mint → move → lock" in done.out
    assert "To send it, add --execute" in done.err
    assert settled(world.devnet) == before
    assert not terminal.journal.exists()


def test_a_plan_commits_and_the_same_command_again_attaches_to_it(terminal: Terminal) -> None:
    plan = terminal.plan()
    first = terminal.run("run", plan, "--execute")
    assert "COMMITTED in" in first.out
    (row,) = terminal.rows()
    count = len(terminal.records(row.saga))
    again = terminal.run("run", plan, "--execute", "--json")

    assert json.loads(again.out.splitlines()[-1])["exit"] == 0
    assert [each.saga for each in terminal.rows()] == [row.saga]
    assert len(terminal.records(row.saga)) == count
    assert row.key == row.digest
    terminal.run("audit", "verify")
    terminal.run("journal", "check")


def test_a_changed_plan_of_the_same_name_needs_a_key_of_its_own(terminal: Terminal) -> None:
    plan = terminal.plan()
    terminal.run("run", plan, "--execute")
    (row,) = terminal.rows()
    changed = ("run", plan, "--set", "btc=0.01", "--execute")

    refused = terminal.run(*changed, code=7)
    assert row.saga in refused.err
    assert "--key" in refused.err
    assert len(terminal.rows()) == 1
    terminal.run(*changed, "--key", "second")
    assert (
        "Use another --key" in terminal.run("run", plan, "--execute", "--key", "second", code=7).err
    )
    assert [each.state for each in terminal.rows()] == ["committed", "committed"]


def test_a_lock_runs_what_was_resolved_and_takes_no_other_inputs(terminal: Terminal) -> None:
    plan, lock = terminal.plan(), str(terminal.folder / "plan.lock.json")
    terminal.run("plan", plan, "--out", lock)

    assert "is a lock" in terminal.run("run", lock, "--set", "btc=1", "--execute", code=3).err
    terminal.run("run", lock, "--execute")
    terminal.run("run", plan, "--execute")
    assert len(terminal.rows()) == 1


def test_a_plan_that_today_refuses_ends_with_6_and_starts_nothing(
    world: World, terminal: Terminal
) -> None:
    world.pause("ethereum", "token")
    done = terminal.run("run", terminal.plan(), "--execute", code=6)

    assert "nothing was sent" in done.err
    assert "step mint: would fail" in done.err
    assert terminal.rows() == []


def test_a_step_that_fails_rolls_everything_back_and_ends_with_10(
    world: World, terminal: Terminal
) -> None:
    world.hold_blocks("polygon")
    call = terminal.start("run", terminal.plan(), "--execute")
    saga = terminal.awaits("intent", "lock")
    world.pause("ethereum", "token")
    world.release_blocks("polygon")
    call.ended(10)

    assert "✗ 3 mint" in call.out
    assert "rolling back 2 → 1" in call.out
    assert call.out.index("undo move") < call.out.index("undo lock")
    assert "ROLLED_BACK in" in call.out
    shown = terminal.run("show", saga).out
    assert "rollback completed: 2/2" in shown
    assert "reason atomicity_failure" in shown
    terminal.run("audit", "verify")


def test_ctrl_c_detaches_and_resume_goes_on(world: World, terminal: Terminal) -> None:
    world.hold_blocks("polygon")
    call = terminal.start("run", terminal.plan(), "--execute")
    saga = terminal.awaits("intent", "lock")
    wait_until(lambda: world.waiting("polygon"), what="the lock in the pool")
    call.signal(signal.SIGINT).ended(130)

    assert f"coordinator resume {saga}" in call.err
    assert "nothing was rolled back" in call.err
    assert "Its deadline is" in call.err
    assert "nobody drives it" in terminal.run("status").out
    world.release_blocks("polygon")
    assert "COMMITTED" in terminal.run("resume", saga[:12]).out
    kinds = terminal.kinds(saga)
    assert kinds.count("intent lock forward") == 1
    assert kinds.count("taken_over") == 1


def test_a_killed_run_is_gone_on_with_by_the_same_command(world: World, terminal: Terminal) -> None:
    world.hold_blocks("polygon")
    plan = terminal.plan()
    call = terminal.start("run", plan, "--execute")
    saga = terminal.awaits("intent", "lock")
    call.signal(signal.SIGKILL).ended(-signal.SIGKILL)
    world.release_blocks("polygon")
    terminal.run("run", plan, "--execute")

    assert [row.saga for row in terminal.rows()] == [saga]
    intents = [kind for kind in terminal.kinds(saga) if kind.startswith("intent")]
    assert len(intents) == len(set(intents)) == 5


def test_a_second_process_follows_the_first_and_ends_like_it(
    world: World, terminal: Terminal
) -> None:
    world.hold_blocks("ethereum")
    plan = terminal.plan()
    first = terminal.start("run", plan, "--execute")
    saga = terminal.awaits("intent", "mint")
    second = terminal.start("run", plan, "--execute")
    watching = terminal.start("watch", saga)
    wait_until(lambda: "attached to" in second.err, what="the second", timeout_s=PATIENCE_S)
    world.release_blocks("ethereum")

    assert "COMMITTED" in first.ended(0).out
    assert "COMMITTED" in second.ended(0).out
    assert "closed committed" in watching.ended(0).out
    assert "taken_over" not in terminal.kinds(saga)


def test_a_follower_takes_over_when_the_driver_dies(world: World, terminal: Terminal) -> None:
    world.hold_blocks("ethereum")
    plan = terminal.plan()
    first = terminal.start("run", plan, "--execute")
    saga = terminal.awaits("intent", "mint")
    second = terminal.start("run", plan, "--execute")
    wait_until(lambda: "attached to" in second.err, what="the second", timeout_s=PATIENCE_S)
    first.signal(signal.SIGKILL).ended(-signal.SIGKILL)
    world.release_blocks("ethereum")

    assert "COMMITTED" in second.ended(0).out
    assert terminal.kinds(saga).count("taken_over") == 1


def test_wait_that_is_over_ends_with_21_and_leaves_the_saga_where_it_is(
    world: World, terminal: Terminal
) -> None:
    world.hold_blocks("polygon")
    call = terminal.run("run", terminal.plan(), "--execute", "--wait", "1s", code=21)
    (row,) = terminal.rows()

    assert "What is safe now" in call.out
    assert f"coordinator resume {row.saga}" in call.err
    assert row.state == "running"
    world.release_blocks("polygon")
    terminal.run("resume", "--all")
    assert terminal.rows()[0].state == "committed"


def test_a_rollback_asked_from_another_terminal_reaches_the_process_that_drives(
    world: World, terminal: Terminal
) -> None:
    world.hold_blocks("ethereum")
    call = terminal.start("run", terminal.plan(), "--execute")
    saga = terminal.awaits("intent", "mint")
    asked = terminal.run("rollback", saga, "--reason", "wrong day", "--by", "ada")
    assert "acts on this now" in asked.err
    wait_until(lambda: "decided" in terminal.kinds(saga), what="the decision", timeout_s=PATIENCE_S)
    world.release_blocks("ethereum")
    call.ended(10)

    assert "ada: wrong day" in call.out


def test_a_service_takes_up_what_is_left_and_what_is_new_and_leaves_in_order(
    world: World, terminal: Terminal
) -> None:
    world.hold_blocks("polygon")
    plan = terminal.plan()
    terminal.run("run", plan, "--execute", "--wait", "1s", code=21)
    service = terminal.start("resume", "--all", "--follow")
    wait_until(
        lambda: "taken_over" in terminal.kinds(terminal.rows()[0].saga),
        what="the service", timeout_s=PATIENCE_S,
    )  # fmt: skip
    terminal.run("run", plan, "--execute", "--key", "second", "--wait", "1s", code=21)
    world.release_blocks("polygon")
    wait_until(
        lambda: [row.state for row in terminal.rows()] == ["committed"] * 2,
        what="both sagas", timeout_s=PATIENCE_S,
    )  # fmt: skip
    service.signal(signal.SIGTERM).ended(0)

    assert "left in order" in service.err


def test_a_saga_of_another_chain_is_left_alone_and_holds_up_no_other(
    world: World, terminal: Terminal
) -> None:
    world.hold_blocks("polygon")
    terminal.run("run", terminal.plan(), "--execute", "--wait", "1s", code=21)
    world.release_blocks("polygon")
    (row,) = terminal.rows()
    text = terminal.config.read_text()
    terminal.config.write_text(
        text.replace("[chain.ethereum]", "[chain.ethereum]\nenabled = false")
    )
    refused = terminal.run("resume", "--all", code=6)

    assert f"saga {row.saga} is left alone" in refused.err
    assert "needs chain ethereum" in refused.err
    assert "ethereum" in terminal.run("resume", row.saga, code=3).err
    terminal.config.write_text(text)
    terminal.run("resume", "--all")


def test_a_command_tells_a_person_what_to_fund_and_funding_lets_the_saga_go_on(
    world: World, terminal: Terminal
) -> None:
    told = terminal.folder / "told"
    code = (
        "import os; open('told', 'a').write(os.environ['COORDINATOR_SAGA'] + ' ' + "
        "os.environ['COORDINATOR_QUESTION'])"
    )
    world.hold_blocks("ethereum")
    call = terminal.start(
        "run", terminal.plan(), "--execute", "--on-stuck", f'{sys.executable} -c "{code}"'
    )
    saga = terminal.awaits("intent", "mint")
    wait_until(lambda: world.waiting("ethereum"), what="the mint in the pool")
    had_wei = world.set_balance("ethereum", TREASURY, 0)
    world.drop("ethereum")
    # The file is there a moment before its words are.
    said = wait_until(
        lambda: told.read_text() if told.exists() else "", what="the command", timeout_s=PATIENCE_S
    )
    assert f"{saga} fund {TREASURY} with " in said
    assert f"fund {TREASURY}" in terminal.run("status").out
    world.set_balance("ethereum", TREASURY, had_wei)
    world.release_blocks("ethereum")
    call.ended(0)

    assert f"STUCK {saga}" in call.err
    assert "stuck mint forward" in terminal.kinds(saga)


def test_an_adoption_is_refused_unless_the_chain_shows_the_effect_in_that_transaction(
    world: World, terminal: Terminal
) -> None:
    world.hold_blocks("ethereum")
    call = terminal.start("run", terminal.plan(), "--execute")
    terminal.awaits("done", "lock")
    call.signal(signal.SIGINT).ended(130)
    (row,) = terminal.rows()
    lock = next(r for r in terminal.records(row.saga) if r.kind == "done").data["tx"]
    verdict = ("--by", "ada", "--reason", "seen", "--direction", "forward")

    none = terminal.run("resolve", row.saga, "mint", "--adopt", lock, *verdict, code=6)
    assert "shows no forward effect" in none.err
    for tx in (lock, f"0x{'ab' * 32}"):
        done = terminal.run("resolve", row.saga, "lock", "--adopt", tx, *verdict, code=11)
        assert "is done. Nothing was recorded" in done.err, "its effect is known already"
    assert not [kind for kind in terminal.kinds(row.saga) if kind.startswith("verdict")]


def test_the_doctor_finds_the_network_well_and_a_wrong_chain_ill(terminal: Terminal) -> None:
    assert "polygon: reachable" in terminal.run("doctor").out
    text = terminal.config.read_text()
    terminal.config.write_text(text.replace("chain_id = 31337", "chain_id = 31339"))

    done = terminal.run("doctor", code=6)
    assert "✗ polygon" in done.out
    assert "✓ ethereum: reachable" in done.out
    refused = terminal.run("run", terminal.plan(), "--execute", code=6)
    assert "othing was sent" in refused.err
