"""What the three pictures share: an SVG with title and description, patterns, measured text.

Colours are classes; the page's style sheet knows them for light, dark and paper. What a class says
is also said by shape, pattern or words.
"""

import unicodedata
from typing import Final

from coordinator.report.markup import Markup, element, join, visible

__all__ = ["SVG_NS", "clip", "label", "patterns", "picture", "rectangle", "width_of", "with_tip"]

SVG_NS: Final = "http://www.w3.org/2000/svg"
#: Width of a letter by its height, on the generous side: fonts differ between machines.
_NARROW: Final = 0.6
_WIDE: Final = 1.05


def picture(  # the order in which an SVG is read aloud: title, description, drawing
    prefix: str, title: str, description: str, width: int, height: int, *children: object
) -> Markup:
    """Return an SVG whose ids begin with ``prefix``, unique on its page."""
    return element(
        "svg",
        element("title", title, id=f"{prefix}-title"),
        element("desc", description, id=f"{prefix}-desc"),
        patterns(prefix),
        *children,
        xmlns=SVG_NS,
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        aria_labelledby=f"{prefix}-title {prefix}-desc",
    )


def patterns(prefix: str) -> Markup:
    """Return the hatching of undos, the dots of confirms and the grid of doubt."""

    def pattern(name: str, *lines: Markup, size: int = 6) -> Markup:
        return element(
            "pattern",
            *lines,
            id=f"{prefix}-{name}",
            width=size,
            height=size,
            patternUnits="userSpaceOnUse",
        )

    return element(
        "defs",
        pattern("undo", _stroke("M-1,7 L7,-1 M-1,1 L1,-1 M5,7 L7,5", "undo-line")),
        pattern("confirm", element("circle", cx=3, cy=3, r=1.4, class_="confirm-dot")),
        pattern("doubt", _stroke("M0,3 H6 M3,0 V6", "doubt-line")),
        pattern("given_up", _stroke("M0,0 L6,6 M6,0 L0,6", "bad-line")),
        pattern("out", _stroke("M0,3 H6", "out-line")),
        pattern("kept", _stroke("M3,0 V6", "out-line")),
    )


def _stroke(path: str, class_: str) -> Markup:
    return element("path", d=path, class_=class_)


def rectangle(
    x: float, y: float, width: float, height: float, class_: str, **more: object
) -> Markup:
    """Return a rectangle with one decimal of a pixel; never of no width."""
    return element(
        "rect",
        x=round(x, 1),
        y=round(y, 1),
        width=round(max(width, 0.5), 1),
        height=round(height, 1),
        class_=class_,
        **more,
    )


def label(x: float, y: float, text: object, class_: str = "t", anchor: str = "start") -> Markup:
    """Return one line of text; ``anchor`` is start, middle or end."""
    anchored = None if anchor == "start" else anchor
    return element("text", text, x=round(x, 1), y=round(y, 1), class_=class_, text_anchor=anchored)


def width_of(text: str, size: float) -> float:
    """Return about how many pixels ``text`` takes in letters of ``size``, rather too many."""
    return sum(_letter(letter) for letter in text) * size


def _letter(letter: str) -> float:
    if unicodedata.combining(letter):
        return 0.0
    return _WIDE if unicodedata.east_asian_width(letter) in "WF" else _NARROW


def clip(text: object, width: float, size: float) -> str:
    """Return ``text``, cut with … where it would be wider; its whole is in the page's tables."""
    shown = visible(text)
    if width_of(shown, size) <= width:
        return shown
    kept, used = [], _NARROW * size
    for letter in shown:
        used += _letter(letter) * size
        if used > width:
            break
        kept.append(letter)
    return "".join(kept).rstrip() + "…"


def with_tip(tip: str, *children: object) -> Markup:
    """Return a group that says ``tip`` to who points at it, or reads it aloud."""
    return element("g", element("title", tip), join(*children))
