"""Signed heads of the audit log: storing them, and holding records against them.

A signature outlives the records that it covers, so it is what shows that they were exchanged: a
journal whose records do not lead to every root that was signed is not the one that was signed. The
operator's key signs (proofs/checkpoint.py); who held it when is in the ``log_key`` records of
stream ``operator`` (proofs/checkpoint_keys.py).
"""

import heapq
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import apsw

from coordinator.errors import JournalError
from coordinator.journal import tree
from coordinator.journal.base import CheckpointRow
from coordinator.journal.published import Published, last_published, published_path, read_published
from coordinator.journal.reading import OPERATOR_STREAM, JournalReader
from coordinator.journal.statements import QUERIES
from proofs.checkpoint import (
    Note,
    digest_of,
    key_id,
    parse_checkpoint,
    parse_note,
    recover,
)
from proofs.checkpoint_keys import KeyHistory
from proofs.errors import Refused

__all__ = [
    "NEWEST",
    "confirm_signed",
    "key_history",
    "log_findings",
    "log_origin",
    "recovered",
    "store",
]

#: Records that are read and hashed again at every start (a third of a second); `journal check`
#: reads them all.
NEWEST: Final = 1 << 17
#: Findings of one kind beyond this add nothing.
_MOST: Final = 100
_MEND: Final = (
    "Nothing was sent and nothing is sent: what the missing or exchanged records did on the chains "
    "is unknown to this journal. Put the latest journal back; if there is none, see README.md, 'A "
    "lost or old journal'."
)


def log_origin(reader: JournalReader, origin: str) -> str:
    """Return the log's name now: a recovered journal is another log, ``<origin>/r<epoch>``."""
    number, _since = recovered(reader)
    return f"{origin}/r{number}" if number else origin


def key_history(
    reader: JournalReader, origin: str | None = None, address: bytes | None = None
) -> KeyHistory | None:
    """Return whose signatures count, from the rotations that the log holds.

    Args:
        origin: the log's name under ``[log]``; None: that of its first checkpoint.
        address: 20 bytes of the log's key, as long as it was never handed on; None: whoever signed
            the first checkpoint.

    Returns None where that is not known, because nothing was ever signed. Its ``origin`` is the
    name that the log has now, its ``first`` the address for a stranger's trust file.

    Raises:
        JournalError: the rotations are not what the keys signed.
    """
    _number, since = recovered(reader)
    notes, oldest = reader.rotations(), reader.checkpoint_covering(since + 1)
    name = None if origin is None else log_origin(reader, origin)
    try:
        if oldest is not None and (name is None or not (notes or address)):
            signed = parse_note(oldest.note)
            name = name or parse_checkpoint(signed.text).origin
            address = address or (None if notes else _signer(signed, name))
        if notes:
            address = _handed_on_by(notes[0])
        if name is None or address is None:
            return None
        return KeyHistory.read(name, address, notes)
    except Refused as error:
        raise JournalError(
            f"who may sign the log in {reader.path} can not be told: {error}. Nothing was sent. "
            "Run 'coordinator journal check'."
        ) from error


def recovered(reader: JournalReader) -> tuple[int, int]:
    """Return the number of the last recovery, and how many records the journal had before it."""
    found = [record for record in reader.read(OPERATOR_STREAM) if record.kind == "recovery"]
    return (int(found[-1].data["epoch"]), found[-1].position - 1) if found else (0, 0)


def _handed_on_by(rotation: bytes) -> bytes:
    """Return the address that a rotation says it hands on from; not verified here."""
    try:
        line = parse_note(rotation).text.split(b"\n")[2]
        return bytes.fromhex(line.removeprefix(b"old ").decode())
    except (IndexError, ValueError):
        raise Refused("rotation-form", "not the text of a rotation") from None


def confirm_signed(reader: JournalReader, witness: Path, log: KeyHistory | None) -> None:
    """Check that the newest signed heads, stored and published, are heads of these records.

    Args:
        witness: the second place, beside which heads are published.
        log: whose signatures they must have; None (nothing signs here): roots alone are compared.

    Raises:
        JournalError: they are not: the journal was restored, or someone changed it.
    """
    # Published first: a live process may store and publish one more in between.
    outside = last_published(published_path(witness))
    stored = reader.last_checkpoint()
    _number, since = recovered(reader)
    found = {} if stored is None else {stored.note: "the last checkpoint of the journal"}
    if outside is not None:
        found.setdefault(outside.note, "the last checkpoint that was published")
    for note, what in found.items():
        try:
            head = parse_checkpoint(parse_note(note).text)
            if log is not None and head.size > since:
                log.verify(note)
        except Refused as error:
            raise JournalError(
                f"{what} is not signed by the key of [log] or one before it ({error}). Nothing was "
                "sent. Put the former origin and key back into chains.toml; a key is changed with "
                "'coordinator audit rotate'. If they were right all along, someone exchanged the "
                "checkpoint: see README.md, 'A lost or old journal'."
            ) from error
        size = reader.last_position()
        if head.size > size:
            raise JournalError(
                f"{what} covers {head.size} records, but {reader.path} ends at position {size} (a "
                f"backup restored?). {_MEND}"
            )
        if tree.root_from_records(reader, head.size, NEWEST) != head.root:
            raise JournalError(
                f"{what} was signed over {head.size} records that are not those in {reader.path} "
                f"(a backup restored and written to, or records changed). {_MEND}"
            )


def store(
    connection: apsw.Connection,
    path: Path,
    sign: Callable[[int, bytes], bytes],
    at_ms: int,
) -> CheckpointRow | None:
    """Sign and store the log's head as it is now, unless it is; return it, None for an empty log.

    One transaction decides, so that no two processes sign one size: it sees only records that are
    durable, completes the tree, holds it against the head before, and is durable on return.

    Args:
        sign: (size, root) → note; called while the database is locked, so it must be quick.

    Raises:
        JournalError: the head before is not one of this log, or the tree is damaged.
        Refused: from ``sign``.
        apsw.Error: the database can not be written, or is busy.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        row = _head(connection, path, sign, at_ms)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return row


def _head(
    connection: apsw.Connection, path: Path, sign: Callable[[int, bytes], bytes], at_ms: int
) -> CheckpointRow | None:
    size = tree.write(connection, path)
    reader = JournalReader(path, connection)
    last = reader.last_checkpoint()
    if last is not None and (last.size > size or tree.root(reader, last.size) != last.root):
        raise JournalError(
            f"the log in {path} does not begin with what its last checkpoint covers "
            f"({last.size} records): it was changed, and is not signed any more. Run 'coordinator "
            "journal check'."
        )
    if not size:
        return None
    if last is not None and last.size == size:
        connection.execute(QUERIES["checkpoint_seen"], (at_ms, size))
        return CheckpointRow(size, last.root, last.note, at_ms)
    root = tree.root(reader, size)
    row = CheckpointRow(size, root, sign(size, root), at_ms)
    values = (row.size, row.root, row.note, row.at_ms)
    connection.execute(QUERIES["checkpoint_insert"], values)
    return row


# ---------------------------------------------------------------- checking


def log_findings(
    reader: JournalReader, log: KeyHistory | None, witness: Path | None, until: int
) -> Iterator[str]:
    """Yield what is wrong with the tree and with signed heads, every record read again.

    Args:
        reader: inside a transaction, so that nothing moves meanwhile.
        log: whose signatures heads must have; None: those of whoever signed the first one.
        witness: the second place, None to leave out what was published.
        until: bytes of the published file when the transaction began.
    """
    try:
        log = log or key_history(reader)
    except JournalError as error:
        yield str(error)
    _number, since = recovered(reader)
    for row in reader.checkpoints_from(0):
        if problem := _note_problem(row, log if row.size > since else None):
            yield f"the checkpoint of {row.size} records {problem}"
    published = iter(()) if witness is None else read_published(published_path(witness), until)
    problems: list[str] = []
    stored = (tree.Head(row.size, row.root, "the checkpoint") for row in reader.checkpoints_from(0))
    outside = _outside(reader, log, published, problems)
    handed_on = (
        tree.Head(rotation.at.size, rotation.at.root, "the rotation of the log's key")
        for rotation in (log.rotations if log else ())
    )
    heads = heapq.merge(stored, outside, handed_on, key=lambda head: head.size)
    yield from tree.differences(reader, heads)
    yield from problems


def _outside(
    reader: JournalReader,
    log: KeyHistory | None,
    published: Iterator[Published],
    problems: list[str],
) -> Iterator[tree.Head]:
    """Yield published heads that the journal does not have; what else is wrong goes to a list."""
    seen = -1
    try:
        for item in published:
            row = reader.last_checkpoint(item.size)
            if item.size == seen or (row is not None and row.note == item.note):
                continue
            seen = item.size
            head = item.checkpoint
            as_row = CheckpointRow(head.size, head.root, item.note, 0)
            if (problem := _note_problem(as_row, log)) and len(problems) < _MOST:
                problems.append(f"the published checkpoint of {head.size} records {problem}")
            if len(problems) < _MOST:
                problems.append(f"the published checkpoint of {head.size} records is not stored")
            yield tree.Head(head.size, head.root, "the published checkpoint")
    except JournalError as error:
        problems.append(str(error))


def _note_problem(row: CheckpointRow, log: KeyHistory | None) -> str | None:
    """Say what is wrong with a note and its columns by themselves, None if nothing is."""
    try:
        if log is not None:
            head = log.verify(row.note)
        else:
            note = parse_note(row.note)
            head = parse_checkpoint(note.text)
            _signer(note, head.origin)
    except Refused as error:
        return f"is not signed as it should be ({error.check}: {error.reason})"
    if (head.size, head.root) != (row.size, row.root):
        return "is stored with another size or root than was signed"
    return None


def _signer(note: Note, name: str) -> bytes:
    """Return the address whose line of that name this note carries.

    Raises:
        Refused: there is none whose key id fits.
    """
    digest = digest_of(note.text)
    for line in note.signatures:
        if line.name == name:
            address = recover(digest, line.signature)
            if key_id(name, address) == line.key_id:
                return address
    raise Refused("note-unsigned", f"no line of {name}")
