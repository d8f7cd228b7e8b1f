"""The heat map: which way of going wrong was tried at which kind of point, and how often. SVG."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final
from xml.sax.saxutils import escape

from tests.reliability.lines import Line

__all__ = ["heat_map"]

_CELL: Final = 30
_LEFT: Final = 190
_TOP: Final = 150
_GAP: Final = 40
_TITLES: Final = {
    "sim": "simulation: way × call",
    "crash": "kill -9 of the real process: when × call",
    "disk": "disk: what went wrong × plan or case",
    "adversity": "real nodes: way × method",
}
_STYLE: Final = """\
text { font: 11px system-ui, sans-serif; fill: #24292f; }
.title { font-weight: 600; font-size: 13px; }
.count { font-size: 9px; text-anchor: middle; }
.light { fill: #ffffff; }
.row { text-anchor: end; }
"""
#: Never fired: grey. Then from pale to deep, by the logarithm of the count.
_NEVER: Final = "#eaeef2"
_COLOURS: Final = ("#d8e6f3", "#b4d0e8", "#84b0d8", "#5289c2", "#2b639f", "#14406f")


def heat_map(lines: Iterable[Line]) -> str:
    """Return one panel per area that has points, as a picture of its own."""
    panels: list[str] = []
    y, width = 10, 400
    cells = _cells(lines)
    for area, title in _TITLES.items():
        counts = cells.get(area)
        if not counts:
            continue
        rows = sorted({way for way, _ in counts})
        columns = sorted({point for _, point in counts})
        panels.append(_panel(title, counts, rows, columns, y))
        y += _TOP + len(rows) * _CELL + _GAP
        width = max(width, _LEFT + len(columns) * _CELL + 140)
    if not panels:
        panels.append('<text x="10" y="30">no test told where its faults fired</text>')
        y = 60
    size = f'width="{width}" height="{y}" viewBox="0 0 {width} {y}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    alt = "<title>Faults that fired, by way and point</title>"
    back = f'<rect width="{width}" height="{y}" fill="#ffffff"/>'
    return "\n".join([head, alt, f"<style>{_STYLE}</style>", back, *panels, "</svg>", ""])


def _cells(lines: Iterable[Line]) -> dict[str, Counter[tuple[str, str]]]:
    found: dict[str, Counter[tuple[str, str]]] = {}
    for line in lines:
        if line.area in _TITLES and line.point:
            found.setdefault(line.area, Counter())[line.kind, line.point] += line.fired
    return found


def _panel(
    title: str,
    counts: Counter[tuple[str, str]],
    rows: Sequence[str],
    columns: Sequence[str],
    y: int,
) -> str:
    top = y + _TOP
    out = [f'<text class="title" x="10" y="{y + 14}">{escape(title)}</text>']
    for number, point in enumerate(columns):
        x = _LEFT + number * _CELL + 18
        place = f'x="{x}" y="{top - 6}" transform="rotate(-55 {x} {top - 6})"'
        out.append(f"<text {place}>{escape(point)}</text>")
    for row, way in enumerate(rows):
        middle = top + row * _CELL + 19
        out.append(f'<text class="row" x="{_LEFT - 8}" y="{middle}">{escape(way)}</text>')
        for number, point in enumerate(columns):
            out += _cell(counts[way, point], _LEFT + number * _CELL, top + row * _CELL)
    return "\n".join(out)


def _cell(count: int, x: int, y: int) -> list[str]:
    shade = min(len(_COLOURS) - 1, int(math.log10(count) * 1.5)) if count else None
    colour = _NEVER if shade is None else _COLOURS[shade]
    size = _CELL - 2
    drawn = [f'<rect x="{x}" y="{y}" width="{size}" height="{size}" rx="3" fill="{colour}"/>']
    if shade is not None:
        tone = "count light" if shade >= 3 else "count"
        text = f"{count:,}" if count < 1000 else f"{count / 1000:.0f}k"
        drawn.append(f'<text class="{tone}" x="{x + size // 2}" y="{y + 18}">{text}</text>')
    return drawn
