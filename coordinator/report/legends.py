"""What the shapes and patterns of the pictures mean, each drawn as it is there."""

from coordinator.report.drawing import SVG_NS, patterns
from coordinator.report.facts import ReportFacts
from coordinator.report.markup import Markup, element
from coordinator.report.value import PLACES
from coordinator.report.value_strip_svg import PATTERNS, PLACE_WORDS

__all__ = ["bars_legend", "places_legend"]


def bars_legend() -> Markup:
    """Return what the bars mean, each drawn as in the picture."""
    kinds = (
        ("forward", "→ forward effect: filled"),
        ("undo", "← undo: hatched"),
        ("confirm", "✓ confirm: dotted"),
    )
    items = []
    for kind, words in kinds:
        fill = None if kind == "forward" else f"url(#legend-{kind}-{kind})"
        bar = element("rect", x=1, y=1, width=26, height=10, class_=f"bar {kind}", fill=fill)
        items.append(element("li", _swatch(f"legend-{kind}", bar), words))
    line = element("line", x1=0, y1=6, x2=28, y2=6, class_="sent forward")
    items.append(element("li", _swatch("legend-sent", line), "sent, in no block yet"))
    diamond = element("path", d="M10,6 L14,11 L18,6 L14,1 Z", class_="mark final")
    items.append(element("li", _swatch("legend-final", diamond), "final"))
    cross = element("path", d="M10,2 L18,10 M10,10 L18,2", class_="mark failed")
    items.append(element("li", _swatch("legend-failed", cross), "failed"))
    triangle = element("path", d="M10,11 L18,11 L14,1 Z", class_="mark stuck")
    items.append(element("li", _swatch("legend-trouble", triangle), "trouble, or a person's act"))
    return element("ul", *items, class_="legend")


def places_legend(facts: ReportFacts) -> Markup:
    """Return what the patterns of the value strips mean, those that occur."""
    seen = [
        place
        for place in PLACES
        if any(point.amounts[place] for flow in facts.flows for point in flow.points)
    ]
    items = []
    for place in seen:
        fill = f"url(#legend-{place}-{PATTERNS[place]})"
        box = element("rect", x=1, y=1, width=26, height=10, class_=f"value {place}", fill=fill)
        items.append(element("li", _swatch(f"legend-{place}", box), PLACE_WORDS[place]))
    return element("ul", *items, class_="legend")


def _swatch(prefix: str, drawn: Markup) -> Markup:
    return element(
        "svg",
        patterns(prefix),
        drawn,
        width=28,
        height=12,
        viewBox="0 0 28 12",
        aria_hidden="true",
        xmlns=SVG_NS,
    )
