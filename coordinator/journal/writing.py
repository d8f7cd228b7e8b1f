"""One append inside an open transaction: check everything first, then write all of it.

A loser never writes, so it is undone alone without a savepoint of its own; half an append can not
be. Nothing here waits: statements touch pages in memory, COMMIT happens elsewhere (sqlite.py).
"""

import hashlib
from typing import Final, NamedTuple

import apsw

from coordinator.errors import Fenced, JournalError
from coordinator.journal.base import Record
from coordinator.journal.body import MAX_BODY, VERSION, ZERO_HASH, encode_body
from coordinator.journal.checks import Checks, Fresh, Request
from coordinator.journal.derive import SAGA_PREFIX, Change, changes, still_stuck
from coordinator.journal.statements import QUERIES

__all__ = ["WITNESSED", "Request", "Writer"]

#: Streams whose last record is remembered; beyond this the memory is emptied.
_HEADS_KEPT: Final = 50_000
#: Records whose bytes must not leave before the second place knows of them (R12).
WITNESSED: Final = frozenset({"intent", "reveal"})
#: Changes that what the checks remember must follow.
_COUNTED: Final = frozenset(
    {"claim_insert", "reservation_insert", "brought_insert", "brought_keep", "reservations_delete"}
)


class _Head(NamedTuple):
    seq: int
    hash: str
    stuck: bool


_NO_RECORD: Final = _Head(0, ZERO_HASH, stuck=False)

# Statement texts are looked up once; these run for every record.
_HEAD: Final = QUERIES["head"]
_RECORD_INSERT: Final = QUERIES["record_insert"]
_ATTEMPT_INSERT: Final = QUERIES["attempt_insert"]


class Writer:
    """Writes appends of one transaction after the other on the connection for writing.

    What it remembers (stream heads, last position, sums of reservations) holds as long as nobody
    else commits; `begin` finds out. It is touched only when an append has passed every check.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        # One cursor for everything: it costs a third less than a new one per statement, and no
        # statement of an earlier call stays open to hold a snapshot.
        self._run = connection.cursor().execute
        self._version: int | None = None
        self._heads: dict[str, _Head] = {}
        self._checks = Checks(self._run)
        self._position = 0
        self._at_ms = 0
        #: (position, hash) of the last record of this transaction, None before the first.
        self.last: tuple[int, bytes] | None = None
        #: Whether this transaction holds a record that the second place must know (R12).
        self.witnessed = False

    def begin(self, at_ms: int) -> None:
        """Open a transaction whose records carry ``at_ms``.

        Raises:
            apsw.BusyError: another process writes just now.
        """
        self._run("BEGIN IMMEDIATE")
        version = self._run("PRAGMA data_version").get
        if version != self._version:
            self._heads.clear()
            self._checks.forget()
            self._position = self._run(QUERIES["last_position"]).get
            self._version = version
        self._at_ms = at_ms
        self.last = None
        self.witnessed = False

    def commit(self) -> None:
        """Make the transaction durable; waits for the disk.

        Raises:
            apsw.Error: nobody knows what the disk holds.
        """
        self._run("COMMIT")

    def checkpoint(self) -> None:
        """Move the log into the database, as far as readers allow; waits for the disk."""
        self._run("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def rollback(self) -> None:
        """Undo the transaction and forget what it taught."""
        if self._connection.in_transaction:
            self._run("ROLLBACK")
        self._version = None

    def append(self, request: Request) -> list[Record]:
        """Write one append and return its records.

        Raises:
            JournalError: a check failed (see `Journal.append`); nothing of it was written.
            apsw.Error: the database failed; the transaction must be rolled back.
        """
        head = self._head(request.stream)
        if head.seq != request.expected:
            raise Fenced(
                f"{request.stream} has {head.seq} records, the caller had folded "
                f"{request.expected}; nothing was written and nothing of this was sent. "
                "Fold the stream again."
            )
        try:
            fresh = self._checks.check(request)
            records, digests, derived, head = self._chain(request, head)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise JournalError(
                f"an entry for {request.stream} is malformed ({type(error).__name__}: {error}); "
                "nothing was written and nothing of this was sent"
            ) from error
        self._write(records, digests, fresh)
        self._checks.written(request.stream)
        self._change(derived)
        if len(self._heads) >= _HEADS_KEPT:
            self._heads.clear()
        self._heads[request.stream] = head
        return records

    def drive(self, saga: str, instance: str | None) -> None:
        """Note which instance drives ``saga``."""
        self._run(QUERIES["saga_driver"], (instance, saga))

    def _head(self, stream: str) -> _Head:
        head = self._heads.get(stream)
        if head is None:
            saga = stream[5:] if stream.startswith(SAGA_PREFIX) else None
            row = self._run(_HEAD, (stream, saga)).fetchone()
            head = _NO_RECORD if row is None else _Head(row[0], row[1].hex(), bool(row[2]))
        return head

    def _chain(
        self, request: Request, head: _Head
    ) -> tuple[list[Record], list[bytes], list[Change], _Head]:
        """Number, link and hash the entries.

        Returns records, their hashes as bytes, all that they change, and the stream's new head.
        """
        seq, prev, stuck = head
        stream, position, now_ms = request.stream, self._position, self._at_ms
        records: list[Record] = []
        digests: list[bytes] = []
        derived: list[Change] = []
        for entry, data in zip(request.entries, request.data, strict=True):
            seq += 1
            position += 1
            kind = entry.kind
            # The caller's own time, so that its fold and a later one from the journal agree.
            at_ms = now_ms if entry.at_ms is None else entry.at_ms
            body = encode_body(stream, seq, kind, at_ms, prev, data)
            if len(body) > MAX_BODY:
                raise JournalError(
                    f"a {kind} record for {stream} has {len(body)} bytes, the limit is {MAX_BODY}; "
                    "nothing was written"
                )
            digest = hashlib.sha256(body).digest()
            digests.append(digest)
            name = digest.hex()
            records.append(
                Record(position, stream, seq, kind, VERSION, at_ms, entry.data, prev, name, body)
            )
            derived += changes(stream, kind, entry.data, at_ms, stuck=stuck)
            if stuck or kind == "stuck":
                stuck = still_stuck(kind, entry.data, stuck=stuck)
            prev = name
        return records, digests, derived, _Head(seq, prev, stuck)

    def _write(self, records: list[Record], digests: list[bytes], fresh: Fresh) -> None:
        run = self._run
        for record, digest, raw in zip(records, digests, fresh.raws, strict=True):
            position, kind = record.position, record.kind
            run(_RECORD_INSERT, (position, record.stream, record.seq, kind, digest, record.body))
            if raw is not None:
                run(_ATTEMPT_INSERT, (position, raw.tx_id, raw.raw))
            if kind in WITNESSED:
                self.witnessed = True
        for name, body in fresh.evidence.items():
            run(QUERIES["evidence_insert"], (bytes.fromhex(name), body))
        self._position = position
        self.last = (position, digest)

    def _change(self, derived: list[Change]) -> None:
        run = self._run
        for name, values in derived:
            if name in _COUNTED:
                self._checks.count(name, values)
            run(QUERIES[name], values)
