"""The second place (DESIGN.md R12): how far this machine has seen the journal go.

A database can not witness its own age: a restored backup looks like the present. So after each
commit that holds intents, and before their bytes leave, the journal's id, a position and the hash
of the record there are written to one small file outside the database's directory.

Layout: `LANES` lanes of two slots, a page each. A process that writes owns one lane by a lock that
the kernel drops when the process ends, so writers never wait for each other, not even for one that
was stopped in the middle. Within its lane a process overwrites the older slot, so a torn write
loses nothing that was witnessed. What was witnessed is the greatest valid position of all slots.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coordinator.errors import JournalError, JournalOld
from coordinator.journal.database import make_folder, sync_directory

__all__ = ["LANES", "Mark", "Witness", "alone"]

#: Processes that may write to one journal at the same time.
LANES: Final = 8
_PAGE: Final = 4096
_SIZE: Final = LANES * 2 * _PAGE
#: magic, format, journal id, position, record hash; followed by the SHA-256 of these bytes.
_HEAD: Final = struct.Struct(">8sI16sQ32s")
_MAGIC: Final = b"coordwit"
_FORMAT: Final = 1
_SLOT: Final = _HEAD.size + 32
#: struct flock of Linux: type, whence, start, length, pid.
_FLOCK: Final = struct.Struct("hhqqi")


@dataclass(frozen=True, slots=True)
class Mark:
    """A position that was reached, with the hash of the record there (64 zeros at position 0)."""

    journal_id: str
    position: int
    hash: str


class Witness:
    """One process's hold on the second place."""

    def __init__(self, path: Path, descriptor: int, lane: int, journal_id: str) -> None:
        self.path = path
        self._descriptor = descriptor
        self._lane = lane
        self._id = bytes.fromhex(journal_id)
        slots = [_read_slot(os.pread(descriptor, _SLOT, _offset(lane, s))) for s in (0, 1)]
        positions = [slot.position if isinstance(slot, Mark) else -1 for slot in slots]
        self._next = positions.index(min(positions))
        self._last = max(positions)
        # A commit's thread writes here, and so does whoever reads what another process committed.
        self._lock = threading.Lock()

    @classmethod
    def create(cls, path: Path, journal_id: str) -> None:
        """Write the file for an empty journal, durably.

        Raises:
            JournalError: a file is there already, or the place can not be written.
        """
        first = _slot(bytes.fromhex(journal_id), 0, bytes(32))
        hidden = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            make_folder(path.parent)
            descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                _write_whole(descriptor, first)
                os.fsync(descriptor)
                # It appears whole or not at all, also beside another process that does the same.
                os.link(hidden, path)
            finally:
                os.close(descriptor)
                hidden.unlink()
            sync_directory(path.parent)
        except FileExistsError:
            raise JournalError(
                f"the second place {path} exists already: it witnesses a journal. Nothing was "
                "written. If that journal is lost, see README.md, 'A lost or old journal'; for "
                "another journal choose another path."
            ) from None
        except OSError as error:
            raise JournalError(
                f"the second place {path} can not be created: {error.strerror}. Nothing was sent."
            ) from error

    @classmethod
    def supersede(
        cls, path: Path, journal_id: str, position: int, record_hash: str, keep: Path
    ) -> None:
        """Begin the file anew for a recovered journal, durably, whole or not at all.

        What was there, if anything, stays under the name ``keep``. Nobody may be writing to it.

        Raises:
            JournalError: a live process writes to it, or the place can not be written.
        """
        first = _slot(bytes.fromhex(journal_id), position, bytes.fromhex(record_hash))
        hidden = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            make_folder(path.parent)
            with alone(path):
                with contextlib.suppress(FileNotFoundError, FileExistsError):
                    os.link(path, keep)
                descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
                try:
                    _write_whole(descriptor, first)
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                hidden.replace(path)
                sync_directory(path.parent)
        except OSError as error:
            raise JournalError(
                f"the second place {path} can not be made anew: {error.strerror}. Nothing was "
                "sent. Mend the path and run 'coordinator recover' again: it goes on."
            ) from error

    @classmethod
    def open(cls, path: Path, journal_id: str, latest: Mark | None = None) -> "Witness":
        """Take a lane for writing.

        Args:
            latest: the furthest mark that was read; it is written once more, because what can be
                read need not be on the disk: a write of which the sync failed looks the same.

        Raises:
            JournalError: missing, damaged, not writable, or every lane belongs to a live process.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_DSYNC | os.O_CLOEXEC)
        except OSError as error:
            raise _unusable(path, error) from error
        lane = next((lane for lane in range(LANES) if _lock_lane(descriptor, lane)), None)
        if lane is None:
            os.close(descriptor)
            raise JournalError(
                f"{LANES} processes write to this journal already, the second place {path} has no "
                "room for one more. Nothing was sent. Stop one of them."
            )
        witness = cls(path, descriptor, lane, journal_id)
        if latest is not None and latest.position > 0:
            try:
                witness._put(latest.position, bytes.fromhex(latest.hash))
            except OSError as error:
                os.close(descriptor)
                if error.errno != errno.ENOSPC:
                    raise _unusable(path, error) from error
                # A full disk that copies on write: what is durable may still be sent.
                return cls.open(path, journal_id)
        return witness

    def write(self, position: int, record_hash: bytes) -> None:
        """Make (position, hash) durable; a position that is not beyond the last is ignored.

        Raises:
            OSError: it is not known whether the mark is durable.
        """
        with self._lock:
            if position > self._last:
                self._put(position, record_hash)

    def _put(self, position: int, record_hash: bytes) -> None:
        """Write over the older slot of the lane."""
        # O_DSYNC: the write returns when it is on the disk; one system call, one wait for the GIL.
        slot = _slot(self._id, position, record_hash)
        written = os.pwrite(self._descriptor, slot, _offset(self._lane, self._next))
        if written != _SLOT:
            raise OSError(
                errno.EIO, f"only {written} of {_SLOT} bytes were written", str(self.path)
            )
        self._last = max(self._last, position)
        self._next ^= 1

    def close(self) -> None:
        """Give the lane back."""
        os.close(self._descriptor)

    @staticmethod
    def read(path: Path) -> list[Mark]:
        """Return every valid mark, the greatest position last; needs no lane.

        Raises:
            JournalError: missing, unreadable, or damaged beyond what a power cut can do.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise _unusable(path, error) from error
        marks: list[Mark] = []
        damaged = len(content) != _SIZE
        for lane in range(LANES):
            slots = [
                _read_slot(content[_offset(lane, s) : _offset(lane, s) + _SLOT]) for s in (0, 1)
            ]
            marks += [slot for slot in slots if isinstance(slot, Mark)]
            # One torn slot is what a power cut leaves; two are not.
            damaged = damaged or slots == [False, False]
        if damaged or not marks:
            raise JournalOld(
                f"the second place {path} is damaged: what this machine has witnessed is not "
                "known. Nothing was sent. See README.md, 'A lost or old journal': coordinator "
                "recover"
            )
        return sorted(marks, key=lambda mark: mark.position)


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold every lane of the file, if there is one: whoever writes to it is elsewhere and alive.

    Raises:
        JournalError: somebody is.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield
        return
    try:
        if not all(_lock_lane(descriptor, lane) for lane in range(LANES)):
            raise JournalError(
                f"a live process writes to a journal that {path} witnesses. Nothing was sent and "
                "nothing was changed. Stop it first: a journal is recovered alone."
            )
        yield
    finally:
        os.close(descriptor)


def _write_whole(descriptor: int, first: bytes) -> None:
    """Write the file with ``first`` as its only slot."""
    written = os.pwrite(descriptor, first.ljust(_SIZE, b"\0"), 0)
    if written != _SIZE:
        raise OSError(errno.ENOSPC, f"only {written} of {_SIZE} bytes were written")


def _offset(lane: int, slot: int) -> int:
    return (lane * 2 + slot) * _PAGE


def _slot(journal_id: bytes, position: int, record_hash: bytes) -> bytes:
    head = _HEAD.pack(_MAGIC, _FORMAT, journal_id, position, record_hash)
    return head + hashlib.sha256(head).digest()


def _read_slot(content: bytes) -> Mark | bool:
    """Return the slot's mark, True if it was never written, False if it is torn or damaged."""
    if not any(content):
        return True
    head, check = content[: _HEAD.size], content[_HEAD.size :]
    if hashlib.sha256(head).digest() != check:
        return False
    magic, layout, journal_id, position, record_hash = _HEAD.unpack(head)
    if magic != _MAGIC or layout != _FORMAT:
        return False
    return Mark(journal_id.hex(), position, record_hash.hex())


def _lock_lane(descriptor: int, lane: int) -> bool:
    """Lock the lane's first byte for this open file; False if another holder lives.

    Locks of the open file, not of the process, so that two journals in one process are two.
    """
    request = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _offset(lane, 0), 1, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, request)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _unusable(path: Path, error: OSError) -> JournalError:
    if isinstance(error, FileNotFoundError):
        return JournalOld(
            f"the second place {path} is missing, so nobody can tell whether this journal is the "
            "latest. Nothing was sent. Put the file back; if it is lost, see "
            "README.md, 'A lost or old journal': coordinator recover"
        )
    return JournalError(
        f"the second place {path} can not be used: {error.strerror}. Nothing was sent. Mend the "
        "path or its permissions and start again."
    )
