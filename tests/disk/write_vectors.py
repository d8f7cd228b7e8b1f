"""Writes journals of the version in whose tree it runs.

``PYTHONPATH=. python /path/to/write_vectors.py VERSION FOLDER``

One saga of the simulated world, driven by that version's engine and written by that version's
journal, cut at moments of its life. Run in a checkout of that version; what it writes is committed
and never made again: later versions must read it as it is.
"""

# ruff: noqa: T201
import asyncio
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import apsw

from coordinator.journal.base import Entry
from coordinator.journal.sqlite import SqliteJournal
from tests.sim import cases

appended: list[list[Any]] = []
world: Any = import_module("tests.sim.world")


class Recording(world.MemoryJournal):  # type: ignore[misc]
    """Keeps every append, with the time that it was given."""

    async def append(self, stream: str, expected: int, entries: Any, *more: Any) -> Any:
        records = await super().append(stream, expected, entries, *more)
        timed = [Entry(e.kind, e.data, r.at_ms) for e, r in zip(entries, records, strict=True)]
        appended.append([stream, expected, timed, *more])
        return records


world.MemoryJournal = Recording


def run(case: str) -> list[list[Any]]:
    """Return the appends of one run."""
    appended.clear()
    cases.build(cases.parse(case)).run()
    return list(appended)


def first(appends: list[list[Any]], kind: str, direction: str | None = None) -> int:
    """Return how many appends there are up to the first with such a record."""
    return 1 + next(
        number
        for number, (_stream, _expected, entries, *_more) in enumerate(appends)
        if any(e.kind == kind and direction in {None, e.data.get("dir")} for e in entries)
    )


async def write(path: Path, appends: list[list[Any]]) -> None:
    """Write a journal."""
    SqliteJournal.create(path, path.parent / "elsewhere" / "witness")
    journal = SqliteJournal(path, path.parent / "elsewhere" / "witness")
    for append in appends:
        await journal.append(*append)
    await journal.close()


def dump(path: Path) -> str:
    """Return a database as SQL."""
    connection = apsw.Connection(str(path))
    lines = [
        f"PRAGMA {name} = {connection.pragma(name)};" for name in ("application_id", "user_version")
    ]
    tables = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'table'"
    ).fetchall()
    lines += [f"{sql};" for _name, sql in tables]
    for table, _sql in tables:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        quoted = " || ', ' || ".join(f"quote({column})" for column in columns)
        for (values,) in connection.execute(f"SELECT {quoted} FROM {table}"):
            lines.append(f"INSERT INTO {table} VALUES ({values});")
    for (sql,) in connection.execute(
        "SELECT sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
    ):
        lines.append(f"{sql};")
    return "\n".join(lines) + "\n"


def main(version: str, folder: Path) -> None:
    """Write all moments."""
    good, bad = run("plan=reference,fail=none"), run("plan=reference,fail=mint:reverted")
    moments = {
        "started": good[: first(good, "started")],
        "forward": good[: first(good, "intent")],
        "revealed": good[: first(good, "reveal")],
        "committed": good,
        "undoing": bad[: first(bad, "intent", "undo")],
        "rolled-back": bad,
    }
    for name, appends in moments.items():
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "journal.db"
            asyncio.run(write(path, appends))
            target = folder / f"version-{version}-{name}.sql"
            target.write_text(dump(path), encoding="utf-8")
            print(target.name, target.stat().st_size)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
