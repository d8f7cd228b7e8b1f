"""Which way a saga went in lost records: the table of coordinator/README.md, row by row."""

from __future__ import annotations

from itertools import product

import pytest

from coordinator.recovery.table import Evidence, Way, answered, way_of

STEPS = ("lock", "hold", "mint")


def seen(
    *there: str,
    pivot: str | None = None,
    confirmed: tuple[str, ...] = (),
    undone: tuple[str, ...] = (),
    secret: tuple[str, ...] = (),
    unclear: tuple[str, ...] = (),
    state: str = "running",
) -> Evidence:
    forwards = {
        step: "unclear" if step in unclear else "there" if step in there else "absent"
        for step in STEPS
    }
    return Evidence(state, forwards, pivot, confirmed, undone, frozenset(secret))  # type: ignore[arg-type]


def kind(evidence: Evidence) -> str:
    return way_of(evidence).kind


@pytest.mark.parametrize("state", ["confirming", "undoing"])
def test_what_was_decided_in_the_backup_goes_on(state: str) -> None:
    assert kind(seen(*STEPS, state=state, confirmed=("lock",), undone=("mint",))) == "on"


def test_a_confirm_on_the_chain_is_a_commit() -> None:
    assert kind(seen(*STEPS, confirmed=("mint",))) == "commit"


def test_a_redeemed_hold_is_a_commit_although_it_has_a_secret() -> None:
    assert kind(seen(*STEPS, confirmed=("hold",), secret=("hold",))) == "commit"


def test_the_pivot_on_the_chain_is_a_commit() -> None:
    assert kind(seen(*STEPS, pivot="mint")) == "commit"


def test_an_undo_on_the_chain_is_a_rollback_although_a_secret_exists() -> None:
    assert kind(seen(*STEPS, undone=("lock",), secret=("hold",))) == "rollback"


def test_an_effect_that_is_not_there_and_can_not_come_is_a_rollback() -> None:
    assert kind(seen("lock", "hold", secret=("hold",))) == "rollback"
    assert kind(seen()) == "rollback"


def test_a_complete_saga_whose_preimage_may_be_told_is_asked_about() -> None:
    way = way_of(seen(*STEPS, secret=("hold",)))
    assert (way.kind, way.persons) == ("ask", 2)


def test_a_complete_saga_without_secrets_is_rolled_back() -> None:
    assert kind(seen(*STEPS)) == "rollback"


def test_a_refunded_hold_alone_may_be_a_reclaim_after_a_commit() -> None:
    way = way_of(seen(*STEPS, undone=("hold",), secret=("hold",)))
    assert (way.kind, way.persons) == ("ask", 2)


def test_a_refunded_hold_with_another_effect_missing_is_a_rollback() -> None:
    assert kind(seen("lock", "hold", undone=("hold",), secret=("hold",))) == "rollback"


def test_a_confirm_beside_an_undo_is_for_a_person() -> None:
    assert kind(seen(*STEPS, confirmed=("lock",), undone=("mint",))) == "ask"


def test_a_commit_whose_effects_are_not_all_there_is_for_a_person() -> None:
    assert kind(seen("lock", "mint", confirmed=("lock",))) == "ask"
    assert kind(seen("mint", pivot="mint")) == "ask"


def test_nothing_is_said_while_it_is_open_what_made_an_effect() -> None:
    assert kind(seen("lock", "mint", unclear=("hold",), confirmed=("lock",))) == "wait"


EVERY = [
    seen(*there, pivot=pivot, confirmed=confirmed, undone=undone, secret=secret)
    for there, pivot, confirmed, undone, secret in product(
        [(), ("lock",), ("lock", "hold"), STEPS],
        [None, "mint"],
        [(), ("lock",), ("hold",)],
        [(), ("hold",), ("lock",)],
        [(), ("hold",)],
    )
]


def test_no_saga_commits_by_itself_without_every_effect() -> None:
    assert all(evidence.complete for evidence in EVERY if kind(evidence) == "commit")


def test_no_hold_with_a_secret_is_refunded_by_itself_once_it_may_have_been_told() -> None:
    """Once every effect stood, the commit may have been decided and the preimage be out: only the
    undo of something else proves that it was not.
    """
    for evidence in EVERY:
        if evidence.complete and evidence.secret and not set(evidence.undone) - evidence.secret:
            assert kind(evidence) != "rollback", evidence


def test_no_confirmed_saga_is_rolled_back_by_itself() -> None:
    assert not [e for e in EVERY if e.confirmed and kind(e) == "rollback"]


# ---------------------------------------------------------------- answers


def taken(evidence: Evidence, answer: str, persons: int = 1) -> Way | str:
    return answered(evidence, way_of(evidence), answer, persons)


def test_one_person_may_commit_what_is_complete() -> None:
    way = taken(seen(*STEPS, secret=("hold",)), "commit")
    assert isinstance(way, Way)
    assert way.kind == "commit"
    assert isinstance(taken(seen(*STEPS), "commit"), Way)


def test_a_rollback_of_what_may_be_revealed_needs_two() -> None:
    evidence = seen(*STEPS, secret=("hold",))
    assert "2 different persons" in str(taken(evidence, "rollback"))
    way = taken(evidence, "rollback", 2)
    assert isinstance(way, Way)
    assert way.kind == "rollback"


def test_nobody_can_commit_what_is_not_there() -> None:
    for evidence in EVERY:
        if not evidence.complete:
            got = taken(evidence, "commit", 2)
            assert isinstance(got, str) or got.kind != "commit", evidence


def test_nobody_can_commit_what_was_taken_back() -> None:
    assert "was taken back" in str(taken(seen(*STEPS, undone=("lock",)), "commit", 2))


def test_nobody_can_roll_back_what_the_chains_show_as_committed() -> None:
    for evidence in EVERY:
        if kind(evidence) == "commit":
            assert isinstance(taken(evidence, "rollback", 2), str), evidence
