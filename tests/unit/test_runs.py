"""A set of numbers as bounds says what a plain set says."""

from hypothesis import given
from hypothesis import strategies as st

from coordinator.runs import added, contains, first_absent, gaps, removed

VALUES = st.integers(0, 12)


@given(st.lists(st.tuples(st.booleans(), VALUES)), VALUES, VALUES)
def test_bounds_say_what_a_plain_set_says(
    changes: list[tuple[bool, int]], floor: int, end: int
) -> None:
    runs: tuple[int, ...] = ()
    plain: set[int] = set()
    for adds, value in changes:
        runs = added(runs, value) if adds else removed(runs, value)
        plain = plain | {value} if adds else plain - {value}

        assert [n for n in range(-1, 15) if contains(runs, n)] == sorted(plain)
        assert list(runs) == sorted(set(runs)), "rising, none twice: each set has one form"
        assert len(runs) % 2 == 0

    assert first_absent(runs, floor) == min(set(range(floor, 20)) - plain)
    assert list(gaps(runs, floor, end)) == [n for n in range(floor, end) if n not in plain]


def test_a_million_used_nonces_are_two_numbers() -> None:
    runs = (0, 1_000_000)
    assert added(runs, 1_000_000) == (0, 1_000_001)
    assert first_absent(runs, 7) == 1_000_000
    assert removed(runs, 500_000) == (0, 500_000, 500_001, 1_000_000)


def test_a_run_from_far_off_is_not_walked() -> None:
    runs = (1 << 60, (1 << 60) + 1)
    assert first_absent(runs, 1 << 60) == (1 << 60) + 1
    assert not contains(runs, (1 << 60) + 1)
