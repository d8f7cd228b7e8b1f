"""Answers of who makes evidence: which become records, and which come too late."""

import hashlib
from typing import Any, cast

import pytest

from adapters.base import Proof
from coordinator.live import Live
from coordinator.proving import Got, Proving
from coordinator.runner import Runner
from tests.story import Story, plan_step

_BODY = b"proof"


class _Clock:
    def now_ms(self) -> int:
        return 1_800_000_000_000


class _Runner:
    """The part of a runner that taking answers looks at: the time."""

    clock = _Clock()


@pytest.fixture
def proving() -> Proving:
    return Proving(cast("Runner", _Runner()))


def answered(story: Story, *, tx: str | None = None, block: str | None = None) -> Live:
    """What a process remembers when evidence of step ``a`` has come."""
    effort = story.fold.effort("a", "forward")
    live = Live(story.fold, cast("Any", None))
    outcome = (tx or effort.tx, block or effort.block)
    live.proofs["a", "forward"] = Got(outcome, (Proof("sim/v1", _BODY),))
    return live


def story() -> Story:
    return Story(plan_step("a", proof="wanted")).executed("a")


def test_an_answer_becomes_a_record_that_names_its_bytes(proving: Proving) -> None:
    live = answered(story())
    entries, bodies = proving.take(live, live.state)
    assert [entry.kind for entry in entries] == ["proved"]
    named = {"kind": "sim/v1", "sha256": hashlib.sha256(_BODY).hexdigest()}
    assert entries[0].data["evidence"] == [named]
    assert bodies == [_BODY]
    assert proving.take(live, live.state) == ([], []), "an answer is taken once"


@pytest.mark.parametrize("other", [{"tx": "another"}, {"block": "reorganised away"}])
def test_an_answer_about_another_outcome_is_dropped(
    proving: Proving, other: dict[str, str]
) -> None:
    live = answered(story(), **other)
    assert proving.take(live, live.state) == ([], [])


def test_an_answer_about_what_is_open_again_is_dropped(proving: Proving) -> None:
    told = story()
    live = answered(told)
    effort = told.fold.effort("a", "forward")
    told.add("withdrawn", step="a", dir="forward", gen=1, tx=effort.tx, block=effort.block)
    assert told.fold.effort("a", "forward").phase == "unknown"
    assert proving.take(live, told.fold) == ([], [])


def test_no_record_of_evidence_follows_the_last_one_of_a_saga(proving: Proving) -> None:
    told = story().unproved("a").decided("commit")
    told.add("closed", state="committed", records=told.fold.seq + 1, fees={})
    live = answered(told)
    assert proving.take(live, told.fold) == ([], [])


def test_a_reason_is_recorded_once(proving: Proving) -> None:
    told = story()
    effort = told.fold.effort("a", "forward")
    live = Live(told.fold, cast("Any", None))
    none = Got((effort.tx, effort.block), (), "root_mismatch", "why")
    live.proofs["a", "forward"] = none
    assert [entry.kind for entry in proving.take(live, told.fold)[0]] == ["unproved"]
    live.proofs["a", "forward"] = none
    assert proving.take(live, told.unproved("a").fold) == ([], [])


def test_evidence_that_comes_after_a_reason_is_recorded(proving: Proving) -> None:
    told = story().unproved("a")
    live = answered(told)
    assert [entry.kind for entry in proving.take(live, told.fold)[0]] == ["proved"]


def test_proved_is_recorded_once(proving: Proving) -> None:
    told = story().proved("a")
    live = answered(told)
    assert proving.take(live, told.fold) == ([], [])


def test_an_answer_is_dropped_while_its_outcome_is_no_longer_final(proving: Proving) -> None:
    told = story()
    live = answered(told)
    effort = told.fold.effort("a", "forward")
    told.add("withdrawn", step="a", dir="forward", gen=1, tx=effort.tx, block=effort.block)
    told.included("a")
    again = told.fold.effort("a", "forward")
    assert live.proofs["a", "forward"].outcome == (again.tx, again.block)
    assert proving.take(live, told.fold) == ([], [])
