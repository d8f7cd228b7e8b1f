"""Follows the signed heads of a log: each has to hold what the one before it held.

What was seen last is kept by whoever watches, outside the machine that runs the coordinator. A log
that forgets, changes or forks its past can not satisfy somebody who remembers an older head.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from coordinator.errors import CoordinatorError, JournalError
from coordinator.files import read_file, write_file
from coordinator.journal import tree
from coordinator.journal.published import last_published
from coordinator.plan.source import SourceError, parse_json
from proofs import fields
from proofs.checkpoint import Checkpoint
from proofs.checkpoint_keys import KeyHistory
from proofs.errors import Refused
from proofs.log import verify_consistency

if TYPE_CHECKING:
    from coordinator.journal.reading import JournalReader

__all__ = ["Alarmed", "Look", "Seen", "StateWrong", "look", "read_state", "write_state"]

#: So many of the newest records are read and hashed again at each look.
_READ_AGAIN: Final = 20_000
_MAX_STATE: Final = 1 << 16
_STATE: Final = "watch-state"
_KEYS: Final = frozenset({"v", "type", "origin", "address", "size", "root", "at_ms"})


class StateWrong(CoordinatorError):
    """The file of what was seen last can not be used; nothing was watched."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Seen:
    """The last head that was verified.

    Attributes:
        origin, address: the log, and the key of its first head: taken over once, then held to.
        at_ms: when the coordinator last said that this is the head.
    """

    origin: str
    address: bytes
    size: int = 0
    root: bytes = b""
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Alarmed:
    """Something is wrong: ``fork``, ``shrink``, ``signature``, ``damage``, or ``stall``."""

    kind: str
    text: str

    @property
    def final(self) -> bool:
        """Whether it stays wrong whatever comes; a stall may end."""
        return self.kind != "stall"


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found; ``seen`` is the newest head that passed every check."""

    seen: Seen
    alarms: tuple[Alarmed, ...]


def look(
    reader: "JournalReader", published: Path, seen: Seen, *, heartbeat_s: int, now_ms: int
) -> Look:
    """Verify the newest heads in the journal and in the second place against what was seen."""
    try:
        history = KeyHistory.read(seen.origin, seen.address, reader.rotations())
        seen = _advanced(reader, published, seen, history)
    except Refused as error:
        return Look(seen, (Alarmed(_kind_of(error.check), f"{error.check}: {error.reason}"),))
    except JournalError as error:
        return Look(seen, (Alarmed("damage", str(error)),))
    return Look(seen, tuple(_stalled(reader, seen, heartbeat_s, now_ms)))


def _kind_of(check: str) -> str:
    if check in ("log-fork", "log-consistency", "log-root", "log-path"):
        return "fork"
    return "shrink" if check == "log-size" else "signature"


def _advanced(reader: "JournalReader", published: Path, seen: Seen, history: KeyHistory) -> Seen:
    end = reader.last_position()
    outside = last_published(published)
    row = reader.last_checkpoint()
    newest = 0 if row is None else row.size
    told = 0 if outside is None else outside.size
    for size, who in ((seen.size, "you have seen"), (told, "the second place tells of")):
        if max(end, newest) < size or end < size:
            raise Refused("log-size", f"{who} {size} records, the journal holds {end}")
    if newest < max(seen.size, told):
        missing = max(seen.size, told)
        raise Refused("log-size", f"the head of {missing} records is gone from the journal")
    if outside is not None:
        _require_ours(reader, history.verify(outside.note))
    if row is None:
        return seen
    head = history.verify(row.note)
    if head.root != tree.root_from_records(reader, head.size, _READ_AGAIN):
        raise Refused("log-fork", f"the records do not make the signed root of {head.size}")
    if seen.size:
        path = tree.consistency(reader, seen.size, head.size)
        verify_consistency(seen.size, head.size, seen.root, head.root, path)
    return Seen(seen.origin, seen.address, head.size, head.root, row.at_ms)


def _require_ours(reader: "JournalReader", head: Checkpoint) -> None:
    if head.root != tree.root(reader, head.size):
        raise Refused(
            "log-fork", f"the second place holds another head of {head.size} records than this log"
        )


def _stalled(
    reader: "JournalReader", seen: Seen, heartbeat_s: int, now_ms: int
) -> Iterator[Alarmed]:
    """A log in use is signed at every heartbeat; silence hides what happens meanwhile."""
    since_ms = seen.at_ms
    if not since_ms:
        first = reader.record_at(1)
        since_ms = now_ms if first is None else first.at_ms
    silent_s = (now_ms - since_ms) // 1000
    if silent_s > 2 * heartbeat_s:
        what = f"the head of {seen.size} records" if seen.size else "the first record"
        yield Alarmed(
            "stall",
            f"nothing was signed for {silent_s} s, since {what}; a heartbeat comes every "
            f"{heartbeat_s} s while somebody drives sagas",
        )


# ---------------------------------------------------------------- what was seen last


def read_state(path: Path) -> Seen | None:
    """Return what was seen last; None if nothing ever was.

    Raises:
        StateWrong: the file is no such state.
        FileUnusable: it can not be read.
    """
    if not path.exists():
        return None
    raw = read_file(path, "the file of what was seen", most=_MAX_STATE)
    try:
        return _state_in(raw)
    except (Refused, SourceError) as error:
        raise StateWrong(
            f"{path} does not say what was seen last: {error}. Nothing was watched. Name the right "
            "file with --state; without its memory a watcher can not see a fork."
        ) from None


def _state_in(raw: bytes) -> Seen:
    form: Any = fields.record(_STATE, parse_json(raw), _KEYS)
    if (form["v"], form["type"]) != (1, "watch") or type(form["origin"]) is not str:
        raise Refused(_STATE, "another version, type or origin")
    address = fields.data(_STATE, form["address"], most=20, length=20)
    root = fields.data(_STATE, form["root"], most=32, length=32 if form["size"] else 0)
    size, at_ms = (fields.integer(_STATE, form[key]) for key in ("size", "at_ms"))
    return Seen(form["origin"], address, size, root, at_ms)


def write_state(path: Path, seen: Seen) -> None:
    """Keep what was seen, durably.

    Raises:
        FileUnusable: the place can not be written.
    """
    state = {
        "v": 1,
        "type": "watch",
        "origin": seen.origin,
        "address": seen.address.hex(),
        "size": seen.size,
        "root": seen.root.hex(),
        "at_ms": seen.at_ms,
    }
    text = json.dumps(state, indent=2).encode() + b"\n"
    write_file(path, text, "what was seen")
