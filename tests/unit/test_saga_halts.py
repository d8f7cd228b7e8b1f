"""R12: an account that signed what nobody can explain begins nothing that only claims protect."""

import pytest

from adapters.base import ChainClock
from coordinator.saga import Decision, Now, decide
from coordinator.saga.questions import code_of
from tests.story import Story, plan_step, shape

WHY = "ops on c-a signed 0xfeed, which no record explains"
PAYERS = {"forward": "ops", "confirm": "ops", "undo": "ops", "burn": "ops"}


def story(**changes: object) -> Story:
    return Story(plan_step("a", payers=PAYERS, **changes), plan_step("b"))


def halted(told: Story, **heights: int) -> Decision:
    """What is decided while ``ops`` stands still on the first step's chain."""
    told.heights |= {f"c-{name}": height for name, height in heights.items()}
    chains = {chain: ChainClock(height, told.at_s) for chain, height in told.heights.items()}
    return decide(told.fold, Now(told.at_s * 1000, chains, halts={("c-a", "ops"): WHY}))


def test_its_forward_waits_and_says_why() -> None:
    decision = halted(story())
    assert shape(decision) == []
    assert decision.waits[0].reason == WHY


def test_the_deadline_rolls_it_back_all_the_same() -> None:
    told = story()
    told.at_s += 601
    assert halted(told).commands[0].entries[0].data["decision"] == "rollback"  # type: ignore[union-attr]


def test_its_pivot_waits() -> None:
    pivot = plan_step("a", payers=PAYERS, **{"class": "pivot", "undo": False})
    assert shape(halted(Story(pivot))) == []


@pytest.mark.parametrize("direction", ["confirm", "undo"])
@pytest.mark.parametrize(("unique_by", "goes_on"), [("operation", True), ("claim", False)])
def test_confirms_and_undos_go_on_where_more_than_a_nonce_makes_them_unique(
    direction: str,
    unique_by: str,
    goes_on: bool,  # noqa: FBT001 - a parameter of the case
) -> None:
    told = story(confirm=True, unique_by=unique_by).executed("a")
    told.decided("commit" if direction == "confirm" else "rollback")
    assert (("Act", "a", direction) in shape(halted(told))) is goes_on


@pytest.mark.parametrize("direction", ["confirm", "undo"])
def test_the_alarm_of_what_waits_for_it_says_that_it_is_held_back(direction: str) -> None:
    told = story(confirm=True, unique_by="claim").executed("a")
    told.decided("commit" if direction == "confirm" else "rollback")
    wait = next(wait for wait in halted(told).waits if wait.step == "a")
    assert (wait.reason, code_of(told.fold, wait)) == (WHY, "held")


def test_what_is_out_is_sent_on_and_burnt() -> None:
    told = story(unique_by="claim").intent("a")
    assert shape(halted(told)) == [("Send", "a", "forward")]
    told.decided("rollback")
    assert shape(halted(told)) == [("Act", "a", "forward", "kill")]


def test_what_is_out_may_be_replaced_under_its_own_claim() -> None:
    told = story(unique_by="claim", bump=3).intent("a")
    assert ("Act", "a", "forward") in shape(halted(told, a=103))


def test_other_accounts_and_chains_go_on() -> None:
    other = Story(plan_step("a", payers=PAYERS | {"forward": "else"}))
    assert shape(halted(other)) == [("Act", "a", "forward")]
