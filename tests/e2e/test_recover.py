"""A backup is restored after the chains went on without it, on real nodes."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from coordinator.devnet.ledger import Line, difference
from coordinator.journal import recoveries
from coordinator.recovery import recover as recovering
from coordinator.recovery import settling
from tests.e2e.network import settled
from tests.e2e.recovery_scene import WHO, Lost, mined_meanwhile
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.network import Cues, Moment
    from tests.e2e.terminal import Terminal
    from tests.e2e.trouble import World

ALZ = 100 * 10**18
PAID_SAT = 1_500_000
FEE_SAT = 50_000


class Died(Exception):
    """The process of a test that died; nothing after it happened."""


def die() -> None:
    raise Died


@pytest.fixture
def lost(world: World, terminal: Terminal) -> Lost:
    return Lost(world, terminal)


def live_on(
    lost: Lost,
    variant: str,
    cues: Cues,
    *,
    backup: Moment | None = None,
    copied: bool = True,
    dies: bool = False,
) -> str:
    """Drive a saga to its end, or until the process dies.

    ``backup``: the record after which the copy is taken; None is before anything was prepared.
    ``copied``: whether one is taken at all.
    """

    def both() -> None:
        lost.back_up()
        if backup is not None and backup in cues:
            cues[backup]()

    async def go() -> str:
        async with lost.open() as ours:
            saga = await ours.accept(variant)
            if copied and backup is None:
                lost.back_up()
            try:
                await ours.drive(saga, cues if backup is None else {**cues, backup: both})
            except (Died, BaseExceptionGroup):
                assert dies
            return saga

    return asyncio.run(go())


def claimed(lost: Lost, saga: str) -> set[tuple[str, str, int]]:
    return {
        (record.data["chain"], resource, value)
        for record in lost.terminal.records(saga)
        if record.kind == "intent"
        for resource, value in record.data["claim"]
    }


def burnt(lost: Lost, saga: str) -> set[str]:
    """The steps for which a burn is durable."""
    return {
        record.data["step"]
        for record in lost.terminal.records(saga)
        if record.kind == "intent" and record.data["purpose"] == "burn"
    }


def only_fees(lost: Lost, before: dict[Line, int]) -> None:
    """Nothing has moved but what the network and the burn of the reserved coins cost."""
    moved = difference(before, settled(lost.world.devnet))
    assert {line.holder for line in moved} <= {"treasury_evm", "rescue_evm", "treasury_btc"}
    assert {line.asset for line in moved} <= {"POL", "ETH", "BTC"}
    assert -FEE_SAT < moved[Line("bitcoin", "BTC", "treasury_btc")] < 0


def untouched(lost: Lost) -> dict[str, list[tuple[str, str]]]:
    return {chain: lost.operations(chain) for chain in ("polygon", "ethereum")}


def state_of(lost: Lost, saga: str) -> str:
    return next(row.state for row in lost.terminal.rows() if row.saga == saga)


def nothing_goes_on(lost: Lost) -> None:
    """Every command that could send refuses, and nothing was sent."""
    sent = lost.sent()
    assert "coordinator recover" in lost.run("resume", "--all", code=30).err
    plan = lost.terminal.plan("pay", {'name = "alz-pay"': 'name = "another"'})
    assert "coordinator recover" in lost.run("run", plan, "--execute", code=30).err
    assert "coordinator recover" in lost.run("doctor", "--offline", code=30).out
    assert lost.sent() == sent


# ------------------------------------------------------------ (a) it had committed


@pytest.mark.parametrize("moment", [None, ("intent", "mint", "forward")])
def test_a_payment_that_landed_after_the_backup_commits_its_saga_and_is_made_once(
    lost: Lost, moment: Moment | None
) -> None:
    before = settled(lost.world.devnet)
    saga = live_on(lost, "pay", {}, backup=moment)
    assert state_of(lost, saga) == "committed"
    after, operations = settled(lost.world.devnet), untouched(lost)
    lost.restore()

    nothing_goes_on(lost)
    report = lost.run("recover")
    assert f"open saga {saga}" in report.out
    assert "an open saga's" in report.out
    told = lost.recover()
    assert f"saga {saga}: commit: the chains show" in told.out
    lost.resume()

    assert state_of(lost, saga) == "committed"
    assert untouched(lost) == operations
    moved = difference(after, settled(lost.world.devnet))
    assert {line.asset for line in moved} <= {"POL", "ETH"}  # self-spends alone
    paid = difference(before, settled(lost.world.devnet))
    assert paid[Line("ethereum", "ALZ", "supply")] == ALZ
    assert paid[Line("bitcoin", "BTC", "payee_btc")] == PAID_SAT
    assert lost.run("audit", "verify").out
    assert lost.run("journal", "check").out
    lost.convinces(saga)


def test_a_redeemed_hold_commits_its_saga_whatever_the_backup_knew(lost: Lost) -> None:
    saga = live_on(lost, "hold", {}, backup=("intent", "hold", "forward"))
    assert state_of(lost, saga) == "committed"
    after, operations = settled(lost.world.devnet), untouched(lost)
    lost.restore()

    assert f"saga {saga}: commit" in lost.recover().out
    lost.resume()

    assert state_of(lost, saga) == "committed"
    assert untouched(lost) == operations
    moved = difference(after, settled(lost.world.devnet))
    assert {line.asset for line in moved} <= {"POL", "ETH"}
    lost.convinces(saga)


@pytest.mark.parametrize(("answer", "end"), [("commit", "committed"), ("rollback", "rolled_back")])
def test_whether_a_preimage_was_told_is_asked_of_a_person_and_refunding_needs_two(
    lost: Lost, answer: str, end: str
) -> None:
    before = settled(lost.world.devnet)
    saga = live_on(
        lost,
        "hold",
        {("decided", None, None): die},
        backup=("intent", "hold", "forward"),
        dies=True,
    )
    lost.restore()

    asked = lost.recover(code=20)
    assert f"--answer {saga}=commit" in asked.err
    assert f"--answer {saga}=rollback --by A --by B" in asked.err
    nothing_goes_on(lost)
    if answer == "rollback":
        alone = lost.recover("--answer", f"{saga}=rollback", code=6)
        assert "2 different persons" in alone.err
        lost.recover("--answer", f"{saga}=rollback", "--by", "another")
    else:
        lost.recover("--answer", f"{saga}=commit")
    with mined_meanwhile(lost.world):
        lost.resume()

    assert state_of(lost, saga) == end
    moved = difference(before, settled(lost.world.devnet))
    assert moved.get(Line("ethereum", "ALZ", "supply"), 0) == (ALZ if end == "committed" else 0)


# ------------------------------------------------------------ (b) it had rolled back


def test_a_rollback_after_the_backup_is_adopted_and_refunds_once(lost: Lost) -> None:
    before = settled(lost.world.devnet)
    pause: Cues = {("intent", "lock", "forward"): lambda: lost.world.pause("ethereum", "token")}
    saga = live_on(lost, "pay", pause, backup=("intent", "lock", "forward"))
    assert state_of(lost, saga) == "rolled_back"
    operations = untouched(lost)
    lost.restore()

    nothing_goes_on(lost)
    assert f"saga {saga}: rollback: the chains show the undo of lock" in lost.recover().out
    lost.resume()

    assert state_of(lost, saga) == "rolled_back"
    assert untouched(lost) == operations
    only_fees(lost, before)
    lost.convinces(saga)


def test_a_transfer_that_only_its_lost_intent_would_tell_from_another_is_asked_for(
    lost: Lost,
) -> None:
    before = settled(lost.world.devnet)
    pause: Cues = {("intent", "lock", "forward"): lambda: lost.world.pause("ethereum", "token")}
    saga = live_on(lost, "transfer", pause)
    assert state_of(lost, saga) == "rolled_back"
    moved = next(
        record.data["tx"]
        for record in lost.terminal.records(saga)
        if record.kind == "intent"
        and (record.data["step"], record.data["dir"]) == ("move", "forward")
    )
    operations, after = untouched(lost), settled(lost.world.devnet)
    lost.restore()

    question = f"{saga}/move/forward"
    asked = lost.recover(code=20)
    assert f"--adopt {question}={moved}" in asked.err
    wrong = lost.recover("--adopt", f"{question}={'00' * 32}", code=6)
    assert "could be the forward of step move" in wrong.err
    lost.recover("--adopt", f"{question}={moved}")
    lost.resume()

    assert state_of(lost, saga) == "rolled_back"
    assert untouched(lost) == operations
    assert "BTC" not in {line.asset for line in difference(after, settled(lost.world.devnet))}
    back = difference(before, settled(lost.world.devnet))
    assert Line("bitcoin", "BTC", "settlement_btc") not in back


def test_what_the_backup_knew_is_burnt_when_the_second_place_is_lost(lost: Lost) -> None:
    """The mint waits for a block when the machine dies; only its journal is left."""
    before = settled(lost.world.devnet)
    lost.world.hold_blocks("ethereum")
    saga = lost.terminal.leave_at("mint", lost.terminal.plan("pay"))
    lost.witness.unlink()

    assert "is missing" in lost.run("resume", "--all", code=30).err
    with mined_meanwhile(lost.world):
        process = lost.terminal.start("recover", "--execute", *WHO)
        wait_until(lambda: "mint" in burnt(lost, saga), what="the burn")
        lost.world.release_blocks("ethereum")
        process.ended(0)
    lost.resume()

    assert state_of(lost, saga) == "rolled_back"
    assert burnt(lost, saga) == {"mint", "pay"}  # nobody could know that it was not paid
    only_fees(lost, before)


# ------------------------------------------------------------ (c) begun after the backup


def test_a_saga_begun_after_the_backup_is_reported_and_stops_its_accounts_until_accepted(
    lost: Lost,
) -> None:
    first = live_on(lost, "pay", {}, backup=("closed", None, None))
    second = live_on(lost, "transfer", {}, copied=False)
    used = claimed(lost, second)
    lost.restore()
    assert [row.saga for row in lost.terminal.rows()] == [first]

    told = lost.recover()

    for record in lost.terminal.records(first):
        if record.kind == "intent":
            assert f": {record.data['tx']} in block" not in told.out
    assert "lock opened: 100000000000000000000 base units" in told.out
    assert "lock released" in told.out
    assert "starting it again would do it twice" in told.err
    plan = lost.terminal.plan("pay", {'name = "alz-pay"': 'name = "third"'})
    refused = lost.run("run", plan, "--execute", code=6)
    assert "it stands still" in refused.err
    assert "stand" in lost.run("doctor", "--offline", code=20).out

    lost.run("recover", "--accept", "all", *WHO)
    with mined_meanwhile(lost.world):
        lost.run("run", plan, "--execute")
    third = lost.terminal.rows()[-1].saga
    assert state_of(lost, third) == "committed"
    assert not claimed(lost, third) & used


def test_what_waits_in_a_pool_when_the_journal_is_lost_lands_before_the_chains_are_read(
    lost: Lost,
) -> None:
    live_on(lost, "pay", {}, backup=("closed", None, None))
    lost.world.hold_blocks("polygon")
    begun = lost.terminal.start("run", lost.terminal.plan("transfer"), "--execute")
    wait_until(lambda: lost.world.waiting("polygon"), what="the lock in the pool", timeout_s=60)
    begun.signal(signal.SIGINT).ended(130)
    lost.restore()

    with mined_meanwhile(lost.world):
        process = lost.terminal.start("recover", "--execute", *WHO)
        wait_until(lambda: "time to land" in process.err, what="the wait", timeout_s=60)
        assert "reading what our keys did" not in process.err
        lost.world.release_blocks("polygon")
        process.ended(0)

    assert "lock opened: 100000000000000000000 base units" in process.out


# ------------------------------------------------------------ (d) killed while it recovers


def killing(module: object, name: str, *, after: bool) -> Callable[[], None]:
    """Let the process die before or after the first call of ``module.name``."""

    def prepare() -> None:
        original = getattr(module, name)

        def dies(*args: object, **kwargs: object) -> None:
            if after:
                original(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)

        async def dies_soon(*args: object, **kwargs: object) -> None:
            if after:
                await original(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(module, name, dies_soon if asyncio.iscoroutinefunction(original) else dies)

    return prepare


POINTS = {
    "forked in the journal alone": killing(recoveries, "finish_fork", after=False),
    "told the second place": killing(recoveries, "finish_fork", after=True),
    "burnt": killing(recovering, "burn_known", after=True),
    "cleared": killing(recovering, "clear_lines", after=True),
    "adopted one": killing(settling.Settler, "_write", after=True),
    "settled": killing(recovering, "_end", after=False),
    "over": killing(recovering, "_end", after=True),
}


#: Where the journal, an effect and the end are only half told; CRASH_ALL=1 is all of them.
SAMPLE = ("forked in the journal alone", "adopted one", "settled")


@pytest.mark.parametrize("point", POINTS if os.environ.get("CRASH_ALL") else SAMPLE)
def test_a_recovery_that_is_killed_goes_on_when_it_is_run_again(lost: Lost, point: str) -> None:
    saga = live_on(lost, "pay", {}, backup=("intent", "lock", "forward"))
    after, operations = settled(lost.world.devnet), untouched(lost)
    lost.restore()

    with mined_meanwhile(lost.world):
        lost.run("recover", "--execute", *WHO, code=-signal.SIGKILL, first=POINTS[point])
    if point != "over":
        assert "coordinator recover" in lost.resume(code=30).err
        lost.recover()
    lost.resume()

    assert state_of(lost, saga) == "committed"
    assert untouched(lost) == operations
    assert {line.asset for line in difference(after, settled(lost.world.devnet))} <= {"POL", "ETH"}
    kinds = [record.kind for record in lost.operator()]
    assert kinds.count("recovery") == kinds.count("recovered") == 1


# ------------------------------------------------------------ (e) two histories


def test_neither_the_same_backup_nor_the_lost_original_starts_after_a_recovery(lost: Lost) -> None:
    live_on(lost, "pay", {}, backup=("intent", "mint", "forward"))
    lost.restore()
    lost.recover()
    lost.resume()
    recovered = lost.operator()[0].data["journal"]
    sent = lost.sent()

    lost.restore()
    again = lost.run("resume", "--all", code=30)
    assert f"lives on as journal {recovered}" in again.err
    assert "another copy of it" in again.err
    refused = lost.run("recover", "--execute", *WHO, code=30)
    assert "--again" in refused.err
    lost.bring_original_back()
    original = lost.run("resume", "--all", code=30)
    assert "the lost original" in original.err
    assert "two histories" in original.err
    assert lost.sent() == sent
