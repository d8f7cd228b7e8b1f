"""Reading the journal, alone or beside writers; every record is checked before it is believed.

This is what ``status``, ``show`` and ``audit`` open: it imports no chain and no event loop.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import apsw

from coordinator.errors import JournalError
from coordinator.journal.base import CheckpointRow, ClaimRow, Record, ReservationRow, SagaRow
from coordinator.journal.body import ZERO_HASH, read_record, sha256_of
from coordinator.journal.database import journal_id, open_reader, reading
from coordinator.journal.derive import OPERATOR_STREAM, attempt_of, brought, outpoint_lock
from coordinator.journal.statements import QUERIES

__all__ = ["OPERATOR_STREAM", "JournalReader", "check_link", "open_readonly"]

_MAX_SIZE: Final = 2**53


def _checkpoint(row: tuple[Any, ...]) -> CheckpointRow:
    """Return a signed head as stored; a flipped bit makes a column's bytes another type."""
    if [type(value) for value in row] != [int, bytes, bytes, int]:
        raise JournalError(
            f"the journal is damaged: the signed head of {row[0]!r} records is none. Run "
            "'coordinator journal check', then see README.md, 'A lost or old journal'."
        )
    return CheckpointRow(*row)


def open_readonly(path: Path) -> "JournalReader":
    """Open the journal at ``path`` for reading only, while others write or on read-only media.

    Raises:
        JournalError: missing, not a journal, of another version, or unreadable.
    """
    return JournalReader(path, open_reader(path))


class JournalReader:
    """The reading half of `coordinator.journal.base.Journal`, and the walk for audits."""

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self.path = path
        self.connection = connection
        self.journal_id = journal_id(connection, path)

    def read(self, stream: str, after: int = 0) -> list[Record]:
        """Return the records of ``stream`` with seq > ``after``, in order, verified.

        Raises:
            JournalError: a record is damaged or missing; it names stream, sequence and position.
        """
        with reading(self.path):
            # The record before the first wanted one is read for its hash.
            found = self.connection.execute(QUERIES["records_of_stream"], (stream, max(after, 1)))
            records = [read_record(row) for row in found]
        prev, seq = ZERO_HASH, 0
        if after and records:
            known = records.pop(0)
            if known.seq != after:
                check_link(known, prev, after - 1)
            prev, seq = known.hash, known.seq
        for record in records:
            check_link(record, prev, seq)
            prev, seq = record.hash, record.seq
        return records

    def records(self, first: int = 1) -> Iterator[Record]:
        """Yield all records from position ``first`` on in commit order, each checked by itself.

        Links between records are the caller's to check (`check_link`).
        """
        with reading(self.path):
            for row in self.connection.execute(QUERIES["records_from"], (first,)):
                yield read_record(row)

    def record_at(self, position: int) -> Record | None:
        """Return the record at ``position``, checked by itself, or None."""
        with reading(self.path):
            row = self.connection.execute(QUERIES["record_at"], (position,)).fetchone()
        return None if row is None else read_record(row)

    def last_position(self) -> int:
        """Return the position of the last record, 0 in an empty journal."""
        with reading(self.path):
            return int(self.connection.execute(QUERIES["last_position"]).get)

    def last_seq(self, stream: str) -> int:
        """Return the sequence of the last record of ``stream``, 0 for none; reads no record."""
        with reading(self.path):
            row = self.connection.execute(QUERIES["head"], (stream, None)).fetchone()
        return 0 if row is None else int(row[0])

    def streams(self, prefix: str = "saga:") -> list[str]:
        """Return the names of all streams that begin with ``prefix``."""
        end = f"{prefix}\U0010ffff"
        with reading(self.path):
            return [row[0] for row in self.connection.execute(QUERIES["streams"], (prefix, end))]

    def streams_with_open_claims(self, after: int = 0) -> list[str]:
        """Return the streams where a record past position ``after`` leaves a claim unused; what
        came later may have burnt it.
        """
        query = QUERIES["streams_with_open_claims"]
        with reading(self.path):
            return [row[0] for row in self.connection.execute(query, (after,))]

    def sagas(self, *, open_only: bool = False) -> list[SagaRow]:
        """Return saga rows, oldest first."""
        query = QUERIES["sagas_open" if open_only else "sagas_all"]
        with reading(self.path):
            return [_saga_row(row) for row in self.connection.execute(query)]

    def sagas_after(self, position: int) -> list[SagaRow]:
        """Return the rows of sagas with a record past ``position``; older ones cost nothing."""
        with reading(self.path):
            rows = self.connection.execute(QUERIES["sagas_after"], (position,))
            return [_saga_row(row) for row in rows]

    def position_at(self, at_ms: int) -> int:
        """Return the position of the last record before host time ``at_ms`` (Unix ms)."""
        return bisect_left(range(1, self.last_position() + 1), at_ms, key=self._time_ms)

    def _time_ms(self, position: int) -> int:
        record = self.record_at(position)
        if record is None:
            raise JournalError(
                f"the journal is damaged: there is no record at position {position}. Run "
                "'coordinator journal check', then see README.md, 'A lost or old journal'."
            )
        return record.at_ms

    def saga(self, saga: str) -> SagaRow | None:
        """Return the row of a saga, None if there is none of this id."""
        return self._row("saga_row", saga)

    def saga_of_key(self, key: str) -> SagaRow | None:
        """Return the saga that an idempotency key started, for ever."""
        return self._row("saga_with_key", key)

    def _row(self, query: str, value: str) -> SagaRow | None:
        with reading(self.path):
            row = self.connection.execute(QUERIES[query], (value,)).fetchone()
        return None if row is None else _saga_row(row)

    def raw(self, tx_id: str) -> bytes:
        """Return an attempt's stored bytes, checked against the hash in its intent.

        Raises:
            JournalError: unknown, or not the bytes that the intent names.
        """
        with reading(self.path):
            row = self.connection.execute(QUERIES["attempt_with_intent"], (tx_id,)).fetchone()
        if row is None:
            raise JournalError(f"no attempt {tx_id} is stored; nothing was sent")
        raw: bytes = row[0]
        if row[1] is None:
            raise JournalError(f"the journal is damaged: attempt {tx_id} has lost its intent")
        intent = read_record(row[1:])
        if attempt_of(intent.data) != (tx_id, sha256_of(raw)):
            raise JournalError(
                f"the journal is damaged: the bytes of attempt {tx_id} are not those that record "
                f"{intent.seq} of {intent.stream} (position {intent.position}) names. They were "
                "not sent. See README.md, 'A lost or old journal'."
            )
        return raw

    def evidence(self, digest: str) -> bytes:
        """Return the proof with this SHA-256 (64 hex digits), checked against it.

        Raises:
            JournalError: there is none, or its bytes are others.
        """
        with reading(self.path):
            body = self.connection.execute(QUERIES["evidence_body"], (_digest(digest),)).get
        if body is None:
            raise JournalError(f"no evidence {digest} is stored")
        if sha256_of(body) != digest:
            raise JournalError(
                f"the journal is damaged: the bytes of evidence {digest} are others. See "
                "README.md, 'A lost or old journal'."
            )
        return bytes(body)

    def checkpoints(self) -> list[CheckpointRow]:
        """Return the signed heads of the log by size, oldest first."""
        return list(self.checkpoints_from(0))

    def checkpoints_from(self, size: int) -> Iterator[CheckpointRow]:
        """Yield the signed heads that cover at least ``size`` records, oldest first."""
        with reading(self.path):
            for row in self.connection.execute(QUERIES["checkpoints_from"], (size,)):
                yield _checkpoint(row)

    def checkpoint_covering(self, size: int) -> CheckpointRow | None:
        """Return the oldest signed head that covers ``size`` records, None while there is none."""
        with reading(self.path):
            row = self.connection.execute(QUERIES["checkpoints_from"], (size,)).fetchone()
        return None if row is None else _checkpoint(row)

    def last_checkpoint(self, within: int | None = None) -> CheckpointRow | None:
        """Return the newest signed head, of no more than ``within`` records if given."""
        most = _MAX_SIZE if within is None else within
        with reading(self.path):
            row = self.connection.execute(QUERIES["checkpoint_within"], (most,)).fetchone()
        return None if row is None else _checkpoint(row)

    def rotations(self) -> list[bytes]:
        """Return the notes by which the log's key was handed on (``log_key``), oldest first.

        A recovery begins a log of another name, so those before it count no more.
        """
        notes: list[bytes] = []
        for record in self.read(OPERATOR_STREAM):
            if record.kind == "log_key":
                notes.append(str(record.data["note"]).encode())
            elif record.kind == "recovery":
                notes.clear()
        return notes

    def claims(self, chain: str) -> list[ClaimRow]:
        """Return every claim on ``chain``."""
        with reading(self.path):
            rows = self.connection.execute(QUERIES["claims_of_chain"], (chain,))
            return [ClaimRow(*row) for row in rows]

    def claim(self, chain: str, resource: str, value: int) -> ClaimRow | None:
        """Return who claimed a nonce or coin, None while nobody has."""
        with reading(self.path):
            key = (chain, resource, value)
            row = self.connection.execute(QUERIES["claim_owner"], key).fetchone()
        return None if row is None else ClaimRow(*key, *row)

    def locked(self, chain: str) -> dict[str, str]:
        """Return outpoint → open saga for outputs that are kept for an undo."""
        prefix = outpoint_lock(chain, "")
        with reading(self.path):
            rows = self.connection.execute(QUERIES["locks_between"], (prefix, prefix[:-1] + ";"))
            return {resource.removeprefix(prefix): saga for resource, saga in rows}

    def reservations(self, chain: str) -> list[ReservationRow]:
        """Return what open sagas have set aside on ``chain``, and what they brought in there."""
        prefix = f"brought:{chain}:"
        with reading(self.path):
            found = [
                ReservationRow(saga, chain, account, asset, int(amount))
                for saga, chain, account, asset, amount in self.connection.execute(
                    QUERIES["reservations_of_chain"], (chain,)
                )
            ]
            locks = self.connection.execute(QUERIES["locks_between"], (prefix, f"{prefix[:-1]};"))
            for resource, saga in locks:
                where, amount = brought(resource)
                found.append(ReservationRow(saga, *where, amount))
        return found

    def tail(self, after: int) -> list[tuple[int, str, int]]:
        """Return (position, stream, seq) of records past position ``after``, oldest first."""
        with reading(self.path):
            rows = self.connection.execute(QUERIES["tail"], (after,))
            return [(position, stream, seq) for position, stream, seq in rows]

    def shut(self) -> None:
        """Close the connection."""
        self.connection.close()


def check_link(record: Record, prev: str, seq: int) -> None:
    """Check that ``record`` follows the record of its stream that has hash ``prev`` and ``seq``.

    Raises:
        JournalError: it does not; stream, sequence and position are named.
    """
    where = f"record {record.seq} of {record.stream} (position {record.position})"
    if record.seq != seq + 1:
        raise JournalError(
            f"the journal is damaged: {where} follows record {seq}; records are missing. "
            "Nothing was sent. See README.md, 'A lost or old journal'."
        )
    if record.prev != prev:
        raise JournalError(
            f"the journal is damaged: {where} names {record.prev} as the hash before it, "
            f"but that hash is {prev}. Nothing was sent. See README.md, "
            "'A lost or old journal'."
        )


def _digest(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise JournalError(f"{text!a} is no SHA-256 of a proof") from None


#: The types of a saga row as stored, but for who drives it.
_SAGA_TYPES: Final = [str, str, str, str, str, int, int, int, int, int, int]


def _saga_row(row: tuple[Any, ...]) -> SagaRow:
    """Return a saga's row as stored; a flipped bit makes a column's bytes another type."""
    if [type(value) for value in row[:-1]] != _SAGA_TYPES:
        raise JournalError(
            f"the journal is damaged: the row of saga {row[0]!r} holds a value of another type. "
            "Run 'coordinator journal check', then see README.md, 'A lost or old journal'."
        )
    found = SagaRow(*row)
    # Who drives it is a hint that no hash covers: what is no text is nobody's name.
    driver = found.driver if isinstance(found.driver, str) else None
    return replace(found, stuck=bool(found.stuck), paused=bool(found.paused), driver=driver)
