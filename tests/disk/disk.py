"""One folder as a disk of its own: everything that reaches it is written down, and may fail.

SQLite comes through a VFS, everything else (the second place, published heads, creation) through
the functions of `os` that make files and change them, which are replaced while a `Disk` watches.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import apsw

from tests.disk.operations import (
    Dropped,
    Enter,
    Leave,
    Operation,
    Sync,
    SyncFolder,
    Truncate,
    Write,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["WAYS", "Disk", "Fault"]

#: How the n-th operation may fail. ``short`` leaves half of a write; ``dropped`` counts syncs
#: alone, ``full`` (ENOSPC) all but them. What waited for a sync that failed is lost, and looks
#: clean afterwards.
WAYS: Final = ("EIO", "ENOSPC", "short", "dropped", "full")
_NUMBER: Final = {
    "EIO": errno.EIO,
    "ENOSPC": errno.ENOSPC,
    "short": errno.ENOSPC,
    "full": errno.ENOSPC,
}
#: SQLite's own way to the disk.
_SYSTEM: Final = "unix"
_names: Final = count()


@dataclass(slots=True)
class Fault:
    """What is to go wrong.

    Attributes:
        number: the operation that fails, 1 for the next one.
        way: one of `WAYS`.
        lasting: all later ones fail too, until `Disk.fault` is taken away.
        full: only what needs more space fails: new names and longer files.
    """

    number: int
    way: str = "EIO"
    lasting: bool = False
    full: bool = False
    #: What failed, in order: "write journal.db-wal" and the like.
    fired: list[str] = field(default_factory=list)

    def hits(self, kind: str, *, grows: bool) -> bool:
        if self.full and not grows:
            return False
        if (self.way == "dropped" and kind != "sync") or (self.way == "full" and kind == "sync"):
            return False
        if self.fired:
            return self.lasting
        self.number -= 1
        return self.number < 1


class _File(Protocol):
    inode: int
    #: A sync of this handle has failed: no later one of it may be believed.
    failed: bool
    #: failures of this file that the handle was told of, or that came before it.
    errors: int


@dataclass(slots=True)
class _Opened:
    inode: int
    path: Path
    flags: int
    errors: int
    failed: bool = False


class Disk:
    """Watches ``root`` inside ``with disk.watching():``, one at a time.

    Attributes:
        operations: all that happened, oldest first.
        passed: how many operations could have failed so far.
        retried: syncs by a handle of which one had failed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.operations: list[Operation] = []
        self.fault: Fault | None = None
        self.passed = 0
        self.retried: list[str] = []
        #: file → how many of its syncs have failed.
        self.errors: Counter[int] = Counter()
        #: called with the number of operations after each of them.
        self.after: Callable[[int], None] = lambda _number: None
        self._inodes: dict[int, int] = {}
        self._fresh = count(1)
        self._adopt()

    def say(self, operation: Operation) -> None:
        """Write down an operation that has happened."""
        self.operations.append(operation)
        self.after(len(self.operations))

    def fails(self, kind: str, file: _File | None, path: Path, *, grows: bool = False) -> str:
        """Pass a point at which the disk can fail; return how it does now, empty for not at all."""
        self.passed += 1
        if kind == "sync" and file is not None and file.failed:
            self.retried.append(path.name)
        if kind == "sync" and file is not None and file.errors < self.errors[file.inode]:
            # The kernel tells every handle that was open then, once; not those opened later.
            self._fail(file)
            return "EIO"
        fault = self.fault
        if fault is None or not fault.hits(kind, grows=grows):
            return ""
        fault.fired.append(f"{kind} {path.name}")
        if kind == "sync" and file is not None:
            self.errors[file.inode] += 1
            self._fail(file)
        return fault.way

    def _fail(self, file: _File) -> None:
        file.failed = True
        file.errors = self.errors[file.inode]
        self.say(Dropped(file.inode))

    # ------------------------------------------------------------ names

    def inside(self, path: Any) -> Path | None:
        """Return a path below the root as it is seen from there, None for any other."""
        whole = Path(os.path.abspath(path))  # noqa: PTH100 - resolve would follow links
        return whole.relative_to(self.root) if whole.is_relative_to(self.root) else None

    def known(self, path: Path, *, created: bool) -> int:
        """Return our number of the file at ``path``; the system's are used again too soon."""
        real = (self.root / path).stat().st_ino
        if created or real not in self._inodes:
            self._inodes[real] = next(self._fresh)
            self.say(Enter(path, self._inodes[real]))
        return self._inodes[real]

    def _adopt(self) -> None:
        """Take what is there as durable."""
        for path in sorted(self.root.rglob("*")):
            name = path.relative_to(self.root)
            if path.is_dir():
                self.operations.append(Enter(name, None))
            elif not name.name.endswith("-shm"):
                inode = self.known(name, created=True)
                self.operations += [Write(inode, 0, path.read_bytes()), Sync(inode)]
            self.operations.append(SyncFolder(name.parent))

    # ------------------------------------------------------------ watching

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Stand between the disk and everybody, as long as this lasts."""
        files = _Vfs(self)
        calls = _Calls(self)
        calls.install()
        try:
            yield
        finally:
            calls.restore()
            files.unregister()


class _Vfs(apsw.VFS):
    """SQLite's way to the disk; the default one while it is registered."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__(f"watched-{next(_names)}", _SYSTEM, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        text = name.filename() if isinstance(name, apsw.URIFilename) else name
        path = None if text is None else self._disk.inside(text)
        if path is None:
            return _SystemFile(name, flags)
        created = not (self._disk.root / path).exists()
        if created and self._disk.fails("create", None, path, grows=True):
            raise apsw.CantOpenError("injected")
        return _VfsFile(name, flags, self._disk, path, created=created)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802, FBT001
        super().xDelete(filename, syncdir)
        path = self._disk.inside(filename)
        if path is not None and not path.name.endswith("-shm"):
            self._disk.say(Leave(path))
            if syncdir:
                self._disk.say(SyncFolder(path.parent))


class _SystemFile(apsw.VFSFile):
    def __init__(self, name: Any, flags: list[int]) -> None:
        super().__init__(_SYSTEM, name, flags)
        self._reads_only = bool(flags[0] & apsw.SQLITE_OPEN_READONLY)

    def xLock(self, level: int) -> None:  # noqa: N802
        # The last one who closes asks for this, and SQLite takes the refusal of a reader for an
        # answer; on its way through Python it would be an exception.
        with suppress(apsw.IOError) if self._reads_only else nullcontext():
            super().xLock(level)


class _VfsFile(_SystemFile):
    def __init__(
        self, name: Any, flags: list[int], disk: Disk, path: Path, *, created: bool
    ) -> None:
        super().__init__(name, flags)
        self._disk = disk
        self.path = path
        self.failed = False
        self.inode = disk.known(path, created=created)
        self.errors = disk.errors[self.inode]
        # The system's files sync the folder with the first sync of a log that they may have made.
        self._named = not flags[0] & apsw.SQLITE_OPEN_WAL

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        data = bytes(data)
        grows = offset + len(data) > self.xFileSize()
        way = self._disk.fails("write", self, self.path, grows=grows)
        if way == "short":
            data = data[: len(data) // 2]
        if way in {"", "short"}:
            super().xWrite(data, offset)
            self._disk.say(Write(self.inode, offset, data))
        if way:
            raise (apsw.IOError if way == "EIO" else apsw.FullError)("injected")

    def xTruncate(self, size: int) -> None:  # noqa: N802
        if self._disk.fails("truncate", self, self.path):
            raise apsw.IOError("injected")
        super().xTruncate(size)
        self._disk.say(Truncate(self.inode, size))

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._disk.fails("sync", self, self.path):
            raise apsw.IOError("injected")
        super().xSync(flags)
        self._disk.say(Sync(self.inode))
        if not self._named:
            self._named = True
            self._disk.say(SyncFolder(self.path.parent))


class _Calls:
    """The functions of `os` that change a disk, with a `Disk` in between."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._opened: dict[int, _Opened] = {}
        self._former: dict[str, Any] = {}

    def install(self) -> None:
        for name in (
            "open", "close", "write", "pwrite", "fsync", "ftruncate", "link", "unlink", "rename",
            "replace", "mkdir",
        ):  # fmt: skip
            self._former[name] = getattr(os, name)
            setattr(os, name, getattr(self, name))

    def restore(self) -> None:
        for name, function in self._former.items():
            setattr(os, name, function)

    def _refuse(self, kind: str, file: _File | None, path: Path, *, grows: bool = False) -> str:
        way = self._disk.fails(kind, file, path, grows=grows)
        if way and not (way == "short" and kind == "write"):
            number = _NUMBER.get(way, errno.EIO)
            raise OSError(number, os.strerror(number), str(path))
        return way

    def open(self, path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        name = self._disk.inside(path)
        created = name is not None and bool(flags & os.O_CREAT) and not os.path.lexists(path)
        if name is not None and created:
            self._refuse("create", None, name, grows=True)
        descriptor: int = self._former["open"](path, flags, mode, **more)
        if name is not None and not flags & os.O_DIRECTORY:
            inode = self._disk.known(name, created=created)
            self._opened[descriptor] = _Opened(inode, name, flags, self._disk.errors[inode])
        elif name is not None:
            folder = -os.fstat(descriptor).st_ino
            self._opened[descriptor] = _Opened(folder, name, flags, self._disk.errors[folder])
        return descriptor

    def close(self, descriptor: int) -> None:
        self._opened.pop(descriptor, None)
        self._former["close"](descriptor)

    def write(self, descriptor: int, data: bytes) -> int:
        file = self._opened.get(descriptor)
        if file is None:
            return cast("int", self._former["write"](descriptor, data))
        end = os.SEEK_END if file.flags & os.O_APPEND else os.SEEK_CUR
        return self._put(file, descriptor, data, os.lseek(descriptor, 0, end), "write")

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        file = self._opened.get(descriptor)
        if file is None:
            return cast("int", self._former["pwrite"](descriptor, data, offset))
        return self._put(file, descriptor, data, offset, "pwrite")

    def _put(self, file: _Opened, descriptor: int, data: bytes, offset: int, call: str) -> int:
        grows = offset + len(data) > os.fstat(descriptor).st_size
        if self._refuse("write", file, file.path, grows=grows) == "short":
            data = data[: len(data) // 2]
        written: int = self._former[call](descriptor, data, *([offset] * (call == "pwrite")))
        self._disk.say(Write(file.inode, offset, bytes(data)))
        if file.flags & os.O_DSYNC:
            # A write that is only part of a synchronous one may fail in its second half.
            self._refuse("sync", file, file.path)
            self._disk.say(Sync(file.inode))
        return written

    def fsync(self, descriptor: int) -> None:
        file = self._opened.get(descriptor)
        if file is not None:
            self._refuse("sync", file, file.path)
        self._former["fsync"](descriptor)
        if file is not None:
            directory = bool(file.flags & os.O_DIRECTORY)
            self._disk.say(SyncFolder(file.path) if directory else Sync(file.inode))

    def ftruncate(self, descriptor: int, length: int) -> None:
        file = self._opened.get(descriptor)
        if file is not None:
            self._refuse("truncate", file, file.path)
        self._former["ftruncate"](descriptor, length)
        if file is not None:
            self._disk.say(Truncate(file.inode, length))

    def mkdir(self, path: Any, mode: int = 0o777, **more: Any) -> None:
        name = self._disk.inside(path)
        if name is not None and not os.path.lexists(path):
            self._refuse("create", None, name, grows=True)
        self._former["mkdir"](path, mode, **more)
        if name is not None:
            self._disk.say(Enter(name, None))

    def link(self, source: Any, target: Any, **more: Any) -> None:
        name = self._disk.inside(target)
        if name is not None and not os.path.lexists(target):
            self._refuse("create", None, name, grows=True)
        self._former["link"](source, target, **more)
        if name is not None:
            self._disk.say(Enter(name, self._disk.known(name, created=False)))

    def unlink(self, path: Any, **more: Any) -> None:
        name = self._disk.inside(path)
        self._former["unlink"](path, **more)
        if name is not None:
            self._disk.say(Leave(name))

    def rename(self, source: Any, target: Any, **more: Any) -> None:
        self._move("rename", source, target, **more)

    def replace(self, source: Any, target: Any, **more: Any) -> None:
        self._move("replace", source, target, **more)

    def _move(self, call: str, source: Any, target: Any, **more: Any) -> None:
        name = self._disk.inside(target)
        if name is not None:
            self._refuse("create", None, name, grows=True)
        self._former[call](source, target, **more)
        if name is not None:
            inode = self._disk.known(name, created=False)
            self._disk.say(Enter(name, inode, former=self._disk.inside(source)))
