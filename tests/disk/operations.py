"""What a disk was asked to do, in order, and which states a power cut may leave of it.

The rules are those of POSIX without any promise of a file system beside it:

* content is durable once its file was synced (``fsync``, ``O_DSYNC``, SQLite's ``xSync``); until
  then any part of it, in sectors, may be on the disk or not, in any order;
* a name is durable once its folder was synced; until then each creation, link, renaming and removal
  may have happened or not;
* what a *failed* sync was to bring to the disk never comes there, although the page cache goes on
  showing it (Linux marks the pages clean), until somebody writes it again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

__all__ = [
    "VARIANTS",
    "Acknowledged",
    "Dropped",
    "Enter",
    "Leave",
    "Operation",
    "State",
    "Sync",
    "SyncFolder",
    "Truncate",
    "Write",
    "state_after",
    "where",
]


@dataclass(frozen=True, slots=True)
class Write:
    inode: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    inode: int
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    inode: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """A sync failed: what waited for it is lost, and nobody who reads the file can see that."""

    inode: int


@dataclass(frozen=True, slots=True)
class Enter:
    """A name begins to exist; ``inode`` None is a folder. ``former`` goes in the same moment."""

    path: Path
    inode: int | None
    former: Path | None = None


@dataclass(frozen=True, slots=True)
class Leave:
    path: Path


@dataclass(frozen=True, slots=True)
class SyncFolder:
    path: Path


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """No operation: from here on somebody relies on this.

    Attributes:
        bodies: stored bytes of the records of one append; nothing for ``what`` alone.
        position: of the last of them.
        leaves: whether bytes may leave from here on (an intent or a reveal is among them).
        what: ``append`` or ``created``.
    """

    what: str
    bodies: tuple[bytes, ...] = ()
    position: int = 0
    leaves: bool = False


Operation = Write | Truncate | Sync | Dropped | Enter | Leave | SyncFolder | Acknowledged
_Content = Write | Truncate

#: How a cut treats what was not synced.
VARIANTS: Final = (
    "none", "all", "prefix", "one only", "one missing", "torn 512", "torn 4096", "any 512",
    "any 4096", "garbage",
)  # fmt: skip


def where(operations: Sequence[Operation], cut: int) -> str:
    """Say what the newest of the first ``cut`` operations was."""
    last = operations[cut - 1]
    match last:
        case Write(inode) | Truncate(inode) | Sync(inode) | Dropped(inode):
            named = [
                one.path.name
                for one in operations[:cut]
                if isinstance(one, Enter) and one.inode == inode
            ]
            # The newest name that is not a hidden one's.
            name = next((name for name in reversed(named) if name[:1] != "."), "a hidden file")
            return f"{type(last).__name__.lower()} {name}"
        case _:
            return type(last).__name__.lower()


@dataclass(slots=True)
class State:
    """Files by path, relative to the disk's root, as a power cut left them; and its folders."""

    files: dict[Path, bytes]
    folders: set[Path]

    def write(self, root: Path) -> None:
        """Make it real under the folder ``root``, which is made."""
        root.mkdir(mode=0o700, parents=True)
        for folder in sorted(self.folders):
            (root / folder).mkdir(mode=0o700)
        for path, content in self.files.items():
            target = root / path
            target.touch(0o600)
            target.write_bytes(content)


@dataclass(slots=True)
class _Disk:
    """What is durable, and what waits for a sync."""

    contents: dict[int, bytearray] = field(default_factory=dict)
    pending: dict[int, list[_Content]] = field(default_factory=dict)
    names: dict[Path, int | None] = field(default_factory=dict)
    renamed: list[Enter | Leave] = field(default_factory=list)

    def take(self, operation: Operation) -> None:
        match operation:
            case Write() | Truncate():
                self.pending.setdefault(operation.inode, []).append(operation)
            case Sync(inode):
                content = self.contents.setdefault(inode, bytearray())
                for part in self.pending.pop(inode, []):
                    _apply(content, part)
            case Dropped(inode):
                self.pending.pop(inode, None)
            case Enter() | Leave():
                self.renamed.append(operation)
            case SyncFolder(path):
                mine = [one for one in self.renamed if one.path.parent == path]
                self.renamed = [one for one in self.renamed if one.path.parent != path]
                for one in mine:
                    _rename(self.names, one)
            case Acknowledged():
                pass


def state_after(
    operations: Sequence[Operation], cut: int, variant: str, rng: random.Random
) -> State:
    """Return one legal state of a disk whose power failed after ``cut`` operations.

    Args:
        variant: one of `VARIANTS`; what it leaves open, ``rng`` decides.
    """
    disk = _Disk()
    for operation in operations[:cut]:
        disk.take(operation)
    waiting = [one for ones in disk.pending.values() for one in ones]
    kept = list(_kept(waiting, variant, rng))
    names = dict(disk.names)
    for change in disk.renamed:
        if variant == "all" or (variant != "none" and rng.random() < 0.5):
            _rename(names, change)
    contents = {inode: bytearray(content) for inode, content in disk.contents.items()}
    for part in kept:
        _apply(contents.setdefault(part.inode, bytearray()), part)
    return _reachable(names, contents)


def _reachable(names: dict[Path, int | None], contents: dict[int, bytearray]) -> State:
    """Leave out what lies in a folder whose own name was lost."""
    folders = {Path()}
    for path in sorted(path for path, inode in names.items() if inode is None):
        if path.parent in folders:
            folders.add(path)
    files = {
        path: bytes(contents.get(inode, b""))
        for path, inode in names.items()
        if inode is not None and path.parent in folders
    }
    return State(files, folders - {Path()})


def _kept(waiting: list[_Content], variant: str, rng: random.Random) -> Iterator[_Content]:
    """Yield what of the waiting operations came to the disk, in their order."""
    if not waiting or variant == "none":
        return
    chosen = rng.randrange(len(waiting))
    sector = 4096 if variant.endswith("4096") else 512
    for index, one in enumerate(waiting):
        if (
            variant == "all"
            or (variant == "one missing" and index != chosen)
            or (variant == "one only" and index == chosen)
            or (variant in {"prefix", "torn 512", "torn 4096"} and index < chosen)
        ):
            yield one
        elif (variant.startswith("torn") and index == chosen) or variant.startswith("any"):
            yield from _sectors(one, sector, rng)
        elif variant == "garbage":
            yield from _garbage(one, rng)


def _sectors(one: _Content, size: int, rng: random.Random) -> Iterator[_Content]:
    """Yield some sectors of a write; a change of length happens or does not."""
    if isinstance(one, Truncate):
        if rng.random() < 0.5:
            yield one
        return
    start, end = one.offset, one.offset + len(one.data)
    while start < end:
        stop = min(end, (start // size + 1) * size)
        if rng.random() < 0.5:
            yield Write(one.inode, start, one.data[start - one.offset : stop - one.offset])
        start = stop


def _garbage(one: _Content, rng: random.Random) -> Iterator[_Content]:
    """Yield a write as it was, not at all, or with something else in the place of its bytes.

    No line feeds: garbage that ends as a published head does is reported as damage, as it should.
    """
    how = rng.randrange(3)
    if how == 1:
        yield one
    elif how == 2 and isinstance(one, Write):
        content = rng.randbytes(len(one.data)).replace(b"\n", b"\0")
        yield Write(one.inode, one.offset, content)


def _apply(content: bytearray, one: _Content) -> None:
    if isinstance(one, Truncate):
        del content[one.size :]
        content.extend(bytes(one.size - len(content)))
        return
    content.extend(bytes(max(0, one.offset - len(content))))
    content[one.offset : one.offset + len(one.data)] = one.data


def _rename(names: dict[Path, int | None], one: Enter | Leave) -> None:
    if isinstance(one, Leave):
        names.pop(one.path, None)
        return
    names[one.path] = one.inode
    if one.former is not None:
        names.pop(one.former, None)
