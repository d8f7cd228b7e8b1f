"""Canonical JSON: the one byte form of a value that may be hashed, signed or stored as a record.

A subset of RFC 8785 (JCS) on which every correct implementation agrees: objects with ASCII keys,
arrays, strings without lone surrogates, integers with ``abs(n) < 2**53``, booleans and null.
Floats do not exist here; amounts are decimal strings. Keys are sorted, there is no white space,
and the text is UTF-8.
"""

import hashlib
import json
from typing import Any, Final

from proofs.errors import CanonicalError

__all__ = ["INTEGER_LIMIT", "MAX_DEPTH", "digest", "encode", "parse"]

#: Integers at or beyond this magnitude lose precision in readers that use IEEE doubles (RFC 7493).
INTEGER_LIMIT: Final = 2**53
#: Nesting beyond this is refused before any recursion follows it.
MAX_DEPTH: Final = 32

_ENCODER: Final = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)


def encode(value: Any) -> bytes:
    """Return the canonical bytes of ``value``.

    Raises:
        CanonicalError: the value holds something outside the subset (a float, a huge integer,
            a key that is not an ASCII string, a lone surrogate, nesting beyond `MAX_DEPTH`).
    """
    _check(value, 0)
    try:
        return _ENCODER.encode(value).encode("utf-8")
    except UnicodeEncodeError:
        raise CanonicalError("a string holds a lone surrogate, which has no UTF-8 form") from None


def digest(value: Any) -> str:
    """Return the SHA-256 of the canonical bytes of ``value`` as 64 lower-case hex digits."""
    return hashlib.sha256(encode(value)).hexdigest()


def parse(raw: bytes, *, max_bytes: int = 1 << 20) -> Any:
    """Return the value whose canonical form is exactly ``raw``.

    Raises:
        CanonicalError: too long, not UTF-8, not JSON, a repeated key, or bytes that differ from
            the canonical form of what they mean.
    """
    if len(raw) > max_bytes:
        raise CanonicalError(f"{len(raw)} bytes, the limit is {max_bytes}")
    _check_depth(raw)
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_object,
            parse_float=_no_float,
            parse_constant=_no_float,
        )
    except UnicodeDecodeError:
        raise CanonicalError("not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise CanonicalError(f"not JSON: {error}") from None
    if encode(value) != raw:
        raise CanonicalError("not in canonical form (key order, white space, escapes or numbers)")
    return value


def _check(value: Any, depth: int) -> None:
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return
    if kind is int:
        if not -INTEGER_LIMIT < value < INTEGER_LIMIT:
            raise CanonicalError(f"integer {value} is beyond 2^53; write it as a decimal string")
        return
    if depth >= MAX_DEPTH:
        raise CanonicalError(f"nested deeper than {MAX_DEPTH}")
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or not key.isascii():
                raise CanonicalError(f"key {key!r} is not an ASCII string")
            _check(item, depth + 1)
    elif kind is list or kind is tuple:
        for item in value:
            _check(item, depth + 1)
    else:
        raise CanonicalError(f"{kind.__name__} has no canonical JSON form")


def _check_depth(raw: bytes) -> None:
    """Refuse deep nesting by counting brackets, before a recursive parser sees the text."""
    depth = 0
    in_string = escaped = False
    for byte in raw:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in (0x7B, 0x5B):
            depth += 1
            if depth > MAX_DEPTH:
                raise CanonicalError(f"nested deeper than {MAX_DEPTH}")
        elif byte in (0x7D, 0x5D):
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise CanonicalError(f"key {twice!r} appears twice")
    return value


def _no_float(text: str) -> Any:
    raise CanonicalError(f"{text} is not an integer")
