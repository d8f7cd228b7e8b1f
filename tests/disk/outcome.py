"""What a test of this folder counted: told to the report (`tests.reliability`) and checked."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.reliability.notes import note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["report", "sweep"]


def report(
    suite: str, fired: Mapping[tuple[str, str], int], bad: Sequence[str], least: int
) -> None:
    """Tell the counts, then fail if anything was bad or too few faults fired.

    Args:
        suite: the bar of the report that they count for.
        fired: (way, where it fired) → how often.
        bad: for each bad case what was wrong and the command that replays it.
        least: that many must have fired, else the test has proved nothing.
    """
    number = sum(fired.values())
    for (way, point), count in fired.items():
        note("disk", way, fired=count, bad=0, runs=count, suite=suite, point=point)
    if bad:
        note("disk", "wrong", fired=0, bad=len(bad), runs=0, suite=suite)
    assert not bad, f"{len(bad)} of {number} cases of {suite} are wrong:\n" + "\n".join(bad[:20])
    assert number >= least, f"only {number} faults of {suite} fired, {least} were wanted"


def sweep(
    case: Callable[[int], Iterable[str] | None], numbers: Iterable[int], way: str, replay: str
) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Run ``case`` for each number until it returns None; return where it fired, and what was bad.

    Args:
        case: returns the places at which something went wrong on purpose, None if there is no such
            number.
        replay: the command that runs one case again, its number left out.
    """
    fired: Counter[tuple[str, str]] = Counter()
    bad: list[str] = []
    for number in numbers:
        try:
            places = case(number)
        except Exception as error:  # noqa: BLE001 - each is a finding, with its command
            text = f"{type(error).__name__}: {str(error)[:500]}"
            bad.append(f"{text}\n  replay: {replay} {number}")
            continue
        if places is None:
            break
        fired.update((way, place) for place in places)
    return fired, bad
