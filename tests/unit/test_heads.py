"""Which attempts may be sent again when their effort is over, and which their saga sees to."""

import pytest

from adapters.base import Attempt, ChainClock
from coordinator.heads import is_due, is_pursued, may_be_sent
from coordinator.journal.base import ClaimRow
from coordinator.saga import Now
from tests.story import Story, plan_step


def bound(by: str = "operation") -> Story:
    return Story(plan_step("a", unique_by=by, confirm=True, kill=["burn", "tombstone"]))


def sendable(story: Story, direction: str = "forward", attempt: int = -1) -> bool:
    return may_be_sent(story.fold, _owner(direction), _attempt(story, direction, attempt))


def pursued(story: Story, direction: str = "forward", attempt: int = -1) -> bool:
    return is_pursued(story.fold, _owner(direction), _attempt(story, direction, attempt))


def _owner(direction: str) -> ClaimRow:
    return ClaimRow("c-a", "acc", 1, "saga:01STORY", "a", direction)


def _attempt(story: Story, direction: str, number: int) -> Attempt:
    return story.fold.effort("a", direction).attempts[number]


@pytest.mark.parametrize(("by", "may"), [("operation", True), ("claim", False)])
def test_a_done_effect_is_sent_again_only_if_an_operation_id_binds_it(
    by: str,
    may: bool,  # noqa: FBT001 - a parameter of the case
) -> None:
    story = bound(by).executed("a")
    assert not pursued(story)
    assert sendable(story) is may
    story.decided("commit").intent("a", "confirm").done("a", "confirm")
    assert sendable(story, "confirm") is may


def test_what_is_open_or_included_is_for_its_own_turn() -> None:
    story = bound().intent("a")
    assert pursued(story)
    assert pursued(story.included("a"))


def test_an_effect_that_a_block_refused_is_not_sent_again() -> None:
    """Only a reorganisation opens its claim again, and then it might take effect."""
    story = bound().intent("a").not_done("a")
    assert not sendable(story)


def test_an_effect_under_a_tombstone_is_sent_while_its_saga_lives_and_is_a_loose_end_then() -> None:
    story = bound().intent("a").decided("rollback").intent("a", purpose="tombstone")
    story.not_done("a", claim_open=True)
    assert sendable(story, attempt=0)
    assert not pursued(story, attempt=0)
    story.add("closed", state="rolled_back", records=story.fold.seq + 1, fees={})
    assert pursued(story, attempt=0)


def test_a_burn_is_sent_whatever_became_of_the_effect() -> None:
    story = bound("claim").intent("a").decided("rollback").intent("a", purpose="burn").done("a")
    assert sendable(story)


def test_a_tombstone_never_cancels_an_effect_that_stands() -> None:
    """On a token, cancelling an open mint is its undo."""
    story = bound().intent("a").decided("rollback").intent("a", purpose="tombstone").done("a")
    assert not sendable(story)
    story.intent("a", "undo").done("a", "undo")
    assert sendable(story)


def test_an_earlier_generation_is_not_its_turns_matter_any_more() -> None:
    story = bound().executed("a").decided("rollback")
    story.intent("a", "undo").not_done("a", "undo", claim_open=True).intent("a", "undo", gen=2)
    assert pursued(story, "undo")
    assert not pursued(story, "undo", attempt=0)
    assert sendable(story, "undo", attempt=0)


def test_an_undo_that_lost_is_no_loose_end_that_another_place_burns() -> None:
    story = bound().executed("a").decided("rollback").intent("a", "undo")
    story.not_done("a", "undo", claim_open=True)
    story.add("verdict", step="a", dir="undo", verdict="write_off", by=["x", "y"], reason="r",
              args={})  # fmt: skip
    story.add("closed", state="closed_by_operator", records=story.fold.seq + 1, fees={})
    assert not pursued(story, "undo")
    assert not sendable(story, "undo"), "it is a person's matter"


def test_a_written_off_effect_is_left_to_a_person() -> None:
    story = bound().intent("a")
    story.add("verdict", step="a", dir="forward", verdict="write_off", by=["x", "y"], reason="r",
              args={})  # fmt: skip
    assert not pursued(story)
    assert not sendable(story)


def test_a_tombstone_is_not_sent_where_a_committed_effect_is_to_be_made_again() -> None:
    story = bound().executed("a").decided("commit")
    story.state = story.fold.copied()
    effort = story.fold.effort("a", "forward").copied()
    effort.phase = "not_done"
    tombstone = Attempt("t", "tombstone", (("other", 7),), 1, {}, {})
    effort.attempts = (*effort.attempts, tombstone)
    story.state.efforts = {**story.state.efforts, ("a", "forward"): effort}
    assert not may_be_sent(story.fold, _owner("forward"), tombstone)


def due(
    story: Story, direction: str = "forward", *, late_s: int = 0, chain_late_s: int = 0
) -> bool:
    attempt = _attempt(story, direction, -1)
    clocks = {chain: ChainClock(200, story.at_s + chain_late_s) for chain in story.fold.chains}
    now = Now((story.at_s + late_s) * 1000, clocks)
    return is_due(story.fold, _owner(direction), attempt, now)


def test_what_nobody_drives_here_is_sent_as_long_as_its_own_saga_would_send_it() -> None:
    story = bound("claim").intent("a")
    assert due(story)
    assert not due(story, late_s=601), "nothing goes forward after the deadline"
    assert not due(story, chain_late_s=601), "by whichever clock"
    story.add("asked", by="op", reason="no")
    assert not due(story), "nor against what was asked"


def test_what_a_verdict_ends_is_not_sent_for_its_saga() -> None:
    story = bound("claim").intent("a")
    verdict(story, "burn")
    assert not due(story)
    revealed = bound("claim").executed("a").decided("commit").intent("a", "confirm")
    verdict(revealed, "reclaim")
    assert not due(revealed, "confirm"), "its refund is on the way"


def verdict(story: Story, kind: str) -> None:
    story.add("verdict", step="a", dir="forward", verdict=kind, by=["x", "y"], reason="r", args={})


def test_an_undecided_effect_of_a_saga_that_is_rolled_back_is_not_sent_for_it() -> None:
    story = bound("claim").intent("a").decided("rollback")
    assert not due(story)
    assert due(story.intent("a", purpose="burn")), "its burn is"


@pytest.mark.parametrize(("decision", "way"), [("commit", "confirm"), ("rollback", "undo")])
def test_confirms_and_undos_of_a_saga_that_is_not_driven_here_are_sent(
    decision: str, way: str
) -> None:
    story = bound("claim").executed("a").decided(decision).intent("a", way)
    assert due(story, way)
