"""The same rows without an engine: what storage alone costs."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from coordinator.journal.statements import SCHEMA

__all__ = ["Statement", "storage_only", "traced"]

#: A statement that writes, with its values.
Statement = tuple[str, Any]


def traced(connection: apsw.Connection) -> list[Statement]:
    """Return a list that collects every statement of ``connection`` that writes, from now on."""
    statements: list[Statement] = []
    connection.exec_trace = _tracer(statements)
    return statements


def _tracer(statements: list[Statement]) -> Callable[[apsw.Cursor, str, Any], bool]:
    def see(_cursor: apsw.Cursor, text: str, values: Any) -> bool:
        if not text.startswith(("SELECT", "PRAGMA")):
            statements.append((text, values))
        return True

    return see


def storage_only(folder: Path, statements: list[Statement]) -> float:
    """Write the same rows in the same commits and return the seconds it took.

    Nothing else: no chain, no decision, no encoding, hashing or checking, no second place, nobody
    who waits for an answer.
    """
    folder.mkdir(parents=True)
    target = apsw.Connection(str(folder / "rows.db"))
    target.execute("PRAGMA journal_mode = WAL")
    target.execute("PRAGMA synchronous = FULL")
    target.execute(SCHEMA)
    run = target.cursor().execute
    begin_s = time.perf_counter()
    for text, values in statements:
        run(text, values)
    seconds = time.perf_counter() - begin_s
    target.close()
    return seconds
