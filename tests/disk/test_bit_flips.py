"""A bit that turned over is found, or nothing that can be read is other than it was written."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.disk.cases import folder
from tests.disk.flips import Ground
from tests.disk.outcome import report

#: DISK_ALL=1 for the nightly depth; DISK_FLIPS=N for another one.
FLIPS = int(os.environ.get("DISK_FLIPS", "10000" if os.environ.get("DISK_ALL") else "1000"))


@dataclass
class Grounds:
    clean: Ground
    in_log: Ground

    def of(self, number: int) -> Ground:
        return self.in_log if number % 3 == 0 else self.clean


@pytest.fixture(scope="module")
def grounds() -> Iterator[Grounds]:
    with folder() as one, folder() as other:
        yield Grounds(Ground(one, in_log=False), Ground(other, in_log=True))


@pytest.mark.parametrize("part", range(4))
@pytest.mark.timeout(3600)
def test_no_flip_is_ever_taken_for_what_was_written(grounds: Grounds, part: int) -> None:
    became: Counter[str] = Counter()
    bad: list[str] = []
    for number in range(part, FLIPS, 4):
        ground = grounds.of(number)
        bit = ground.draw(number)
        replay = f"replay: {bit.replay}"
        try:
            flipped = ground.flip(bit)
        except Exception as error:  # noqa: BLE001 - any error that is not the journal's own
            bad.append(f"{type(error).__name__}: {error}\n  {replay}")
            continue
        if flipped.other:
            bad.append(f"{flipped.other}\n  {replay}")
        if flipped.short and not flipped.found and bit.file != LOG:
            bad.append(f"records are missing\n  {replay}")
        became["found" if flipped.found else "short" if flipped.short else "harmless"] += 1
    fired = Counter({("bit flip", what): count for what, count in became.items()})
    report("bit flips", fired, bad, FLIPS // 4 - len(bad))
    assert became["found"] > FLIPS // 40, became
    assert became["harmless"] > 0, became


LOG = "journal/journal.db-wal"


def test_a_flip_in_the_log_costs_at_most_what_came_after_the_last_intent(grounds: Grounds) -> None:
    """SQLite takes what follows a damaged frame for never written; the second place knows better
    up to the last intent or reveal, and what came later was only read from chains, or asked."""
    sound = grounds.in_log.sound["records"]
    witnessed = max(
        position
        for position, body in enumerate(sound, start=1)
        if b'"kind":"intent"' in body or b'"kind":"reveal"' in body
    )
    cut, refused = 0, 0
    for number in range(0, 3 * 70, 3):
        bit = grounds.in_log.draw(number)
        flipped = grounds.in_log.flip(bit)
        if flipped.short and not flipped.found:
            cut += 1
            assert len(sound) - flipped.short >= witnessed, f"replay: {bit.replay}"
        elif flipped.short:
            refused += 1
            assert len(sound) - flipped.short < witnessed, f"replay: {bit.replay}"
    assert cut > 3
    assert refused > 3
