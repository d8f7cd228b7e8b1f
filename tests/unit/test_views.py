"""What people see is made from the records alone."""

from __future__ import annotations

from typing import Any

from coordinator.journal.base import Record
from coordinator.views import advice, saga_view, standing, timeline
from tests.story import START_S, Story, plan_step

LATER_MS = (START_S + 30) * 1000


def moving(name: str, **more: Any) -> dict[str, Any]:
    move = {"asset": "GAS", "amount": "7", "source": "0xours", "target": "escrow"}
    return plan_step(name, moves=[move], **more)


def test_an_effect_stands_from_its_intent_until_it_is_taken_back_or_confirmed() -> None:
    story = Story(moving("a", confirm=True), moving("b"))
    assert standing(story.fold) == []
    story.intent("a")
    assert [step.id for step in standing(story.fold)] == ["a"]
    story.done("a").executed("b").decided("rollback").intent("b", "undo").done("b", "undo")
    assert [step.id for step in standing(story.fold)] == ["a"]
    story.intent("a", "undo").done("a", "undo")
    assert standing(story.fold) == []


def test_where_value_is_stays_open_while_the_outcome_is_unknown() -> None:
    story = Story(moving("a"))
    story.intent("a")
    assert advice(story.fold, now_ms=LATER_MS)["where"][0]["holder"] == "0xours or escrow"
    story.done("a")
    assert advice(story.fold, now_ms=LATER_MS)["where"][0]["holder"] == "escrow"


def test_advice_says_what_can_not_be_taken_back() -> None:
    story = Story(moving("a"), moving("p", **{"class": "pivot"}, undo=False))
    assert "can be taken back" in advice(story.fold, now_ms=LATER_MS)["irreversible"]
    story.executed("a").intent("p")
    assert "step p may be paid already" in advice(story.fold, now_ms=LATER_MS)["irreversible"]
    story.done("p").decided("commit")
    assert "only goes forward" in advice(story.fold, now_ms=LATER_MS)["irreversible"]


def test_advice_after_the_deadline_says_that_it_will_roll_back() -> None:
    story = Story(moving("a")).intent("a")
    late = advice(story.fold, now_ms=(story.fold.deadline_s + 9) * 1000)

    assert late["left_s"] == -9
    assert "will roll back" in late["next"]


def test_a_view_holds_only_json_and_amounts_in_both_forms() -> None:
    story = Story(moving("a")).executed("a")
    view = saga_view(story.fold, now_ms=LATER_MS)

    assert view["steps"][0]["moves"][0]["base_units"] == "7"
    assert view["fees"] == {"GAS": {"base_units": "1", "value": "1"}}
    assert _only_json(view)


def _only_json(value: object) -> bool:
    if isinstance(value, dict):
        return all(type(k) is str and _only_json(v) for k, v in value.items())
    if isinstance(value, list):
        return all(_only_json(item) for item in value)
    return value is None or type(value) in (str, int, bool)


def test_every_kind_of_record_has_its_line() -> None:
    lines = [
        timeline(Record(1, "saga:S", 1, kind, 1, 0, data, "", "", b""))
        for kind, data in (
            ("asked", {"what": "rollback", "by": "ada", "reason": "no"}),
            ("taken_over", {"instance": "2-b", "from": "1-a"}),
            ("verdict", {"step": "a", "dir": "forward", "verdict": "burn", "by": ["ada"],
                         "reason": "old", "args": {}}),
            ("paused", {"by": "ada", "reason": "r"}),
            ("never heard of", {}),
        )
    ]  # fmt: skip

    assert lines == [
        "asked rollback by ada: no",
        "taken_over by 2-b from 1-a",
        "verdict a forward burn by ada: old",
        "paused by ada: r",
        "never heard of",
    ]
