"""When what is out is replaced by what pays more: by blocks that passed it by, never by silence."""

import pytest

from coordinator.saga import Act
from tests.story import Story, plan_step, shape


def story(**changes: object) -> Story:
    """Two steps; the first one's attempt is out, made at height 100."""
    return Story(plan_step("a", bump=3, **changes), plan_step("b"))


SENT = [("Send", "a", "forward")]
REPLACED = [("Act", "a", "forward"), *SENT]


def test_an_attempt_is_replaced_when_enough_blocks_passed_it_by() -> None:
    told = story().intent("a")
    assert shape(told.next(a=102)) == SENT
    assert shape(told.next(a=103)) == REPLACED, "and what is out is sent on: it may land yet"


def test_what_is_waited_for_is_that_block() -> None:
    wait = story().intent("a").next(a=101).waits[0]
    assert (wait.chain, wait.height) == ("c-a", 103)


def test_a_chain_that_stands_still_replaces_nothing_however_long_it_stands() -> None:
    told = story().intent("a")
    assert shape(told.next(after_s=400)) == SENT


def test_the_next_replacement_counts_from_the_newest_attempt() -> None:
    told = story().intent("a")
    told.add(
        "intent", step="a", dir="forward", gen=1, n=2, purpose="effect", tx="dearer", bytes="00",
        chain="c-a", claim=[["acc", 1]], since=103, fee={}, facts={}, until_s=told.at_s + 60,
    )  # fmt: skip
    assert shape(told.next(a=105)) == SENT
    assert shape(told.next(a=106)) == REPLACED


def test_every_block_counts_when_the_deadline_is_near() -> None:
    told = story().intent("a")
    # Two waits of three blocks, four seconds each at worst, is what has to be left.
    assert shape(told.next(after_s=570, a=101)) == SENT
    assert shape(told.next(after_s=7, a=101)) == REPLACED


def test_what_a_block_has_is_not_replaced() -> None:
    told = story().intent("a").included("a")
    assert ("Act", "a", "forward") not in shape(told.next(a=110))


@pytest.mark.parametrize("direction", ["confirm", "undo"])
def test_confirms_and_undos_are_replaced_too(direction: str) -> None:
    told = Story(plan_step("a", bump=3, confirm=True)).executed("a")
    told.decided("commit" if direction == "confirm" else "rollback").intent("a", direction)
    assert shape(told.next(a=103)) == [("Act", "a", direction), ("Send", "a", direction)]


def test_a_burn_is_replaced_as_a_burn() -> None:
    told = story().intent("a").decided("rollback").intent("a", purpose="burn")
    again = [
        (command.kill, command.again)
        for command in told.next(a=103).commands
        if isinstance(command, Act)
    ]
    assert again == [(True, True)]


def test_plans_that_know_of_no_replacement_have_none() -> None:
    told = Story(plan_step("a"), plan_step("b")).intent("a")
    assert shape(told.next(a=1000)) == SENT


def test_what_waits_for_money_is_not_made_dearer_until_that_time_is_over() -> None:
    told = story().intent("a")
    told.add(
        "stuck", step="a", dir="forward", reason="dry", code="unfunded", question="fund it",
        verdicts=[], fund=["acc", "GAS", "7"], since_s=told.at_s, at_s=told.at_s,
        until_s=told.at_s + 60,
    )  # fmt: skip
    assert shape(told.next(a=110)) == SENT
    # Then it is tried again: the account may have the money now, and else the alarm names more.
    assert shape(told.next(after_s=61, a=110)) == REPLACED
