"""What was needed lately is kept for one more stretch of blocks, and then no longer."""

from adapters.needed import NeededLately


def test_a_block_that_was_needed_is_kept_until_a_whole_stretch_went_by_without_it() -> None:
    needed = NeededLately()
    needed.need(5)
    floors = {}
    for top in range(100, 160):
        if top == 115:
            needed.need(7)
        floor = needed.floor(top, 10)
        if floor is not None:
            floors[top] = floor
    assert floors == {100: 5, 110: 5, 120: 7, 130: 120, 140: 130, 150: 140}


def test_a_stretch_can_be_made_shorter_and_never_longer() -> None:
    needed = NeededLately()
    assert needed.floor(100, 50) == 50
    needed.end_by(120)
    needed.end_by(130)
    assert [top for top in range(101, 140) if needed.floor(top, 50) is not None] == [120]


def test_what_was_needed_is_never_above_what_is_kept_in_any_case() -> None:
    needed = NeededLately()
    needed.need(95)
    assert needed.floor(100, 10) == 90
    assert needed.lowest == 95
