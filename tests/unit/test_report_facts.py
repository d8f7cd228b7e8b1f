"""A report's facts: exact numbers, worked out from records alone."""

from __future__ import annotations

import pytest

from coordinator.journal.base import Record
from coordinator.report import (
    ReportFacts,
    UnreadableRecords,
    facts_of,
    render_html,
    render_markdown,
)
from coordinator.report.value import Flow
from tests.sim.chain import SimChain
from tests.sim.plans import PLANS
from tests.unit.report_scene import START_MS, Writer, moving, rolled_back, simulated, steps

OURS = ("ops", "store", "spare")
COIN = 10**18


def flow(facts: ReportFacts, asset: str, chain: str, origin: str = "ours") -> Flow:
    [found] = [f for f in facts.flows if (f.asset, f.chain, f.origin) == (asset, chain, origin)]
    return found


def test_a_rollback_says_what_was_taken_returned_paid_and_left() -> None:
    facts = facts_of(rolled_back().records)

    alz, btc = flow(facts, "ALZ", "polygon"), flow(facts, "BTC", "bitcoin")
    assert (alz.taken, alz.returned, alz.out, alz.net) == (100 * COIN, 100 * COIN, 0, 0)
    assert (btc.taken, btc.returned, btc.net) == (1_500_000, 1_500_000, 0)
    issued = flow(facts, "ALZ", "ethereum", "issued")
    assert (issued.taken, issued.returned, issued.net) == (0, 0, 0)
    assert {chain: (flow(facts, "GAS", chain).fees, flow(facts, "GAS", chain).net)
            for chain in ("polygon", "bitcoin", "ethereum")} == {
        "polygon": (42, -42), "bitcoin": (42, -42), "ethereum": (7, -7)
    }  # fmt: skip
    assert [alz.words(1), btc.words(1_500_000)] == ["0.000000000000000001", "0.015"]
    assert facts.open_items == ()


def test_a_rollback_traces_every_undo_to_its_execution_reason_and_cause() -> None:
    facts = facts_of(rolled_back().records)

    assert (facts.verdict.kind, facts.verdict.word) == ("rolled_back", "ROLLED BACK")
    assert facts.verdict.cause == "step mint failed: MintPaused()"
    assert [step.id for step in facts.told_steps] == ["mint", "hold", "lock"]
    assert (facts.undone, facts.to_undo) == (2, 2)
    mint, hold, lock = facts.told_steps
    assert (mint.undo, mint.not_undone) == (None, "failed, so nothing to take back")
    undo = lock.undo
    assert undo is not None
    assert undo.undo is not None
    # started, then a record each second: intent, included, done; lock's undo is the last but one.
    assert undo.undo.executed_ms == START_MS + 2000
    assert undo.undo.undone_ms == START_MS + 15_000
    assert undo.undo.delay_ms == 13_000
    assert (undo.undo.reason, undo.undo.cause) == ("atomicity_failure", "MintPaused()")
    assert undo.undo.result == "undone"
    assert (undo.intent_ms, undo.included_ms, undo.final_ms) == tuple(
        START_MS + second * 1000 for second in (13, 14, 15)
    )
    assert (undo.took_ms, undo.outcome_seq) == (2000, 16)
    assert hold.undo is not None
    assert hold.undo.tx != undo.tx


def test_a_report_names_its_place_in_the_log() -> None:
    facts = facts_of(rolled_back().records)

    assert (facts.records, facts.positions) == (17, (103, 151))
    assert (facts.first_hash, facts.head) == (f"{1:064x}", f"{17:064x}")
    assert (facts.closed_ms, facts.decided_ms) == (START_MS + 16_000, START_MS + 9000)


@pytest.mark.parametrize(
    "case",
    [
        f"plan={plan},fail={spec.id}:{how}"
        for plan in PLANS
        for spec in PLANS[plan]
        if not spec.after_pivot
        for how in ("refused", "reverted")
    ],
)
def test_the_net_of_a_rolled_back_saga_is_what_the_simulated_chains_show(case: str) -> None:
    world, records = simulated(case)
    facts = facts_of(records)

    assert facts.state == "rolled_back"
    assert all(f.balanced and f.out == f.doubt == f.delivered == 0 for f in facts.flows)
    for name, chain in world.chains.items():
        for asset in {f.asset for f in facts.flows}:
            change = sum(
                chain.ledger.balances[account, asset] - world.starts[name].get((account, asset), 0)
                for account in OURS
            )
            told = sum(f.net for f in facts.flows if (f.asset, f.chain) == (asset, name))
            assert change == told - paid_beside(chain, asset, records), (name, asset)


def paid_beside(chain: SimChain, asset: str, records: list[Record]) -> int:
    """What transactions of ours cost that no record names: another wallet took the coin."""
    named = {record.data["tx"] for record in records if record.kind == "intent"}
    return sum(
        receipt.tx.fee
        for tx_id, receipt in chain.ledger.receipts.items()
        if tx_id not in named and asset == chain.native
    )


def test_a_committed_saga_says_what_was_delivered_and_kept() -> None:
    _, records = simulated("plan=reference,fail=none")
    facts = facts_of(records)

    assert facts.verdict.word == "COMMITTED"
    held = flow(facts, "BTC", "bit")
    assert (held.taken, held.delivered, held.returned) == (100_000, 100_000, 0)
    assert held.net == -100_000 - held.fees
    _, records = simulated("plan=transfers,fail=none")
    moved = flow(facts_of(records), "BTC", "bit")
    assert (moved.taken, moved.kept, moved.delivered) == (100_000, 100_000, 0)
    assert moved.net == -moved.fees < 0


def test_every_flow_is_balanced_after_every_record_of_every_plan() -> None:
    for plan, specs in PLANS.items():
        fails = ["none", *(f"{spec.id}:reverted" for spec in specs if not spec.after_pivot)]
        for fail in fails:
            _, records = simulated(f"plan={plan},fail={fail}")
            for count in range(1, len(records) + 1):
                facts = facts_of(records[:count])
                for told in facts.flows:
                    assert told.balanced, (plan, fail, count)
                    assert all(sum(p.amounts.values()) == told.planned for p in told.points)


def test_an_unknown_outcome_is_in_doubt_and_not_taken() -> None:
    facts = facts_of(Writer(*steps()).intent("lock").records)

    alz = flow(facts, "ALZ", "polygon")
    assert (alz.taken, alz.doubt, alz.net) == (0, 100 * COIN, 0)
    assert [item.kind for item in facts.open_items] == ["value out", "waits"]
    assert facts.closed_ms is None


def test_an_undo_returns_nothing_before_it_is_final() -> None:
    writer = Writer(*steps()).executed("lock").decided("rollback").intent("lock", "undo")
    alz = flow(facts_of(writer.included("lock", "undo").records), "ALZ", "polygon")
    assert (alz.returned, alz.out) == (0, 100 * COIN)

    alz = flow(facts_of(writer.done("lock", "undo").records), "ALZ", "polygon")
    assert (alz.returned, alz.out) == (100 * COIN, 0)


def test_a_write_off_is_given_up_and_an_open_item() -> None:
    writer = Writer(*steps()).executed("lock").decided("rollback")
    writer.add("verdict", step="lock", dir="undo", verdict="write_off", by=["anna", "ben"],
               reason="the vault is gone", args={})  # fmt: skip
    writer.closed("closed_by_operator", GAS="21")
    facts = facts_of(writer.records)

    assert facts.verdict.word == "CLOSED BY OPERATOR"
    alz = flow(facts, "ALZ", "polygon")
    assert (alz.taken, alz.returned, alz.given_up) == (100 * COIN, 0, 100 * COIN)
    assert alz.net == -100 * COIN
    assert [item.kind for item in facts.open_items] == ["given up"]
    assert [(act.who, act.by_person) for act in facts.acts] == [("anna, ben", True)]
    assert "the vault is gone" in facts.acts[0].text


# ---------------------------------------------------------------- proofs


def test_a_proof_belongs_to_the_outcome_that_it_was_made_for() -> None:
    writer = Writer(*steps(), proof="wanted").executed("lock").proved("lock")
    evidence = facts_of(writer.records).steps[0].forward.evidence
    assert evidence.status == "proved"
    assert evidence.proofs == (("evm.receipt/v1", "12" * 32), ("evm.storage/v1", "34" * 32))

    writer.add("withdrawn", step="lock", dir="forward", was="done", why="reorganised away")
    assert facts_of(writer.records).steps[0].forward.evidence.status == "nothing"

    writer.done("lock")
    assert facts_of(writer.records).steps[0].forward.evidence.status == "missing"

    writer.unproved("lock")
    evidence = facts_of(writer.records).steps[0].forward.evidence
    assert (evidence.status, evidence.reason) == ("unproved", "root_mismatch")
    assert evidence.detail == "the roots differ"


def test_an_old_plan_asked_for_no_proofs() -> None:
    forward = facts_of(Writer(*steps()).executed("lock").records).steps[0].forward

    assert forward.evidence.status == "not asked"


def test_a_lacking_proof_is_an_open_item_with_its_reason() -> None:
    writer = Writer(*steps(), proof="required").executed("lock").unproved("lock").executed("hold")

    items = [i.text for i in facts_of(writer.records).open_items if i.kind == "no proof"]

    assert items == [
        "forward of lock on polygon: root_mismatch (the roots differ)",
        "forward of hold on bitcoin: not made yet",
    ]


# ---------------------------------------------------------------- what went otherwise


def test_an_effect_that_a_chain_took_back_is_told_and_its_times_are_void() -> None:
    writer = Writer(*steps()).intent("lock").included("lock")
    writer.add("orphaned", step="lock", dir="forward", tx=writer.tx, block="0x00", height=101)
    forward = facts_of(writer.records).steps[0].forward

    assert (forward.included_ms, forward.final_ms, forward.phase) == (None, None, "unknown")
    assert [(s.kind, s.until_ms) for s in forward.segments] == [
        ("sent", START_MS + 2000),
        ("block", START_MS + 3000),
        ("sent", None),
    ]
    facts = facts_of(writer.included("lock").done("lock").records)
    assert facts.steps[0].forward.included_ms == START_MS + 4000
    assert [(act.kind, act.by_person) for act in facts.acts] == [("orphaned", False)]


def test_fees_of_an_outcome_that_was_withdrawn_are_not_counted_twice() -> None:
    writer = Writer(*steps()).executed("lock")
    writer.add("withdrawn", step="lock", dir="forward", was="done", why="gone").done(
        "lock", fee="5"
    )

    assert flow(facts_of(writer.records), "GAS", "polygon").fees == 5


def test_a_closing_record_with_other_fees_is_an_open_item() -> None:
    writer = Writer(*steps()).failed("lock").decided("rollback").closed("rolled_back", GAS="8")

    [item] = facts_of(writer.records).open_items

    assert item.kind == "fees differ"
    assert "says 8 base units, the outcomes sum to 7" in item.text


def test_a_stuck_saga_says_who_is_asked_what_and_where_the_value_is() -> None:
    writer = Writer(*steps()).executed("lock").intent("hold")
    writer.add("stuck", step="hold", dir="forward", reason="waiting", question="is it moving?",
               verdicts=["burn", "adopt"], until_s=START_MS // 1000)  # fmt: skip
    facts = facts_of(writer.records)

    assert (facts.verdict.kind, facts.verdict.word) == ("stuck", "RUNNING, STUCK")
    first, *rest = facts.open_items
    assert first.kind == "needs a person"
    assert "is it moving?" in first.text
    assert "verdicts allowed: burn, adopt" in first.text
    assert [item.kind for item in rest][:2] == ["value out", "value out"]
    assert (
        "100 ALZ (100000000000000000000 base units) on polygon, step lock: escrow" in rest[0].text
    )


def test_every_process_that_drove_the_saga_is_named() -> None:
    writer = Writer(*steps()).taken_over("2-two")

    assert facts_of(writer.records).instances == ("1-one", "2-two")


# ---------------------------------------------------------------- form


def test_the_same_records_give_the_same_bytes() -> None:
    for render in (render_html, render_markdown):
        pages = {render(facts_of(rolled_back("wanted").records)) for _ in range(2)}
        assert len(pages) == 1


def test_records_that_are_no_saga_are_refused_with_a_reason() -> None:
    whole = rolled_back().records
    damaged = Writer(*steps()).intent("lock").add("done", step="lock", dir="forward").records
    for records in ([], whole[1:], [*whole[:3], *whole[4:]], damaged):
        with pytest.raises(UnreadableRecords, match="can not be told as a saga") as refused:
            facts_of(records)
        assert refused.value.exit_code == 40


def test_a_report_can_be_made_after_every_single_record() -> None:
    records = rolled_back("wanted").records
    for count in range(1, len(records) + 1):
        facts = facts_of(records[:count])
        assert facts.verdict.word in render_html(facts)
        assert facts.verdict.word in render_markdown(facts)


def test_a_step_that_acts_after_the_pivot_is_delivered_by_its_confirm() -> None:
    _, records = simulated("plan=onward,fail=none")
    facts = facts_of(records)

    paid = flow(facts, "ALZ", "eth")
    assert (paid.taken, paid.delivered) == (100_000, 100_000)
    moved = flow(facts, "BTC", "bit")
    assert (moved.taken, moved.kept) == (100_000, 100_000)


def test_a_step_that_moves_between_own_accounts_is_out_of_none_of_them() -> None:
    step = moving("move", "bitcoin", 1_500_000, asset="BTC", target="bc1qours", confirm=False)
    facts = facts_of(Writer(step).executed("move").records)

    told = flow(facts, "BTC", "bitcoin")
    assert (told.taken, told.kept, told.out, told.net) == (1_500_000, 1_500_000, 0, 0)


def test_a_pause_of_a_chain_is_told_with_the_sagas_that_it_touched() -> None:
    def pause(kind: str, name: str, seq: int, at_ms: int) -> Record:
        data = {"scope": "chain", "name": name, "accounts": [], "by": "ada", "reason": "look"}
        return Record(seq, "operator", seq, kind, 1, at_ms, data, "", "", b"")

    writer = Writer(*steps()).executed("lock")
    operator = [
        pause("paused", "polygon", 1, START_MS - 1), pause("unpaused", "polygon", 2, START_MS - 1),
        pause("paused", "elsewhere", 3, writer.at_ms), pause("paused", "bitcoin", 4, writer.at_ms),
    ]  # fmt: skip
    facts = facts_of(writer.records, None, operator)
    assert [(act.kind, act.who, act.text) for act in facts.acts] == [
        ("paused (operator)", "ada", "paused chain bitcoin: look")
    ]
    (item,) = [item for item in facts.open_items if item.kind == "paused"]
    assert "chain bitcoin is paused by ada: look: hold held back" in item.text
    assert item.command == "coordinator unpause --chain bitcoin --reason TEXT"
