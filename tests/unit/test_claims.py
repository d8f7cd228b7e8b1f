"""The book of nonces and coins: what one process may try to claim."""

import pytest

from coordinator.claims import Claims
from coordinator.journal.base import ClaimRow


class _Rows:
    """The two questions a book asks of a journal."""

    def __init__(self, claimed: list[tuple[str, int]], kept: dict[str, str]) -> None:
        self.claimed, self.kept = claimed, kept

    def claims(self, chain: str) -> list[ClaimRow]:
        return [ClaimRow(chain, *claim, "saga:X", "s", "forward") for claim in self.claimed]

    def locked(self, _chain: str) -> dict[str, str]:
        return self.kept


def book(*claimed: tuple[str, int], **kept: str) -> Claims:
    return Claims(_Rows(list(claimed), kept), "c")  # type: ignore[arg-type]


def test_a_nonce_is_the_smallest_free_one_at_or_above_the_floor() -> None:
    claims = book(("a", 5), ("a", 6), ("a", 8))
    scope = claims.scope()
    assert [scope.take_next("a", 5), scope.take_next("a", 5)] == [7, 9]
    assert claims.scope().take_next("a", 20) == 20


def test_what_a_scope_held_is_free_again_when_nothing_became_durable() -> None:
    claims = book()
    with claims.scope() as scope:
        assert scope.take_next("a", 0) == 0
        assert claims.scope().take_next("a", 0) == 1
    assert claims.scope().take_next("a", 0) == 0


def test_what_became_durable_is_never_given_again() -> None:
    claims = book()
    scope = claims.scope()
    scope.take_next("a", 3)
    scope.keep([("a", 3)])
    scope.drop()
    assert claims.scope().take_next("a", 3) == 4


def test_a_hole_is_a_free_nonce_below_a_taken_one() -> None:
    claims = book(("a", 4), ("a", 7))
    assert claims.holes("a", 3) == [3, 5, 6]
    assert claims.holes("a", 5) == [5, 6]
    assert claims.holes("a", 8) == []
    assert claims.holes("b", 0) == []


def test_one_absurd_claim_lists_a_window_of_holes_and_not_all() -> None:
    assert book(("a", 1 << 40)).holes("a", 3) == list(range(3, 67))


def test_a_nonce_in_hand_is_no_hole() -> None:
    claims = book(("a", 1))
    with claims.scope() as scope:
        scope.take_next("a", 0)
        assert claims.holes("a", 0) == []
    assert claims.holes("a", 0) == [0]


def test_a_dropped_highest_nonce_leaves_no_hole() -> None:
    claims = book(("a", 0))
    with claims.scope() as scope:
        scope.take_next("a", 5)
        assert claims.holes("a", 0) == [1, 2, 3, 4]
    assert claims.holes("a", 0) == []


@pytest.mark.parametrize(
    ("saga", "undo", "free"),
    [("S", True, True), ("S", False, False), ("T", True, False), ("T", False, False)],
)
def test_only_its_own_undo_may_spend_what_an_open_saga_brought_in(
    saga: str,
    undo: bool,  # noqa: FBT001 - a table
    free: bool,  # noqa: FBT001
) -> None:
    claims = book()
    claims.keep("t:0", "S")
    scope = claims.scope(saga, undo=undo)
    assert scope.taken("t:0") is not free
    assert scope.take("t:0") is free


def test_a_closed_saga_keeps_nothing() -> None:
    claims = book()
    claims.keep("t:0", "S")
    claims.keep("u:0", "T")
    claims.free("S")
    assert claims.scope().take("t:0")
    assert not claims.scope().take("u:0")


def test_what_a_saga_kept_is_free_when_another_process_has_closed_it() -> None:
    rows = _Rows([], {"t:0": "S", "u:0": "T"})
    claims = Claims(rows, "c")  # type: ignore[arg-type]
    rows.kept = {"u:0": "T"}
    claims.follow({"X"})
    assert not claims.scope().take("t:0")
    claims.follow({"S"})
    assert claims.scope().take("t:0")
    assert not claims.scope().take("u:0")


def test_a_coin_reserved_for_a_payment_is_free_for_that_payment_alone() -> None:
    claims = book(**{"t:0": "S"})
    assert claims.scope("S", coins=("t:0",)).take("t:0")
    claims = book(**{"t:0": "S"}, **{"u:0": "S"})
    assert not claims.scope("S").take("t:0")
    assert not claims.scope("T").take("t:0")
    pays = claims.scope("S", coins=("t:0",))
    assert not pays.take("u:0")
    assert pays.take("t:0")
    assert not claims.scope("S", coins=("t:0",)).take("t:0"), "once is enough"


def test_what_nobody_claimed_below_a_head_is_named_from_the_first_claim_on() -> None:
    claims = book(("a", 5), ("a", 7))
    assert claims.unclaimed_below("a", 9) == [6, 8]
    assert claims.unclaimed_below("a", 6) == []
    assert claims.unclaimed_below("b", 9) == [], "what was before us is nobody's business"
    claims.scope().take_next("a", 6)
    assert claims.unclaimed_below("a", 9) == [8], "what is being prepared is spoken for"
