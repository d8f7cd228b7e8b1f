"""Files of people, read strictly: bounded, UTF-8, no doubled key, no float, no hidden character.

TOML and JSON lead to the same values: dict, list, str, int, bool. What TOML has beyond that
(floats, dates) and what JSON has beyond that (null, NaN) is refused where it stands.
"""

import json
import re
import tomllib
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from adapters.tables import MAX_INTEGER, MAX_TEXT, kind_of, suspicious_character

__all__ = ["MAX_BYTES", "SourceError", "parse_json", "parse_toml", "read_bytes", "read_document"]

MAX_BYTES: Final = 1_000_000
MAX_LINE: Final = 4096
MAX_DEPTH: Final = 16
#: A dotted key deeper than any document may be; tomllib takes the square of its length.
_LONG_KEY: Final = re.compile(
    rf"""(?<![\w-])(?:(?:[\w-]++|"[^"]*+"|'[^']*+')[ \t]*+\.[ \t]*+){{{MAX_DEPTH},}}"""
)
#: Strings and comments of TOML and JSON, which hide brackets, and the brackets themselves.
_BRACKETS: Final = re.compile(
    r"""\"{3}(?s:.)*?\"{3}|'{3}(?s:.)*?'{3}|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+'|\#[^\n]*+|[\[\]{}]"""
)


class SourceError(ValueError):
    """The file can not be read as a document; the text says where and why."""


class _Number:
    """A number that is no integer, kept until its place is known for the message."""

    def __init__(self, text: str) -> None:
        self.text = text if len(text) <= 40 else text[:40] + "…"


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file of at most `MAX_BYTES`; more is never read into memory.

    Raises:
        SourceError: not there, not readable, too long.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError:
        raise SourceError("the path itself holds a NUL character") from None
    if len(raw) > MAX_BYTES:
        raise SourceError(f"{path} is larger than {MAX_BYTES} bytes")
    return raw


def read_document(path: Path) -> dict[str, Any]:
    """Return the table in a ``.json`` file, or in any other file as TOML.

    Raises:
        SourceError: see the module's text.
    """
    raw = read_bytes(path)
    try:
        return parse_json(raw) if path.suffix.lower() == ".json" else parse_toml(raw)
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from None


def parse_toml(raw: bytes) -> dict[str, Any]:
    """Return the table that TOML bytes mean, checked."""
    text = _decode(raw)
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > MAX_LINE:
            raise SourceError(f"line {number} is longer than {MAX_LINE} characters")
        if line.count(".") >= MAX_DEPTH and _LONG_KEY.search(line):
            raise SourceError(f"line {number} has a key nested deeper than {MAX_DEPTH}")
    _check_brackets(text)
    try:
        # The line end lets the parser name the last line instead of "end of document".
        value = tomllib.loads(text + "\n", parse_float=_Number)
    except ValueError as error:
        # Python refuses integers of more than some thousand digits with a plain ValueError.
        where = _stranger(text, str(error))
        raise SourceError(f"not valid TOML: {_ascii(str(error))}{where}") from None
    _check(value)
    return value


def parse_json(raw: bytes) -> dict[str, Any]:
    """Return the object that JSON bytes mean, checked."""
    text = _decode(raw)
    _check_brackets(text)
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_float=_Number, parse_constant=_Number
        )
    except SourceError:
        raise
    except ValueError as error:
        raise SourceError(f"not valid JSON: {_ascii(str(error))}") from None
    if type(value) is not dict:
        raise SourceError(f"the file must hold an object, not {kind_of(value)}")
    _check(value)
    return value


def _decode(raw: bytes) -> str:
    if raw.startswith(b"\xef\xbb\xbf"):
        raise SourceError("the file starts with a byte order mark; save it as plain UTF-8")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SourceError(f"line {line} is not UTF-8 (byte {error.start + 1})") from None
    if "\x00" in text:
        raise SourceError("the file holds a NUL character; save it as plain UTF-8")
    return text


def _check_brackets(text: str) -> None:
    """Refuse deep nesting before a parser follows it.

    With a raised recursion limit (libraries do that) a recursive parser ends the process instead of
    raising `RecursionError`.
    """
    depth = 0
    for match in _BRACKETS.finditer(text):
        if match[0] in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise SourceError(f"nested deeper than {MAX_DEPTH}")
        elif match[0] in "]}":
            depth = max(depth - 1, 0)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, item in pairs:
        if key in value:
            raise SourceError(f"key {_ascii(key)!r} appears twice in one object")
        value[key] = item
    return value


def _check(document: dict[str, Any]) -> None:
    """Refuse what no plan and no configuration may hold, naming the place (lists count from 1)."""
    pending: list[tuple[str, int, Any]] = [("", 0, document)]
    while pending:
        path, depth, value = pending.pop()
        if depth > MAX_DEPTH:
            raise SourceError(f"nested deeper than {MAX_DEPTH}")
        if type(value) is dict:
            pending += [(place, depth + 1, item) for place, item in _items(path, value)]
        elif type(value) is list:
            places = enumerate(value, start=1)
            pending += [(f"{path}[{number}]", depth + 1, item) for number, item in places]
        else:
            _check_leaf(path, value)


def _items(path: str, value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if not key.isascii() or not key.isprintable():
            strange = next(c for c in key if not c.isascii() or not c.isprintable())
            name = suspicious_character(strange) or _named(strange)
            raise SourceError(f"key {_ascii(key)!r} under {path or 'the top level'} holds {name}")
        yield (f"{path}.{key}" if path else key), item


def _check_leaf(path: str, value: Any) -> None:
    if type(value) is bool:
        return
    if type(value) is int:
        if abs(value) > MAX_INTEGER:
            raise SourceError(f"{path} is an integer beyond 2^53; write it as a text")
    elif type(value) is str:
        if len(value) > MAX_TEXT:
            raise SourceError(f"{path} is longer than {MAX_TEXT} characters")
        if character := suspicious_character(value):
            raise SourceError(f"{path} holds the invisible character {character}")
    elif isinstance(value, _Number):
        raise SourceError(
            f"{path} is {value.text}, which is no integer; "
            'amounts are decimal texts such as "0.015"'
        )
    elif value is None:
        raise SourceError(f"{path} is null; leave the key out instead")
    else:
        raise SourceError(f"{path} is a {type(value).__name__}, which has no use here")


def _named(character: str) -> str:
    return f"U+{ord(character):04X} {unicodedata.name(character, 'unnamed')}"


def _stranger(text: str, message: str) -> str:
    """Name the first character outside ASCII in the line that a parser complains about.

    Cyrillic с in a bare key looks like Latin c; "invalid statement" alone helps nobody.
    """
    found = re.search(r"at line ([0-9]+)", message)
    lines = text.split("\n")
    line = lines[int(found[1]) - 1] if found and int(found[1]) <= len(lines) else ""
    strange = next((character for character in line if not character.isascii()), None)
    return "" if strange is None else f"; the line holds {_named(strange)}"


def _ascii(text: str) -> str:
    shown = text if len(text) <= 200 else text[:200] + "..."
    return shown.encode("ascii", "backslashreplace").decode("ascii")
