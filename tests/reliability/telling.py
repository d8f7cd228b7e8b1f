"""Lines as tests tell them, and the bars that come of them: for the tests of the report."""

from __future__ import annotations

from typing import Final

from tests.reliability.bars import Bar, bars_of
from tests.reliability.depths import DEPTHS
from tests.reliability.jobs import Ran
from tests.reliability.lines import Line

__all__ = ["SOAK", "WELL", "bars", "told"]

WELL: Final = Ran("sim", "python -m pytest tests/sim", 0, 60.0, tests=10)


def told(area: str, kind: str = "lost", fired: int = 1, bad: int = 0, **more: object) -> Line:
    return Line(area, kind, fired, bad, max(fired, 1), more)


def bars(*lines: Line, depth: str = "nightly", jobs: tuple[Ran, ...] = (WELL,)) -> dict[str, Bar]:
    return {bar.name: bar for bar in bars_of(lines, jobs, DEPTHS[depth].least)}


SOAK: Final = told(
    "soak", "3 % of calls", 9, suite="soak", minutes=60.2, rss_third_mb=100.0, rss_end_mb=104.0,
    fds_third=30, fds_end=30,
)  # fmt: skip
