"""What a look at a chain adds to a saga, where the looker may have seen less than the journal."""

import pytest

from adapters.base import Consumed, Found, Observation
from coordinator.saga.judge import judge
from tests.story import Story, plan_step


def kinds(story: Story, height: int) -> list[str]:
    """The records that follow when a chain at ``height`` shows nothing of step ``a``."""
    step = story.fold.step("a")
    seen = Observation(height)
    entries = judge(story.fold, step, "forward", seen, at_ms=0, until_s=0)
    return [entry.kind for entry in entries]


def one() -> Story:
    return Story(plan_step("a")).intent("a")


@pytest.mark.parametrize(
    ("story", "kind"),
    [
        (one().included("a"), "orphaned"),
        (one().done("a"), "withdrawn"),
        (one().not_done("a"), "withdrawn"),
    ],
)
def test_only_a_view_that_reaches_the_recorded_block_can_deny_it(story: Story, kind: str) -> None:
    # The block of a story is b101 at height 101.
    assert kinds(story, 100) == []
    assert kinds(story, 101) == [kind]


def test_the_silence_of_a_chain_says_nothing_of_an_unknown_outcome() -> None:
    assert kinds(one(), 101) == []


@pytest.mark.parametrize(("height", "kind"), [(103, "included"), (104, "done")])
def test_a_step_that_asks_for_more_blocks_is_final_only_that_deep(height: int, kind: str) -> None:
    story = Story(plan_step("a", finality_blocks=4)).intent("a")
    found = Found("tx1", "b101", 101, True, {"fee": "1", "time": 1})
    step = story.fold.step("a")
    seen = Observation(height, found=found)
    entries = judge(story.fold, step, "forward", seen, at_ms=0, until_s=0)
    assert [entry.kind for entry in entries] == [kind]


@pytest.mark.parametrize(("height", "kinds_"), [(103, []), (104, ["not_done"])])
def test_what_ended_it_counts_only_that_deep_too(height: int, kinds_: list[str]) -> None:
    story = Story(plan_step("a", finality_blocks=4)).intent("a")
    consumed = Consumed("tx1", "b101", 101, True, "reverted", {"fee": "1"})
    step = story.fold.step("a")
    seen = Observation(height, consumed=consumed)
    entries = judge(story.fold, step, "forward", seen, at_ms=0, until_s=0)
    assert [entry.kind for entry in entries] == kinds_


@pytest.mark.parametrize(
    ("tx", "block", "claim_open", "kinds_"),
    [
        ("tx", "b101", False, []),
        ("tx", "b102", False, ["withdrawn", "not_done"]),
        ("another", "b101", False, ["withdrawn", "not_done"]),
        # The claim that a tombstone had left open was used up: that takes nothing back.
        ("another", "b102", True, ["not_done"]),
    ],
)
def test_what_ended_it_is_told_anew_when_it_is_in_another_block(
    tx: str,
    block: str,
    claim_open: bool,  # noqa: FBT001 - a parameter of the case
    kinds_: list[str],
) -> None:
    story = one().not_done("a", claim_open=claim_open)
    consumed = Consumed(tx, block, 101, True, "reverted", {"fee": "1"})
    seen = Observation(104, consumed=consumed)
    entries = judge(story.fold, story.fold.step("a"), "forward", seen, at_ms=0, until_s=0)
    assert [entry.kind for entry in entries] == kinds_
    for entry in entries[-1:]:
        assert (entry.data["tx"], entry.data["block"]) == (tx, block)


def test_what_ended_it_counts_in_its_new_block_only_when_it_is_final_there() -> None:
    story = one().not_done("a")
    consumed = Consumed("tx", "b102", 102, False, "reverted", {"fee": "1"})
    seen = Observation(102, consumed=consumed)
    (entry,) = judge(story.fold, story.fold.step("a"), "forward", seen, at_ms=0, until_s=0)
    assert (entry.kind, entry.data["was"]) == ("withdrawn", "not_done")


@pytest.mark.parametrize("tx", ["tx", "another"])
def test_what_is_not_final_takes_nothing_back_in_the_block_that_is_named(tx: str) -> None:
    """Nodes may not agree for a while, or the chain be shorter; a tombstone and the burn of what
    it left open may be in one block, and each may be shown.
    """
    story = one().not_done("a")
    consumed = Consumed(tx, "b101", 101, False, "reverted", {"fee": "1"})
    seen = Observation(104, consumed=consumed)
    assert judge(story.fold, story.fold.step("a"), "forward", seen, at_ms=0, until_s=0) == ()
