"""The moments inside a commit of SQLite, and a hand on the process at each of them.

``begun``: the transaction is open and written, COMMIT has not begun; it holds the write lock.
``written``: COMMIT has written its pages to the log and waits for the disk; it holds the lock.
``committed``: it is durable and the lock is free, but nobody was told, nor the second place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import apsw

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FILES", "HOLDS_THE_LOCK", "MOMENTS", "stop_inside"]

HOLDS_THE_LOCK: Final = ("begun", "written")
MOMENTS: Final = (*HOLDS_THE_LOCK, "committed")
#: The name under which `stop_inside` registers files for the moment ``written``.
FILES: Final = "stopping"

#: Registered for the life of this process.
_KEPT: Final[list[apsw.VFS]] = []


def stop_inside(moment: str, reached: Callable[[], None]) -> None:
    """From now on call ``reached`` at ``moment`` of every commit in this process."""
    if moment == "begun":
        apsw.connection_hooks.append(lambda connection: _before_commit(connection, reached))
    elif moment == "written":
        _KEPT.append(_Files(reached))
    elif moment == "committed":
        apsw.connection_hooks.append(lambda connection: _after_commit(connection, reached))


def _before_commit(connection: apsw.Connection, reached: Callable[[], None]) -> None:
    def hook() -> bool:
        reached()
        return False

    connection.set_commit_hook(hook)


def _after_commit(connection: apsw.Connection, reached: Callable[[], None]) -> None:
    def hook(statement: dict[str, Any]) -> None:
        if statement["sql"] == "COMMIT":
            reached()

    # Told when a statement has come to its end. There is a hook for commits to the log as well, and
    # the setting of a pragma takes it away.
    connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, hook)


class _Files(apsw.VFS):
    """The system's files; the sync of a write-ahead log is the end of a commit."""

    def __init__(self, reached: Callable[[], None]) -> None:
        self._reached = reached
        super().__init__(FILES, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> _File:  # noqa: N802
        return _File(name, flags, self._reached)


class _File(apsw.VFSFile):
    def __init__(
        self,
        name: str | apsw.URIFilename | None,
        flags: list[int],
        reached: Callable[[], None],
    ) -> None:
        self._reached = reached
        self._is_log = bool(flags[0] & apsw.SQLITE_OPEN_WAL)
        super().__init__("", name, flags)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._is_log:
            self._reached()
        super().xSync(flags)
