"""Where the pure core waits for evidence, and where it never does (DESIGN.md §3.4, §3.5)."""

import pytest

from coordinator.saga import Append, IllegalRecord
from coordinator.saga.commands import Now
from coordinator.saga.overdue import overdue
from tests.story import Story, plan_step, shape


def two(proof: str, **changes: object) -> Story:
    return Story(plan_step("a", proof=proof, **changes), plan_step("b"))


def decision_of(story: Story, **clock: int) -> tuple[str, dict[str, object]]:
    """The decision that is due, and its cause."""
    (command,) = [c for c in story.next(**clock).commands if isinstance(c, Append)]
    entry = command.entries[0]
    assert entry.kind == "decided"
    return entry.data["decision"], dict(entry.data["cause"])


def test_commit_waits_for_a_required_proof() -> None:
    story = two("required").executed("a", "b")
    assert shape(story.next()) == [("Prove", "a", "forward")]
    assert "proof of step a" in story.next().waits[0].reason
    assert decision_of(story.proved("a"))[0] == "commit"


def test_commit_does_not_wait_for_a_wanted_proof() -> None:
    assert decision_of(two("wanted").executed("a", "b"))[0] == "commit"


def test_where_none_is_asked_for_nothing_is_proved() -> None:
    story = two("none").executed("a")
    assert shape(story.next()) == [("Act", "b", "forward")]


def test_the_next_step_does_not_wait_for_a_required_proof() -> None:
    story = two("required").executed("a")
    assert shape(story.next()) == [("Prove", "a", "forward"), ("Act", "b", "forward")]


def test_a_pivot_waits_for_a_required_proof_of_what_is_before_it() -> None:
    pivot = plan_step("p", **{"class": "pivot", "undo": False})
    story = Story(plan_step("a", proof="required"), pivot).executed("a")
    assert shape(story.next()) == [("Prove", "a", "forward")]
    assert ("Act", "p", "forward") in shape(story.proved("a").next())


def test_a_required_proof_of_the_pivot_itself_holds_nothing_up() -> None:
    pivot = plan_step("p", proof="required", **{"class": "pivot", "undo": False})
    story = Story(plan_step("a"), pivot).executed("a").executed("p")
    assert decision_of(story)[0] == "commit"


def test_without_its_required_proof_a_saga_rolls_back_at_its_deadline_for_that_cause() -> None:
    story = two("required").executed("a", "b").unproved("a")
    assert shape(story.next(after_s=60)) == [("Prove", "a", "forward")], "it may come yet"
    decision, cause = decision_of(story, after_s=600)
    assert (decision, cause["kind"], cause["step"]) == ("rollback", "unproved", "a")
    assert "root_mismatch" in str(cause["text"])


def test_a_deadline_that_passes_before_all_is_done_is_not_blamed_on_a_proof() -> None:
    story = two("required").executed("a").intent("b")
    assert decision_of(story, after_s=601)[1]["kind"] == "deadline"


def test_a_proof_that_comes_after_all_commits() -> None:
    story = two("required").executed("a", "b").unproved("a").proved("a")
    assert decision_of(story)[0] == "commit"


def test_somebody_is_told_when_a_required_proof_does_not_come() -> None:
    story = two("required").executed("a", "b")
    story.at_s += 599
    assert overdue(story.fold, story.next(), Now(story.at_s * 1000, {})) is None
    story.at_s += 1
    entry = overdue(story.fold, story.next(), Now(story.at_s * 1000, {}))
    assert entry is not None
    assert "proof of step a" in entry.data["reason"]


def test_an_undo_never_waits_for_a_proof() -> None:
    story = two("required").executed("a").unproved("a").intent("b").not_done("b")
    story.decided("rollback")
    assert ("Act", "a", "undo") in shape(story.next())


def test_a_confirm_never_waits_for_a_proof() -> None:
    story = two("wanted", confirm=True).executed("a", "b").decided("commit")
    assert shape(story.next()) == [("Act", "a", "confirm"), ("Prove", "a", "forward")]


@pytest.mark.parametrize("decision", ["commit", "rollback"])
def test_a_saga_closes_when_every_outcome_has_its_proof_or_its_reason(decision: str) -> None:
    story = two("wanted").executed("a", "b").decided(decision)
    if decision == "rollback":
        story.intent("b", "undo").done("b", "undo")
        story.intent("a", "undo").done("a", "undo").proved("a", "undo")
    assert shape(story.next()) == [("Prove", "a", "forward")]
    assert shape(story.unproved("a").next()) == [("Append", "closed")]


def test_what_failed_on_chain_is_proved_too() -> None:
    story = two("wanted").intent("a").not_done("a").decided("rollback")
    assert shape(story.next()) == [("Prove", "a", "forward")]
    assert shape(story.proved("a").next()) == [("Append", "closed")]


def test_a_refused_preflight_has_nothing_to_prove() -> None:
    story = two("wanted").add("refused", step="a", code="refused", reason="paused")
    assert shape(story.decided("rollback").next()) == [("Append", "closed")]


def test_a_reorganisation_makes_a_proof_stale_and_it_is_made_anew() -> None:
    story = two("required").executed("a", "b").proved("a")
    story.add("withdrawn", step="a", dir="forward", was="done", why="reorganised")
    story.included("a").done("a")
    assert shape(story.next()) == [("Prove", "a", "forward")]


def test_a_proof_of_another_outcome_is_no_record_of_this_saga() -> None:
    story = two("wanted").executed("a")
    about = {"step": "a", "dir": "forward", "gen": 1, "height": 101, "outcome": "done"}
    with pytest.raises(IllegalRecord, match="another outcome"):
        story.add("proved", **about, tx="tx1", block="b999", evidence=[])
    with pytest.raises(IllegalRecord, match="another outcome"):
        story.add("proved", **about, tx="tx9", block="b101", evidence=[])


def test_nothing_is_proved_twice_and_no_reason_is_said_twice() -> None:
    story = two("wanted").executed("a").unproved("a")
    with pytest.raises(IllegalRecord, match="says again"):
        story.unproved("a")
    with pytest.raises(IllegalRecord, match="proves what is proved"):
        story.proved("a").proved("a")


def test_an_unfinished_effect_can_not_be_proved() -> None:
    story = two("wanted").intent("a").included("a")
    with pytest.raises(IllegalRecord, match="may not follow included"):
        story.proved("a")


def test_no_evidence_is_recorded_after_the_last_record() -> None:
    story = two("wanted").executed("a", "b").decided("commit").unproved("a")
    story.add("closed", state="committed", records=story.fold.seq + 1, fees={})
    with pytest.raises(IllegalRecord, match="may not follow committed"):
        story.proved("a")


def test_a_proof_does_not_hide_that_a_saga_is_stuck() -> None:
    story = two("wanted").executed("a", "b").decided("rollback").intent("b", "undo")
    story.add("stuck", reason="r", code=None, question="q", verdicts=[], until_s=0, at_s=0)
    assert story.proved("a").fold.stuck is not None
