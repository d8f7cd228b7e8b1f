"""Sets of whole numbers that come in runs, such as an account's nonces: a few bounds say it all.

A set is an even number of rising bounds: from the first up to the second, from the third up to the
fourth, each end not included. An account that used its nonces 0 to 999,999 is ``(0, 1000000)``.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import TypeAlias

__all__ = ["Runs", "added", "contains", "first_absent", "gaps", "removed"]

Runs: TypeAlias = tuple[int, ...]


def contains(runs: Runs, value: int) -> bool:
    """Whether the value is in the set."""
    return bisect_right(runs, value) % 2 == 1


def first_absent(runs: Runs, floor: int) -> int:
    """Return the smallest value ≥ ``floor`` that is not in the set."""
    at = bisect_right(runs, floor)
    return runs[at] if at % 2 else floor


def gaps(runs: Runs, floor: int, end: int) -> Iterator[int]:
    """Yield the values from ``floor`` up to ``end``, not included, that are not in the set."""
    value = floor
    while (value := first_absent(runs, value)) < end:
        yield value
        value += 1


def added(runs: Runs, value: int) -> Runs:
    """Return the set with the value."""
    return runs if contains(runs, value) else _turned(runs, value)


def removed(runs: Runs, value: int) -> Runs:
    """Return the set without the value."""
    return _turned(runs, value) if contains(runs, value) else runs


def _turned(runs: Runs, value: int) -> Runs:
    """Return the set in which the value has changed sides: a bound that it meets is gone, else it
    makes one.
    """
    at = bisect_right(runs, value)
    here = at > 0 and runs[at - 1] == value
    after = at < len(runs) and runs[at] == value + 1
    bounds = (*(() if here else (value,)), *(() if after else (value + 1,)))
    return (*runs[: at - here], *bounds, *runs[at + after :])
