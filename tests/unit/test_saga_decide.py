"""What the pure core decides, case by case; each case names the rule of DESIGN.md it holds."""

from collections.abc import Callable

import pytest

from adapters.base import ChainClock, Direction
from coordinator.saga import Append, IllegalRecord, Now, Send, Wait, decide
from coordinator.saga.overdue import overdue, says_already, stuck_entry
from tests.story import DEADLINE_S, START_S, Story, plan_step, shape


def three(**changes: object) -> Story:
    return Story(*(plan_step(name, **changes) for name in ("a", "b", "c")))


def cause(story: Story, **clock: int) -> dict[str, object]:
    """The cause of the one decision that is due."""
    (command,) = story.next(**clock).commands
    assert isinstance(command, Append)
    entry = command.entries[0]
    assert entry.kind == "decided"
    return dict(entry.data) | dict(entry.data["cause"])


def test_steps_run_one_after_the_other_and_each_waits_for_a_block() -> None:
    story = three()
    assert shape(story.next()) == [("Act", "a", "forward")]
    assert shape(story.intent("a").next()) == [("Send", "a", "forward")]
    assert shape(story.included("a").next()) == [("Act", "b", "forward")]


def test_a_plan_may_make_a_step_wait_for_finality() -> None:
    story = Story(plan_step("a", **{"await": "final"}), plan_step("b"))
    story.intent("a").included("a")
    decision = story.next()
    assert shape(decision) == []
    assert [wait.step for wait in decision.waits] == ["a"]
    assert shape(story.done("a").next()) == [("Act", "b", "forward")]


def test_commit_is_decided_only_when_every_effect_is_final() -> None:
    story = three().executed("a", "b").intent("c").included("c")
    assert shape(story.next()) == []
    assert cause(story.done("c"))["decision"] == "commit"


def test_a_refused_preflight_rolls_back_without_ever_sending() -> None:
    story = three().executed("a")
    story.add("refused", step="b", code="refused", reason="paused")
    assert cause(story) == {
        "decision": "rollback",
        "kind": "refused",
        "step": "b",
        "text": "paused",
        "cause": {"kind": "refused", "step": "b", "text": "paused"},
    }


def test_a_failure_stops_every_later_step() -> None:
    story = three().executed("a").intent("b").not_done("b").decided("rollback")
    assert ("Act", "c", "forward") not in shape(story.next())


def test_unknown_is_neither_failure_nor_success() -> None:
    story = three().executed("a").intent("b")
    assert shape(story.next(after_s=300)) == [("Send", "b", "forward")]


def test_undo_runs_in_reverse_order_and_each_waits_for_the_one_before_to_be_final() -> None:
    story = three().executed("a", "b").intent("c").not_done("c").decided("rollback")
    assert shape(story.next()) == [("Act", "b", "undo")]
    assert shape(story.intent("b", "undo").next()) == [("Send", "b", "undo")]
    assert shape(story.included("b", "undo").next()) == []
    assert shape(story.done("b", "undo").next()) == [("Act", "a", "undo")]
    story.intent("a", "undo").done("a", "undo")
    assert shape(story.next()) == [("Append", "closed")]


def test_the_step_that_failed_is_not_undone() -> None:
    story = three().executed("a").intent("b").not_done("b").decided("rollback")
    assert shape(story.next()) == [("Act", "a", "undo")]


def test_an_unknown_forward_is_burnt_before_anything_below_it_is_undone() -> None:
    story = three().executed("a").intent("b").decided("rollback")
    assert shape(story.next()) == [("Act", "b", "forward", "kill")]
    story.intent("b", purpose="burn")
    assert shape(story.next()) == [("Send", "b", "forward")]
    assert shape(story.not_done("b").next()) == [("Act", "a", "undo")]


def test_a_late_success_during_rollback_is_undone_too() -> None:
    story = three().executed("a").intent("b").decided("rollback").intent("b", purpose="burn")
    story.included("b")
    assert shape(story.next()) == []
    assert shape(story.done("b").next()) == [("Act", "b", "undo")]


def test_nothing_is_undone_while_its_forward_is_only_included() -> None:
    story = three().executed("a").intent("b").included("b").decided("rollback")
    assert shape(story.next()) == []


def test_every_unknown_forward_is_ended_at_once_though_undos_keep_their_order() -> None:
    story = three().executed("a", "b")
    story.add("withdrawn", step="a", dir="forward", was="done", why="reorganised")
    story.decided("rollback")
    assert shape(story.next()) == [("Act", "b", "undo"), ("Act", "a", "forward", "kill")]


def test_an_orphaned_forward_whose_undo_is_out_is_sent_again_not_burnt() -> None:
    story = three().executed("a").intent("b").not_done("b").decided("rollback")
    story.intent("a", "undo")
    story.add("withdrawn", step="a", dir="forward", was="done", why="reorganised")
    assert shape(story.next()) == [("Send", "a", "forward")]


def test_the_deadline_by_the_hosts_clock_rolls_back() -> None:
    story = three().executed("a")
    assert cause(story, after_s=601)["kind"] == "deadline"


def test_the_deadline_by_the_hosts_clock_alone_rolls_back_though_every_chain_stands_still() -> None:
    story = three().executed("a")
    clocks = {chain: ChainClock(100, START_S) for chain in story.heights}
    (command,) = decide(story.fold, Now((DEADLINE_S + 1) * 1000, clocks)).commands
    assert isinstance(command, Append)
    assert "the host's clock" in command.entries[0].data["cause"]["text"]


def test_the_deadline_by_one_chains_clock_alone_rolls_back() -> None:
    story = three().executed("a")
    story.heights = dict.fromkeys(story.heights, 100)
    clocks = {chain: ChainClock(100, START_S) for chain in story.heights}
    clocks["c-b"] = ChainClock(100, DEADLINE_S + 1)
    (command,) = decide(story.fold, Now(START_S * 1000, clocks)).commands
    assert isinstance(command, Append)
    assert "c-b" in command.entries[0].data["cause"]["text"]


def test_the_operator_can_ask_for_rollback_before_the_decision() -> None:
    story = three().executed("a").add("asked", what="rollback", by="op", reason="why not")
    assert cause(story)["kind"] == "operator"


def test_a_pause_holds_back_new_steps_and_nothing_else() -> None:
    story = three().executed("a").add("paused", by="op", reason="look")
    assert shape(story.next()) == []
    story.add("asked", what="rollback", by="op", reason="x").decided("rollback")
    assert shape(story.next()) == [("Act", "a", "undo")]


def pay() -> Story:
    return Story(plan_step("a"), plan_step("p", **{"class": "pivot", "undo": False}))


def test_the_pivot_waits_until_every_other_effect_is_final() -> None:
    story = pay().intent("a").included("a")
    assert shape(story.next()) == []
    assert shape(story.done("a").next()) == [("Act", "p", "forward")]


def test_after_the_pivots_intent_the_decision_follows_the_pivot_alone() -> None:
    story = pay().executed("a").intent("p")
    assert shape(story.next(after_s=601)) == [("Act", "p", "forward", "kill")]
    story.intent("p", purpose="burn")
    assert shape(story.next()) == [("Send", "p", "forward")]
    assert cause(story.done("p"))["decision"] == "commit"


def test_a_burnt_pivot_rolls_back() -> None:
    story = pay().executed("a").intent("p").intent("p", purpose="burn").not_done("p")
    assert cause(story)["decision"] == "rollback"


def test_what_comes_after_the_pivot_runs_only_after_the_commit() -> None:
    story = Story(
        plan_step("a"),
        plan_step("p", **{"class": "pivot", "undo": False}),
        plan_step("r", **{"class": "retriable", "confirm": True, "undo": False}),
    ).executed("a", "p")
    assert cause(story)["decision"] == "commit"
    assert shape(story.decided("commit").next()) == [("Act", "r", "confirm")]


def hold(deliver: str = "file") -> Story:
    return Story(
        plan_step("a", confirm=True),
        plan_step("h", **{"class": "hold"}, confirm=True, reveals=True, deliver=deliver),
        h={"height": 200},
    )


def test_the_decision_and_the_reveal_share_one_append() -> None:
    story = hold().intent("a").done("a").intent("h", hashlock="ab").done("h")
    (command,) = story.next().commands
    assert isinstance(command, Append)
    assert [entry.kind for entry in command.entries] == ["decided", "reveal"]
    assert command.entries[1].data["hashlock"] == "ab"
    assert "preimage" not in str(command.entries)


def test_a_hold_too_near_its_expiry_rolls_back_instead_of_committing() -> None:
    story = hold().intent("a").done("a").intent("h", hashlock="ab").done("h")
    assert cause(story, h=199)["kind"] == "margin"


def test_a_hold_too_near_its_expiry_is_not_begun() -> None:
    assert shape(hold().intent("a").done("a").next(h=150)) == [("Act", "h", "forward")]
    assert cause(hold().intent("a").done("a"), h=199)["kind"] == "margin"


def test_a_chain_that_made_no_block_for_long_does_not_stop_what_can_be_taken_back() -> None:
    story = hold().intent("a").done("a")
    chains = {"c-a": ChainClock(100, story.at_s), "c-h": ChainClock(100, story.at_s - 90)}
    decision = decide(story.fold, Now(story.at_s * 1000, chains))
    assert shape(decision) == [("Act", "h", "forward")]


def test_confirms_do_not_wait_for_each_other() -> None:
    story = hold().intent("a").done("a").intent("h", hashlock="ab").done("h").decided("commit")
    story.add("reveal", step="h", gen=1, hashlock="ab", deliver="file", until_s=story.at_s + 60)
    assert shape(story.next()) == [("Act", "a", "confirm"), ("Deliver", "h")]


def test_a_hold_is_refunded_only_by_its_own_chains_height() -> None:
    story = hold().intent("a").done("a").intent("h", hashlock="ab").done("h").decided("rollback")
    decision = story.next(h=199)
    assert shape(decision) == []
    assert (decision.waits[0].chain, decision.waits[0].height) == ("c-h", 200)
    assert shape(story.next(h=200)) == [("Act", "h", "undo")]


def test_after_a_reveal_nothing_but_a_reclaim_verdict_refunds() -> None:
    story = hold().intent("a").done("a").intent("h", hashlock="ab").done("h").decided("commit")
    story.add("reveal", step="h", gen=1, hashlock="ab", deliver="file", until_s=story.at_s + 60)
    story.intent("a", "confirm").done("a", "confirm")
    assert shape(story.next(h=900)) == [("Deliver", "h")]
    story.add(
        "verdict", step="h", dir="confirm", verdict="reclaim", by=["x", "y"], reason="gone", args={}
    )
    assert shape(story.next()) == [("Act", "h", "undo")]
    story.intent("h", "undo").done("h", "undo")
    (closed,) = story.next().commands
    assert isinstance(closed, Append)
    assert closed.entries[0].data["state"] == "closed_by_operator"


def test_a_failed_undo_gets_a_new_generation() -> None:
    story = three().executed("a").intent("b").not_done("b").decided("rollback")
    story.intent("a", "undo").not_done("a", "undo")
    assert shape(story.next()) == [("Act", "a", "undo")]
    story.intent("a", "undo", gen=2)
    assert story.fold.effort("a", "undo").generation == 2


def test_a_generation_unique_by_its_claim_alone_waits_until_the_killer_is_buried() -> None:
    story = three(unique_by="claim").executed("a").intent("b").not_done("b").decided("rollback")
    story.intent("a", "undo").not_done("a", "undo")
    decision = story.next(a=106)
    assert shape(decision) == []
    assert decision.waits[0].height == 107
    assert shape(story.next(a=107)) == [("Act", "a", "undo")]


def test_a_second_generation_may_not_begin_before_the_first_is_proven_dead() -> None:
    story = three().executed("a").intent("b").not_done("b").decided("rollback").intent("a", "undo")
    with pytest.raises(IllegalRecord):
        story.intent("a", "undo", gen=2)


def test_finality_that_breaks_after_the_commit_is_repaired_before_closing() -> None:
    story = three().executed("a", "b", "c").decided("commit")
    story.add("withdrawn", step="b", dir="forward", was="done", why="reorganised")
    assert shape(story.next()) == [("Send", "b", "forward")]


def test_a_write_off_lets_the_earlier_undos_go_on_and_ends_as_closed_by_operator() -> None:
    story = three().executed("a", "b").intent("c").not_done("c").decided("rollback")
    story.intent("b", "undo")
    story.add(
        "verdict", step="b", dir="undo", verdict="write_off", by=["x", "y"], reason="lost", args={}
    )
    assert shape(story.next()) == [("Act", "a", "undo")]
    story.intent("a", "undo").done("a", "undo")
    (closed,) = story.next().commands
    assert isinstance(closed, Append)
    assert closed.entries[0].data["state"] == "closed_by_operator"


def test_without_burn_or_tombstone_a_person_is_asked() -> None:
    story = three(kill=[]).executed("a").intent("b").decided("rollback")
    decision = story.next()
    assert shape(decision) == []
    assert "person" in decision.waits[0].reason


def test_a_dry_account_leads_from_the_burn_to_the_tombstone() -> None:
    story = three(kill=["burn", "tombstone"]).executed("a").intent("b").decided("rollback")
    story.intent("b", purpose="burn")
    assert shape(story.next()) == [("Send", "b", "forward")]
    story.add(
        "stuck",
        step="b",
        dir="forward",
        reason="r",
        question="q",
        verdicts=[],
        until_s=story.at_s + 60,
        fund=["x", "GAS", "5"],
    )
    assert shape(story.next()) == [("Act", "b", "forward", "kill")]


def test_a_claim_that_a_tombstone_left_open_is_burnt_after_the_end() -> None:
    story = three().executed("a").intent("b").decided("rollback").intent("b", purpose="burn")
    story.not_done("b", claim_open=True)
    story.intent("a", "undo").done("a", "undo")
    story.add("closed", state="rolled_back", records=story.fold.seq + 1, fees={})
    assert shape(story.next()) == [("Send", "b", "forward")]
    story.not_done("b", claim_open=False)
    assert shape(story.next()) == []


def test_the_fees_of_every_final_transaction_are_added_up() -> None:
    story = three().executed("a").intent("b").not_done("b").decided("rollback")
    story.intent("a", "undo").done("a", "undo")
    assert story.fold.fees == {"GAS": 3}


def test_every_wait_has_a_reason_and_an_end() -> None:
    stories = [
        three(),
        three().intent("a"),
        three().intent("a").included("a"),
        hold(),
        hold().intent("a").done("a").intent("h", hashlock="ab").done("h").decided("rollback"),
    ]
    for story in stories:
        for wait in story.next().waits:
            assert wait.reason
            assert wait.until_s > START_S


def test_a_raised_cap_replaces_the_attempt_once() -> None:
    story = three().intent("a")
    story.add("verdict", step="a", dir="forward", verdict="cap", by=["op"], reason="spike",
              args={"pct": 200, "attempts": 1})  # fmt: skip
    assert story.fold.cap_pct("a") == 200
    assert shape(story.next()) == [("Act", "a", "forward"), ("Send", "a", "forward")]
    assert shape(story.intent("a").next()) == [("Send", "a", "forward")]


def test_a_burn_verdict_ends_an_attempt_that_does_not_move() -> None:
    story = three().intent("a")
    story.add("verdict", step="a", dir="forward", verdict="burn", by=["op"], reason="stuck",
              args={})  # fmt: skip
    assert shape(story.next()) == [("Act", "a", "forward", "kill")]
    assert cause(story.intent("a", purpose="burn").not_done("a"))["decision"] == "rollback"


def undo_that_failed(times: int) -> Story:
    story = three().executed("a").intent("b").not_done("b").decided("rollback")
    for generation in range(1, times + 1):
        story.intent("a", "undo", gen=generation).not_done("a", "undo")
    return story


def test_an_undo_that_keeps_failing_backs_off_and_raises_the_alarm_at_once() -> None:
    story = undo_that_failed(2)
    decision = story.next()
    assert shape(decision) == []
    (wait,) = decision.waits
    assert wait.look_s > START_S
    assert "failed 2 times" in wait.reason
    entry = overdue(story.fold, decision, Now(story.at_s * 1000, {}))
    assert entry is not None
    assert entry.kind == "stuck"
    assert shape(story.next(after_s=60)) == [("Act", "a", "undo")]


def test_each_failure_doubles_the_pause() -> None:
    pauses = [undo_that_failed(times).next().waits[0].look_s - START_S for times in (2, 3, 4)]
    assert pauses[1] == 2 * pauses[0]
    assert pauses[2] == 4 * pauses[0]


def test_another_try_of_an_undo_does_not_silence_its_alarm() -> None:
    story = undo_that_failed(2)
    entry = overdue(story.fold, story.next(), Now(story.at_s * 1000, {}))
    assert entry is not None
    story.add("stuck", **entry.data)
    story.intent("a", "undo", gen=3)
    assert story.fold.stuck is not None
    story.done("a", "undo")
    assert story.fold.stuck is None


def test_a_margin_counts_the_blocks_that_nobody_has_seen() -> None:
    story = hold().intent("a").done("a").intent("h", hashlock="ab").done("h")
    chains = {chain: ChainClock(100, START_S) for chain in story.heights}
    (fresh,) = decide(story.fold, Now(START_S * 1000, chains)).commands
    assert isinstance(fresh, Append)
    assert fresh.entries[0].data["decision"] == "commit"
    (stale,) = decide(story.fold, Now((START_S + 100) * 1000, chains)).commands
    assert isinstance(stale, Append)
    assert stale.entries[0].data["cause"]["kind"] == "margin"


def test_a_burn_verdict_reaches_the_pivot() -> None:
    story = pay().executed("a").intent("p")
    story.add("verdict", step="p", dir="forward", verdict="burn", by=["op"], reason="x", args={})
    assert shape(story.next()) == [("Act", "p", "forward", "kill")]


def test_a_pivot_that_can_not_be_ended_is_sent_on_after_the_deadline() -> None:
    story = Story(plan_step("p", **{"class": "pivot", "undo": False, "kill": []})).intent("p")
    assert shape(story.next(after_s=601)) == [("Send", "p", "forward")]


def test_a_raised_cap_replaces_a_burn_that_pays_too_little() -> None:
    story = three().executed("a").intent("b").decided("rollback").intent("b", purpose="burn")
    story.add("verdict", step="b", dir="forward", verdict="cap", by=["op"], reason="x",
              args={"pct": 300, "attempts": 2})  # fmt: skip
    assert shape(story.next()) == [("Act", "b", "forward", "kill"), ("Send", "b", "forward")]


def test_after_the_commit_the_effect_is_sent_on_and_not_its_burn() -> None:
    story = pay().executed("a").intent("p").intent("p", purpose="burn").done("p").decided("commit")
    story.add("withdrawn", step="p", dir="forward", was="done", why="reorganised")
    (command,) = story.next().commands
    assert command == Send(story.fold.step("p"), "forward", kill=False)


def test_an_orphaned_forward_under_its_undo_is_sent_on_though_a_burn_had_lost() -> None:
    story = three().executed("a").intent("b").decided("rollback")
    story.intent("b", purpose="burn").done("b")
    story.intent("b", "undo")
    story.add("withdrawn", step="b", dir="forward", was="done", why="reorganised")
    (command,) = story.next().commands
    assert command == Send(story.fold.step("b"), "forward", kill=False)


def revealed() -> Story:
    story = hold().intent("a").done("a").intent("h", hashlock="ab").done("h").decided("commit")
    story.add("reveal", step="h", gen=1, hashlock="ab", deliver="file", until_s=story.at_s + 400)
    return story.intent("a", "confirm").done("a", "confirm")


def test_an_unredeemed_hold_alarms_at_half_at_a_quarter_and_at_its_end() -> None:
    story = revealed()
    alarms: list[int] = []
    for _ in range(90):
        decision = story.next(after_s=10)
        entry = overdue(story.fold, decision, Now(story.at_s * 1000, {}))
        if entry is not None:
            alarms.append(story.at_s - START_S)
            story.add("stuck", **entry.data)
    assert alarms[:3] == [400, 600, 800]


def test_a_refusal_is_told_again_in_its_own_words() -> None:
    story = three().executed("a").intent("b").not_done("b").decided("rollback")
    wait = story.next().waits[0]
    now = Now(story.at_s * 1000, {})
    told = stuck_entry(story.fold, wait, now, reason="no gas", code="unfunded", fund=("x", "G", 5))
    story.add("stuck", **told.data)
    assert says_already(story.fold, "a", "undo", "unfunded", now)
    decision = story.next(after_s=7200)
    entry = overdue(story.fold, decision, Now(story.at_s * 1000, {}))
    assert entry is not None
    assert (entry.data["reason"], entry.data["fund"]) == ("no gas", ["x", "G", "5"])
    assert entry.data["since_s"] == told.data["since_s"]


def test_a_pivot_burnt_for_the_deadline_rolls_back_for_the_deadline() -> None:
    story = pay().executed("a").intent("p").intent("p", purpose="burn").not_done("p")
    assert cause(story, after_s=601)["kind"] == "deadline"


def burnt_by_verdict(story: Story, step: str, *, landed: str) -> Story:
    """Let ada burn a step that waits for a block; ``landed`` consumed its claim."""
    story.add("verdict", step=step, dir="forward", verdict="burn", by=["ada"],
              reason="wrong amount", args={})  # fmt: skip
    story.intent(step, purpose="burn")
    effect, burn = story.fold.effort(step, "forward").attempts
    tx = {"effect": effect.tx_id, "burn": burn.tx_id}[landed]
    return story.add("not_done", step=step, dir="forward", gen=1, tx=tx, block="b", height=101,
                     reason="burnt" if landed == "burn" else "reverted", facts={"fee": "1"},
                     claim_open=False)  # fmt: skip


def test_a_step_that_a_person_burnt_rolls_back_because_of_that_person() -> None:
    story = burnt_by_verdict(three().executed("a").intent("b"), "b", landed="burn")
    assert cause(story)["cause"] == {"kind": "operator", "step": "b", "text": "ada: wrong amount"}


def test_a_pivot_that_a_person_burnt_rolls_back_because_of_that_person() -> None:
    story = burnt_by_verdict(pay().executed("a").intent("p"), "p", landed="burn")
    wanted = {"kind": "operator", "step": "p", "text": "ada: wrong amount"}
    assert cause(story, after_s=601)["cause"] == wanted


def test_a_step_that_failed_before_its_burn_landed_has_failed() -> None:
    story = burnt_by_verdict(three().executed("a").intent("b"), "b", landed="effect")
    assert cause(story)["cause"] == {"kind": "failed", "step": "b", "text": "reverted"}


def verdicts_of(story: Story, step: str, direction: Direction) -> list[str]:
    wait = Wait("w", 0, step, direction)
    entry = stuck_entry(story.fold, wait, Now(story.at_s * 1000, {}), reason="r")
    return list(entry.data["verdicts"])


def test_another_cap_is_offered_wherever_we_pay_for_what_is_still_open() -> None:
    forward = three().executed("a").intent("b")
    assert verdicts_of(forward, "b", "forward") == ["adopt", "cap", "burn"]
    assert "cap" not in verdicts_of(forward.included("b"), "b", "forward")
    undo = three().executed("a").decided("rollback")
    assert verdicts_of(undo, "a", "undo") == ["adopt", "cap", "write_off"]


@pytest.mark.parametrize(("deliver", "ours"), [("file", False), ("calldata", True)])
def test_no_cap_is_offered_for_a_redeem_that_the_payee_pays(deliver: str, *, ours: bool) -> None:
    story = hold(deliver).executed("a").intent("h", hashlock="ab").done("h").decided("commit")
    assert ("cap" in verdicts_of(story, "h", "confirm")) is ours
    assert "reclaim" not in verdicts_of(story, "h", "confirm")
    story.add("reveal", step="h", gen=1, hashlock="ab", deliver=deliver, until_s=0)
    assert "reclaim" in verdicts_of(story, "h", "confirm")


def test_the_wait_for_the_payee_says_what_is_held() -> None:
    story = revealed()
    (wait,) = story.next().waits
    assert wait.reason == "the payee to redeem it (do h)"
    entry = overdue(story.fold, story.next(after_s=401), Now(story.at_s * 1000, {}))
    assert entry is not None
    assert entry.data["reason"] == "still waiting for the payee to redeem it (do h)"


# ---------------------------------------------------------------- what a person is asked


@pytest.mark.parametrize(
    ("told", "code", "verdicts"),
    [
        (lambda s: s.intent("a"), "not_included", ["adopt", "cap", "burn"]),
        (lambda s: s.intent("a").included("a"), "not_final", ["adopt"]),
        (lambda s: s.executed("a").decided("rollback"), "not_prepared", ["adopt", "cap"]),
        (
            lambda s: s.executed("a").decided("rollback").intent("a", "undo").not_done("a", "undo")
            .intent("a", "undo", gen=2).not_done("a", "undo"),
            "keeps_failing", ["adopt", "cap"],
        ),
    ],
)  # fmt: skip
def test_every_alarm_has_a_code_a_question_its_answers_and_what_is_known(
    told: Callable[[Story], Story], code: str, verdicts: list[str]
) -> None:
    story = told(Story(plan_step("a")))
    waited_s = {"running": 590, "undoing": 9 if code == "keeps_failing" else 7200}
    decision = story.next(after_s=waited_s[story.fold.state])
    now = Now(story.at_s * 1000, {"c-a": ChainClock(107, story.at_s)})
    (wait,) = decision.waits
    key = (str(wait.step), str(wait.direction))
    entry = overdue(story.fold, decision, now, {key: "min relay fee\x1b[31m not met" * 99})
    assert entry is not None
    data = entry.data
    assert (data["code"], data["verdicts"][: len(verdicts)]) == (code, verdicts)
    assert data["question"].endswith(("?", "yet", "it"))
    evidence = data["evidence"]
    effort = story.fold.effort(*key)
    assert (evidence["chain"], evidence["height"]) == ("c-a", 107)
    assert [one["tx"] for one in evidence["attempts"]] == [
        attempt.tx_id for attempt in effort.attempts if attempt.generation == effort.generation
    ]
    assert evidence["tx"] == effort.tx
    assert evidence["said"].startswith("min relay fee [31m not met")
    assert len(evidence["said"]) == 300
    assert evidence["by_s"] == (DEADLINE_S if story.fold.state == "running" else None)


def test_an_unknown_outcome_that_nothing_can_end_asks_for_what_became_of_it() -> None:
    story = Story(plan_step("a", kill=[])).intent("a").decided("rollback")
    decision = story.next(after_s=7200)
    entry = overdue(story.fold, decision, Now(story.at_s * 1000, {}))
    assert entry is not None
    assert (entry.data["code"], entry.data["verdicts"]) == (
        "unknown",
        ["adopt", "cap", "write_off"],
    )
    assert "adopt the transaction" in entry.data["question"]


def test_a_paused_saga_still_alarms_for_what_is_on_its_way() -> None:
    story = three().intent("a").add("paused", by="op", reason="look")
    decision = story.next(after_s=300)
    entry = overdue(story.fold, decision, Now(story.at_s * 1000, {}))
    assert entry is not None
    assert entry.data["code"] == "not_included"
