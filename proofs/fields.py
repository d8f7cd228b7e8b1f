"""Strict reading of the JSON forms of evidence: exact keys, exact types, bounds first."""

import re
from collections.abc import Mapping
from typing import Any, Final

from proofs.canonical import INTEGER_LIMIT
from proofs.errors import Refused

__all__ = ["choice", "data", "datas", "integer", "items", "record"]

_HEX: Final = re.compile(r"[0-9a-f]*")


def record(check: str, value: Any, keys: frozenset[str]) -> Mapping[str, Any]:
    """Return ``value`` as an object with exactly these keys; otherwise ``check`` refuses it."""
    if not isinstance(value, dict):
        raise Refused(check, "not an object")
    if value.keys() != keys:
        missing = sorted(keys - value.keys())
        unknown = sorted(str(key)[:40] for key in value.keys() - keys)[:5]
        raise Refused(check, f"missing {missing}, unknown {unknown}")
    return value


def integer(check: str, value: Any, *, most: int = INTEGER_LIMIT - 1) -> int:
    """Return ``value`` as an integer from 0 to ``most``; booleans are none."""
    if type(value) is not int or not 0 <= value <= most:
        raise Refused(check, f"not an integer from 0 to {most}")
    return value


def data(check: str, value: Any, *, most: int, length: int | None = None) -> bytes:
    """Return lower-case hex as at most ``most`` bytes, or exactly ``length``."""
    if type(value) is not str or len(value) > 2 * most or len(value) % 2:
        raise Refused(check, f"not lower-case hex of at most {most} bytes")
    if not _HEX.fullmatch(value):
        raise Refused(check, f"not lower-case hex of at most {most} bytes")
    if length is not None and len(value) != 2 * length:
        raise Refused(check, f"{len(value) // 2} bytes instead of {length}")
    return bytes.fromhex(value)


def items(check: str, value: Any, *, most: int) -> list[Any]:
    """Return ``value`` as a list of at most ``most`` elements."""
    if type(value) is not list or len(value) > most:
        raise Refused(check, f"not a list of at most {most}")
    return value


def datas(check: str, value: Any, *, most: int, length: int) -> list[bytes]:
    """Return a list of at most ``most`` hex texts, each of exactly ``length`` bytes."""
    listed = items(check, value, most=most)
    return [data(check, item, most=length, length=length) for item in listed]


def choice(check: str, value: Any, allowed: frozenset[str]) -> str:
    """Return ``value`` if it is one of these texts."""
    if type(value) is not str or value not in allowed:
        raise Refused(check, f"not one of {sorted(allowed)}")
    return value
