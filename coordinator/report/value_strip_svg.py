"""The value strip: where an asset's amount was, from record to record; the sum stays flat.

A strip is as high as all that the plan moves of one asset on one chain. What is out, in doubt,
delivered or given up stands at the bottom, each in a pattern of its own; what is at home fills it
up.
"""

from typing import Final

from coordinator.report.drawing import clip, label, picture, rectangle, width_of, with_tip
from coordinator.report.facts import ReportFacts
from coordinator.report.markup import Markup, element
from coordinator.report.value import PLACES, Flow, Point
from coordinator.report.words import plural

__all__ = ["PATTERNS", "PLACE_WORDS", "draw_value_strip"]

_TEXT: Final = 11.0
_STRIP: Final = 44
_HEAD: Final = 24
_FOOT: Final = 26
_GAP: Final = 10

#: Place → words for an amount there.
PLACE_WORDS: Final = {
    "home": "at home",
    "kept": "with us elsewhere",
    "out": "out",
    "doubt": "in doubt",
    "delivered": "delivered",
    "given_up": "given up",
}
_ISSUED_WORDS: Final = {"home": "not issued", "out": "pending", "delivered": "credited"}


def draw_value_strip(facts: ReportFacts, *, prefix: str, width: int) -> Markup | None:
    """Return one strip for each asset and chain that the plan moves; None if it moves nothing."""
    flows = [flow for flow in facts.flows if flow.planned and flow.points]
    if not flows:
        return None
    drawn: list[Markup] = []
    y = 0.0
    for flow in flows:
        drawn += _strip(flow, prefix, y, width)
        y += _HEAD + _STRIP + _FOOT + _GAP
    description = " ".join(_description(flow) for flow in flows)
    title = f"Where the value was, for {plural(len(flows), 'asset')}"
    return picture(prefix, title, description, width, int(y), *drawn)


def words_of(flow: Flow, place: str) -> str:
    """Return how an amount at ``place`` is called; new coins have words of their own."""
    if flow.origin == "issued":
        return _ISSUED_WORDS.get(place, PLACE_WORDS[place])
    return PLACE_WORDS[place]


def _strip(flow: Flow, prefix: str, y: float, width: int) -> list[Markup]:
    kind = {"ours": "", "issued": " (new coins)", "outside": " (from outside)"}[flow.origin]
    head = f"{flow.words(flow.planned)} {flow.asset} on {flow.chain}{kind}"
    top, usable = y + _HEAD, width - 12.0
    drawn = [
        label(6, y + 16, clip(head, usable, _TEXT + 1), "t strong"),
        rectangle(6, top, usable, _STRIP, "strip"),
    ]
    column = usable / len(flow.points)
    shown_to = 0.0
    for index, point in enumerate(flow.points):
        x = 6 + index * column
        drawn.append(
            with_tip(_point_words(flow, point), *_stack(flow, point, prefix, x, top, column))
        )
        drawn.append(
            element(
                "line", x1=round(x, 1), y1=top, x2=round(x, 1), y2=top + _STRIP + 4, class_="axis"
            )
        )
        words = f"#{point.seq} {point.text}"
        if x >= shown_to:
            room = max(column, usable / 7) if column < 60 else column
            shown = clip(words, min(room, 6 + usable - x) - 8, _TEXT - 1)
            if len(shown) > 1:
                drawn.append(label(x + 3, top + _STRIP + 15, shown, "t dim small"))
            shown_to = x + room - 0.5
    drawn.append(element("line", x1=6, y1=top, x2=round(6 + usable, 1), y2=top, class_="sum"))
    return drawn


def _stack(
    flow: Flow, point: Point, prefix: str, x: float, top: float, width: float
) -> list[Markup]:
    drawn = []
    bottom = top + _STRIP
    for place in (*PLACES, "home"):
        amount = point.amounts[place]
        if not amount:
            continue
        height = min(max(3.0, _STRIP * (amount * 1000 // flow.planned) / 1000), bottom - top)
        bottom -= height
        fill = None if place == "home" else f"url(#{prefix}-{PATTERNS[place]})"
        if place != "home":
            drawn.append(rectangle(x, bottom, width, height, "paper"))
        drawn.append(rectangle(x, bottom, width, height, f"value {place}", fill=fill))
        words = f"{flow.words(amount)} {words_of(flow, place)}"
        if height >= 14 and width > 60:
            if width_of(words, _TEXT) > width - 16:
                words = flow.words(amount)  # the pattern says where; its words are in the legend
            shown = clip(words, width - 16, _TEXT)
            back = len(shown) * _TEXT * 0.6 + 6
            drawn.append(rectangle(x + 5, bottom + height / 2 - 7, back, 14, "paper"))
            drawn.append(label(x + 8, bottom + height / 2 + 4, shown))
    return drawn


PATTERNS: Final = {
    "kept": "kept",
    "out": "out",
    "doubt": "doubt",
    "delivered": "confirm",
    "given_up": "given_up",
}


def _point_words(flow: Flow, point: Point) -> str:
    parts = [
        f"{flow.words(amount)} {words_of(flow, place)}"
        for place, amount in point.amounts.items()
        if amount
    ]
    return f"from record {point.seq} ({point.text}): {', '.join(parts)}"


def _description(flow: Flow) -> str:
    told = "; ".join(_point_words(flow, point) for point in flow.points)
    return f"{flow.asset} on {flow.chain}: {told}."
