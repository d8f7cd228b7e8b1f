"""Canonical JSON: the one byte form of a value that may be hashed, signed or stored as a record.

A subset of RFC 8785 (JCS) on which every correct implementation agrees: objects with ASCII keys,
arrays, strings without lone surrogates, integers with ``abs(n) < 2**53``, booleans and null.
Floats do not exist here; amounts are decimal strings. Keys are sorted, there is no white space,
and the text is UTF-8.
"""

import hashlib
import json
import re
from json.encoder import encode_basestring as _quote
from typing import Any, Final

from proofs.errors import CanonicalError

__all__ = ["INTEGER_LIMIT", "MAX_DEPTH", "check_depth", "digest", "encode", "parse"]

#: Integers at or beyond this magnitude lose precision in readers that use IEEE doubles (RFC 7493).
INTEGER_LIMIT: Final = 2**53
#: Nesting beyond this is refused before any recursion follows it.
MAX_DEPTH: Final = 32

#: A string, or what is left of one. Nothing is tried twice, so hostile text costs its length.
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NO_BRACKETS: Final = bytes(sorted(set(range(256)) - set(b"[]{}")))
#: Keys of an object in the order it was made → (key, '"key":') in canonical order. Records repeat a
#: few shapes for ever; an object whose keys are checked once is encoded without sorting again.
_SHAPES: Final[dict[tuple[str, ...], tuple[tuple[str, str], ...]]] = {}
_SHAPES_KEPT: Final = 2048


def encode(value: Any) -> bytes:
    """Return the canonical bytes of ``value``.

    Raises:
        CanonicalError: the value holds something outside the subset (a float, a huge integer,
            a key that is not an ASCII string, a lone surrogate, nesting beyond `MAX_DEPTH`).
    """
    try:
        return _text(value, 0).encode("utf-8")
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
    check_depth(raw)
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


def _text(value: Any, depth: int) -> str:
    """Check and encode in one walk; the standard encoder would let floats and odd keys pass."""
    kind = type(value)
    if kind is str:
        return _quote(value)
    if kind is dict:
        return _object_text(value, depth)
    if kind is list or kind is tuple:
        if depth >= MAX_DEPTH:
            raise CanonicalError(f"nested deeper than {MAX_DEPTH}")
        deeper = depth + 1
        return "[" + ",".join([_text(item, deeper) for item in value]) + "]"
    if kind is int:
        if not -INTEGER_LIMIT < value < INTEGER_LIMIT:
            raise CanonicalError(f"integer {value} is beyond 2^53; write it as a decimal string")
        return str(value)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    raise CanonicalError(f"{kind.__name__} has no canonical JSON form")


def _object_text(value: dict[str, Any], depth: int) -> str:
    if depth >= MAX_DEPTH:
        raise CanonicalError(f"nested deeper than {MAX_DEPTH}")
    keys = tuple(value)
    shape = _SHAPES.get(keys) or _shape(keys)
    deeper = depth + 1
    members = []
    for key, name in shape:
        item = value[key]
        kind = type(item)
        if kind is str:
            members.append(name + _quote(item))
        elif kind is int and -INTEGER_LIMIT < item < INTEGER_LIMIT:
            members.append(f"{name}{item}")
        else:
            members.append(name + _text(item, deeper))
    return "{" + ",".join(members) + "}"


def _shape(keys: tuple[Any, ...]) -> tuple[tuple[str, str], ...]:
    for key in keys:
        if type(key) is not str or not key.isascii():
            raise CanonicalError(f"key {key!r} is not an ASCII string")
    shape = tuple((key, _quote(key) + ":") for key in sorted(keys))
    if len(_SHAPES) >= _SHAPES_KEPT:
        _SHAPES.clear()
    _SHAPES[keys] = shape
    return shape


def check_depth(raw: bytes) -> None:
    """Refuse deep nesting by counting brackets, before a recursive parser sees the text.

    Raises:
        CanonicalError: nested deeper than `MAX_DEPTH`.
    """
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _STRING.sub(b"", raw).translate(None, _NO_BRACKETS):
        if bracket in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise CanonicalError(f"nested deeper than {MAX_DEPTH}")
        else:
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
