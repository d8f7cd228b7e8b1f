"""Opening the database file: who it is, which version, with which promises.

Write-ahead log, `synchronous=FULL` (R1), no checkpoint but our own (sqlite.py says when).
"""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from coordinator.errors import JournalError
from coordinator.journal.statements import MIGRATIONS, QUERIES

__all__ = [
    "APPLICATION_ID",
    "SCHEMA_VERSION",
    "create_file",
    "journal_id",
    "make_folder",
    "migrate",
    "open_reader",
    "open_writer",
    "reading",
    "sync_directory",
    "sync_log",
]

#: "CoOr" in the database header: tools and people see whose file it is.
APPLICATION_ID: Final = 0x436F4F72
#: `user_version` of a journal that this coordinator writes.
SCHEMA_VERSION: Final = len(MIGRATIONS)
#: Waits of other processes are short: recovery after a crash, and the last one's checkpoint.
_OPEN_TIMEOUT_MS: Final = 5000
#: Pages in memory: what a journal appends to and looks up lately is far less; a process that runs
#: for months fills whatever it may.
_WRITER_PAGES_KIB: Final = 8 * 1024
_READER_PAGES_KIB: Final = 4 * 1024
#: The log is written again in parts of this size.
_COPY_BYTES: Final = 1 << 20


def create_file(path: Path, vfs: str | None = None) -> None:
    """Create an empty journal with an id of its own, 0600, in a folder made 0700.

    It appears under its name whole or not at all, also beside another process that does the same.

    Raises:
        JournalError: something is there already, or the place can not be written.
    """
    hidden = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        make_folder(path.parent)
        os.close(os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            with reading(path):
                _write_empty(hidden, vfs)
            os.link(hidden, path)
        finally:
            for name in ("", "-journal", "-wal", "-shm"):
                hidden.with_name(hidden.name + name).unlink(missing_ok=True)
        sync_directory(path.parent)
    except FileExistsError:
        raise JournalError(
            f"{path} exists already; nothing was written. Open it, or choose another path."
        ) from None
    except OSError as error:
        raise JournalError(
            f"the journal {path} can not be created: {error.strerror}. Nothing was sent."
        ) from error


def make_folder(path: Path) -> None:
    """Make a folder, 0700, and those that it lies in; their names are durable on return.

    Without that a power cut could take the folder with all that was synced inside it.
    """
    if not path.parent.is_dir():
        make_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_log(connection: apsw.Connection, path: Path) -> None:
    """Make durable what a process that died inside its commit left readable in the log.

    What is readable need not be dirty: after a failed sync the kernel shows pages that the disk
    never got and calls them clean, so that another sync succeeds and changes nothing. They are
    therefore written again, as they are, under the write lock of ``connection``. Where a live
    process holds that, its own next sync is told of the failure, and here a sync is all.

    Raises:
        JournalError: the disk refuses.
    """
    log = path.with_name(f"{path.name}-wal")
    try:
        descriptor = os.open(log, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        with reading(path):
            if _begin_alone(connection):
                try:
                    _write_again(descriptor)
                except OSError as error:
                    # A full disk that copies on write must not keep stored bytes from leaving; the
                    # second place would tell if the log were less than it seems (R12).
                    if error.errno != errno.ENOSPC:
                        raise
                finally:
                    connection.execute("ROLLBACK")
        os.fsync(descriptor)
    except OSError as error:
        raise JournalError(
            f"{log} can not be made durable ({error.strerror}). Nothing was sent. Mend the disk "
            "and start again."
        ) from error
    finally:
        os.close(descriptor)


def _begin_alone(connection: apsw.Connection) -> bool:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except apsw.BusyError:
        return False
    return True


def _write_again(descriptor: int) -> None:
    at = 0
    while content := os.pread(descriptor, _COPY_BYTES, at):
        written = os.pwrite(descriptor, content, at)
        if written != len(content):
            raise OSError(errno.EIO, f"only {written} of {len(content)} bytes were written")
        at += written


def open_writer(path: Path, vfs: str | None = None) -> apsw.Connection:
    """Open an existing journal for appending.

    Raises:
        JournalError: missing, readable by others, not a journal, of another version, or not
            writable.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise _missing(path, error) from error
    if mode & 0o077:
        raise JournalError(
            f"{path} holds signed transactions and may be read by others (mode {mode & 0o777:o}). "
            f"Nothing was sent. Run: chmod 600 {path}"
        )
    with reading(path):
        connection = _connect(path, apsw.SQLITE_OPEN_READWRITE, vfs)
        try:
            _check_identity(connection, path)
            _check_writable(connection, path)
            connection.pragma("synchronous", "full")
            connection.pragma("foreign_keys", 0)
            connection.pragma("wal_autocheckpoint", 0)
            connection.pragma("cache_size", -_WRITER_PAGES_KIB)
            # A batch's pages stay in memory until COMMIT: statements never wait for the disk.
            connection.pragma("cache_spill", 0)
            # From here on the event loop does the waiting.
            connection.set_busy_timeout(0)
        except BaseException:
            connection.close()
            raise
    return connection


def open_reader(path: Path, vfs: str | None = None) -> apsw.Connection:
    """Open an existing journal for reading, beside writers or on media that can not be written.

    A journal of an older version is read as it is: what came later is there and empty.

    Raises:
        JournalError: missing, not a journal, of a newer version, or unreadable.
    """
    if not path.exists():
        raise _missing(path, FileNotFoundError())
    with reading(path):
        try:
            connection = _connect(path, apsw.SQLITE_OPEN_READONLY, vfs)
            version = _check_identity(connection, path, oldest=1)
        except (apsw.CantOpenError, apsw.ReadOnlyError):
            connection = _open_immutable(path, vfs)
            version = _check_identity(connection, path, oldest=1)
        _stand_in(connection, version)
        connection.pragma("cache_size", -_READER_PAGES_KIB)
        connection.pragma("query_only", 1)
    return connection


def migrate(path: Path) -> tuple[int, int]:
    """Bring a journal to this coordinator's version; return (version before, version now).

    Running it again changes nothing.

    Raises:
        JournalError: not a journal, or written by a newer coordinator.
    """
    if not path.exists():
        raise _missing(path, FileNotFoundError())
    with reading(path):
        connection = _connect(path, apsw.SQLITE_OPEN_READWRITE, None)
        try:
            _check_identity(connection, path, oldest=1)
            connection.pragma("synchronous", "full")
            return _apply_migrations(connection, path)
        finally:
            connection.close()


def journal_id(connection: apsw.Connection, path: Path) -> str:
    """Return the journal's own id, 32 hex digits."""
    with reading(path):
        value = connection.execute(QUERIES["meta_get"], ("journal_id",)).get
    if not isinstance(value, str):
        raise JournalError(f"{path} has lost its id; it is damaged. Nothing was sent.")
    return value


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the database's errors into ours.

    Raises:
        JournalError: with the situation, that nothing was sent, and what to do.
    """
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError, UnicodeDecodeError) as error:
        raise JournalError(
            f"{path} is damaged ({error}). Nothing was sent. Run 'coordinator journal check', then "
            "see README.md, 'A lost or old journal'."
        ) from error
    except (apsw.BusyError, apsw.LockedError) as error:
        raise JournalError(
            f"{path} is held by another process ({error}). Nothing was sent. Try again; if it "
            "lasts, find that process and end it."
        ) from error
    except apsw.Error as error:
        raise JournalError(
            f"{path} can not be used ({error}). Nothing was sent. Mend the path, its permissions "
            "or the disk and start again."
        ) from error


def _connect(path: Path, flags: int, vfs: str | None) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=flags, vfs=vfs, statementcachesize=100)
    connection.set_busy_timeout(_OPEN_TIMEOUT_MS)
    # Plans that do not look at bound values: otherwise SQLite built with STAT4 parses and plans a
    # cached statement anew whenever a value changes, that is on every call.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    return connection


def _write_empty(path: Path, vfs: str | None) -> None:
    connection = _connect(path, apsw.SQLITE_OPEN_READWRITE, vfs)
    try:
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        _apply_migrations(connection, path)
        connection.execute(QUERIES["meta_put"], ("journal_id", secrets.token_hex(16)))
    finally:
        connection.close()


def _open_immutable(path: Path, vfs: str | None) -> apsw.Connection:
    """Open on media where SQLite can not keep its shared memory, so where nobody writes."""
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size > 0:
        raise JournalError(
            f"{path} lies where nothing can be written and has records in {log.name} beside it. "
            "Nothing was sent. Copy both files to a writable folder and read them there."
        )
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    return apsw.Connection(f"{path.resolve().as_uri()}?immutable=1", flags=flags, vfs=vfs)


def _stand_in(connection: apsw.Connection, version: int) -> None:
    """Give a reader of an older journal the tables that it does not have: its own, and empty."""
    for script in MIGRATIONS[version:]:
        connection.pragma("temp_store", 2)  # in memory: nothing is written beside the journal
        tables, _, _ = script.partition("-- INDEXES")
        connection.execute(tables.replace("CREATE TABLE", "CREATE TEMP TABLE"))


def _check_identity(connection: apsw.Connection, path: Path, oldest: int = SCHEMA_VERSION) -> int:
    """Return the journal's schema version, if it can be used."""
    application, version = connection.pragma("application_id"), connection.pragma("user_version")
    if application != APPLICATION_ID:
        raise JournalError(f"{path} is no journal of a coordinator. Nothing was sent.")
    if version > SCHEMA_VERSION:
        raise JournalError(
            f"{path} was written by a newer coordinator (schema version {version}, this one knows "
            f"{SCHEMA_VERSION}); nothing was sent. Use that coordinator again."
        )
    if version < oldest:
        raise JournalError(
            f"{path} has schema version {version}, this coordinator writes {SCHEMA_VERSION}; "
            "nothing was sent. Make a backup, then run 'coordinator journal migrate'."
        )
    return int(version)


def _check_writable(connection: apsw.Connection, path: Path) -> None:
    if connection.readonly("main"):
        raise JournalError(f"{path} can not be written. Nothing was sent. Mend its permissions.")
    if connection.pragma("journal_mode", "wal") != "wal":
        raise JournalError(f"{path} can not keep a write-ahead log. Nothing was sent.")


def _apply_migrations(connection: apsw.Connection, path: Path) -> tuple[int, int]:
    connection.execute("BEGIN IMMEDIATE")
    before = connection.pragma("user_version")
    try:
        for script in MIGRATIONS[before:]:
            connection.execute(script)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", max(before, SCHEMA_VERSION))
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    _check_identity(connection, path)
    return before, SCHEMA_VERSION


def _missing(path: Path, error: OSError) -> JournalError:
    if isinstance(error, FileNotFoundError):
        return JournalError(
            f"there is no journal at {path}. Nothing was sent. The first 'coordinator run "
            "PLAN --execute' makes one; if there was one, find out where it went first."
        )
    return JournalError(f"{path} can not be read: {error.strerror}. Nothing was sent.")
