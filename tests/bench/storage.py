"""The same rows without an engine: what storage alone costs."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from coordinator.journal.statements import QUERIES, SCHEMA
from coordinator.journal.witness import Witness
from coordinator.journal.writing import WITNESSED

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

    The second place is storage too: what the journal writes there, once for each commit that holds
    an intent, is written here. Nothing else: no chain, no decision, no encoding, hashing or
    checking, nobody who waits for an answer.
    """
    folder.mkdir(parents=True)
    writes = [(text, values, _mark(text, values)) for text, values in statements]
    journal_id = "0" * 32
    Witness.create(folder / "second" / "witness", journal_id)
    witness = Witness.open(folder / "second" / "witness", journal_id)
    target = apsw.Connection(str(folder / "rows.db"))
    target.execute("PRAGMA journal_mode = WAL")
    target.execute("PRAGMA synchronous = FULL")
    target.execute(SCHEMA)
    run = target.cursor().execute
    last, witnessed = (0, b""), False
    begin_s = time.perf_counter()
    for text, values, mark in writes:
        run(text, values)
        if mark is not None:
            last, witnessed = mark[:2], witnessed or mark[2]
        elif witnessed and text == "COMMIT":
            witness.write(*last)
            witnessed = False
    seconds = time.perf_counter() - begin_s
    target.close()
    witness.close()
    return seconds


def _mark(text: str, values: Any) -> tuple[int, bytes, bool] | None:
    """Return (position, hash, whether the second place must know) of a record."""
    if text != QUERIES["record_insert"]:
        return None
    position, _stream, _seq, kind, digest, _body = values
    return position, digest, kind in WITNESSED
