"""The second place: what this machine has seen of the journal is not forgotten with the journal."""

import asyncio
import shutil
from pathlib import Path

import pytest

from coordinator.errors import JournalError
from coordinator.journal.backup import backup
from coordinator.journal.sqlite import SqliteJournal
from coordinator.journal.witness import LANES, Mark, Witness
from tests.conformance.journal_records import closed, intent, plain, started, stream
from tests.unit.journal_scene import Scene

ID = "ab" * 16


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.fixture
def witness(tmp_path: Path) -> Path:
    path = tmp_path / "witness"
    Witness.create(path, ID)
    return path


# ---------------------------------------------------------------- the rule


def test_a_restored_older_backup_is_refused_and_nothing_is_sent(
    scene: Scene, tmp_path: Path
) -> None:
    scene.run_saga("amy", 1)
    backup(scene.path, tmp_path / "copy")
    scene.run_saga("bob", 5)
    scene.put_back(tmp_path / "copy")

    with pytest.raises(JournalError, match=r"older than what this machine has witnessed") as caught:
        scene.open()
    assert caught.value.exit_code == 30
    assert "A lost or old journal" in str(caught.value)
    assert "Nothing was sent" in str(caught.value)


def test_whoever_reads_an_intent_that_its_dead_writer_told_nobody_of_tells_the_second_place(
    scene: Scene,
) -> None:
    scene.run_saga("amy", 1)
    before = scene.witness.read_bytes()
    intended = [record for record in scene.run_saga("bob", 5) if record.kind == "intent"][-1]
    scene.witness.write_bytes(before)  # as if it had died between its commit and the mark

    async def go_on() -> None:
        journal = scene.open()
        assert Witness.read(scene.witness)[-1].position < intended.position
        journal.read(stream("bob"))
        mark = Witness.read(scene.witness)[-1]
        assert (mark.position, mark.hash) == (intended.position, intended.hash)
        await journal.close()

    asyncio.run(go_on())


def test_a_backup_that_lacks_no_intent_is_accepted(scene: Scene, tmp_path: Path) -> None:
    scene.run_saga("amy", 1)
    backup(scene.path, tmp_path / "copy")
    scene.put_back(tmp_path / "copy")

    asyncio.run(scene.open().close())


def test_a_restored_backup_that_was_written_to_is_refused(scene: Scene, tmp_path: Path) -> None:
    scene.run_saga("amy", 1)
    backup(scene.path, tmp_path / "copy")
    kept = scene.witness.read_bytes()
    scene.run_saga("bob", 5)
    newer = scene.witness.read_bytes()
    scene.put_back(tmp_path / "copy")
    scene.witness.write_bytes(kept)
    scene.run_saga("eve", 9)
    scene.witness.write_bytes(newer)

    with pytest.raises(JournalError, match="with another hash"):
        scene.open()


def test_a_missing_second_place_is_refused_once_there_are_records(scene: Scene) -> None:
    scene.run_saga("amy", 1)
    scene.witness.unlink()

    with pytest.raises(JournalError, match=r"is missing.*Nothing was sent"):
        scene.open()


def test_an_empty_journal_makes_its_second_place_again(scene: Scene) -> None:
    scene.witness.unlink()

    asyncio.run(scene.open().close())

    assert [mark.position for mark in Witness.read(scene.witness)] == [0]


def test_a_fresh_journal_does_not_take_over_a_witness(scene: Scene) -> None:
    scene.run_saga("amy", 1)
    scene.path.unlink()

    with pytest.raises(JournalError, match="witnesses a journal already"):
        SqliteJournal.create(scene.path, scene.witness)
    assert not scene.path.exists()


def test_the_witness_of_another_journal_is_refused(scene: Scene, tmp_path: Path) -> None:
    other = Scene(tmp_path / "other")
    shutil.copyfile(other.witness, scene.witness)

    with pytest.raises(JournalError, match="witnesses journal"):
        scene.open()


def test_journal_and_second_place_must_not_share_a_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    with pytest.raises(JournalError, match="own folder"):
        SqliteJournal.create(tmp_path / "journal.db", tmp_path / "sub" / ".." / "witness")
    assert list(tmp_path.iterdir()) == [tmp_path / "sub"]


@pytest.mark.parametrize(
    ("kind", "position"),
    [("intent", 3), ("reveal", 3), ("paused", 0), ("closed", 0)],
)
def test_the_second_place_moves_exactly_with_intents_and_reveals(
    scene: Scene, kind: str, position: int
) -> None:
    async def scenario() -> None:
        journal = scene.open()
        await journal.append(stream("amy"), 0, [started("amy")])
        before = Witness.read(scene.witness)[-1]
        entry, raw = intent("0x1") if kind == "intent" else (closed(), None)
        entry = entry if kind in {"intent", "closed"} else plain(kind)
        records = await journal.append(
            stream("amy"), 1, [entry, plain("paused")], [raw] if raw else []
        )
        # Acknowledged, so it is there: with the last record of the commit.
        after = Witness.read(scene.witness)[-1]
        expected = Mark(before.journal_id, 3, records[-1].hash) if position else before
        assert after == expected
        await journal.close()

    asyncio.run(scenario())


# ---------------------------------------------------------------- the file


def test_the_greatest_position_counts_and_positions_never_go_back(witness: Path) -> None:
    own = Witness.open(witness, ID)
    for position in (3, 9, 4, 9, 12):
        own.write(position, bytes([position]) * 32)
    own.close()
    again = Witness.open(witness, ID)
    again.write(11, b"x" * 32)
    again.close()

    assert Witness.read(witness)[-1] == Mark(ID, 12, "0c" * 32)


def test_writers_side_by_side_do_not_overwrite_each_other(witness: Path) -> None:
    one, other = Witness.open(witness, ID), Witness.open(witness, ID)
    other.write(11, b"b" * 32)
    one.write(10, b"a" * 32)

    assert Witness.read(witness)[-1].position == 11
    one.close()
    other.close()


def test_there_is_room_for_a_number_of_writers_and_a_clear_error_beyond(witness: Path) -> None:
    held = [Witness.open(witness, ID) for _ in range(LANES)]
    with pytest.raises(JournalError, match="no room"):
        Witness.open(witness, ID)
    held.pop().close()
    held.append(Witness.open(witness, ID))
    for one in held:
        one.close()


@pytest.mark.parametrize("torn_at", [0, 50, 99])
def test_a_torn_write_leaves_the_position_before_it(witness: Path, torn_at: int) -> None:
    own = Witness.open(witness, ID)
    own.write(5, b"5" * 32)
    own.write(6, b"6" * 32)
    own.close()
    content = bytearray(witness.read_bytes())
    # Position 5 went to the second slot, 6 to the first.
    content[torn_at] ^= 0xFF
    witness.write_bytes(content)

    assert [mark.position for mark in Witness.read(witness)] == [5]
    again = Witness.open(witness, ID)
    again.write(7, b"7" * 32)
    again.close()
    assert [mark.position for mark in Witness.read(witness)] == [5, 7]


@pytest.mark.parametrize("damage", [b"", b"\0" * 65536, b"x" * 65536, b"short"])
def test_a_damaged_second_place_is_refused(scene: Scene, damage: bytes) -> None:
    scene.run_saga("amy", 1)
    scene.witness.write_bytes(damage)

    with pytest.raises(JournalError, match=r"is damaged.*Nothing was sent"):
        scene.open()


def test_the_second_place_is_private(scene: Scene) -> None:
    assert scene.witness.stat().st_mode & 0o777 == 0o600
    assert scene.witness.parent.stat().st_mode & 0o777 == 0o700
