"""When the disk fails the journal stops for good, and nothing that it acknowledged is lost."""

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from coordinator.errors import JournalBroken, JournalError
from coordinator.journal.base import Entry
from coordinator.journal.liveness import Instance
from coordinator.journal.sqlite import SqliteJournal
from tests.conformance.journal_records import included, intent, plain, started, stream
from tests.unit.journal_scene import Scene, journal_records


class Faults(apsw.VFS):
    """The system's files, of which the n-th write or sync fails and all later ones too."""

    def __init__(self) -> None:
        self.countdown: int | None = None
        self.fired = 0
        self.syncs_after_failure = 0
        self.error: type[apsw.Error] = apsw.IOError
        super().__init__("faults", "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> "FaultyFile":  # noqa: N802
        return FaultyFile(name, flags, self)

    def step(self, *, sync: bool) -> None:
        if self.countdown is None:
            return
        if self.countdown > 0:
            self.countdown -= 1
            return
        self.syncs_after_failure += sync and self.fired > 0
        self.fired += 1
        raise self.error("injected")


class FaultyFile(apsw.VFSFile):
    def __init__(
        self, name: str | apsw.URIFilename | None, flags: list[int], faults: Faults
    ) -> None:
        self._faults = faults
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._faults.step(sync=False)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._faults.step(sync=True)
        super().xSync(flags)


@pytest.fixture
def faults() -> Iterator[Faults]:
    made = Faults()
    yield made
    made.unregister()


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def write_until_broken(journal: SqliteJournal) -> tuple[int, bool]:
    """Append one saga's records; return how many were acknowledged, and whether it broke."""
    first, raw = intent("0x1", [("nonce", 1)])
    second, other = intent("0x2", [("nonce", 2)])
    acknowledged = 0
    for entries, raws in [
        ([started("amy"), first], [raw]),
        ([included("0x1"), second], [other]),
        ([plain("paused")], []),
    ]:
        try:
            await journal.append(stream("amy"), acknowledged, entries, raws)
        except JournalBroken:
            return acknowledged, True
        acknowledged += len(entries)
    return acknowledged, False


@pytest.mark.parametrize("error", [apsw.IOError, apsw.FullError])
def test_the_failure_of_any_single_write_or_sync_stops_the_journal_and_loses_nothing(
    tmp_path: Path, faults: Faults, error: type[apsw.Error]
) -> None:
    faults.error = error
    broke = 0
    for number in range(1000):
        scene = Scene(tmp_path / str(number))
        faults.countdown, faults.fired, faults.syncs_after_failure = None, 0, 0

        async def scenario(scene: Scene = scene, number: int = number) -> tuple[int, bool]:
            journal = scene.open(vfs="faults")
            faults.countdown = number
            answer = await write_until_broken(journal)
            if answer[1]:
                with pytest.raises(JournalBroken):
                    await journal.append(stream("bob"), 0, [started("bob")])
                with pytest.raises(JournalBroken):
                    await journal.drive("amy", "x")
                # What is stored can still be read, and so be sent again.
                assert len(journal.read(stream("amy"))) >= answer[0]
            faults.countdown = None if not answer[1] else faults.countdown
            await journal.close()
            return answer

        acknowledged, broken = asyncio.run(scenario())
        assert broken == (faults.fired > 0)
        # A failed fsync is never tried again: the kernel may have dropped the pages meanwhile.
        assert faults.syncs_after_failure == 0
        faults.countdown = None
        assert len(journal_records(scene.path, "amy")) >= acknowledged
        assert scene.check() == []
        asyncio.run(scene.open().close())
        if not broken:
            break
        broke += 1
    else:
        pytest.fail("the sweep never came to its end")
    assert broke >= 15


def test_a_second_place_that_fails_stops_the_journal(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite

    def full(_descriptor: int, _data: bytes, _offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def scenario() -> None:
        journal = scene.open()
        await journal.append(stream("amy"), 0, [started("amy")])
        entry, raw = intent("0x1")
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(JournalBroken, match="No space left"):
            await journal.append(stream("amy"), 1, [entry], [raw])
        monkeypatch.setattr(os, "pwrite", real)
        with pytest.raises(JournalBroken):
            await journal.append(stream("amy"), 1, [plain("paused")])
        await journal.close()
        # The commit itself had happened: a durable intent counts as sent.
        again = scene.open()
        assert [r.kind for r in again.read(stream("amy"))] == ["started", "intent"]
        await again.close()

    asyncio.run(scenario())


def test_everybody_who_waits_is_told_when_the_journal_breaks(scene: Scene, faults: Faults) -> None:
    async def scenario() -> None:
        journal = scene.open(vfs="faults")
        faults.countdown = 0
        answers = await asyncio.gather(
            *(journal.append(stream(f"s{n}"), 0, [started(f"s{n}")]) for n in range(200)),
            return_exceptions=True,
        )
        assert {type(answer) for answer in answers} == {JournalBroken}
        assert len({id(answer) for answer in answers}) == 200
        # The first commit took 128 of them; the rest had not been begun.
        assert "200 appends were not acknowledged" in str(answers[0])
        assert "nothing of them was sent" in str(answers[0])
        await journal.close()

    asyncio.run(scenario())
    faults.countdown = None
    assert scene.check() == []


FILL = """
import asyncio, pathlib, resource, sys
from coordinator.errors import JournalBroken
from coordinator.journal.base import Entry
from coordinator.journal.sqlite import SqliteJournal
from tests.conformance.journal_records import started

async def main():
    journal = SqliteJournal(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
    await journal.append("saga:amy", 0, [started("amy")])
    if len(sys.argv) > 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    seq = 1
    try:
        while seq < 5000:
            await journal.append("saga:amy", seq, [Entry("paused", {"by": "x" * 9000})])
            seq += 1
    except JournalBroken as error:
        print(seq, error.exit_code, error)
    await journal.close()

asyncio.run(main())
"""


def fill(scene: Scene, *more: str) -> tuple[int, str]:
    said = subprocess.run(
        [sys.executable, "-c", FILL, scene.path, scene.witness, *more],
        capture_output=True,
        text=True,
        check=True,
    )
    seq, exit_code, text = said.stdout.split(" ", 2)
    assert exit_code == "30"
    return int(seq), text


def test_a_file_that_may_not_grow_stops_the_journal_cleanly(scene: Scene) -> None:
    seq, text = fill(scene, "limited")

    assert "could not be written" in text
    assert seq > 10
    assert len(journal_records(scene.path, "amy")) >= seq
    assert scene.check() == []


async def start_on_a_full_disk(scene: Scene, seq: int) -> None:
    """Whoever starts there finds all that is stored, to send it again, and writes nothing (R1)."""
    instance = Instance.enter(scene.path)
    journal = scene.open()
    records = journal.read(stream("amy"))
    assert len(records) >= seq
    big = Entry("paused", {"by": "x" * 9000})
    with pytest.raises(JournalBroken, match="could not be written"):
        await journal.append(stream("amy"), len(records), [big])
    await journal.close()
    instance.leave()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_stops_the_journal_cleanly(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine does not let root mount a disk")
    try:
        scene = Scene(disk)
        seq, text = fill(scene)
        assert "could not be written" in text
        assert seq > 10
        assert len(journal_records(scene.path, "amy")) >= seq
        assert scene.check() == []
        asyncio.run(start_on_a_full_disk(scene, seq))
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_loop_that_ends_in_the_middle_leaves_a_sound_journal(scene: Scene) -> None:
    async def leave() -> None:
        journal = scene.open()
        kept.append(journal)
        tasks = [
            asyncio.ensure_future(journal.append(stream(f"s{n}"), 0, [started(f"s{n}")]))
            for n in range(20)
        ]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del tasks

    kept: list[SqliteJournal] = []
    asyncio.run(leave())

    async def after() -> None:
        with pytest.raises(JournalError):
            await kept[0].append(stream("late"), 0, [started("late")])
        await kept[0].close()

    asyncio.run(after())
    assert scene.check() == []
