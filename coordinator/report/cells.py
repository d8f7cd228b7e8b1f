"""Tables as plain values, for HTML and Markdown alike: what is told, not its looks."""

from dataclasses import dataclass

from coordinator.report.words import NO_TIME

__all__ = ["Cell", "Sheet", "code_cell", "text_cell"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One or more lines of a table's cell; ``kind`` is text, code or number, of all its lines."""

    lines: tuple[str, ...]
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table; the first cell of each row is its header."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def text_cell(*lines: str) -> Cell:
    """Return lines of text, the empty ones left out; a dash for none."""
    return Cell(tuple(line for line in lines if line) or (NO_TIME,))


def code_cell(*lines: str | None) -> Cell:
    """Return hashes or ids, one a line; a dash for none."""
    kept = tuple(line for line in lines if line)
    return Cell(kept, "code") if kept else text_cell()
