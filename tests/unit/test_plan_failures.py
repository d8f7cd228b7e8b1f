"""The failure table and the worst case: complete, in reverse order, and honest about the pivot."""

from coordinator.plan import check_lock, render_report
from coordinator.plan.failures import OUTCOMES, failure_table, worst_cases
from proofs import canonical
from tests.unit.plan_locks import lock, pay, retriable, vault


def test_every_prefix_has_an_answer_to_every_outcome() -> None:
    rows = failure_table(lock())
    assert [(row.after, row.outcome) for row in rows] == [
        (after, outcome) for after in range(3) for outcome in OUTCOMES
    ]
    assert all(row.action for row in rows)


def test_a_failure_undoes_what_was_done_in_reverse_and_not_the_step_that_failed() -> None:
    undone = {(row.step, row.outcome): row.undone for row in failure_table(lock())}
    assert undone["lock", "fails"] == ()
    assert undone["hold", "fails"] == ("lock",)
    assert undone["mint", "fails"] == ("hold", "lock")
    assert undone["mint", "unknown"] == ("hold", "lock")
    assert undone["mint", "late success"] == ("mint", "hold", "lock")


def test_an_unknown_attempt_is_ended_by_what_its_step_allows() -> None:
    for kill, words in (
        (["burn"], "burn its claim"),
        (["tombstone"], "cancel its operation id"),
        ([], "ask a person"),
    ):
        row = next(r for r in failure_table(lock(vault(kill=kill))) if r.outcome == "unknown")
        assert words in row.action


def test_a_pivot_decides_by_itself_and_nothing_goes_back_after_it() -> None:
    plan = lock(vault(), pay(), retriable())
    rows = {(row.step, row.outcome): row for row in failure_table(plan)}
    assert rows["pay", "fails"].end == "rolled_back"
    assert rows["pay", "fails"].undone == ("lock",)
    assert rows["pay", "late success"].end == "committed"
    assert rows["pay", "late success"].undone == ()
    for outcome in OUTCOMES:
        row = rows["after", outcome]
        assert (row.end, row.undone) == ("committed", ())


def test_the_worst_case_adds_forward_and_undo_of_all_and_the_burn_of_the_failing_step() -> None:
    cases = worst_cases(lock())
    # each step: forward 10, confirm 7, undo 8, burn 11
    assert [case.fees["GAS"] for case in cases] == [29, 18 + 29, 36 + 29, 54]
    assert [dict(case.bound) for case in cases] == [
        {}, {"ALZ": 1000}, {"ALZ": 1000, "BTC": 1000}, {"ALZ": 1000, "BTC": 1000},
    ]  # fmt: skip
    assert all(not case.irreversible for case in cases)


def test_the_worst_case_after_the_pivot_has_no_undo_but_names_what_is_gone() -> None:
    cases = worst_cases(lock(vault(), pay(), retriable()))
    assert cases[1].irreversible == {}
    assert cases[2].irreversible == {"BTC": 1000}
    assert cases[2].bound == {"ALZ": 1000}
    outward = [{"asset": "ALZ", "amount": "5", "source": "ours", "target": "outside"}]
    late = worst_cases(lock(pay(), retriable(moves=outward)))[2]
    assert late.irreversible == {"BTC": 1000, "ALZ": 5}
    # lock 10 + 7, pay 10 + 7, after 10 + 7
    assert cases[2].fees["GAS"] == 51


def test_the_page_shows_order_value_failures_worst_case_and_digest() -> None:
    plan = lock()
    report = check_lock(plan)
    digest = canonical.digest(plan)
    page = render_report(plan, digest, report, {"lock": "ok"})
    for part in (
        f"PLAN plan   digest {digest[:4]}…{digest[-4:]}   deadline 20s   NOTHING SENT",
        "1  lock  east", "void", "refund@+60", "ok", "not simulated",
        "confirm order: lock, hold, mint", "rollback order: mint → hold → lock",
        "conserved on 4 of 4 rollback paths",
        "value BTC: west:escrow +0.00001 | west:ours -0.00001",
        "late success: undo it too, first of all", "undo mint → hold → lock",
        "worst case: fees 65 GAS; bound until undone or confirmed 10 ALZ, 0.00001 BTC",
        f"digest {digest}\n",
    ):  # fmt: skip
        assert part in page, part


def test_a_refused_plan_says_so_in_its_first_line() -> None:
    plan = lock(pay(), vault())
    page = render_report(plan, canonical.digest(plan), check_lock(plan))
    assert page.splitlines()[0].endswith("REFUSED")
    assert "E12 step 'lock': may fail after 'pay'" in page


def test_the_report_is_json_in_the_canonical_subset() -> None:
    plan = lock()
    report = check_lock(plan).as_json(plan["assets"])
    canonical.encode(report)
    assert report["valid"] is True
    assert report["worst_case"][1]["bound"] == {"ALZ": {"base_units": "1000", "value": "10"}}
    assert report["failure_table"][3]["outcome"] == "late success"


def test_long_addresses_are_cut_in_the_table_and_given_in_full_below() -> None:
    one, like_one, other = "0xAB12" + "0" * 32 + "99FF", "0xAB12" + "1" * 32 + "99FF", "bc1q" * 8
    plan = lock(vault(text=f"lock at {other}", undo_text=f"refund {one} or {like_one}"))
    page = render_report(plan, canonical.digest(plan), check_lock(plan))
    assert "lock at bc1qbc…bc1q  void" in page
    assert f"\n bc1qbc…bc1q = {other}\n" in page
    # these two would look the same
    assert f"refund {one} or {like_one}" in page
