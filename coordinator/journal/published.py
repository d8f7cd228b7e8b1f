"""``<second place>.checkpoints``: every signed head of the log, outside the database.

One line of canonical JSON each, ``{"note":"…","size":n}``, in the order of their sizes, appended
durably after the head is durable in the journal. A size that comes again is the same note: an idle
process says that nothing was added. Whoever keeps a copy of this file, or follows it, can tell a
log that was exchanged from the one he saw.

The last line may be torn by a power cut; it is left out, and made whole by the next one who writes.
"""

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coordinator.errors import JournalError
from coordinator.journal.base import CheckpointRow
from coordinator.journal.database import sync_directory
from proofs import canonical
from proofs.checkpoint import MAX_NOTE_BYTES, Checkpoint, parse_checkpoint, parse_note
from proofs.errors import CanonicalError, Refused

__all__ = [
    "Published",
    "last_published",
    "publish",
    "published_path",
    "published_until",
    "read_published",
    "set_aside",
]

#: A note with every character escaped, and the rest of its line.
_MAX_LINE: Final = 2 * MAX_NOTE_BYTES
_LOCK_S: Final = 2.0
_PAUSE_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Published:
    """A line: the signed note of the log's head at ``size`` records."""

    size: int
    note: bytes

    @property
    def checkpoint(self) -> Checkpoint:
        """What the note says; its signature is the reader's to verify."""
        return parse_checkpoint(parse_note(self.note).text)


def published_path(witness: Path) -> Path:
    """Return where the checkpoints of the journal with this second place are published."""
    return witness.with_name(f"{witness.name}.checkpoints")


def published_until(path: Path) -> int:
    """Return the file's length now, 0 where there is none; what comes later is another's."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def read_published(path: Path, until: int | None = None) -> Iterator[Published]:
    """Yield the lines in their order, as far as byte ``until``; nothing where there is no file.

    Raises:
        JournalError: unreadable, a line is damaged, or sizes shrink.
    """
    size, number, end = 0, 0, 0
    with _reading(path):
        if not path.exists():
            return
        with path.open("rb") as file:
            while line := file.readline(_MAX_LINE + 1):
                end += len(line)
                torn = not line.endswith(b"\n") and len(line) <= _MAX_LINE
                if torn or (until is not None and end > until):
                    return
                number += 1
                item = _parse(line, f"{path}, line {number},")
                if item.size < size:
                    raise _damaged(f"{path}, line {number},", "its size is less than the one above")
                size = item.size
                yield item


def last_published(path: Path) -> Published | None:
    """Return the newest line that is whole, None where there is none; reads the end only.

    Raises:
        JournalError: unreadable or damaged.
    """
    with _reading(path):
        if not path.exists():
            return None
        with path.open("rb") as file:
            return _last(file.fileno(), path)[0]


def publish(path: Path, newer: Callable[[Published | None], Iterable[CheckpointRow]]) -> int:
    """Append checkpoints durably; return how many.

    Args:
        path: made, 0600, if it is not there.
        newer: given the last line, returns what is to follow it, the smallest first; called while
            no other process can append.

    Raises:
        JournalError: the file is damaged or can not be written, or another process holds it.
    """
    with _reading(path):
        created = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _lock(descriptor, path)
            last, end = _last(descriptor, path)
            lines = [_line(row) for row in newer(last)]
            if not lines:
                return 0
            # What a power cut left of a line was never acknowledged to anybody.
            os.ftruncate(descriptor, end)
            _append(descriptor, b"".join(lines), end)
        finally:
            os.close(descriptor)
        if created:
            sync_directory(path.parent)
    return len(lines)


def set_aside(witness: Path, keep: Path) -> None:
    """Keep what was published of a journal that another one goes on from beside ``keep``.

    Once for each ``keep``: doing it again changes nothing.

    Raises:
        JournalError: the place can not be written.
    """
    path, kept = published_path(witness), published_path(keep)
    with _reading(kept):
        if kept.exists():
            return
        if path.exists():
            path.rename(kept)
        else:
            kept.touch(0o600)
        sync_directory(kept.parent)


def _append(descriptor: int, content: bytes, end: int) -> None:
    """Write what begins at ``end``, durably; what could not be made so is taken back."""
    try:
        _write(descriptor, content)
        os.fsync(descriptor)
    except OSError:
        # Else the next one would read it, take it for published, and the disk may never have it.
        with suppress(OSError):
            os.ftruncate(descriptor, end)
        raise


def _write(descriptor: int, content: bytes) -> None:
    written = os.write(descriptor, content)
    if written != len(content):
        raise OSError(errno.ENOSPC, f"only {written} of {len(content)} bytes were written")


def _line(row: CheckpointRow) -> bytes:
    return canonical.encode({"note": row.note.decode(), "size": row.size}) + b"\n"


def _last(descriptor: int, path: Path) -> tuple[Published | None, int]:
    """Return the last whole line, and where it ends."""
    length = os.fstat(descriptor).st_size
    start = max(0, length - 2 * _MAX_LINE)
    content = os.pread(descriptor, length - start, start)
    end = content.rfind(b"\n") + 1
    if not end:
        if start:
            raise _damaged(f"the last line of {path}", "it has no end")
        return None, 0
    line = content[content.rfind(b"\n", 0, end - 1) + 1 : end]
    return _parse(line, f"the last line of {path}"), start + end


def _parse(line: bytes, where: str) -> Published:
    try:
        value = canonical.parse(line[:-1], max_bytes=_MAX_LINE)
        item = Published(value["size"], value["note"].encode())
        if value.keys() != {"note", "size"} or item.checkpoint.size != item.size:
            raise _damaged(where, "it is no checkpoint of its size")
    except (CanonicalError, Refused, KeyError, TypeError, AttributeError) as error:
        raise _damaged(where, str(error)) from None
    return item


def _lock(descriptor: int, path: Path) -> None:
    """Keep other processes from appending, until the descriptor is closed.

    Not for ever: another one may have been stopped in the middle.
    """
    give_up_s = time.monotonic() + _LOCK_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up_s:
                raise JournalError(
                    f"{path} has been held by another process for {_LOCK_S:g} s; its checkpoints "
                    "are published later"
                ) from None
            time.sleep(_PAUSE_S)
        else:
            return


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise JournalError(
            f"the published checkpoints {path} can not be used: {error.strerror or error}. Mend "
            "the path, its permissions or the disk."
        ) from error


def _damaged(where: str, what: str) -> JournalError:
    return JournalError(
        f"the published checkpoints are damaged: {where}: {what}. Compare them with your own copy; "
        "see README.md, 'A lost or old journal'."
    )
