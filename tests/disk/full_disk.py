"""The disk has no space from a secret's reveal on, and has it again later."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.disk.cases import finish, folder
from tests.disk.disk import Fault
from tests.disk.world import DiskWorld
from tests.sim.evidence import all_hits
from tests.sim.faults import Faults

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coordinator.journal.base import Record
    from tests.sim.world import World

__all__ = ["FullDisk", "Submissions", "full_disk_case"]


@dataclass(slots=True)
class FullDisk:
    """The disk has no space from a secret's reveal on, for so many ticks.

    Attributes:
        filled: records when the disk was full; ``written``: how many came while it was.
        sent: what arrived in that time, as ``step.direction.purpose``.
        delivered: preimages that went to their channel in that time.
        redeemed: holds that the payee had spent before there was space again.
        processes: how many were started in that time.
    """

    filled: int = 0
    written: int = 0
    sent: list[str] = field(default_factory=list)
    delivered: int = 0
    redeemed: int = 0
    processes: int = 0
    #: the tick from which on there is space again; how much had arrived and gone out before.
    until: int = 0
    before: tuple[int, int, int] = (0, 0, 0)

    def fill(self, world: DiskWorld, *, full: bool, ticks: int) -> None:
        world.break_disk(Fault(1, "full", lasting=True, full=full))
        self.filled, self.until = len(world.store.records), world.ticks + ticks
        self.before = (len(_arrived(world)), len(world.told), world.lives)

    def empty(self, world: DiskWorld) -> None:
        submitted, delivered, lives = self.before
        self.until = 0
        self.written = len(world.store.records) - self.filled
        self.sent = _arrived(world)[submitted:]
        self.delivered = len(world.told) - delivered
        self.processes = world.lives - lives
        hits = [hit for chain in world.chains.values() for hit in all_hits(chain)]
        self.redeemed = sum(hit.effect.kind == "redeem" for hit in hits)
        world.mend()


def full_disk_case(plan: str, lost: str, *, full: bool, ticks: int = 16) -> FullDisk:
    """Fill the disk in the moment in which a secret becomes public, and empty it later.

    Args:
        lost: a point of `tests.sim.faults`, a submission that does not arrive the first time.
        full: only what needs space fails; else every write does.

    Raises:
        AssertionError: something was lost, sent without being durable, done twice, not finished.
    """
    seen = FullDisk()

    def fill(world: DiskWorld, records: Sequence[Record]) -> None:
        if not seen.filled and any(record.kind == "reveal" for record in records):
            seen.fill(world, full=full, ticks=ticks)

    def look(world: World) -> None:
        if isinstance(world, DiskWorld) and seen.until and world.ticks >= seen.until:
            seen.empty(world)

    with folder() as place:
        faults = Submissions({lost: "error"})
        world = DiskWorld(
            plan, faults, folder=place, appended=fill, events=dict.fromkeys(range(1, 600), look)
        )
        finish(world)
    assert seen.filled, "no secret was ever revealed"
    assert not seen.until, "the disk was never mended"
    assert faults.fired, f"{lost} never happened"
    return seen


def _arrived(world: DiskWorld) -> list[str]:
    assert isinstance(world.faults, Submissions)
    return world.faults.submitted


class Submissions(Faults):
    """Faults that also keep what arrived at a chain, in order."""

    def __init__(self, wanted: Mapping[str, str]) -> None:
        super().__init__(wanted)
        self.submitted: list[str] = []

    def way(self, name: str) -> str | None:
        way = super().way(name)
        method, _, what = name.partition(" ")
        if method == "submit" and way is None:
            self.submitted.append(what)
        return way
