"""Time to pixels: linear, but long stretches in which nothing happened are cut out and said so."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from coordinator.report.words import moment_ms, span_ms

__all__ = ["Cut", "Tick", "TimeScale", "scale_of"]

_SECOND: Final = 1000
_MINUTE: Final = 60 * _SECOND
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
#: Distances between ticks that people can add up.
_STEPS: Final = (
    *(base * factor for base in (1, 10, 100) for factor in (1, 2, 5)),
    *(_SECOND * n for n in (1, 2, 5, 10, 15, 30)),
    *(_MINUTE * n for n in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * n for n in (1, 2, 3, 6, 12)),
    *(_DAY * n for n in (1, 2, 7, 14, 30, 90, 365, 3650, 36_500, 365_000)),
)
#: A stretch is cut when it is so many times longer than all shorter ones together.
_DWARFS: Final = 4
_CUTS_MAX: Final = 4
_CUT_PX: Final = 40.0
_SHORTEST_MS: Final = 10


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled moment on the axis."""

    x: float
    text: str


@dataclass(frozen=True, slots=True)
class Cut:
    """A stretch that is drawn shorter than it was."""

    x: float
    width: float
    text: str


@dataclass(frozen=True, slots=True)
class TimeScale:
    """Piecewise linear from ``times`` (ascending) to ``pixels``."""

    times: tuple[int, ...]
    pixels: tuple[float, ...]
    cuts: tuple[Cut, ...]

    def x(self, at_ms: int) -> float:
        """Return the pixel of a moment; what is outside is put at the edge."""
        if at_ms <= self.times[0]:
            return self.pixels[0]
        if at_ms >= self.times[-1]:
            return self.pixels[-1]
        after = bisect_right(self.times, at_ms)
        t0, t1 = self.times[after - 1], self.times[after]
        x0, x1 = self.pixels[after - 1], self.pixels[after]
        return x0 + (x1 - x0) * (at_ms - t0) / (t1 - t0)

    def ticks(self, letter_px: float) -> tuple[Tick, ...]:
        """Return ticks at round moments (UTC) whose labels do not touch; none inside a cut.

        Args:
            letter_px: width of a letter of a label.
        """
        cut = {cut.x for cut in self.cuts}
        linear = [
            (t0, t1)
            for (t0, t1), x0 in zip(pairwise(self.times), self.pixels, strict=False)
            if x0 not in cut
        ]
        length = sum(t1 - t0 for t0, t1 in linear)
        room = self.pixels[-1] - self.pixels[0] - sum(each.width for each in self.cuts)
        dated = self.times[0] // _DAY != self.times[-1] // _DAY
        for step in _STEPS:
            label_px = (len(_clock(0, step, dated=dated)) + 2) * letter_px
            if length / step * label_px <= room:
                break
        found: list[Tick] = []
        for t0, t1 in linear:
            for at_ms in range(-(-t0 // step) * step, t1 + 1, step):
                x = self.x(at_ms)
                if not found or x - found[-1].x >= label_px:
                    found.append(Tick(x, _clock(at_ms, step, dated=dated)))
        return tuple(found)


def _clock(at_ms: int, step: int, *, dated: bool) -> str:
    """Return a moment as exactly as ticks ``step`` apart need it."""
    day, clock = moment_ms(at_ms).removesuffix("Z").split(" ")
    if step < _SECOND:
        shown = clock
    elif step < _MINUTE:
        shown = clock[:8]
    elif step < _DAY:
        shown = clock[:5]
    else:
        return day
    return f"{day[5:]} {shown}" if dated else shown


def scale_of(moments: Sequence[int], left: float, right: float) -> TimeScale:
    """Return the scale for these moments between two pixels."""
    times = sorted(set(moments))
    first, last = times[0], max(times[-1], times[0] + _SHORTEST_MS)
    if times[-1] < last:
        times.append(last)
    cut = _cut_stretches(times)
    cut_px = min(_CUT_PX, (right - left) * 0.12)
    linear_ms = sum(b - a for a, b in pairwise(times) if (a, b) not in cut)
    per_ms = (right - left - cut_px * len(cut)) / linear_ms
    knots, pixels, cuts = [first], [left], []
    for a, b in pairwise(times):
        x = pixels[-1]
        if (a, b) in cut:
            cuts.append(Cut(x, cut_px, span_ms(b - a)))
            knots.append(b)
            pixels.append(x + cut_px)
        else:
            knots.append(b)
            pixels.append(x + (b - a) * per_ms)
    return TimeScale(tuple(knots), tuple(pixels), tuple(cuts))


def _cut_stretches(times: Sequence[int]) -> set[tuple[int, int]]:
    """Return the stretches that would squeeze everything else into a corner."""
    stretches = sorted(pairwise(times), key=lambda pair: pair[1] - pair[0])
    lengths = [b - a for a, b in stretches]
    for shorter in range(len(lengths) - 1, 1, -1):
        if len(lengths) - shorter > _CUTS_MAX:
            break
        if lengths[shorter] > _DWARFS * sum(lengths[:shorter]):
            return set(stretches[shorter:])
    return set()
