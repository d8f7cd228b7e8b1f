"""Data goes to stdout, talk to stderr; colours only where a person looks.

Talk that can not be written is lost, and no more: whoever talks goes on. Data that can not be
written is an error of the disk.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TextIO

__all__ = ["Output", "columns"]

_STYLES: Final = {"good": "32", "bad": "31", "warn": "33", "dim": "2", "bold": "1"}


class Output:
    """One call's two channels.

    Args:
        as_json: data is printed as JSON, one document or one object a line.
        quiet: talk is left out, errors and alarms are not.
    """

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json = as_json
        self.quiet = quiet

    def data(self, text: str) -> None:
        """Print a result for people; nothing with ``--json``, which prints `document`."""
        if not self.as_json:
            _write(sys.stdout, text)

    def document(self, value: Mapping[str, Any] | Sequence[Any]) -> None:
        """Print a result as indented JSON, with ``--json`` only."""
        if self.as_json:
            _write(sys.stdout, json.dumps(value, indent=2, ensure_ascii=False))

    def line(self, value: Mapping[str, Any]) -> None:
        """Print one JSON object on one line, with ``--json`` only."""
        if self.as_json:
            _write(sys.stdout, json.dumps(value, ensure_ascii=False, separators=(",", ":")))

    def say(self, text: str) -> None:
        """Tell a person what is going on."""
        if not self.quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        """Tell a person something that ``--quiet`` must not hide."""
        with suppress(OSError):  # a full disk under a log must not stop what the log is about
            _write(sys.stderr, text)

    @property
    def live(self) -> bool:
        """Whether a person watches: a table may be drawn again and again on stderr."""
        return not (self.quiet or self.as_json) and _is_terminal(sys.stderr)

    def paint(self, text: str, style: str) -> str:
        """Return ``text`` coloured for stdout, or as it is where there is no colour."""
        if not _has_colour(sys.stdout):
            return text
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def columns(rows: Sequence[Sequence[str]], *, indent: str = "") -> list[str]:
    """Return ``rows`` as lines whose columns stand under each other."""
    if not rows:
        return []
    widths = [max(len(row[number]) for row in rows) for number in range(len(rows[0]))]
    return [
        (indent + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _has_colour(stream: TextIO) -> bool:
    return _is_terminal(stream) and not os.environ.get("NO_COLOR")


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except BrokenPipeError:
        # The reader has seen enough (``| head``); what this command does goes on without it.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
