"""Forks of a journal: a recovered one lives on; its backup and the lost original never start."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest

from coordinator.errors import JournalError, JournalOld
from coordinator.journal import recoveries
from coordinator.journal.backup import backup
from coordinator.journal.base import Entry, Record
from coordinator.journal.checkpoints import log_origin
from coordinator.journal.published import published_path
from coordinator.journal.reading import open_readonly
from coordinator.journal.recoveries import begin, finish_fork, forks_path, standing, under_way
from coordinator.journal.verify import rebuild
from coordinator.journal.witness import Witness
from tests.unit.journal_scene import Scene

if TYPE_CHECKING:
    from pathlib import Path

FACTS = {"chains": {"polygon": {"since": 1, "height": 9}}, "by": ["an operator"], "reason": "disk"}
AT_MS = 1_700_000_000_000


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A journal restored from a backup that lacks a saga; ``lost`` is the original."""
    scene = Scene(tmp_path)
    scene.run_saga("amy", 1)
    backup(scene.path, tmp_path / "copy")
    scene.run_saga("bob", 5)
    backup(scene.path, tmp_path / "lost")
    scene.put_back(tmp_path / "copy")
    return scene


def kind(scene: Scene) -> str:
    reader = open_readonly(scene.path)
    try:
        return standing(reader, scene.witness).kind
    finally:
        reader.shut()


def fork(scene: Scene) -> Record:
    """Begin a recovery in the journal alone."""
    reader = open_readonly(scene.path)
    try:
        return begin(scene.path, scene.witness, reader, FACTS, at_ms=AT_MS)
    finally:
        reader.shut()


def append(scene: Scene, *entries: Entry) -> None:
    async def go() -> None:
        journal = scene.open(recovering=True)
        seq = len(journal.read("operator"))
        await journal.append("operator", seq, entries)
        await journal.close()

    asyncio.run(go())


def recover(scene: Scene) -> Record:
    begun = fork(scene)
    finish_fork(scene.witness, begun)
    append(scene, Entry("recovered", dict(begun.data)))
    return begun


def test_the_recovered_journal_starts_and_its_backup_and_the_original_do_not(
    scene: Scene, tmp_path: Path
) -> None:
    begun = recover(scene)
    asyncio.run(scene.open().close())
    assert kind(scene) == "latest"
    scene.run_saga("eve", 9)

    scene.put_back(tmp_path / "copy")
    assert kind(scene) == "superseded"
    with pytest.raises(JournalOld, match=r"another copy of it.*two histories") as caught:
        scene.open()
    assert begun.data["journal"] in str(caught.value)
    with pytest.raises(JournalOld):
        scene.open(recovering=True)
    scene.put_back(tmp_path / "lost")
    assert kind(scene) == "superseded"
    with pytest.raises(JournalOld, match="the lost original: it goes on beyond position 7, to 14"):
        scene.open()


def test_the_record_names_what_was_lost_and_by_whom_it_was_given_up(scene: Scene) -> None:
    lost = Witness.read(scene.witness)[-1]

    data = recover(scene).data

    reader = open_readonly(scene.path)
    end = reader.record_at(7)
    assert end is not None
    assert (data["position"], data["head"], data["epoch"]) == (7, end.hash, 1)
    assert data["witnessed"] == {"position": lost.position, "hash": lost.hash}
    assert data["former"] == lost.journal_id
    assert reader.journal_id == data["journal"] != data["former"]
    assert (data["by"], data["reason"]) == (["an operator"], "disk")
    assert data["checkpoint"] is None
    reader.shut()


def test_nothing_but_a_recovery_opens_a_journal_in_the_middle_of_one(scene: Scene) -> None:
    finish_fork(scene.witness, fork(scene))

    assert kind(scene) == "under way"
    with pytest.raises(JournalOld, match=r"being recovered.*Nothing was sent"):
        scene.open()
    asyncio.run(scene.open(recovering=True).close())


def test_a_fork_that_the_second_place_was_not_told_of_is_told_later(scene: Scene) -> None:
    begun = fork(scene)

    assert kind(scene) == "forked"
    for recovering in (False, True):
        with pytest.raises(JournalOld):
            scene.open(recovering=recovering)
    reader = open_readonly(scene.path)
    assert under_way(reader) == begun
    reader.shut()
    finish_fork(scene.witness, begun)
    finish_fork(scene.witness, begun)
    assert kind(scene) == "under way"
    assert forks_path(scene.witness).read_text().count(begun.data["journal"]) == 1


def test_a_backup_from_the_middle_of_a_recovery_is_old_again(scene: Scene, tmp_path: Path) -> None:
    finish_fork(scene.witness, fork(scene))
    backup(scene.path, tmp_path / "middle")

    async def burn() -> None:
        from tests.conformance.journal_records import intent

        journal = scene.open(recovering=True)
        entry, raw = intent("0xburn", [("nonce", 50)])
        await journal.append("signer:polygon:0xA", 0, [entry], [raw])
        await journal.close()

    asyncio.run(burn())
    scene.put_back(tmp_path / "middle")

    assert kind(scene) == "old"
    with pytest.raises(JournalOld):
        scene.open(recovering=True)
    assert recover(scene).data["epoch"] == 2
    assert kind(scene) == "latest"


@pytest.mark.parametrize("content", [None, b"torn"])
def test_a_lost_second_place_is_no_witness_and_a_recovery_makes_another(
    scene: Scene, content: bytes | None
) -> None:
    if content is None:
        scene.witness.unlink()
    else:
        scene.witness.write_bytes(content)

    assert kind(scene) == "unwitnessed"
    begun = recover(scene)
    assert begun.data["witnessed"] is None
    assert kind(scene) == "latest"
    asyncio.run(scene.open().close())


def test_a_journal_that_a_live_process_writes_is_not_recovered(
    scene: Scene, tmp_path: Path
) -> None:
    held = Witness.open(scene.witness, Witness.read(scene.witness)[-1].journal_id)

    with pytest.raises(JournalError, match="a live process writes"):
        fork(scene)
    assert kind(scene) == "old"
    held.close()
    assert fork(scene).data["epoch"] == 1
    del tmp_path


def test_the_second_place_of_an_unrelated_journal_is_foreign(scene: Scene, tmp_path: Path) -> None:
    other = Scene(tmp_path / "other")
    shutil.copyfile(other.witness, scene.witness)

    assert kind(scene) == "foreign"


def test_the_same_backup_recovered_twice_makes_two_logs_of_different_names(
    scene: Scene, tmp_path: Path
) -> None:
    first = recover(scene)
    scene.put_back(tmp_path / "copy")
    second = recover(scene)

    assert (first.data["epoch"], second.data["epoch"]) == (1, 2)
    reader = open_readonly(scene.path)
    assert log_origin(reader, "example.org/log") == "example.org/log/r2"
    reader.shut()
    assert kind(scene) == "latest"


def test_the_cut_names_the_last_checkpoint_that_left_the_machine(scene: Scene) -> None:
    published = published_path(scene.witness)
    note = "example.org/log\\n12\\nAAECAw==\\n\\n— example.org/log abcd\\n"
    published.write_text(f'{{"note":"{note}","size":12}}\n{{"note":"torn', encoding="utf-8")

    data = recover(scene).data

    assert data["checkpoint"] == {"size": 12, "root": "00010203"}
    assert not published.exists()  # kept beside the former second place
    kept = scene.witness.with_name(f"{scene.witness.name}.before-r1")
    assert published_path(kept).exists()
    assert kept.exists()


def test_what_a_recovery_could_not_explain_is_claimed_for_ever(scene: Scene) -> None:
    begun = fork(scene)
    finish_fork(scene.witness, begun)
    data = {
        "chain": "polygon", "tx": "0x9", "block": "b", "height": 3, "time": 0,
        "step": "unexplained", "dir": "forward", "claim": [["0xA", 77]], "accounts": ["0xA"],
        "names": [], "texts": [],
    }  # fmt: skip

    append(scene, Entry("unexplained", data), Entry("recovered", {}))

    for again in (False, True):
        if again:
            rebuild(scene.path)
        reader = open_readonly(scene.path)
        row = reader.claim("polygon", "0xA", 77)
        reader.shut()
        assert row is not None
        assert (row.stream, row.step) == ("operator", "unexplained")
    assert scene.check() == []


def test_a_torn_line_of_the_forks_hides_no_other(scene: Scene, tmp_path: Path) -> None:
    forks_path(scene.witness).write_text('{"former": "torn', encoding="utf-8")
    recover(scene)
    scene.put_back(tmp_path / "copy")

    assert kind(scene) == "superseded"
    assert recoveries.forks_path(scene.witness).exists()
