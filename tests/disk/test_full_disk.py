"""The disk is full while a secret is public: what is durable goes on leaving, nothing new begins.

DESIGN.md R1: what is already stored may still be re-sent; and after a reveal the preimage goes out
until the redeem is final. Each process that is started meanwhile makes one last round and ends with
exit code 30; when there is space again, the next one brings the saga to its end.
"""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from coordinator.driving import Driver
from coordinator.errors import JournalBroken
from coordinator.journal.base import Record
from coordinator.journal.liveness import Instance
from coordinator.journal.sqlite import SqliteJournal
from coordinator.last_pass import LastPass
from coordinator.runner import Runner
from coordinator.watchdog import Watchdog
from tests.disk.cases import folder
from tests.disk.disk import Fault
from tests.disk.full_disk import Submissions, full_disk_case
from tests.disk.outcome import report
from tests.disk.world import DiskWorld
from tests.sim import virtual_time
from tests.sim.adapter import SimAdapter
from tests.sim.faults import FaultyAdapter, Process
from tests.sim.plans import ASSETS
from tests.sim.preimages import Preimages

#: The confirm of ours whose first sending does not arrive, in plans with a secret.
POINT = "submit lock.confirm.effect#1"


@pytest.mark.parametrize("full", [False, True])
def test_stored_bytes_and_the_preimage_leave_while_nothing_can_be_written(*, full: bool) -> None:
    seen = full_disk_case("reference", POINT, full=full)

    assert seen.written == 0
    assert "lock.confirm.effect" in seen.sent
    assert seen.delivered >= 1
    assert seen.redeemed == 1, "the payee never learnt the preimage"
    assert seen.processes > 1, "no other process was started meanwhile"
    # Nothing but what was durable before: confirms, and the forwards that are out already.
    assert {name.split(".")[1] for name in seen.sent} <= {"confirm"}, seen.sent
    how = "nothing grows" if full else "no writes"
    report("disk full", {(how, "after a reveal"): seen.processes}, [], 2)


def test_a_preimage_that_was_not_delivered_when_the_disk_filled_is_delivered() -> None:
    seen = full_disk_case("holds", "submit gift.confirm.effect#1", full=True)

    assert seen.delivered >= 1
    assert seen.redeemed >= 1
    # The other hold is confirmed by a transaction of ours that carries its preimage: its bytes were
    # not durable yet, so it waits for space.
    assert seen.sent == []
    report("disk full", {("nothing grows", "before a delivery"): seen.processes}, [], 2)


def test_a_process_that_can_not_even_take_a_saga_over_sends_what_it_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with folder() as place, monkeypatch.context() as patch:
        patch.setattr(LastPass, "take", silent)
        faults = Submissions({POINT: "error"})
        world = DiskWorld("reference", faults, folder=place, appended=fill, max_ticks=9)
        world.run()
        patch.undo()
        assert "lock.confirm.effect" not in faults.submitted

        said = virtual_time.run(world.clock, take_over(world))

        assert "lock.confirm.effect" in faults.submitted
        assert said.endswith("2 attempts, 1 preimages"), said
        assert len(world.told) == 1
        world.leave()


def fill(world: DiskWorld, records: Sequence[Record]) -> None:
    if any(record.kind == "reveal" for record in records):
        world.break_disk(Fault(1, "full", lasting=True, full=True))


async def take_over(world: DiskWorld) -> str:
    """Do what ``coordinator resume --all`` does, as far as a full disk lets it; return what it
    says that it sent."""
    process = Process(asyncio.Event())
    instance = Instance.enter(world.path)
    journal = cast("SqliteJournal", world.open_journal(process))
    adapters = {
        name: FaultyAdapter(SimAdapter(chain, ASSETS), world.faults, process)
        for name, chain in world.chains.items()
    }
    for adapter in adapters.values():
        await adapter.open()
    runner = Runner(
        journal=journal, adapters=adapters, secrets=Preimages(), deliver=world._deliver,
        clock=virtual_time.VirtualClock(world.clock), instance=instance.name,
    )  # fmt: skip
    watchdog = Watchdog(runner.waking.earliest_due_ms, lambda _notice: None)
    driver = Driver(journal=journal, instance=instance, runner=runner, watchdog=watchdog)
    (row,) = driver.unattended()
    with pytest.raises(JournalBroken):
        await driver.take_over(row)
    said = await driver.send_durable()
    instance.leave()
    return said


async def silent(_self: LastPass, _states: object) -> None:
    return


def test_without_a_last_round_nothing_would_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LastPass, "take", silent)

    seen = full_disk_case("reference", POINT, full=True)

    assert "lock.confirm.effect" not in seen.sent
    assert (seen.delivered, seen.redeemed) == (0, 0)
