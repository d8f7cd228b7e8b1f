"""What must hold of a journal after a power cut, read without the coordinator's own code.

Only opening and `journal check` are the coordinator's: both are part of what is judged.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import struct
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coordinator.errors import JournalError
from coordinator.journal.checkpoints import key_history
from coordinator.journal.reading import open_readonly
from coordinator.journal.sqlite import SqliteJournal
from coordinator.journal.verify import check
from tests.disk.operations import Acknowledged
from tests.unit.log_scene import KEY, ORIGIN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.disk.operations import Operation

__all__ = ["Promise", "judge", "promised", "read_marks"]

_MARK = struct.Struct(">8sI16sQ32s")


@dataclass(frozen=True, slots=True)
class Promise:
    """What was acknowledged when the power failed.

    Attributes:
        created: whether the journal was there at all.
        bodies: of all records up to the last one that was acknowledged.
        witnessed: up to here the second place must know the journal.
        appends: positions (first, last) of every append that was ever acknowledged, later ones too.
    """

    created: bool
    bodies: tuple[bytes, ...]
    witnessed: int
    appends: tuple[tuple[int, int], ...]


def promised(operations: Sequence[Operation], cut: int) -> Promise:
    """Return what was acknowledged within the first ``cut`` operations."""
    told = [one for one in operations if isinstance(one, Acknowledged)]
    before = [one for one in operations[:cut] if isinstance(one, Acknowledged)]
    found: dict[int, bytes] = {}
    for one in told:
        first = one.position - len(one.bodies) + 1
        found |= {first + n: body for n, body in enumerate(one.bodies)}
    last = max((one.position for one in before), default=0)
    return Promise(
        bool(before),
        tuple(found[position] for position in range(1, last + 1)),
        max((one.position for one in before if one.leaves), default=0),
        tuple((one.position - len(one.bodies) + 1, one.position) for one in told if one.bodies),
    )


def judge(root: Path, promise: Promise) -> list[str]:
    """Return what is wrong with the journal below ``root``, nothing if all is as it must be."""
    path, witness = root / "journal" / "journal.db", root / "elsewhere" / "witness"
    refusal = _open(path, witness)
    if refusal is not None:
        if refusal.exit_code != 30:
            return [f"refused with exit code {refusal.exit_code}: {refusal}"]
        return [f"a legal state is refused: {refusal}"] if promise.created else []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        problems = list(_records(database, promise))
        problems += _marks(database, witness, promise)
    reader = open_readonly(path)
    try:
        log = key_history(reader, ORIGIN, KEY.address)
        problems += [f"journal check: {found.text}" for found in check(reader, witness, log)]
    except JournalError as error:
        problems.append(f"journal check: {error}")
    finally:
        reader.shut()
    return problems


def _open(path: Path, witness: Path) -> JournalError | None:
    try:
        journal = SqliteJournal(path, witness)
    except JournalError as error:
        return error
    for saga in journal.sagas():
        journal.read(f"saga:{saga.saga}")
    journal._thread.shutdown()
    journal._reader.shut()
    journal._shut()
    journal._witness.close()
    return None


def _records(database: sqlite3.Connection, promise: Promise) -> Iterator[str]:
    rows = database.execute("SELECT position, body, hash FROM records ORDER BY position").fetchall()
    raws = dict(database.execute("SELECT tx, raw FROM attempts"))
    for position, body in enumerate(promise.bodies, start=1):
        if position > len(rows) or rows[position - 1][1] != body:
            yield f"record {position} was acknowledged and is lost"
    last = len(rows)
    for first, end in promise.appends:
        if first <= last < end:
            yield f"only the records up to {last} of the append {first} to {end} are there"
    heads: dict[str, tuple[int, str]] = {}
    named: set[str] = set()
    for number, (position, body, digest) in enumerate(rows, start=1):
        record: dict[str, Any] = json.loads(body)
        if position != number or hashlib.sha256(body).digest() != digest:
            yield f"record {number} is damaged"
        seq, prev = heads.get(record["stream"], (0, "0" * 64))
        if (record["seq"], record["prev"]) != (seq + 1, prev):
            yield f"record {number} does not follow the one before it"
        heads[record["stream"]] = record["seq"], digest.hex()
        if record["kind"] == "intent":
            data = record["data"]
            named.add(data["tx"])
            if hashlib.sha256(raws.get(data["tx"], b"")).hexdigest() != data["bytes"]:
                yield f"the bytes of intent {number} are lost"
    if set(raws) - named:
        yield f"bytes without an intent: {sorted(set(raws) - named)}"


def read_marks(witness: Path) -> list[tuple[int, bytes]]:
    """Return (position, hash) of every whole mark in a second place."""
    content, found = witness.read_bytes(), []
    for start in range(0, len(content), 4096):
        slot = content[start : start + _MARK.size + 32]
        if hashlib.sha256(slot[: _MARK.size]).digest() == slot[_MARK.size :]:
            *_, position, digest = _MARK.unpack(slot[: _MARK.size])
            found.append((position, digest))
    return found


def _marks(database: sqlite3.Connection, witness: Path, promise: Promise) -> Iterator[str]:
    marks = read_marks(witness)
    reached = max((position for position, _digest in marks), default=0)
    for position, digest in marks:
        row = database.execute(
            "SELECT hash FROM records WHERE position = ?", (position,)
        ).fetchone()
        if position and row != (digest,):
            yield f"position {position} was witnessed and the journal lacks it, yet it opened"
    if reached < promise.witnessed:
        yield (
            f"bytes could leave at position {promise.witnessed}, the second place knows {reached}"
        )
