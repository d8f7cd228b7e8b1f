"""A backup that is older than what left this machine never starts, and nothing is ever sent twice.

Every moment of a saga's life is backed up and restored at every later one (DESIGN.md R12).
"""

from contextlib import suppress

import pytest

from coordinator.errors import JournalBroken
from tests.disk.backups import moments, restore
from tests.disk.cases import PLANS, folder
from tests.disk.outcome import report


@pytest.mark.parametrize("plan", PLANS)
def test_a_backup_is_refused_as_soon_as_anything_could_have_left_after_it(plan: str) -> None:
    refused, bad = 0, []
    with folder() as place:
        world, kept = moments(plan, place)
        pairs = [(one, two) for one in range(len(kept)) for two in range(one, len(kept))]
        for one, two in pairs:
            said = restore(kept[one], kept[two], place / f"at-{one}-{two}")
            left = any(moment.leaves for moment in kept[one + 1 : two + 1])
            refused += said is not None
            if (said is not None) != left:
                bad.append(f"backup {one} restored at {two}: left {left}, the start said {said}")
            elif said is not None and "Nothing was sent" not in said:
                bad.append(f"backup {one} restored at {two} does not say what was sent: {said}")
        world.leave()
    report("old backup", {("restored", "refused"): refused}, bad, len(kept))


@pytest.mark.parametrize("plan", PLANS)
def test_a_process_that_is_started_on_any_backup_sends_nothing_that_had_not_left(
    plan: str,
) -> None:
    started, refused, bad = 0, 0, []
    with folder() as place:
        world, kept = moments(plan, place)
        for number, moment in enumerate(kept):
            root = place / f"restored-{number}"
            restore(moment, kept[-1], root)
            world.replace_files(root)
            sent = {one.tx.tx_id for chain in world.chains.values() for one in chain.received}
            times = sum(len(chain.received) for chain in world.chains.values())
            told = len(world._deliveries)
            refusals = len(world.refusals)
            with suppress(JournalBroken):
                world.resume()
            now = {one.tx.tx_id for chain in world.chains.values() for one in chain.received}
            again = sum(len(chain.received) for chain in world.chains.values())
            if len(world.refusals) > refusals:
                refused += 1
                if again != times or len(world._deliveries) != told:
                    bad.append(f"backup {number} was refused, and yet something was sent")
            else:
                started += 1
                if now != sent:
                    bad.append(f"backup {number} started and sent {sorted(now - sent)}")
                if {row.state for row in world.rows()} != {"committed"}:
                    bad.append(f"backup {number} did not come to the same end")
        world.leave()
    fired = {("driven on", "refused"): refused, ("driven on", "started"): started}
    report("old backup", fired, bad, len(kept))
    assert started, "no backup is recent enough to start: nothing was shown of those that may"
    assert refused >= 5, "no backup was refused: nothing was shown of those that must be"
