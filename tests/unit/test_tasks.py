"""What an adapter is asked about an effort, and what of it may be kept."""

from typing import Any

from coordinator.tasks import Asking, since
from tests.story import Story, plan_step


class _Clock:
    def now_ms(self) -> int:
        return 5_000_000_000


class _Preimage:
    def reveal(self) -> bytes:
        return b"\x07" * 32


class _Secrets:
    def preimage(self, **_what: object) -> _Preimage:
        return _Preimage()

    def hashlock(self, **_what: object) -> str:
        return "ab" * 32


def _asking() -> Asking:
    clock: Any = _Clock()
    return Asking("01STORY", _Secrets(), clock)


def test_a_forward_that_is_made_again_after_the_commit_gets_a_deadline_of_its_own() -> None:
    story, asking = Story(plan_step("a", confirm=True)).executed("a"), _asking()
    state = story.fold
    first = asking.of(state, state, state.step("a"), "forward").task
    assert first.deadline_s == state.deadline_s

    decided = story.decided("commit").fold
    again = asking.of(decided, decided, decided.step("a"), "forward").task
    assert again.deadline_s == 5_000_000 + 24 * 3600


def test_another_attempt_changes_what_is_asked_about_and_not_the_task() -> None:
    story, asking = Story(plan_step("a")), _asking()
    before = story.fold
    idle = asking.of(before, before, before.step("a"), "forward")
    after = story.intent("a").fold
    sent = asking.of(after, after, after.step("a"), "forward")
    assert sent.task is idle.task
    assert (len(idle.attempts), len(sent.attempts)) == (0, 1)


def test_a_raised_cap_is_asked_for_at_once() -> None:
    story, asking = Story(plan_step("a")).intent("a"), _asking()
    before = story.fold
    assert asking.of(before, before, before.step("a"), "forward").task.cap_pct == 100
    story.add(
        "verdict", step="a", dir="forward", verdict="cap", by=["ada"], reason="r",
        args={"pct": 150, "attempts": 1},
    )  # fmt: skip
    after = story.fold
    assert asking.of(after, after, after.step("a"), "forward").task.cap_pct == 150


def test_a_preimage_is_let_out_by_a_durable_reveal_and_by_no_draft() -> None:
    story, asking = (
        Story(plan_step("h", **{"class": "hold"}, confirm=True, reveals=True)),
        _asking(),
    )
    story.intent("h", hashlock="ab" * 32).done("h")
    durable = story.fold
    story.decided("commit")
    story.add("reveal", step="h", gen=1, hashlock="ab" * 32, deliver="calldata", until_s=0)
    drafted = story.fold
    step = drafted.step("h")
    assert asking.of(drafted, durable, step, "confirm").task.preimage is None
    assert asking.of(drafted, drafted, step, "confirm").task.preimage == "07" * 32


def test_a_task_names_the_chain_as_the_first_record_fixed_it() -> None:
    story, asking = Story(plan_step("a", confirm=True)).executed("a"), _asking()
    state = story.fold
    for direction in ("forward", "confirm", "undo"):
        terms = asking.of(state, state, state.step("a"), direction).task.terms
        assert terms is state.plan["chains"][state.step("a").chain]


def test_what_was_seen_below_where_it_was_prepared_is_looked_for_there() -> None:
    story = Story(plan_step("a")).intent("a")
    assert since(story.fold, "c-a") == 100
    story.add(
        "included", step="a", dir="forward", tx="tx1", block="b97", height=97,
        facts={"fee": "1", "time": story.at_s}, until_s=story.at_s + 60,
    )  # fmt: skip
    assert since(story.fold, "c-a") == 97
