"""Files that hold keys or passphrases: read only when nobody else can, written once, durably."""

import os
import stat
from pathlib import Path
from typing import Final

from coordinator.errors import KeysError

__all__ = [
    "folder_warnings",
    "program_trouble",
    "read_descriptor",
    "read_private",
    "write_private",
]

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def read_private(path: Path, what: str, *, max_bytes: int) -> bytearray:
    """Return the content of a file that only its owner can read; wipe it when done.

    Args:
        path: symbolic links are followed; what counts is the file they lead to.
        what: names the file in messages, for example ``signer treasury: keystore``.
        max_bytes: a longer file is refused unread.

    Raises:
        KeysError: it is absent, not a regular file, too long, another user's, or open to others.
    """
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer before it is refused below.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise KeysError(f"{what} {path}: {error.strerror}. Nothing was sent.") from None
    try:
        trouble = _trouble(os.fstat(descriptor), max_bytes)
        if trouble:
            raise KeysError(f"{what} {path}: {trouble}. Nothing was sent.")
        content, why = read_descriptor(descriptor, max_bytes)
    finally:
        os.close(descriptor)
    if content is None:
        raise KeysError(f"{what} {path}: {why}. Nothing was sent.")
    return content


def read_descriptor(descriptor: int, max_bytes: int) -> tuple[bytearray | None, str]:
    """Return all that an open descriptor gives, or None and why not; never raises.

    A traceback can show the local names of its frames, so a frame that holds what was read does
    not raise.
    """
    content, filled = bytearray(max_bytes + 1), 0
    try:
        with memoryview(content) as view:
            while filled <= max_bytes and (count := os.readv(descriptor, [view[filled:]])):
                filled += count
    except OSError as error:
        return None, error.strerror or "can not be read"
    if filled > max_bytes:
        return None, f"longer than {max_bytes} bytes"
    del content[filled:]
    return content, ""


def write_private(path: Path, content: bytes) -> None:
    """Make a new 0600 file with ``content``, durable before this returns; never overwrite.

    The folder is made (0700) when it is missing. A crash in the middle can leave a partial file,
    which `read_private`'s callers refuse, but never a reported success without the file.

    Raises:
        KeysError: the file exists, others can write to the folder, or the disk refuses.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.parent.stat().st_mode & _OTHERS_WRITE:
            raise KeysError(
                f"{path.parent}: other users can write to this folder and so replace keys in it; "
                f"chmod 700 it. Nothing was stored."
            )
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise KeysError(
            f"{path} exists and keys are never overwritten; choose another name. "
            "Nothing was stored."
        ) from None
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror}. Nothing was stored.") from None
    try:
        _fill(descriptor, content)
        _sync_folder(path.parent)
    except OSError as error:
        # Only what this call made is removed: O_EXCL proves that the name was ours.
        path.unlink(missing_ok=True)
        raise KeysError(f"{path}: {error.strerror}. Nothing was stored.") from None


def folder_warnings(folder: Path) -> tuple[str, ...]:
    """Say what is wider than it should be about a folder of keys; empty when all is well."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & _OTHERS_WRITE:
        return (f"{folder}: mode {mode:04o}, others can replace keys here; chmod 700 it",)
    if mode & _OTHERS:
        return (f"{folder}: mode {mode:04o}, others can see which keys exist; chmod 700 it",)
    return ()


def program_trouble(path: Path) -> str | None:
    """Say why a program must not be asked to sign, None when nothing speaks against it."""
    try:
        status = path.stat()
    except OSError as error:
        return f"can not be run: {error.strerror}"
    if not stat.S_ISREG(status.st_mode) or not os.access(path, os.X_OK):
        return "is no program that this account may run"
    if status.st_uid not in (os.geteuid(), 0):
        return "belongs to another user"
    if status.st_mode & _OTHERS_WRITE:
        return f"mode {stat.S_IMODE(status.st_mode):04o} lets other users change it; chmod go-w it"
    return None


def _trouble(status: os.stat_result, max_bytes: int) -> str | None:
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    if status.st_uid not in (os.geteuid(), 0):
        return "belongs to another user; make it your own"
    if status.st_mode & _OTHERS:
        return f"mode {stat.S_IMODE(status.st_mode):04o} lets other users in; chmod 600 it"
    if status.st_size > max_bytes:
        return f"longer than {max_bytes} bytes"
    return None


def _fill(descriptor: int, content: bytes) -> None:
    try:
        # The umask can only take permissions away; this makes 0600 exact.
        os.fchmod(descriptor, 0o600)
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
