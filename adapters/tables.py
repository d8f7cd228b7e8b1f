"""Strict reading of tables that came from TOML or JSON.

Every key that is read is remembered; `Table.finish` refuses the rest, so that a misspelt setting
never passes in silence. Errors name the key and its table and never quote a value: a value in the
wrong place may be a secret.
"""

import difflib
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, overload

__all__ = ["Table", "TableError", "kind_of", "place", "suspicious_character", "unknown_key"]

#: Longest text value; keys, URLs and paths are shorter, and an error may have to carry one.
MAX_TEXT: Final = 4096
#: Largest integer of a setting: the widest that SQLite, TOML and JSON readers agree on.
MAX_INTEGER: Final = 2**53 - 1

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_KINDS: Final = {
    bool: "a boolean", int: "an integer", float: "a floating-point number", str: "a text",
    list: "a list", dict: "a table", type(None): "null",
}  # fmt: skip


class TableError(ValueError):
    """A table is not what its reader requires; the text says where and what would be right."""


class _Required:
    """Stands for "no default": the key has to be there."""


_REQUIRED: Final = _Required()


def place(where: str) -> str:
    """Return how messages name a table: ``[chain.polygon]``, or the top of the file."""
    return f"[{where}]" if where else "the top level"


def kind_of(value: object) -> str:
    """Return the kind of a value in words of people (``a list``), never the value."""
    return _KINDS.get(type(value), type(value).__name__)


def suspicious_character(text: str) -> str | None:
    """Name the first character that people cannot see or that reorders what they see.

    Control, format (bidirectional overrides and zero-width included), surrogate, private-use and
    unassigned code points and line separators (Unicode TR 36) have no business in a setting.
    Returns ``U+202E RIGHT-TO-LEFT OVERRIDE`` or None.
    """
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
            return f"U+{ord(character):04X} {unicodedata.name(character, 'control character')}"
    return None


def unknown_key(key: str, where: str, known: Sequence[str]) -> str:
    """Return the message for an unknown key, with the known one it is nearest to."""
    if character := suspicious_character(key):
        return f"a key in {place(where)} holds the invisible character {character}"
    near = difflib.get_close_matches(key, known, n=1)
    shown = key if len(key) <= 60 else key[:60] + "…"
    hint = f"; did you mean {near[0]!r}?" if near else ""
    if not near and known:
        hint = f"; known here: {', '.join(sorted(known))}"
    return f"unknown key {shown!r} in {place(where)}{hint}"


class Table:
    """One table and the keys that its reader has asked for so far.

    Args:
        where: dotted name for messages, ``chain.polygon``; empty for the file itself.
        data: the parsed table.
        folder: relative paths resolve against it (the folder of chains.toml).
        environ: where ``env:NAME`` references are looked up; the process's own by default.
    """

    def __init__(
        self,
        where: str,
        data: Mapping[str, Any],
        *,
        folder: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.where = where
        self.folder = folder
        self._data = data
        self.environ = os.environ if environ is None else environ
        self._asked: set[str] = set()
        self._children: list[Table] = []

    def __repr__(self) -> str:
        return f"Table({place(self.where)})"

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def names(self) -> list[str]:
        """Return the keys that are there, in the order of the file, without asking for them."""
        return list(self._data)

    def peek(self, key: str) -> Any:
        """Return the value as parsed, or None, leaving it to its reader to ask for it."""
        return self._data.get(key)

    def error(self, key: str, text: str) -> TableError:
        """Return the error "KEY in [WHERE] TEXT", for readers with rules of their own."""
        return TableError(f"{key!r} in {place(self.where)} {text}")

    def raw(self, key: str, default: Any = _REQUIRED) -> Any:
        """Return the value as parsed, whatever it is."""
        self._asked.add(key)
        if key in self._data:
            return self._data[key]
        if isinstance(default, _Required):
            raise TableError(f"{key!r} is missing in {place(self.where)}")
        return default

    @overload
    def text(self, key: str, default: str = ..., *, pattern: str | None = ...) -> str: ...
    @overload
    def text(self, key: str, default: None, *, pattern: str | None = ...) -> str | None: ...
    def text(self, key: str, default: Any = _REQUIRED, *, pattern: str | None = None) -> str | None:
        """Return a text; ``pattern`` is a regular expression for the whole of it."""
        value = self.raw(key, default)
        if key not in self._data:
            return value  # type: ignore[no-any-return]
        return self._text(key, value, pattern)

    def choice(self, key: str, default: str, allowed: Sequence[str]) -> str:
        """Return a text that is one of ``allowed``."""
        text = self.text(key, default)
        if text not in allowed:
            raise self.error(key, f"must be one of {', '.join(allowed)}")
        return text

    @overload
    def integer(
        self, key: str, default: int = ..., *, minimum: int = ..., maximum: int = ...
    ) -> int: ...
    @overload
    def integer(
        self, key: str, default: None, *, minimum: int = ..., maximum: int = ...
    ) -> int | None: ...
    def integer(
        self, key: str, default: Any = _REQUIRED, *, minimum: int = 0, maximum: int = MAX_INTEGER
    ) -> int | None:
        """Return an integer within ``minimum`` and ``maximum``, both allowed."""
        value = self.raw(key, default)
        if key not in self._data:
            return value  # type: ignore[no-any-return]
        if type(value) is not int:
            raise self.error(key, f"must be an integer, not {kind_of(value)}")
        if not minimum <= value <= maximum:
            raise self.error(key, f"must be an integer from {minimum} to {maximum}")
        return value

    def flag(self, key: str, default: Any = _REQUIRED) -> bool:
        """Return a boolean."""
        value = self.raw(key, default)
        if type(value) is not bool:
            raise self.error(key, f"must be true or false, not {kind_of(value)}")
        return value

    @overload
    def texts(self, key: str, default: Sequence[str] = ...) -> list[str]: ...
    @overload
    def texts(self, key: str, default: None) -> list[str] | None: ...
    def texts(self, key: str, default: Any = _REQUIRED) -> list[str] | None:
        """Return a list of texts."""
        value = self.raw(key, default)
        if key not in self._data:
            return None if value is None else list(value)
        if type(value) is not list:
            raise self.error(key, f"must be a list of texts, not {kind_of(value)}")
        return [self._text(key, item, None) for item in value]

    @overload
    def table(self, key: str, default: Mapping[str, Any] = ...) -> "Table": ...
    @overload
    def table(self, key: str, default: None) -> "Table | None": ...
    def table(self, key: str, default: Any = _REQUIRED) -> "Table | None":
        """Return the table under ``key``; `finish` of this table finishes it too."""
        value = self.raw(key, default)
        if value is None and key not in self._data:
            return None
        return self._child(key, value)

    def tables(self, key: str) -> "dict[str, Table]":
        """Return the named tables under ``key`` (``[asset.ALZ]`` …); none when it is missing."""
        value = self.raw(key, {})
        if not isinstance(value, Mapping):
            raise self.error(key, f"must be a table of tables, not {kind_of(value)}")
        return {name: self._child(f"{key}.{name}", item) for name, item in value.items()}

    def references(self, key: str) -> list[str]:
        """Return a list of texts in which each ``env:NAME`` is replaced by that variable."""
        return [self.expand(key, text) for text in self.texts(key)]

    def expand(self, key: str, text: str) -> str:
        """Return ``text``, or the environment variable that it names as ``env:NAME``."""
        if not text.startswith("env:"):
            return text
        name = text.removeprefix("env:")
        if not _VARIABLE.fullmatch(name):
            raise self.error(key, "has an env: reference that names no environment variable")
        value = self.environ.get(name, "")
        if not value:
            raise self.error(key, f"refers to environment variable {name}, which is not set")
        return value

    def is_set(self, text: str) -> bool:
        """Tell whether the variable that ``env:NAME`` names has a value."""
        return bool(self.environ.get(text.removeprefix("env:")))

    @overload
    def path(self, key: str, default: str = ...) -> Path: ...
    @overload
    def path(self, key: str, default: None) -> Path | None: ...
    def path(self, key: str, default: Any = _REQUIRED) -> Path | None:
        """Return a path: absolute as it stands, relative to the folder of the file otherwise."""
        text = self.text(key, default)
        return None if text is None else self.locate(key, text)

    def locate(self, key: str, text: str) -> Path:
        """Return the path that ``text`` means; a relative one must stay inside the folder."""
        path = Path(text)
        if ".." in path.parts:
            raise self.error(key, "must not contain '..'; write an absolute path instead")
        if text.startswith("~"):
            raise self.error(key, "must not start with '~'; write an absolute path instead")
        if path.is_absolute() or self.folder is None:
            return path
        found = self.folder / path
        if not found.resolve().is_relative_to(self.folder.resolve()):
            raise self.error(key, "leaves the folder of the file through a link")
        return found

    def finish(self) -> None:
        """Refuse every key that nobody asked for, here and in the tables handed out from here."""
        for key in self._data:
            if key not in self._asked:
                raise TableError(unknown_key(key, self.where, sorted(self._asked)))
        for child in self._children:
            child.finish()

    def _child(self, key: str, value: Any) -> "Table":
        if not isinstance(value, Mapping):
            raise self.error(key, f"must be a table, not {kind_of(value)}")
        where = f"{self.where}.{key}" if self.where else key
        child = Table(where, value, folder=self.folder, environ=self.environ)
        self._children.append(child)
        return child

    def _text(self, key: str, value: Any, pattern: str | None) -> str:
        if type(value) is not str:
            raise self.error(key, f"must be a text, not {kind_of(value)}")
        if not value:
            raise self.error(key, "is empty")
        if len(value) > MAX_TEXT:
            raise self.error(key, f"is longer than {MAX_TEXT} characters")
        if character := suspicious_character(value):
            raise self.error(key, f"holds the invisible character {character}")
        if pattern is not None and not re.fullmatch(pattern, value):
            raise self.error(key, f"does not have the form {pattern}")
        return value
