"""The transition table: what it allows, that nothing else is allowed, and its picture."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from coordinator.saga import IllegalRecord
from coordinator.saga.table import ENDS, INTENTS, LIVE, PHASES, SAGA, diagram
from tests.story import Story, plan_step

README = Path(__file__).parents[2] / "coordinator" / "README.md"


def _write_off(story: Story) -> Story:
    return story.add(
        "verdict", step="a", dir="forward", verdict="write_off", by=["x", "y"], reason="r", args={}
    )


def _next_generation(story: Story) -> int:
    effort = story.fold.effort("a", "forward")
    return effort.generation + (effort.phase == "not_done")


#: How to bring step ``a`` forward into each phase with the fewest records.
REACH: dict[str, Callable[[Story], Story]] = {
    "idle": lambda story: story,
    "unknown": lambda story: story.intent("a"),
    "included": lambda story: story.intent("a").included("a"),
    "done": lambda story: story.intent("a").done("a"),
    "not_done": lambda story: story.intent("a").not_done("a"),
    "written_off": lambda story: _write_off(story.intent("a")),
}

#: How to write each record about step ``a`` forward.
WRITE: dict[str, Callable[[Story], Story]] = {
    "refused": lambda story: story.add("refused", step="a", code="refused", reason="r"),
    "intent": lambda story: story.intent("a", gen=_next_generation(story)),
    "included": lambda story: story.add(
        "included", step="a", dir="forward", tx="t", block="b", height=101,
        facts={"fee": "0"}, until_s=1,
    ),
    "orphaned": lambda story: story.add(
        "orphaned", step="a", dir="forward", tx="t", block="b", height=101
    ),
    "done": lambda story: story.done("a"),
    "not_done": lambda story: story.not_done("a"),
    "withdrawn": lambda story: story.add("withdrawn", step="a", dir="forward", was="x", why="y"),
    "verdict:write_off": _write_off,
}  # fmt: skip


@pytest.mark.parametrize(("phase", "kind"), list(itertools.product(REACH, WRITE)))
def test_an_effort_moves_as_the_table_says_and_never_otherwise(phase: str, kind: str) -> None:
    story = REACH[phase](Story(plan_step("a"), plan_step("b")))
    before = story.fold
    target = PHASES.get((phase, kind))

    if target is None:
        with pytest.raises(IllegalRecord):
            WRITE[kind](story)
        assert story.fold is before
    else:
        WRITE[kind](story)
        assert story.fold.effort("a", "forward").phase == target


def test_every_phase_of_the_table_is_reached_by_a_test() -> None:
    assert {phase for phase, _ in PHASES} | set(PHASES.values()) == set(REACH)


@pytest.mark.parametrize(
    ("end", "kind", "allowed"),
    [
        ("commit", "committed", True),
        ("commit", "rolled_back", False),
        ("rollback", "rolled_back", True),
        ("rollback", "committed", False),
        ("commit", "closed_by_operator", True),
        ("rollback", "closed_by_operator", True),
    ],
)
def test_a_decision_allows_only_its_own_end(end: str, kind: str, allowed: bool) -> None:  # noqa: FBT001 - a table
    story = Story(plan_step("a")).executed("a").decided(end)
    if allowed:
        story.add("closed", state=kind, records=story.fold.seq + 1, fees={})
        assert story.fold.state == kind
    else:
        with pytest.raises(IllegalRecord):
            story.add("closed", state=kind, records=story.fold.seq + 1, fees={})


@pytest.mark.parametrize("second", ["commit", "rollback"])
@pytest.mark.parametrize("first", ["commit", "rollback"])
def test_a_decision_is_made_once(first: str, second: str) -> None:
    story = Story(plan_step("a")).executed("a").decided(first)
    with pytest.raises(IllegalRecord):
        story.decided(second)


def test_the_closing_record_must_count_every_record() -> None:
    story = Story(plan_step("a")).executed("a").decided("commit")
    with pytest.raises(IllegalRecord):
        story.add("closed", state="committed", records=story.fold.seq, fees={})


@pytest.mark.parametrize("direction", ["forward", "confirm", "undo"])
@pytest.mark.parametrize("purpose", ["effect", "burn", "tombstone"])
@pytest.mark.parametrize("state", ["running", "confirming", "undoing"])
def test_an_intent_is_written_only_where_its_purpose_belongs(
    state: str, direction: str, purpose: str
) -> None:
    story = Story(plan_step("a"), plan_step("b")).intent("a")
    if state != "running":
        story.decided("commit" if state == "confirming" else "rollback")
    step = "a" if direction == "forward" else "b"
    allowed = purpose in INTENTS.get((state, direction), ())
    allowed = allowed and not (direction != "forward" and purpose != "effect")

    if allowed:
        story.intent(step, direction, purpose)
    else:
        with pytest.raises(IllegalRecord):
            story.intent(step, direction, purpose)


def test_a_reveal_is_written_only_after_the_commit() -> None:
    story = Story(plan_step("a", **{"class": "hold"}, confirm=True, reveals=True)).executed("a")
    with pytest.raises(IllegalRecord):
        story.add("reveal", step="a", gen=1, hashlock="h", deliver="file", until_s=1)


def test_records_follow_each_other_without_a_gap() -> None:
    story = Story(plan_step("a"))
    record_like = story.fold.seq
    story.state = story.fold.copied()
    story.state.seq = record_like + 1
    story.intent("a")
    assert story.fold.seq == record_like + 2


def test_every_saga_state_is_live_or_an_end() -> None:
    states = {state for state, _ in SAGA if state} | set(SAGA.values())
    assert states == LIVE | ENDS


def test_the_diagram_in_the_readme_is_the_table() -> None:
    assert diagram() in README.read_text(encoding="utf-8"), (
        "run: python -m coordinator.saga.table > the diagram of coordinator/README.md"
    )
