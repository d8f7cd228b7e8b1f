"""What can happen to a saga in the simulated world, one story each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from adapters.base import Attempt, ClaimBook, Prepared, Purpose, Submission, Task
from tests.sim.adapter import SimAdapter
from tests.sim.chain import FATES
from tests.sim.checker import check
from tests.sim.droughts import drain, refill
from tests.sim.faults import Faults
from tests.sim.plans import ASSETS
from tests.sim.world import World, evidence_of, unfinished


def play(
    plan: str, events: Mapping[int, Callable[[World], None]] | None = None, **options: Any
) -> World:
    """Run a world to its end and check it."""
    world = World(plan, events=events or {}, **options)
    world.run()
    check(evidence_of(world))
    return world


def ends(world: World) -> set[str]:
    return {row.state for row in world.rows()}


def kinds(world: World) -> list[str]:
    return [record.kind for record in world.store.records]


def test_twenty_sagas_share_accounts_and_coins() -> None:
    world = play("reference", sagas=20)
    assert ends(world) == {"committed"}


def test_two_coordinators_on_one_journal_do_everything_once() -> None:
    world = play("reference", sagas=4, coordinators=2)
    assert ends(world) == {"committed"}
    assert kinds(world).count("decided") == 4


@pytest.mark.parametrize("op", ["mint", "lock"])
def test_two_coordinators_roll_back_once(op: str) -> None:
    world = World("reference", sagas=3, coordinators=2)
    chain = world.chains["eth" if op == "mint" else "poly"]
    chain.trouble.reverting.add(op)
    world.run()
    check(evidence_of(world))
    assert ends(world) == {"rolled_back"}


def test_a_transaction_with_a_preimage_is_built_only_when_its_reveal_is_durable() -> None:
    world = World("holds")
    seen: list[tuple[bool, bool]] = []

    class Watched(SimAdapter):
        async def prepare(
            self, task: Task, purpose: Purpose, book: ClaimBook, former: Sequence[Attempt]
        ) -> Prepared:
            if task.direction == "confirm":
                revealed = any(
                    record.kind == "reveal" and record.data["step"] == task.step
                    for record in world.store.records
                )
                seen.append((task.preimage is not None, revealed))
            return await super().prepare(task, purpose, book, former)

    world.make_adapter = lambda chain: Watched(chain, ASSETS)
    world.run()
    check(evidence_of(world))
    assert ends(world) == {"committed"}
    assert set(seen) == {(True, True)}, "asked too early, or without what the reveal lets out"


def test_a_payee_that_takes_its_time_is_waited_for() -> None:
    world = play("reference", payee_ticks=12)
    assert ends(world) == {"committed"}


def test_an_alarm_shows_what_a_node_said_to_the_bytes_and_which_they_are() -> None:
    said = "min relay fee not met"

    class Refusing(SimAdapter):
        async def submit(self, tx_id: str, raw: bytes) -> Submission:
            if b"refund" in raw:
                return Submission(accepted=False, hint=said)
            return await super().submit(tx_id, raw)

    def fails(world: World) -> None:
        world.chains["eth"].trouble.reverting.add("mint")

    world = play("reference", {1: fails}, make_adapter=lambda c: Refusing(c, ASSETS), max_ticks=300)
    stuck = [record.data for record in world.store.records if record.kind == "stuck"][-1]
    (attempt, *_) = stuck["evidence"]["attempts"]
    assert (stuck["code"], stuck["evidence"]["said"]) == ("not_included", said)
    assert attempt["tx"] in {r.data["tx"] for r in world.store.records if r.kind == "intent"}
    assert attempt["claim"]
    assert stuck["evidence"]["height"] > 0


def test_a_payee_that_never_redeems_leaves_the_saga_stuck_with_a_question() -> None:
    world = play("reference", payee_ticks=10_000, max_ticks=300)
    assert unfinished(world)
    [row] = world.rows()
    assert row.stuck
    stuck = [record for record in world.store.records if record.kind == "stuck"][-1]
    assert stuck.data["step"] == "hold"
    assert stuck.data["question"]
    assert "undo" not in {record.data.get("dir") for record in world.store.records}, (
        "after a reveal nothing is refunded without a person"
    )


def test_an_account_that_runs_dry_before_the_step_rolls_the_plan_back() -> None:
    world = play("reference", {2: drain})
    assert ends(world) == {"rolled_back"}
    refused = [record for record in world.store.records if record.kind == "refused"]
    assert [record.data["code"] for record in refused] == ["unfunded"]


def test_an_account_that_runs_dry_during_confirm_is_asked_for_and_goes_on_when_funded() -> None:
    world = play("reference", {4: drain, 30: refill})
    assert ends(world) == {"committed"}
    stuck = [record for record in world.store.records if record.kind == "stuck"]
    assert any(record.data.get("fund", [""])[0] == "ops" for record in stuck)


def test_a_forward_that_lands_during_the_rollback_is_undone_or_burnt() -> None:
    def free(world: World) -> None:
        world.chains["eth"].trouble.stuck.clear()

    world = World("transfers", events={16: free})
    world.chains["eth"].trouble.stuck.add("transfer")
    world.run()
    check(evidence_of(world))
    assert ends(world) == {"rolled_back"}


def test_fees_rise_and_the_burn_still_wins_over_a_waiting_forward() -> None:
    def free(world: World) -> None:
        world.chains["eth"].trouble.stuck.clear()

    world = World("reference", events={40: free})
    world.chains["eth"].trouble.stuck.update({"mint", "tombstone"})
    world.run()
    check(evidence_of(world))
    assert ends(world) == {"rolled_back"}


def test_a_shallow_reorganisation_changes_nothing_in_the_end() -> None:
    for tick in range(2, 9):
        for fate in FATES:
            events = {
                tick: lambda world, fate=fate: [
                    chain.reorg(1, fate) for chain in world.chains.values()
                ]
            }
            world = play("reference", events)  # type: ignore[arg-type]
            assert ends(world) <= {"committed", "rolled_back"}


def _unprovable(world: World) -> None:
    world.chains["poly"].trouble.unprovable = True


def _provable(world: World) -> None:
    world.chains["poly"].trouble.unprovable = False


def test_without_a_required_proof_a_saga_rolls_back_at_its_deadline() -> None:
    world = play("reference", {1: _unprovable})
    assert ends(world) == {"rolled_back"}
    [decided] = [record for record in world.store.records if record.kind == "decided"]
    assert decided.data["cause"]["kind"] == "unproved"
    unproved = [record.data for record in world.store.records if record.kind == "unproved"]
    assert {(data["step"], data["dir"], data["reason"]) for data in unproved} == {
        ("lock", "forward", "root_mismatch"),
        ("lock", "undo", "root_mismatch"),
    }


def test_a_required_proof_that_comes_late_commits() -> None:
    world = play("reference", {1: _unprovable, 10: _provable})
    assert ends(world) == {"committed"}
    said = [record.kind for record in world.store.records if record.kind.endswith("proved")]
    assert said[0] == "unproved"


def test_a_wanted_proof_that_does_not_come_holds_nothing_up() -> None:
    world = World("reference")
    world.chains["bit"].trouble.unprovable = True
    world.run()
    check(evidence_of(world))
    assert ends(world) == {"committed"}


def test_a_reorganised_block_makes_its_proof_stale_and_it_is_made_anew() -> None:
    """Blocks that were final are taken back while the saga waits for its third step."""
    world = World("reference", events={9: lambda world: world.chains["poly"].reorg(8)})
    world.chains["eth"].trouble.stuck.add("mint")
    world.events = {**world.events, 20: lambda world: world.chains["eth"].trouble.stuck.clear()}
    world.run()
    check(evidence_of(world, finality_broke=True))
    proved = [
        record.data
        for record in world.store.records
        if record.kind == "proved" and record.data["step"] == "lock"
        if record.data["dir"] == "forward"
    ]
    assert len(proved) == 2
    assert proved[0]["block"] != proved[1]["block"]


def test_a_crash_in_every_process_in_a_row_is_survived() -> None:
    points = {f"append intent:lock.forward#{n}": "crash_after" for n in (1, 2, 3)}
    points |= {f"observe lock.forward#{n}": "crash_before" for n in range(1, 9)}
    world = play("reference", faults=Faults(points))
    assert len(world.faults.fired) >= 9
    assert world.lives >= 9
    assert ends(world) == {"committed"}


def test_a_nonce_that_nobody_made_durable_does_not_block_the_later_ones() -> None:
    """The first saga takes a nonce and dies before its intent; the second one's nonce is above."""
    world = play(
        "transfers",
        sagas=2,
        faults=Faults(
            {
                "prepare one.forward.effect#1": "delay",
                "append intent:one.forward#1": "crash_after",
                "preflight one.forward#3": "rejected",
            }
        ),
    )
    assert len(world.faults.fired) == 3
    assert not unfinished(world), "a saga waits for a nonce that nobody will ever use"
