"""The swim-lane timeline: one lane a chain, one for the coordinator, time from left to right.

Forward effects are filled bars that point right, undos hatched bars that point left, confirms
dotted ones. A thin line is "sent, in no block yet"; the bar begins with the block and ends where
the effect is final.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from coordinator.report.drawing import clip, label, picture, rectangle, width_of, with_tip
from coordinator.report.efforts import EffortFacts, Incident, Segment
from coordinator.report.facts import ReportFacts, Sign
from coordinator.report.markup import Markup, element
from coordinator.report.timescale import TimeScale, scale_of
from coordinator.report.words import clock_ms, moment_s, span_ms

__all__ = ["draw_timeline"]

_TEXT: Final = 11.0
_ROW: Final = 34
_BAR: Final = 11
_LANE_PAD: Final = 8
_TOP: Final = 10
_AXIS: Final = 50
_GAP: Final = 10.0
_NARROW: Final = 500
_NAME_MAX: Final = 150.0


@dataclass(frozen=True, slots=True)
class _Item:
    """Something that takes room in a lane: where it is, where its words begin and end."""

    left: float
    right: float
    words_x: float
    words: str
    effort: EffortFacts | None = None
    sign: Sign | None = None


def draw_timeline(facts: ReportFacts, *, prefix: str, width: int) -> Markup:
    """Return the timeline of a saga, ``width`` pixels wide and as high as it takes."""
    narrow = width < _NARROW
    left, right = (8.0, width - 8.0) if narrow else (118.0, width - 12.0)
    scale = scale_of(_moments(facts), left + 8, right - 14)
    lanes = [("coordinator", [_sign_item(sign, scale, left, right) for sign in facts.signs])]
    for chain in facts.chains:
        efforts = [e for s in facts.steps for e in s.efforts if s.chain == chain.name]
        lanes.append(
            (chain.name, [_effort_item(facts, e, scale, left, right) for e in _started(efforts)])
        )
    ground: list[Markup] = []
    drawn: list[Markup] = []
    y = float(_TOP)
    for number, (name, items) in enumerate(lanes):
        rows = _rows(items)
        head = 18 if narrow else 0
        height = head + max(1, len(rows)) * _ROW + _LANE_PAD
        ground.append(rectangle(0.5, y, width - 1, height, "lane" if number % 2 else "lane odd"))
        name_width = width - 20.0 if narrow else left - 16.0
        drawn.append(label(8, y + 15, clip(name, name_width, _TEXT + 1), "t strong halo"))
        if not items:
            drawn.append(label(left + 8, y + head + 20, "nothing happened here", "t dim"))
        for index, row in enumerate(rows):
            drawn += [_draw(i, scale, prefix, y + head + index * _ROW + 4, right) for i in row]
        y += height
    grid = _grid(facts, scale, _TOP, y)
    axis = _axis(scale, y, width)
    title = f"Timeline of saga {facts.saga}"
    return picture(
        prefix, title, _description(facts), width, int(y) + _AXIS, *ground, *grid, *drawn, *axis
    )


def _started(efforts: Sequence[EffortFacts]) -> list[EffortFacts]:
    found = [effort for effort in efforts if effort.incidents]
    return sorted(found, key=lambda effort: (effort.incidents[0].at_ms, effort.incidents[0].seq))


def _moments(facts: ReportFacts) -> list[int]:
    times = [facts.started_ms, facts.last_ms, *(sign.at_ms for sign in facts.signs)]
    for step in facts.steps:
        times += [i.at_ms for effort in step.efforts for i in effort.incidents]
    deadline_ms = facts.deadline_s * 1000
    if min(times) <= deadline_ms <= max(times):
        times.append(deadline_ms)
    return times


def _description(facts: ReportFacts) -> str:
    told = []
    for step in facts.steps:
        for effort in _started(step.efforts):
            last = effort.incidents[-1]
            told.append(
                f"{_name(facts, effort)} on {effort.chain}: {effort.incidents[0].kind} "
                f"{clock_ms(effort.incidents[0].at_ms)}, {last.kind} {clock_ms(last.at_ms)}."
            )
    took = span_ms(facts.last_ms - facts.started_ms)
    return f"From the first to the last record {took}. " + " ".join(told)


def _name(facts: ReportFacts, effort: EffortFacts) -> str:
    number = next(step.number for step in facts.steps if step.id == effort.step)
    prefix = "" if effort.direction == "forward" else f"{effort.direction} "
    return f"{prefix}{number} {effort.step}"


# ---------------------------------------------------------------- layout


def _effort_item(
    facts: ReportFacts, effort: EffortFacts, scale: TimeScale, left: float, right: float
) -> _Item:
    marks = [scale.x(incident.at_ms) for incident in effort.incidents]
    ends = [right if s.until_ms is None else scale.x(s.until_ms) for s in effort.segments]
    begin, end = min(marks), max([*marks, *ends])
    words = f"{_PREFIX[effort.direction]}{_name(facts, effort)}"
    return _with_words(words, begin, end, left, right, effort=effort)


def _sign_item(sign: Sign, scale: TimeScale, left: float, right: float) -> _Item:
    x = scale.x(sign.at_ms)
    return _with_words(sign.text, x, x, left, right, sign=sign)


_PREFIX: Final = {"forward": "→ ", "confirm": "✓ ", "undo": "← "}


def _with_words(
    words: str,
    begin: float,
    end: float,
    left: float,
    right: float,
    *,
    effort: EffortFacts | None = None,
    sign: Sign | None = None,
) -> _Item:
    """Put words above their mark, moved to the left where they would leave the picture."""
    shown = clip(words, min(_NAME_MAX, right - left), _TEXT)
    taken = width_of(shown, _TEXT)
    x = max(left, min(begin - 4, right - taken))
    return _Item(min(begin - 5, x), max(end + 6, x + taken), x, shown, effort, sign)


def _rows(items: Sequence[_Item]) -> list[list[_Item]]:
    """Give each item the first row in which it touches nobody."""
    rows: list[list[_Item]] = []
    for item in items:
        for row in rows:
            if all(
                item.left > other.right + _GAP or item.right + _GAP < other.left for other in row
            ):
                row.append(item)
                break
        else:
            rows.append([item])
    return rows


# ---------------------------------------------------------------- drawing


def _draw(item: _Item, scale: TimeScale, prefix: str, y: float, right: float) -> Markup:
    words = label(item.words_x, y + 9, item.words, "t halo")
    middle = y + 20
    if item.sign is not None:
        sign = item.sign
        x = scale.x(sign.at_ms)
        tip = f"{sign.text}, {clock_ms(sign.at_ms)}, record {sign.seq}"
        return with_tip(tip, words, _sign(sign.kind, x, middle))
    effort = item.effort
    assert effort is not None
    bars = [_bar(effort, segment, scale, prefix, middle, right) for segment in effort.segments]
    marks = [_mark(incident, scale.x(incident.at_ms), middle) for incident in effort.incidents]
    told = "; ".join(f"{i.text} {clock_ms(i.at_ms)} (record {i.seq})" for i in effort.incidents)
    tip = f"{effort.direction} of {effort.step} on {effort.chain}: {told}"
    return with_tip(tip, words, *bars, *marks)


def _bar(
    effort: EffortFacts, segment: Segment, scale: TimeScale, prefix: str, y: float, right: float
) -> Markup:
    x0 = scale.x(segment.from_ms)
    x1 = right if segment.until_ms is None else scale.x(segment.until_ms)
    if segment.kind == "sent":
        return element(
            "line", x1=round(x0, 1), y1=y, x2=round(x1, 1), y2=y, class_=f"sent {effort.direction}"
        )
    fill = None if effort.direction == "forward" else f"url(#{prefix}-{effort.direction})"
    return rectangle(
        x0, y - _BAR / 2, max(x1 - x0, 2.0), _BAR, f"bar {effort.direction}", fill=fill
    )


def _mark(incident: Incident, x: float, y: float) -> Markup:
    """Return the shape of a moment: every kind has one of its own."""
    shape = _MARKS[incident.kind].format(
        x=round(x, 1), y=y, l=round(x - 4, 1), r=round(x + 4, 1), t=y - 5, b=y + 5
    )
    return element("path", d=shape, class_=f"mark {incident.kind}")


_CROSS: Final = "M{l},{t} L{r},{b} M{l},{b} L{r},{t}"
_TRIANGLE: Final = "M{l},{b} L{r},{b} L{x},{t} Z"
_MARKS: Final = {
    "intent": "M{x},{t} L{x},{b}",
    "kill": _TRIANGLE,
    "reveal": "M{x},{t} L{x},{b}",
    "included": "M{x},{t} L{x},{b}",
    "final": "M{l},{y} L{x},{b} L{r},{y} L{x},{t} Z",
    "failed": _CROSS,
    "orphaned": _TRIANGLE,
    "withdrawn": _TRIANGLE,
    "written_off": _CROSS,
}


def _sign(kind: str, x: float, y: float) -> Markup:
    if kind in ("decided", "closed", "started"):
        shape = _MARKS["final"]
    elif kind in ("stuck", "verdict", "asked", "paused"):
        shape = _TRIANGLE
    else:
        shape = _MARKS["intent"]
    path = shape.format(x=round(x, 1), y=y, l=round(x - 4, 1), r=round(x + 4, 1), t=y - 5, b=y + 5)
    return element("path", d=path, class_=f"mark {kind}")


def _grid(facts: ReportFacts, scale: TimeScale, top: float, bottom: float) -> list[Markup]:
    """Return the vertical lines: decision, deadline, cuts."""
    lines = [rectangle(cut.x, top, cut.width, bottom - top, "cut") for cut in scale.cuts]
    if facts.decided_ms is not None:
        lines.append(_vertical(scale.x(facts.decided_ms), top, bottom, "decision"))
    if scale.times[0] <= facts.deadline_s * 1000 <= scale.times[-1]:
        x = scale.x(facts.deadline_s * 1000)
        tip = f"deadline {moment_s(facts.deadline_s)}"
        lines.append(with_tip(tip, _vertical(x, top, bottom, "deadline")))
    return lines


def _vertical(x: float, top: float, bottom: float, class_: str) -> Markup:
    return element("line", x1=round(x, 1), y1=top, x2=round(x, 1), y2=bottom, class_=class_)


def _axis(scale: TimeScale, y: float, width: int) -> list[Markup]:
    drawn = [
        element(
            "line",
            x1=round(scale.pixels[0], 1),
            y1=y + 4,
            x2=round(scale.pixels[-1], 1),
            y2=y + 4,
            class_="axis",
        )
    ]
    for tick in scale.ticks(_TEXT * 0.6):
        drawn.append(_vertical(tick.x, y + 4, y + 9, "axis"))
        half = width_of(tick.text, _TEXT) / 2 + 2
        middle = min(max(tick.x, half), width - half)
        drawn.append(label(middle, y + 20, tick.text, "t", "middle"))
    taken = 0.0
    for cut in scale.cuts:
        middle = cut.x + cut.width / 2
        half = width_of(cut.text, _TEXT) / 2
        lower = 12 if middle - half < taken else 0
        taken = taken if lower else middle + half + 4
        drawn.append(label(middle, y + 9, "≈", "t strong", "middle"))
        drawn.append(label(middle, y + 33 + lower, cut.text, "t dim", "middle"))
    return drawn
