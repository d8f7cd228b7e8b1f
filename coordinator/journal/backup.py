"""A copy of the journal, taken while it is in use."""

import os
from pathlib import Path

import apsw

from coordinator.errors import JournalError
from coordinator.journal.database import open_reader, reading, sync_directory
from coordinator.journal.reading import JournalReader, open_readonly
from coordinator.journal.witness import Mark

__all__ = ["backup"]


def backup(source: Path, target: Path) -> Mark:
    """Copy the journal at ``source`` to the new file ``target`` and return how far the copy goes.

    Writers go on meanwhile; the copy is the journal at one moment. It holds signed transactions
    that may not have left yet, so it is made 0600 and belongs where the journal itself could lie.
    Restored after more intents were written, it is refused at start (DESIGN.md R12).

    Raises:
        JournalError: ``source`` can not be read, or ``target`` exists or can not be written.
    """
    connection = open_reader(source)
    try:
        os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        connection.close()
        reason = "it exists already" if isinstance(error, FileExistsError) else error.strerror
        raise JournalError(
            f"the backup {target} can not be written: {reason}. Choose another path."
        ) from error
    try:
        with reading(target):
            _copy(connection, target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    finally:
        connection.close()
    sync_directory(target.parent)
    return _end_of(target)


def _copy(source: apsw.Connection, target: Path) -> None:
    copy = apsw.Connection(str(target), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        with copy.backup("main", source, "main") as running:
            # In one step: between steps a writer would make the copy start again, for ever.
            running.step(-1)
    finally:
        copy.close()


def _end_of(path: Path) -> Mark:
    reader: JournalReader = open_readonly(path)
    try:
        position = reader.last_position()
        record = reader.record_at(position)
        return Mark(reader.journal_id, position, "0" * 64 if record is None else record.hash)
    finally:
        reader.shut()
