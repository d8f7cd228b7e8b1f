"""Rules that records alone must keep, each seen to fail on a history that breaks it."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from proofs.errors import Refused
from proofs.report import Check
from proofs.saga_rules import RULES, check_rules, course_of
from tests.unit import bitcoin_step_scene as btc
from tests.unit.bundle_scene import Story, committed, lock_of, rechained, rolled_back

Records = list[dict[str, Any]]
NAMES = {rule().name for rule in RULES} | {"transitions"}


def found(records: Records, name: str) -> Check:
    [check] = [check for check in check_rules(records) if check.name == f"rules.{name}"]
    return check


def broken(records: Records) -> set[str]:
    checks = check_rules(records)
    return {check.name.removeprefix("rules.") for check in checks if check.status == "failed"}


def at(records: Records, kind: str, step: str | None = None, way: str | None = None) -> int:
    """Index of the first record of a kind about an effort."""
    for index, record in enumerate(records):
        data = record["data"]
        about = step in {None, data.get("step")} and way in {None, data.get("dir")}
        if record["kind"] == kind and about:
            return index
    raise AssertionError(f"no {kind} of {way} {step}")


def changed(records: Records, index: int, **data: Any) -> Records:
    copied = copy.deepcopy(records)
    copied[index]["data"] |= data
    return rechained(copied)


def without(records: Records, *indexes: int) -> Records:
    return rechained([one for n, one in enumerate(records) if n not in indexes])


def inserted(records: Records, index: int, kind: str, data: dict[str, Any]) -> Records:
    record = {**copy.deepcopy(records[index - 1]), "kind": kind, "data": data}
    return rechained([*records[:index], record, *records[index:]])


def moved(records: Records, source: int, target: int) -> Records:
    copied = list(records)
    copied.insert(target, copied.pop(source))
    return rechained(copied)


@pytest.mark.parametrize("tell", [committed, rolled_back])
def test_an_honest_history_keeps_every_rule(tell: Callable[[], Story]) -> None:
    checks = check_rules(tell().records)

    assert {check.name.removeprefix("rules.") for check in checks} == NAMES
    assert [check for check in checks if check.status != "passed"] == []


def test_a_history_that_has_not_ended_can_not_be_called_complete() -> None:
    records = committed().records[:-1]

    assert found(records, "closing").status == "not verified"
    assert broken(records) == set()


# ------------------------------------------------------------ what each rule refuses


def _no_intent() -> tuple[Records, str]:
    records = committed().records
    return without(records, at(records, "intent", "lock", "forward")), "intents"


def _intent_after_its_effect() -> tuple[Records, str]:
    """Its transaction is in a block first, told as another attempt's outcome."""
    records = committed().records
    late = records[at(records, "intent", "lock", "confirm")]
    seen = {
        **late["data"],
        "n": 2,
        "tx": records[at(records, "done", "lock", "forward")]["data"]["tx"],
    }
    return inserted(records, at(records, "included", "lock", "confirm"), "intent", seen), "intents"


def _served_by_another_effort() -> tuple[Records, str]:
    records = committed().records
    mint = records[at(records, "intent", "mint", "forward")]["data"]["tx"]
    first, last = (
        at(records, "included", "mint", "confirm"),
        at(records, "proved", "mint", "confirm"),
    )
    copied = copy.deepcopy(records)
    for index in range(first, last + 1):
        copied[index]["data"]["tx"] = mint
    return rechained(copied), "intents"


def _two_intents_of_one_transaction() -> tuple[Records, str]:
    records = committed().records
    index = at(records, "intent", "lock", "forward")
    again = {**records[index]["data"], "n": 2}
    return inserted(records, index + 1, "intent", again), "intents"


def _attempt_number_left_out() -> tuple[Records, str]:
    records = committed().records
    return changed(records, at(records, "intent", "lock", "forward"), n=2), "intents"


def _hold_without_hashlock() -> tuple[Records, str]:
    records = copy.deepcopy(committed().records)
    del records[at(records, "intent", "hold", "forward")]["data"]["hashlock"]
    return rechained(records), "intents"


def _one_transaction_for_lock_and_refund() -> tuple[Records, str]:
    """The forward transaction is told again as its own compensation."""
    records = copy.deepcopy(rolled_back().records)
    forward = records[at(records, "done", "lock", "forward")]["data"]
    for record in records:
        data = record["data"]
        if data.get("step") == "lock" and data.get("dir") == "undo" and "block" in data:
            data["tx"] = forward["tx"]
    return rechained(records), "one-effect"


def _one_claim_for_two_efforts() -> tuple[Records, str]:
    records = committed().records
    claim = records[at(records, "intent", "lock", "forward")]["data"]["claim"]
    return changed(records, at(records, "intent", "mint", "forward"), claim=claim), "claims"


def _another_claim_in_one_generation() -> tuple[Records, str]:
    records = committed().records
    index = at(records, "intent", "lock", "forward")
    account = records[index]["data"]["claim"][0][0]
    again = {**records[index]["data"], "n": 2, "tx": f"0x{'ab' * 32}", "claim": [[account, 99]]}
    return inserted(records, index + 1, "intent", again), "claims"


def _other_coins_than_reserved() -> tuple[Records, str]:
    records = committed().records
    coins = [["hold", "west", btc.OTHER]]
    return changed(records, 0, coins=coins), "claims"


def _step_before_the_one_before() -> tuple[Records, str]:
    records = committed().records
    return moved(records, at(records, "intent", "mint", "forward"), 1), "forward-order"


def _after_the_deadline() -> tuple[Records, str]:
    records = copy.deepcopy(committed().records)
    records[0]["data"]["deadline_s"] = records[0]["at"] // 1000
    return rechained(records), "forward-order"


def _committed_too_early() -> tuple[Records, str]:
    records = committed().records
    return moved(
        records, at(records, "decided"), at(records, "done", "mint", "forward")
    ), "decision"


def _decided_twice() -> tuple[Records, str]:
    records = committed().records
    index = at(records, "decided")
    return inserted(records, index + 1, "decided", records[index]["data"]), "decision"


def _revealed_before_the_decision() -> tuple[Records, str]:
    records = committed().records
    return moved(records, at(records, "reveal"), at(records, "decided")), "transitions"


def _another_hashlock_revealed() -> tuple[Records, str]:
    records = committed().records
    return changed(records, at(records, "reveal"), hashlock="00" * 32), "reveals"


def _redeemed_before_it_was_revealed() -> tuple[Records, str]:
    records = committed().records
    claim = {**records[at(records, "intent", "lock", "confirm")]["data"], "step": "hold"}
    claim |= {"tx": "cd" * 32, "chain": "west", "claim": [[btc.OTHER, 0]]}
    return inserted(records, at(records, "reveal"), "intent", claim), "reveals"


def _undone_in_forward_order() -> tuple[Records, str]:
    """The lock is refunded first, then the hold."""
    story = Story(lock_of())
    story.start()
    story.evm("lock", "forward", 1)
    story.hold_forward()
    story.decide("rollback")
    story.evm("lock", "undo", 3)
    story.hold_refunded()
    story.close("rolled_back")
    return story.records, "undo-order"


def _undo_before_the_undo_before_is_final() -> tuple[Records, str]:
    records = rolled_back().records
    intent = at(records, "intent", "lock", "undo")
    return moved(records, intent, at(records, "done", "hold", "undo")), "undo-order"


def _undone_after_a_commit() -> tuple[Records, str]:
    story = Story(lock_of())
    story.start()
    story.evm("lock", "forward", 1)
    story.hold_forward()
    story.evm("mint", "forward", 1)
    story.decide("commit")
    story.evm("lock", "undo", 3)
    return story.records, "undo-order"


def _undo_without_its_cause() -> tuple[Records, str]:
    records = rolled_back().records
    cause = {"kind": "operator", "text": "a wish"}
    return changed(records, at(records, "done", "lock", "undo"), cause=cause), "undo-records"


def _undo_at_another_time() -> tuple[Records, str]:
    records = rolled_back().records
    return changed(records, at(records, "done", "lock", "undo"), executed_ms=5), "undo-records"


def _undo_without_its_result() -> tuple[Records, str]:
    records = copy.deepcopy(rolled_back().records)
    del records[at(records, "done", "lock", "undo")]["data"]["result"]
    return rechained(records), "undo-records"


def _written_off_by_one() -> tuple[Records, str]:
    records = rolled_back().records
    verdict = {
        "step": "mint", "dir": "forward", "verdict": "write_off", "by": ["Ann", " ann "],
        "reason": "lost", "args": {},
    }  # fmt: skip
    return inserted(records, at(records, "decided"), "verdict", verdict), "operator"


def _given_up_and_called_rolled_back() -> tuple[Records, str]:
    records = rolled_back().records
    verdict = {
        "step": "mint", "dir": "forward", "verdict": "write_off", "by": ["Ann", "Bob"],
        "reason": "lost", "args": {},
    }  # fmt: skip
    return inserted(records, at(records, "decided"), "verdict", verdict), "operator"


def _operator_end_that_nobody_ruled() -> tuple[Records, str]:
    records = rolled_back().records
    return changed(records, len(records) - 1, state="closed_by_operator"), "operator"


def _committed_without_a_confirm() -> tuple[Records, str]:
    records = committed().records
    last = [n for n, one in enumerate(records) if one["data"].get("step") == "mint"]
    gone = [n for n in last if records[n]["data"].get("dir") == "confirm"]
    return without(records, *gone), "closing"


def _rolled_back_without_an_undo() -> tuple[Records, str]:
    records = rolled_back().records
    gone = [n for n, one in enumerate(records) if one["data"].get("dir") == "undo"]
    lock = [n for n in gone if records[n]["data"]["step"] == "lock"]
    return without(records, *lock), "closing"


def _changed_after_the_end() -> tuple[Records, str]:
    records = committed().records
    verdict = {"step": "mint", "dir": "forward", "verdict": "cap", "by": ["Ann"], "reason": ""}
    return inserted(records, len(records), "verdict", {**verdict, "args": {}}), "after-end"


def _other_fees() -> tuple[Records, str]:
    records = committed().records
    return changed(records, len(records) - 1, fees={"ETH": "1"}), "fees"


def _committed_without_required_evidence() -> tuple[Records, str]:
    records = committed(proof="required").records
    return without(records, at(records, "proved", "hold", "forward")), "proofs"


def _evidence_that_nobody_asked_for() -> tuple[Records, str]:
    return committed(proof="none").records, "proofs"


def _another_generation() -> tuple[Records, str]:
    records = committed().records
    return changed(records, at(records, "intent", "lock", "forward"), gen=2), "transitions"


def _done_twice() -> tuple[Records, str]:
    records = committed().records
    index = at(records, "done", "lock", "forward")
    return inserted(records, index + 1, "done", records[index]["data"]), "transitions"


def _proof_of_another_block() -> tuple[Records, str]:
    records = committed().records
    index = at(records, "proved", "lock", "forward")
    return changed(records, index, block=f"0x{'00' * 32}"), "transitions"


def _wrong_count() -> tuple[Records, str]:
    records = committed().records
    records[-1]["data"]["records"] += 1
    return records, "transitions"


BROKEN = [
    _no_intent, _intent_after_its_effect, _served_by_another_effort,
    _two_intents_of_one_transaction, _attempt_number_left_out, _hold_without_hashlock,
    _one_transaction_for_lock_and_refund, _one_claim_for_two_efforts,
    _another_claim_in_one_generation, _other_coins_than_reserved, _step_before_the_one_before,
    _after_the_deadline, _committed_too_early, _decided_twice, _revealed_before_the_decision,
    _another_hashlock_revealed, _redeemed_before_it_was_revealed, _undone_in_forward_order,
    _undo_before_the_undo_before_is_final, _undone_after_a_commit, _undo_without_its_cause,
    _undo_at_another_time, _undo_without_its_result, _written_off_by_one,
    _given_up_and_called_rolled_back, _operator_end_that_nobody_ruled,
    _committed_without_a_confirm, _rolled_back_without_an_undo, _changed_after_the_end,
    _other_fees, _committed_without_required_evidence, _evidence_that_nobody_asked_for,
    _another_generation, _done_twice, _proof_of_another_block, _wrong_count,
]  # fmt: skip


@pytest.mark.parametrize("history", BROKEN, ids=lambda history: history.__name__[1:])
def test_a_broken_history_is_refused_by_the_rule_it_breaks(
    history: Callable[[], tuple[Records, str]],
) -> None:
    records, rule = history()

    assert rule in broken(records), list(check_rules(records))


def test_value_given_up_by_one_person_is_told_as_that_and_not_as_a_wrong_end() -> None:
    records, _ = _written_off_by_one()
    [check] = [check for check in check_rules(records) if check.name == "rules.operator"]

    assert "by the word of one person" in check.reason


def test_every_rule_is_seen_to_fail() -> None:
    assert {history()[1] for history in BROKEN} == NAMES


# ------------------------------------------------------------ what is allowed all the same


def test_a_payee_may_redeem_two_holds_in_one_transaction() -> None:
    """Each is bound to its own id; a stranger's transaction may hold effects of several steps."""
    records = copy.deepcopy(committed().records)
    redeem = records[at(records, "done", "hold", "confirm")]["data"]
    steps = records[0]["data"]["plan"]["steps"]
    twin = {**copy.deepcopy(steps[1]), "id": "twin"}
    steps.insert(2, twin)
    records[0]["data"]["plan"]["confirm_order"].append("twin")
    hold = [one for one in records if one["data"].get("step") == "hold"]
    for index, record in reversed(list(enumerate(records))):
        if record in hold:
            copied = copy.deepcopy(record)
            copied["data"]["step"] = "twin"
            if record["kind"] == "intent":
                copied["data"] |= {"tx": "ef" * 32, "claim": [[btc.OTHER, 0]]}
            if copied["data"].get("dir") == "forward" and "tx" in copied["data"]:
                copied["data"]["tx"] = "ef" * 32
                if "outpoint" in copied["data"].get("facts", {}):
                    copied["data"]["facts"]["outpoint"] = f"{'ef' * 32}:0"
            records.insert(index + 1, copied)
    chained = _in_order(rechained(records))

    assert broken(chained) == set()
    assert sum(one["data"].get("tx") == redeem["tx"] for one in chained) > 3


def test_one_output_is_not_the_effect_of_two_holds() -> None:
    records = copy.deepcopy(committed().records)
    made = records[at(records, "done", "hold", "forward")]["data"]
    mint = at(records, "done", "mint", "forward")
    outpoint = {**records[mint]["data"]["facts"], "outpoint": made["facts"]["outpoint"]}
    other = changed(records, mint, facts=outpoint)
    assert broken(other) == set(), "another chain's output of that name is another output"

    other[0]["data"]["plan"]["chains"]["east"] = other[0]["data"]["plan"]["chains"]["west"]
    assert "one-effect" in broken(rechained(other))


def _in_order(records: Records) -> Records:
    """The twin's forward after the hold's: a step begins when the one before is in a block."""
    forward = [n for n, one in enumerate(records) if _is(one, "twin", "forward")]
    moving = [records[n] for n in forward]
    rest = [one for n, one in enumerate(records) if n not in forward]
    last = max(n for n, one in enumerate(rest) if _is(one, "hold", "forward"))
    return rechained([*rest[: last + 1], *moving, *rest[last + 1 :]])


def _is(record: dict[str, Any], step: str, direction: str) -> bool:
    return (record["data"].get("step"), record["data"].get("dir")) == (step, direction)


def test_a_late_tombstone_of_a_mint_is_its_undo() -> None:
    """The tombstone lands after the mint and takes it back: one transaction of the forward effort
    has the effect of the undo (Token.vy, cancel).
    """
    story = Story(lock_of())
    story.start()
    story.evm("lock", "forward", 1)
    story.hold_forward()
    late: list[str] = []

    def cancelled() -> None:
        story.decide("rollback")
        tx = f"0x{'cc' * 32}"
        late.append(tx)
        story.intent("mint", "forward", tx, [["0xOther", 1]], purpose="tombstone")

    story.evm("mint", "forward", 1, before=cancelled)
    story.intent("mint", "undo", f"0x{'dd' * 32}", [["0xOther", 2]])
    where = {"tx": late[0], "block": f"0x{'ee' * 32}", "height": 99}
    story.outcome("mint", "undo", where, ())
    story.hold_refunded()
    story.evm("lock", "undo", 3)
    story.close("rolled_back")

    assert broken(story.records) == set()


def test_finality_that_breaks_after_the_end_leaves_the_outcome_undecided() -> None:
    records = committed().records
    gone = {"step": "lock", "dir": "confirm", "was": "done", "why": "reorganised"}
    after = inserted(records, len(records), "withdrawn", gone)

    assert broken(after) == set()
    assert found(after, "closing").status == "not verified"


def test_a_reclaimed_hold_ends_only_as_the_operators() -> None:
    story = Story(lock_of())
    story.start()
    story.evm("lock", "forward", 1)
    story.hold_forward()
    story.evm("mint", "forward", 1)
    story.decide("commit")
    reveal = {"gen": 1, "hashlock": btc.HASHLOCK, "deliver": "secret", "until_s": 1}
    story.write("reveal", {"step": "hold", **reveal})
    verdict = {"step": "hold", "dir": "confirm", "verdict": "reclaim", "by": ["Ann", "Bob"]}
    story.write("verdict", {**verdict, "reason": "nobody redeems", "args": {}})
    story.hold_refunded()
    story.evm("lock", "confirm", 2)
    story.evm("mint", "confirm", 2)
    story.close("closed_by_operator")

    assert broken(story.records) == set()


# ------------------------------------------------------------ hostile records


@pytest.mark.parametrize(
    "record",
    [
        [], {}, {"kind": "started"}, {"kind": ["started"], "data": {}, "seq": 1, "at": 1},
        {"kind": "stuck", "data": {"step": []}, "seq": 1, "at": 1},
        {"kind": "started", "data": {"plan": {}}, "seq": 1, "at": 1},
        {"kind": "started", "data": {}, "seq": True, "at": 1},
    ],
)  # fmt: skip
def test_what_is_no_record_is_refused_and_breaks_nothing(record: Any) -> None:
    with pytest.raises(Refused, match="record-form"):
        course_of([record])
    assert "transitions" in broken([record])


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("id",), "lоck"), (("id",), "lock\n"), (("class",), "pivot"), (("undo",), False),
        (("chain",), "nowhere"), (("action",), {}), (("await",), "soon"), (("class",), "retriable"),
    ],
)  # fmt: skip
def test_a_plan_of_another_shape_is_refused(where: tuple[str], value: Any) -> None:
    records = copy.deepcopy(committed().records)
    records[0]["data"]["plan"]["steps"][0][where[0]] = value

    assert "transitions" in broken(rechained(records))


@pytest.mark.parametrize("tell", [committed, rolled_back])
def test_every_rule_has_an_answer_for_members_of_every_other_type(
    tell: Callable[[], Story],
) -> None:
    others: tuple[Any, ...] = (None, [], {}, -1, "\x00", 2**60, [[]], {"a": []}, True)
    records = tell().records
    for index, record in enumerate(records):
        for member, right in list(record["data"].items()):
            for value in others:
                record["data"][member] = value
                assert len(check_rules(records)) == len(NAMES), (index, member, value)
            record["data"][member] = right


@pytest.mark.parametrize("mark", ["adopted", "unsent"])
def test_a_saga_that_a_recovery_completed_is_never_called_proven_in_its_order(mark: str) -> None:
    records = committed().records
    lost = changed(records, at(records, "intent", "mint"), **{mark: True})

    check = found(lost, "intents")
    assert (check.status, broken(lost)) == ("not verified", set())
    assert "records were lost" in str(check.reason)


def test_what_a_recovery_could_not_know_is_not_held_against_its_records() -> None:
    records = committed().records
    early = moved(records, at(records, "intent", "hold"), at(records, "included", "lock"))
    assert broken(early) == {"forward-order"}

    lost = changed(early, at(early, "intent", "hold"), adopted=True)
    assert broken(lost) == set()
    assert found(lost, "forward-order").status == "not verified"


def test_a_mark_of_recovery_excuses_nothing_that_came_before_it() -> None:
    records = committed().records
    early = moved(records, at(records, "intent", "hold"), at(records, "included", "lock"))

    assert broken(changed(early, at(early, "intent", "mint"), adopted=True)) == {"forward-order"}


def test_a_mark_of_recovery_excuses_no_second_effect() -> None:
    records = rolled_back().records
    twice = inserted(
        records, at(records, "closed"), "done", records[at(records, "done", "lock")]["data"]
    )
    lost = changed(twice, at(twice, "intent", "lock"), adopted=True)
    assert broken(lost) & {"one-effect", "transitions"}
