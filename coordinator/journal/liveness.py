"""Which coordinators are alive: a lock on a file each, dropped by the kernel when one dies.

Liveness only. Nothing is permitted by it; the fence of the journal is what keeps two apart.
"""

import errno
import fcntl
import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

from coordinator.errors import JournalError

if TYPE_CHECKING:
    from coordinator.journal.sqlite import SqliteJournal

__all__ = ["Instance", "is_attended", "live"]

_NAME: Final = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,100}")


class Instance:
    """This process's sign of life, beside the journal, until `leave` or the process's end."""

    def __init__(self, name: str, path: Path, descriptor: int | None) -> None:
        self.name = name
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def enter(cls, journal: Path) -> "Instance":
        """Draw a name and hold the lock on ``<journal>.d/<name>.lock``.

        On a full disk there is none: others may think that this process is dead and drive what it
        drives, which the fence allows; it must still be able to send what is stored.

        Raises:
            JournalError: the folder can not be written.
        """
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        path = _path(journal, name)
        # Locked under another name first: a sweep never meets the file of a live process unlocked.
        hidden = path.with_suffix(".new")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sweep(path.parent)
            descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            hidden.rename(path)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                return cls(name, path, None)
            raise JournalError(
                f"{path} can not be used: {error.strerror}. Nothing was sent. Mend the path or its "
                "permissions and start again."
            ) from error
        return cls(name, path, descriptor)

    def leave(self) -> None:
        """Take the sign of life away."""
        self._path.unlink(missing_ok=True)
        if self._descriptor is not None:
            os.close(self._descriptor)


def live(journal: Path, instance: str) -> bool:
    """Whether the process that entered as ``instance`` still lives; what is no name never did, for
    a bit may have turned over in the hint that it is read from.
    """
    if not _NAME.fullmatch(instance):
        return False
    try:
        descriptor = os.open(_path(journal, instance), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def is_attended(journal: "SqliteJournal", saga: str) -> bool:
    """Whether a live process says that it drives the saga."""
    row = journal.saga(saga)
    return row is not None and row.driver is not None and live(journal.path, row.driver)


def _path(journal: Path, name: str) -> Path:
    return journal.with_name(f"{journal.name}.d") / f"{name}.lock"


def _sweep(folder: Path) -> None:
    """Remove what dead processes left."""
    for path in folder.glob("*.lock"):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            pass
        finally:
            os.close(descriptor)
