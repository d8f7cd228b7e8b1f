"""A backup at every moment of a saga's life, and a start on each of them at each later moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coordinator.errors import JournalError, JournalOld
from coordinator.journal.backup import backup
from coordinator.journal.sqlite import SqliteJournal
from tests.disk.world import DiskWorld, shut
from tests.sim.world import unfinished

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from coordinator.journal.base import Record

__all__ = ["Moment", "moments", "restore"]


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment in a saga's life: a backup of the journal then, and what was witnessed then."""

    position: int
    #: whether bytes could leave because of the append that ended here.
    leaves: bool
    backup: Path
    witness: bytes


def moments(plan: str, place: Path) -> tuple[DiskWorld, list[Moment]]:
    """Run a saga to its end; take a backup after each of its appends."""
    kept: list[Moment] = []

    def keep(world: DiskWorld, records: Sequence[Record]) -> None:
        target = place / f"backup-{len(kept)}.db"
        mark = backup(world.path, target)
        leaves = any(record.kind in {"intent", "reveal"} for record in records)
        kept.append(Moment(mark.position, leaves, target, world.witness.read_bytes()))

    world = DiskWorld(plan, folder=place / "run", appended=keep)
    world.run()
    assert not unfinished(world)
    assert {row.state for row in world.rows()} == {"committed"}
    world.settle()
    return world, kept


def restore(earlier: Moment, later: Moment, root: Path) -> str | None:
    """Start on the backup of one moment at another; return the refusal, None if it starts."""
    path, witness = root / "journal" / "journal.db", root / "elsewhere" / "witness"
    for file, content in ((path, earlier.backup.read_bytes()), (witness, later.witness)):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(0o600)
        file.write_bytes(content)
    try:
        journal = SqliteJournal(path, witness)
    except JournalError as error:
        if error.exit_code != 30 or not isinstance(error, JournalOld):
            raise AssertionError(f"refused in another way: {error!r}") from error
        return str(error)
    shut(journal)
    return None
