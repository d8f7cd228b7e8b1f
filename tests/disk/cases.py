"""The cases of the disk matrix, each by a name that replays it: ``python -m tests.disk …``."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from coordinator.errors import JournalError
from coordinator.journal import sqlite
from coordinator.journal.checkpoints import key_history
from coordinator.journal.reading import open_readonly
from coordinator.journal.sqlite import SqliteJournal
from coordinator.journal.verify import check as check_journal
from tests.disk.disk import Disk, Fault
from tests.disk.judge import judge, promised
from tests.disk.operations import VARIANTS, Acknowledged, Dropped, State, state_after
from tests.disk.world import Cut, DiskWorld, shut
from tests.sim.checker import check
from tests.sim.world import evidence_of, unfinished
from tests.unit.log_scene import KEY, ORIGIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.disk.operations import Operation

__all__ = [
    "PLANS", "create_case", "draw", "fault_case", "finish", "folder", "gate_case", "power_case",
    "power_state", "record", "resume_case", "short_log",
]  # fmt: skip

#: Plans of `tests.sim.plans` whose journals are written here.
PLANS: Final = ("holds", "reference", "pivot")
#: So few pages in the log that it is checkpointed and begun anew several times in a run.
_PAGES: Final = 40


@contextmanager
def folder() -> Iterator[Path]:
    """Make a folder in memory where there is one: the disk that fails is not the real one."""
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else None
    made = Path(tempfile.mkdtemp(prefix="coordinator-disk-", dir=place))
    try:
        yield made
    finally:
        shutil.rmtree(made)


@contextmanager
def short_log() -> Iterator[None]:
    """Checkpoint the log often, so that a short run meets every kind of write."""
    former = sqlite._CHECKPOINT_PAGES
    sqlite._CHECKPOINT_PAGES = _PAGES  # type: ignore[misc]
    try:
        yield
    finally:
        sqlite._CHECKPOINT_PAGES = former  # type: ignore[misc]


def _strong(_journal: SqliteJournal) -> None:
    """Leave a journal as it is shipped."""


def record(
    plan: str, place: Path, weaken: Callable[[SqliteJournal], None] = _strong
) -> list[Operation]:
    """Run two sagas of ``plan`` to their end; return what the disk was asked to do."""
    with short_log():
        world = DiskWorld(plan, sagas=2, folder=place, signing=True, weaken=weaken)
        try:
            world.run()
            assert not unfinished(world)
            assert not world.troubles
            check(evidence_of(world))
        finally:
            world.leave()
    return world.disk.operations


def draw(operations: list[Operation], number: int) -> tuple[int, str, int]:
    """Return the ``number``-th way to lose power: after how many operations, how, and a seed."""
    rng = random.Random(number)
    return rng.randrange(1, len(operations) + 1), rng.choice(VARIANTS), number


def power_state(operations: list[Operation], number: int) -> tuple[int, State]:
    """Return a cut and the state that it leaves."""
    cut, variant, seed = draw(operations, number)
    return cut, state_after(operations, cut, variant, random.Random(seed))


def power_case(operations: list[Operation], number: int, place: Path) -> list[str]:
    """Return what is wrong with the journal after one power cut."""
    cut, state = power_state(operations, number)
    root = place / f"state-{number}"
    state.write(root)
    try:
        return judge(root, promised(operations, cut))
    finally:
        shutil.rmtree(root)


@cache
def _length(plan: str) -> tuple[int, int]:
    """Return the numbers of operations of one run: when the journal was made, and in all."""
    with folder() as place, short_log():
        world = DiskWorld(plan, folder=place, signing=True)
        try:
            world.run()
            operations = list(world.disk.operations)
        finally:
            world.leave()
    made = next(n for n, one in enumerate(operations) if isinstance(one, Acknowledged))
    return made + 1, len(operations)


def resume_case(plan: str, number: int) -> list[str]:
    """Lose power in the middle of a saga, and perhaps again in its recovery, and drive it on.

    Returns which cuts were met.

    Raises:
        AssertionError: something was lost, done twice, or not finished.
    """
    rng = random.Random(f"{plan} {number}")
    first, last = _length(plan)
    cuts = [Cut(rng.randrange(first + 1, last + 1), rng.choice(VARIANTS), number)]
    if number % 3 == 0:
        cuts.append(Cut(rng.randrange(15, 120), rng.choice(VARIANTS), number))
    with folder() as place, short_log():
        world = DiskWorld(plan, folder=place, signing=True, cuts=cuts)
        finish(world)
        assert not world.refusals, world.refusals
        assert world.met >= 1, "the power never failed"
        where = ("in a saga", "in its recovery")
        return [f"{where[one]}, {cuts[one].variant}" for one in range(world.met)]


def fault_case(plan: str, way: str, number: int, *, lasting: bool = False) -> list[str] | None:
    """Let the ``number``-th operation after the journal's creation fail; return it, None if there
    is none.

    Raises:
        AssertionError: something was lost, sent without being durable, done twice, not finished, or
            a sync was tried again that had failed.
    """
    fault = Fault(number, way, lasting=lasting)
    with folder() as place, short_log():
        world = DiskWorld(plan, folder=place, signing=True, fault=fault)
        finish(world)
    return fault.fired[:1] or None


def finish(world: DiskWorld) -> None:
    """Run a world to its end, start it once more, and check everything that is left.

    Raises:
        AssertionError: with what is wrong.
    """
    try:
        world.run()
        check(evidence_of(world))
        assert not unfinished(world), f"{unfinished(world)} did not end"
        world.settle()
        world.resume_idly()
    finally:
        world.leave()
    assert not world.retried, f"tried again although it had failed: {world.retried}"
    reader = open_readonly(world.path)
    try:
        log = key_history(reader, ORIGIN, KEY.address)
        found = check_journal(reader, world.witness, log)
    finally:
        reader.shut()
    assert not found, found


def create_case(way: str, number: int) -> list[str] | None:
    """Let the ``number``-th operation of making a journal fail; return it, None if there is none.

    Raises:
        AssertionError: it neither fails as it should nor leaves a place where it can be made.
    """
    with folder() as place:
        disk = Disk(place)
        path, witness = place / "journal" / "journal.db", place / "elsewhere" / "witness"
        fault = disk.fault = Fault(number, way)
        with disk.watching():
            try:
                SqliteJournal.create(path, witness)
            except JournalError as error:
                if error.exit_code != 30 or not fault.fired:
                    raise AssertionError(f"it fails in another way: {error!r}") from error
            disk.fault = None
            # A hidden file that failed is thrown away, whatever SQLite does to it on its way.
            retried = [name for name in disk.retried if not name.startswith(".")]
            assert not retried, retried
            left = [name.name for name in place.rglob(".*")]
            assert not left, f"left behind: {left}"
            if not path.exists():
                SqliteJournal.create(path, witness)
            shut(SqliteJournal(path, witness))
    # A hidden file has another name each time.
    return [where.split(" .")[0] for where in fault.fired] or None


def gate_case(plan: str, number: int, later: int) -> bool | None:
    """Let the ``number``-th sync fail and drop its pages, start again, and then lose the power.

    The second process sees what the first wrote and the disk never got. Returns None if there is no
    such sync, else whether the power failed.

    Args:
        later: how many operations after the failure the power fails.
    """
    fault = Fault(number, "dropped")
    with folder() as place, short_log():
        world = DiskWorld(plan, folder=place, signing=True, fault=fault)
        finish(world)
        dropped = [n for n, one in enumerate(world.disk.operations) if isinstance(one, Dropped)]
    if not dropped:
        return None
    with folder() as place, short_log():
        cuts = [Cut(dropped[0] + 1 + later, "all", number)]
        fault = Fault(number, "dropped")
        world = DiskWorld(plan, folder=place, signing=True, fault=fault, cuts=cuts)
        finish(world)
        assert not [text for text in world.refusals if "older" in text], world.refusals
        return world.met == 1
