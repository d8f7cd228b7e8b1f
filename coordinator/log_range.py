"""A range of the audit log as files that anybody can keep: byte-exact, tied to signed heads.

A folder holds::

    records.jsonl     one stored record a line: the line without its newline is the leaf
    checkpoints.txt   signed heads, each followed by a line ``---``
    rotations.txt     rotations of the log's key, written the same way
    manifest.json     {"v":1, "kind":"log-range/v1", "first", "last" (positions), "first_hash",
                      "last_hash", "head": size of the newest signed head, 0: none,
                      "before": [hex …] (subtrees over what lies before, largest first),
                      "path": [hex …] (the tree at "last" is how the one at "head" begins),
                      "files": {name: {"bytes", "sha256"}}}

Verifying needs this folder and a trust file, no journal and no network.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from coordinator.errors import CoordinatorError, JournalError
from coordinator.files import FileUnusable, write_file
from coordinator.journal import tree
from proofs.log import Frontier, build_consistency, frontier_at

if TYPE_CHECKING:
    from coordinator.journal.base import CheckpointRow
    from coordinator.journal.reading import JournalReader

__all__ = [
    "CHECKPOINTS",
    "KIND",
    "MANIFEST",
    "RECORDS",
    "ROTATIONS",
    "SEPARATOR",
    "Written",
    "write_range",
]

KIND: Final = "log-range/v1"
RECORDS: Final = "records.jsonl"
CHECKPOINTS: Final = "checkpoints.txt"
ROTATIONS: Final = "rotations.txt"
MANIFEST: Final = "manifest.json"
SEPARATOR: Final = b"---\n"


class RangeRefused(CoordinatorError):
    """The range is none, or its folder is taken; nothing was written."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Written:
    """What was written; ``head`` is the size of the newest signed head, None: tied to none."""

    first: int
    last: int
    head: int | None
    size_bytes: int


def write_range(reader: "JournalReader", first: int, last: int | None, folder: Path) -> Written:
    """Write the records at positions ``first`` to ``last`` (None: the newest) into a new folder.

    Raises:
        RangeRefused: there are no such records, or the folder holds something.
        FileUnusable: the folder can not be written.
        JournalError: a record is damaged or missing.
    """
    end = reader.last_position()
    last = end if last is None else last
    if not 1 <= first <= last <= end:
        raise RangeRefused(
            f"there is no range from {first} to {last}: the journal holds positions 1 to {end}. "
            "Nothing was written."
        )
    _claim(folder)
    size, digest, hashes = _write_records(reader, first, last, folder / RECORDS)
    rows = [row for row in reader.checkpoints() if row.size >= first]
    head = rows[-1] if rows and rows[-1].size >= last else None
    notes = _joined(row.note for row in rows if row.size <= last or row is head)
    rotations = _joined(reader.rotations())
    write_file(folder / CHECKPOINTS, notes, "the checkpoints")
    write_file(folder / ROTATIONS, rotations, "the rotations")
    files = {RECORDS: {"bytes": size, "sha256": digest}}
    for name, content in ((CHECKPOINTS, notes), (ROTATIONS, rotations)):
        files[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest = {
        "v": 1,
        "kind": KIND,
        "first": first,
        "last": last,
        "first_hash": hashes[0],
        "last_hash": hashes[1],
        **_place_in_tree(reader, first, last, head),
        "files": files,
    }
    text = json.dumps(manifest, indent=2, sort_keys=True).encode() + b"\n"
    # Last: a folder without a manifest is one whose writing was cut short.
    write_file(folder / MANIFEST, text, "the manifest")
    return Written(first, last, None if head is None else head.size, size)


def _claim(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = any(folder.iterdir())
    except OSError as error:
        raise FileUnusable(
            f"{folder} can not be used: {error.strerror}. Nothing was written; name another --out."
        ) from None
    if taken:
        raise RangeRefused(
            f"{folder} holds files already. Nothing was written; name a new folder with --out."
        )


def _write_records(
    reader: "JournalReader", first: int, last: int, path: Path
) -> tuple[int, str, tuple[str, str]]:
    """Write one record a line; return bytes, SHA-256, and the hashes of the outermost records."""
    whole, size = hashlib.sha256(), 0
    first_hash = last_hash = ""
    expected = first
    try:
        with path.open("wb") as stream:
            for record in reader.records(first):
                if record.position != expected:
                    raise JournalError(
                        f"the journal is damaged: position {expected} is missing. The folder is "
                        "not complete. See: coordinator journal check"
                    )
                line = record.body + b"\n"
                stream.write(line)
                whole.update(line)
                size += len(line)
                first_hash, last_hash = first_hash or record.hash, record.hash
                if expected == last:
                    break
                expected += 1
    except PermissionError as error:
        raise FileUnusable(f"{path} can not be written: {error.strerror}.") from None
    return size, whole.hexdigest(), (first_hash, last_hash)


def _place_in_tree(
    reader: "JournalReader", first: int, last: int, head: "CheckpointRow | None"
) -> dict[str, object]:
    read = tree.nodes(reader)
    before: Frontier = frontier_at(first - 1, read)
    path: Sequence[bytes] = () if head is None else build_consistency(last, head.size, read)
    return {
        "head": 0 if head is None else head.size,
        "before": [peak.hex() for peak in before.peaks],
        "path": [node.hex() for node in path],
    }


def _joined(notes: Iterator[bytes] | Sequence[bytes]) -> bytes:
    return b"".join(note + SEPARATOR for note in notes)
