"""Shapes of values that were read from JSON: predicates, put together to those of records.

A predicate never raises, whatever it is given.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from proofs.canonical import INTEGER_LIMIT

__all__ = [
    "Shape",
    "count",
    "flag",
    "listed",
    "mapped",
    "match",
    "members",
    "one_of",
    "optional",
    "table",
    "text",
    "whole",
]

Shape = Callable[[Any], bool]
_MAX_LIST: Final = 10_000


def match(pattern: re.Pattern[str]) -> Shape:
    """A text of this pattern, from its first to its last character."""
    return lambda value: type(value) is str and pattern.fullmatch(value) is not None


def one_of(*words: str) -> Shape:
    """One of these texts."""
    return lambda value: type(value) is str and value in words


def listed(item: Shape, *, least: int = 0, most: int = _MAX_LIST) -> Shape:
    """A list of so many items of a shape."""
    return lambda value: (
        type(value) is list and least <= len(value) <= most and all(item(one) for one in value)
    )


def mapped(key: Shape, item: Shape) -> Shape:
    """An object whose keys and values are of these shapes."""
    return lambda value: (
        type(value) is dict
        and len(value) <= _MAX_LIST
        and all(key(name) and item(one) for name, one in value.items())
    )


def members(**forms: Shape) -> Shape:
    """An object that has at least these members."""
    return lambda value: (
        type(value) is dict
        and all(name in value and form(value[name]) for name, form in forms.items())
    )


def text(value: Any) -> bool:
    """Any text."""
    return type(value) is str


def flag(value: Any) -> bool:
    """True or false."""
    return type(value) is bool


def whole(value: Any) -> bool:
    """An integer from 0 on; booleans are none."""
    return type(value) is int and 0 <= value < INTEGER_LIMIT


def count(value: Any) -> bool:
    """An integer from 1 on."""
    return whole(value) and value >= 1


def table(value: Any) -> bool:
    """Any object."""
    return type(value) is dict


def optional(form: Shape) -> Shape:
    """Null, or a value of a shape."""
    return lambda value: value is None or form(value)
