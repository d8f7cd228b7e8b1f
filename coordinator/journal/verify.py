"""The whole journal checked against itself, and the derived tables made anew from the records."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import apsw

from coordinator.errors import JournalError
from coordinator.journal import tree
from coordinator.journal.age import doubt
from coordinator.journal.base import Record
from coordinator.journal.body import ZERO_HASH, read_record, sha256_of
from coordinator.journal.checkpoints import log_findings
from coordinator.journal.database import SCHEMA_VERSION, open_writer, reading
from coordinator.journal.derive import attempt_of, changes, evidence_of, still_stuck
from coordinator.journal.published import published_path, published_until
from coordinator.journal.reading import JournalReader, check_link
from coordinator.journal.statements import QUERIES, SCHEMA
from coordinator.journal.witness import Witness
from proofs.checkpoint_keys import KeyHistory

__all__ = ["Finding", "check", "rebuild"]

#: Derived tables with their columns; `driver` is a hint that no record need explain.
_DERIVED: Final = {
    "claims": "chain, resource, value, stream, step, direction",
    "reservations": "saga, chain, account, asset, amount",
    "locks": "resource, saga",
    "sagas": ("saga, plan, digest, key, state, decision, stuck, paused, deadline_s, started_ms"),
}
#: Findings beyond this add nothing.
_MOST: Final = 100
#: How SQLite orders values of different types; NULL is 0, and equal to itself.
_CLASSES: Final = {int: 1, float: 1, str: 2, bytes: 3}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong; ``stream``, ``seq`` and ``position`` name the record where one is known."""

    text: str
    stream: str | None = None
    seq: int | None = None
    position: int | None = None


def check(
    reader: JournalReader, witness: Path | None = None, log: KeyHistory | None = None
) -> list[Finding]:
    """Return everything wrong with the journal, nothing when it is sound; at most 100 findings.

    Every record: canonical bytes, hash, link to the one before in its stream, dense sequence and
    position. Every intent: its bytes are stored and have the hash it names; every proof likewise.
    Derived tables and the log's tree equal what the records say. Every signed checkpoint covers
    these very records. With ``witness``: the journal contains what the second place has seen, and
    the checkpoints published there. The database file's own structure. One snapshot is checked;
    writers go on meanwhile.

    Args:
        log: whose signatures checkpoints must have; None: each must be somebody's.
    """
    findings: list[Finding] = []
    # The second place first: it is never ahead of the journal, however writers go on.
    until = 0 if witness is None else published_until(published_path(witness))
    try:
        marks = [] if witness is None else Witness.read(witness)
    except JournalError as error:
        marks = []
        findings.append(Finding(str(error)))
    try:
        with reading(reader.path):
            reader.connection.execute("BEGIN")
            try:
                texts = log_findings(reader, log, witness, until)
                for finding in chain(_all_findings(reader), map(Finding, texts)):
                    findings.append(finding)
                    if len(findings) >= _MOST:
                        return findings
            finally:
                reader.connection.execute("ROLLBACK")
        reason = doubt(reader, marks)
    except JournalError as error:
        reason = str(error)
    if reason is not None:
        findings.append(Finding(reason))
    return findings


def rebuild(path: Path) -> int:
    """Make the derived tables anew from the records; return the number of records read.

    Attempts, evidence and checkpoints are no derived tables: they exist nowhere else. Who drives
    what is forgotten.

    Raises:
        JournalError: a record is damaged, or contradicts an earlier one; nothing was changed.
    """
    connection = open_writer(path)
    try:
        with reading(path):
            connection.execute("BEGIN IMMEDIATE")
            try:
                for table in _DERIVED:
                    connection.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
                replay = _Replay(connection)
                number = 0
                for row in connection.execute(QUERIES["records_from"], (1,)).fetchall():
                    replay.take(read_record(row, strict=True))
                    number += 1
                tree.delete(connection)
                tree.write(connection, path)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
    finally:
        connection.close()
    return number


class _Replay:
    """Takes records in commit order into the derived tables of a database."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._heads: dict[str, tuple[str, int]] = {}
        self._stuck: set[str] = set()
        self._position = 0

    def skip(self, position: int, stream: str, seq: int, digest: Any) -> None:
        """Go past a damaged record, so that the ones after it are judged by themselves."""
        self._position = position
        self._heads[stream] = (digest.hex() if type(digest) is bytes else "", seq)

    def take(self, record: Record) -> None:
        """Check the record's links and make its changes.

        Raises:
            JournalError: a link is wrong, or the record contradicts an earlier one.
        """
        expected, self._position = self._position + 1, record.position
        prev, seq = self._heads.get(record.stream, (ZERO_HASH, 0))
        self._heads[record.stream] = (record.hash, record.seq)
        stuck = record.stream in self._stuck
        try:
            for name, values in changes(
                record.stream, record.kind, record.data, record.at_ms, stuck=stuck
            ):
                self._connection.execute(QUERIES[name], values)
                if name == "claim_insert" and not self._owns(values):
                    raise JournalError(f"{values[1]} {values[2]} on {values[0]} was claimed before")
        except (KeyError, TypeError, ValueError, apsw.Error) as error:
            raise JournalError(f"it contradicts an earlier record: {error}") from error
        if still_stuck(record.kind, record.data, stuck=stuck):
            self._stuck.add(record.stream)
        else:
            self._stuck.discard(record.stream)
        check_link(record, prev, seq)
        if record.position != expected:
            raise JournalError(f"position {record.position} follows {expected - 1}")

    def _owns(self, claim: tuple[Any, ...]) -> bool:
        owner = self._connection.execute(QUERIES["claim_owner"], claim[:3]).fetchone()
        return owner == tuple(claim[3:])


def _all_findings(reader: JournalReader) -> Iterator[Finding]:
    for (text,) in reader.connection.execute("PRAGMA integrity_check"):
        if text != "ok":
            yield Finding(f"database structure: {text}")
    derived = apsw.Connection(":memory:")
    try:
        derived.execute(SCHEMA)
        yield from _other_tables(reader, derived)
        derived.execute("BEGIN")
        sound = True
        for finding in _bad_records(reader, _Replay(derived), derived):
            sound = False
            yield finding
        if sound:
            yield from _differences(reader.connection, derived)
        else:
            yield Finding("derived tables were not compared, because records are damaged")
        yield from _unnamed_evidence(reader, derived)
    finally:
        derived.close()
    for position, tx in reader.connection.execute(QUERIES["attempts_without_intent"]):
        yield Finding(f"the bytes of {tx} belong to no intent", position=position)


def _other_tables(reader: JournalReader, derived: apsw.Connection) -> Iterator[Finding]:
    """Compare what the tables are made of: what SQLite demands of later rows follows from it."""
    if reader.connection.pragma("user_version") != SCHEMA_VERSION:
        return
    have, want = (
        {name: (*kind, *str(sql).split()) for name, *kind, sql in one.execute(QUERIES["tables"])}
        for one in (reader.connection, derived)
    )
    for name in sorted(have.keys() | want.keys()):
        if have.get(name) != want.get(name):
            yield Finding(f"database structure: {name} is not what this version made")


def _bad_records(
    reader: JournalReader, replay: _Replay, derived: apsw.Connection
) -> Iterator[Finding]:
    for row in reader.connection.execute(QUERIES["records_from"], (1,)):
        position, stream, seq, _kind, digest, _body = row
        try:
            record = read_record(row, strict=True)
        except JournalError as error:
            replay.skip(position, stream, seq, digest)
            yield Finding(str(error), stream, seq, position)
            continue
        try:
            replay.take(record)
            if record.kind == "intent":
                _check_bytes(reader, record)
            elif record.kind == "proved":
                _check_evidence(reader, record, derived)
        except JournalError as error:
            yield Finding(str(error), stream, seq, position)


def _check_bytes(reader: JournalReader, intent: Record) -> None:
    tx, digest = attempt_of(intent.data)
    raw = reader.connection.execute(QUERIES["attempt_raw"], (tx,)).get
    if raw is None:
        raise JournalError(f"the bytes of its attempt {tx} are missing")
    if sha256_of(raw) != digest:
        raise JournalError(f"the bytes of its attempt {tx} are not those it names by hash")


def _check_evidence(reader: JournalReader, proved: Record, derived: apsw.Connection) -> None:
    """Check the proofs that a record names, and note their names."""
    try:
        names = evidence_of(proved.data)
    except (KeyError, TypeError, ValueError) as error:
        raise JournalError(f"it does not name its evidence: {error}") from error
    for name in names:
        digest = bytes.fromhex(name)
        if derived.execute(QUERIES["evidence_known"], (digest,)).get is None:
            derived.execute(QUERIES["evidence_insert"], (digest, b""))
    for name in names:
        digest = bytes.fromhex(name)
        body = reader.connection.execute(QUERIES["evidence_body"], (digest,)).get
        if body is None:
            raise JournalError(f"the evidence {name} that it names is missing")
        if sha256_of(body) != name:
            raise JournalError(f"the evidence {name} that it names has other bytes")


def _unnamed_evidence(reader: JournalReader, derived: apsw.Connection) -> Iterator[Finding]:
    for (digest,) in reader.connection.execute(QUERIES["evidence_names"]):
        if derived.execute(QUERIES["evidence_known"], (digest,)).get is None:
            yield Finding(f"the evidence {digest.hex()} is named by no record")


def _differences(stored: apsw.Connection, derived: apsw.Connection) -> Iterator[Finding]:
    """Compare the derived tables row by row; both sides are in key order."""
    for table, columns in _DERIVED.items():
        query = f"SELECT {columns} FROM {table} ORDER BY {columns}"  # noqa: S608 - our own names
        left, right = stored.execute(query), derived.execute(query)
        have, want = next(left, None), next(right, None)
        while have is not None or want is not None:
            if have == want:
                have, want = next(left, None), next(right, None)
            elif want is None or (have is not None and _key(have) < _key(want)):
                yield Finding(f"table {table} holds {have}, which no record explains")
                have = next(left, None)
            else:
                yield Finding(f"table {table} lacks {want}, which a record demands")
                want = next(right, None)


def _key(row: tuple[Any, ...]) -> list[tuple[int, Any]]:
    """Order rows as SQLite does: NULL, numbers, texts, bytes. A damaged row may hold any of them
    anywhere.
    """
    return [(_CLASSES.get(type(value), 0), value) for value in row]
