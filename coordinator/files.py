"""Files that people hand in and take away: read within a bound, written whole or not at all."""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from coordinator.errors import CoordinatorError

__all__ = ["FileUnusable", "read_file", "write_file"]

#: Trouble of the disk itself, which is told as such wherever it happens.
_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})


class FileUnusable(CoordinatorError):
    """A file that was named can not be read or written; nothing was done."""

    exit_code = 2


def read_file(path: Path, what: str, *, most: int) -> bytes:
    """Return the bytes of a file; more than ``most`` is never read into memory.

    Args:
        what: the file in words of people, ``the bundle``.

    Raises:
        FileUnusable: not there, not readable, or too long.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(most + 1)
    except OSError as error:
        raise FileUnusable(
            f"{what} {path} can not be read: {error.strerror or error}. Nothing was done."
        ) from None
    except ValueError:
        raise FileUnusable(f"the path of {what} holds a NUL character. Nothing was done.") from None
    if len(raw) > most:
        raise FileUnusable(f"{what} {path} is larger than {most} bytes. Nothing was done.")
    return raw


def write_file(path: Path, content: bytes, what: str) -> None:
    """Write a file durably; it appears whole or not at all, and replaces one that is there.

    Raises:
        FileUnusable: the place can not be written.
        OSError: the disk is full or broken.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):  # what can not be written can not be cleared up either
            draft.unlink(missing_ok=True)
        if error.errno in _DISK:
            raise
        raise FileUnusable(
            f"{what} can not be written to {path}: {error.strerror}. Nothing was written; name "
            "another place."
        ) from None
