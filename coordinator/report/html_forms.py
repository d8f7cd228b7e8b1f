"""Forms of the HTML page: sections, tables, cells. Every text goes through `markup`."""

from typing import Final

from coordinator.report.cells import Cell, Sheet
from coordinator.report.markup import Markup, element, join

__all__ = [
    "card_table",
    "isolated_text",
    "note_line",
    "own_lines",
    "pairs_table",
    "section",
    "sheet_table",
]

#: More letters in a row of amounts do not fit unbroken on paper.
_DIGITS_MAX: Final = 85
_UNITS_MAX: Final = 90
#: A table with more rows may be parted by a page's end.
_ROWS_MAX: Final = 12


def section(title: str, *parts: object) -> Markup:
    """Return a part of the page under its heading."""
    return element("section", element("h2", title), *parts)


def note_line(text: str) -> Markup:
    """Return a remark of ours."""
    return element("p", text, class_="soft")


def isolated_text(text: str) -> Markup:
    """Set text of others apart, so that its reading direction ends where it ends."""
    return element("bdi", text)


def own_lines(text: str) -> Markup:
    """Return our own lines with their line breaks, which `element` would make visible."""
    return Markup("\n".join(join(line) for line in text.split("\n")))


def pairs_table(rows: tuple[tuple[str, Cell], ...]) -> Markup:
    """Return names and values as a table without heads."""
    made = [element("tr", element("th", name, scope="row"), _cell(cell)) for name, cell in rows]
    return element("table", element("tbody", *made), class_="pairs")


def sheet_table(sheet: Sheet, *classes: str) -> Markup:
    """Return a table.

    Args:
        classes: ``stack`` puts each row's cells under each other on a phone; ``brief`` cells are
            short and stay on one line; ``wordy`` and ``checks`` ones hold any text.
    """
    kinds = [cell.kind for cell in sheet.rows[0]] if sheet.rows else [""] * len(sheet.heads)
    chosen = [
        *classes,
        *_room(sheet),
        *(["long"] * (len(sheet.rows) > _ROWS_MAX)),
    ]
    heads = [
        element("th", head, scope="col", class_="number" if kind == "number" else None)
        for head, kind in zip(sheet.heads, kinds, strict=True)
    ]
    rows = [
        element(
            "tr",
            *(_cell(cell, head=sheet.heads[n], row_head=n == 0) for n, cell in enumerate(row)),
        )
        for row in sheet.rows
    ]
    table = element(
        "table",
        element("caption", sheet.title),
        element("thead", element("tr", *heads)),
        element("tbody", *rows),
        class_=" ".join(chosen) or None,
    )
    return element("div", table, class_="scroll")


def _room(sheet: Sheet) -> list[str]:
    """Return classes that let amounts break, where they are too long to stand side by side.

    Base units break first, whole coins only when they must.
    """
    rows = [[cell.lines for cell in row if cell.kind == "number"] for row in sheet.rows]
    columns = list(zip(*rows, strict=True))
    widest = sum(max(len(line) for lines in column for line in lines) for column in columns)
    coins = sum(max(len(lines[0]) for lines in column) for column in columns)
    return ["tight"] * (widest > _UNITS_MAX) + ["crowded"] * (coins > _DIGITS_MAX)


def card_table(sheet: Sheet) -> Markup:
    """Return the table of one step, its columns of equal width."""
    heads = [element("th", head or "of this step", scope="col") for head in sheet.heads]
    rows = [
        element("tr", *(_cell(cell, row_head=n == 0) for n, cell in enumerate(row)))
        for row in sheet.rows
    ]
    return element(
        "table", element("thead", element("tr", *heads)), element("tbody", *rows), class_="card"
    )


def _cell(cell: Cell, *, head: str | None = None, row_head: bool = False) -> Markup:
    lines: list[object] = [
        element("code", line) if cell.kind == "code" else isolated_text(line) if line else ""
        for line in cell.lines
    ]
    inside = lines if len(lines) == 1 else [element("div", line) for line in lines]
    number = "number" if cell.kind == "number" else None
    if row_head:
        return element("th", *inside, scope="row", data_head=head, class_=number)
    # One box beside the head that a phone puts before it.
    boxed = element("div", *inside) if head is not None else join(*inside)
    return element("td", boxed, data_head=head, class_=number)
