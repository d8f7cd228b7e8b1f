"""Text that others wrote, made harmless: for HTML and SVG by construction, for Markdown by escapes.

Everything in a record is hostile here: names, reasons and node answers may hold tags, table bars,
line breaks, or marks that turn the reading direction. Nothing is dropped: what can not be shown as
it is is shown as its code point.
"""

import re
import unicodedata
from typing import Final

__all__ = ["Markup", "code", "element", "isolated", "join", "prose", "visible"]

#: Categories that are not ink: controls, formats (direction, zero width), surrogates, private use,
#: unassigned, line and paragraph separators.
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
#: More marks than this on one letter would paint over the lines around it.
_MARKS_MAX: Final = 3
_RIGHT_TO_LEFT: Final = frozenset({"R", "AL", "AN"})
_ISOLATE: Final = ("\u2068", "\u2069")
#: What means something to a Markdown reader: anywhere, at the edge of a word, before a name, as the
#: beginning of a link that needs no brackets, and at the beginning of a line. Each match ends with
#: the one character that has to be escaped; texts stay readable as they are.
_MEANING: Final = re.compile(
    r"[\\`*\[\]<|~$@]"
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"
    r"|&(?=[#A-Za-z])"
    r"|\b(?:https?|ftp|mailto|xmpp):|\bwww\."
    r"|^[-+#>=:]|^[0-9]+[.)](?=\s|$)",
    re.IGNORECASE,
)
_PLAIN_CODE: Final = re.compile(r"[0-9A-Za-z:/._@ -]+")
_XML: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}


class Markup(str):
    """Text that is markup already, and is not escaped again."""

    __slots__ = ()


def visible(text: object) -> str:
    """Return ``text`` with everything that has no ink, or paints elsewhere, as ``⟨U+202E⟩``."""
    plain = str(text)
    if plain.isascii() and plain.isprintable():
        return plain
    shown, marks = [], 0
    for letter in plain:
        category = unicodedata.category(letter)
        marks = marks + 1 if category.startswith("M") else 0
        hidden = category in _UNSEEN or marks > _MARKS_MAX
        shown.append(f"⟨U+{ord(letter):04X}⟩" if hidden else letter)
    return "".join(shown)


def isolated(text: object) -> str:
    """Return `visible` text whose reading direction can not reach its neighbours."""
    shown = visible(text)
    if any(unicodedata.bidirectional(letter) in _RIGHT_TO_LEFT for letter in shown):
        return shown.join(_ISOLATE)
    return shown


# ---------------------------------------------------------------- HTML and SVG


def element(tag: str, /, *children: object, **attributes: object) -> Markup:
    """Return one element; every child that is not `Markup`, and every attribute, is escaped.

    Attributes are written ``class_``, ``stroke_width``; None leaves one out.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_escaped(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    inside = join(*children)
    if not inside and tag in _EMPTY:
        return Markup(f"<{tag}{written}/>")
    return Markup(f"<{tag}{written}>{inside}</{tag}>")


#: Elements that both HTML and XML readers take in the form ``<x/>``.
_EMPTY: Final = frozenset(
    {"meta", "br", "hr", "col", "path", "line", "rect", "circle", "polygon", "polyline", "use"}
)


def join(*children: object) -> Markup:
    """Return children side by side: markup as it is, text escaped, None and "" left out."""
    return Markup(
        "".join(
            child if isinstance(child, Markup) else _escaped(child)
            for child in children
            if child is not None
        )
    )


def _escaped(value: object) -> str:
    shown = isolated(value)
    return "".join(_XML.get(letter, letter) for letter in shown)


# ---------------------------------------------------------------- Markdown


def prose(text: object) -> str:
    """Return text that a Markdown reader shows as it is, in a paragraph, list or table cell."""
    shown = _MEANING.sub(lambda match: f"{match[0][:-1]}\\{match[0][-1]}", isolated(text))
    # Four spaces at the beginning would be code.
    return f"&#32;{shown[1:]}" if shown.startswith(" ") else shown


def code(text: object) -> str:
    """Return a hash, id or command in code style; text that could break out of it as `prose`."""
    plain = str(text)
    if _PLAIN_CODE.fullmatch(plain) and plain.strip() == plain:
        return f"`{plain}`"
    return prose(plain)
