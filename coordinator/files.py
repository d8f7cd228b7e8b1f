"""Files that people hand in and take away: read within a bound, written whole or not at all."""

import errno
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from coordinator.errors import CoordinatorError

__all__ = ["FileUnusable", "make_private_folder", "read_file", "write_file"]

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


def make_private_folder(folder: Path, files: Mapping[str, bytes], what: str) -> None:
    """Make a folder (0700) with files (0600) in it; it appears whole or not at all.

    Raises:
        FileUnusable: it is there already, or can not be made.
        OSError: the disk is full or broken.
    """
    if folder.exists():
        raise FileUnusable(
            f"{folder} is there already and nothing is overwritten. Nothing was written; name "
            "another place with --out."
        )
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        draft.mkdir(mode=0o700, parents=True)
        for name, content in files.items():
            descriptor = os.open(
                draft / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
            )
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        draft.rename(folder)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        if error.errno in _DISK:
            raise
        raise FileUnusable(
            f"{what} can not be written to {folder}: {error.strerror}. Nothing was written; name "
            "another place."
        ) from None
