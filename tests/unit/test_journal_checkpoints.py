"""Signed heads: stored once per size, published behind the store, and held against the records."""

import asyncio
import json
import threading
from pathlib import Path

import apsw
import pytest

from coordinator.errors import JournalError
from coordinator.journal import tree
from coordinator.journal.backup import backup
from coordinator.journal.base import CheckpointRow, Entry
from coordinator.journal.body import encode_body
from coordinator.journal.checkpoints import log_findings, log_origin, store
from coordinator.journal.database import open_writer
from coordinator.journal.published import last_published, publish, published_path, set_aside
from coordinator.journal.reading import open_readonly
from coordinator.journal.verify import check
from proofs import canonical
from proofs.checkpoint import Checkpoint, signed, verify_checkpoint
from tests.unit.log_scene import KEY, NEXT, ORIGIN, LogScene


@pytest.fixture
def scene(tmp_path: Path) -> LogScene:
    made = LogScene(tmp_path)
    made.fill("amy", 7)
    made.sign()
    made.fill("bob", 6)
    made.sign()
    return made


def note(size: int, root: bytes) -> bytes:
    return signed(Checkpoint(ORIGIN, size, root).text(), ORIGIN, [(KEY.address, KEY.sign)])


# ---------------------------------------------------------------- signing and publishing


def test_a_head_covers_all_records_and_is_signed_stored_and_published(scene: LogScene) -> None:
    with scene.reader() as reader:
        rows = reader.checkpoints()
        assert [row.size for row in rows] == [7, 13]
        for row in rows:
            head = verify_checkpoint(row.note, origin=ORIGIN, address=KEY.address)
            assert (head.size, head.root) == (row.size, row.root)
            assert row.root == tree.root(reader, row.size)
        assert reader.last_checkpoint() == rows[1]
        assert reader.last_checkpoint(within=12) == rows[0]
        assert reader.checkpoint_covering(7) == rows[0]
        assert reader.checkpoint_covering(8) == rows[1]
        assert reader.checkpoint_covering(14) is None
    assert [(line.size, line.note) for line in scene.lines()] == [(r.size, r.note) for r in rows]
    assert scene.published.stat().st_mode & 0o777 == 0o600
    assert scene.check(scene.history()) == []
    scene.confirm()


def test_nothing_is_signed_twice_and_an_idle_heartbeat_says_the_same_again(
    scene: LogScene,
) -> None:
    before = scene.sign()
    assert len(scene.lines()) == 2
    again = scene.sign(always=True)

    assert (again.size, again.note) == (before.size, before.note)
    assert again.at_ms > before.at_ms
    assert [line.size for line in scene.lines()] == [7, 13, 13]
    assert scene.sizes() == [7, 13]
    assert scene.check(scene.history()) == []


def test_an_empty_log_is_not_signed(tmp_path: Path) -> None:
    scene = LogScene(tmp_path)
    desk = scene.desk()
    assert desk.sign(always=True) is None
    desk.close()
    assert scene.sizes() == []
    assert not scene.published.exists()


def test_the_same_head_signed_by_two_processes_is_the_same_note(scene: LogScene) -> None:
    """RFC 6979: no chance is in a signature, so no two notes of one size can be shown."""
    digest = bytes(range(32))
    assert {KEY.sign(digest) for _ in range(20)} == {KEY.sign(digest)}
    assert NEXT.sign(digest) != KEY.sign(digest)

    with scene.reader() as reader:
        row = reader.last_checkpoint()
    assert row is not None
    assert note(row.size, row.root) == row.note


def test_of_processes_that_sign_at_once_one_stores_each_size_and_lines_stay_in_order(
    tmp_path: Path,
) -> None:
    scene = LogScene(tmp_path)
    scene.fill("amy", 5)
    troubles: list[BaseException] = []

    def work(number: int) -> None:
        desk = scene.desk()
        try:
            for n in range(5):
                scene.fill(f"s{number}-{n}", 3)
                desk.sign(always=n == 4)
        except BaseException as error:  # noqa: BLE001 - told below
            troubles.append(error)
        finally:
            desk.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert troubles == []
    with scene.reader() as reader:
        stored = {row.size: row.note for row in reader.checkpoints()}
    assert max(stored) == 65
    sizes = [line.size for line in scene.lines()]
    assert sizes == sorted(sizes)
    assert {line.size: line.note for line in scene.lines()} == stored
    assert scene.check(scene.history()) == []


def test_what_was_stored_and_not_published_is_published_next_time(scene: LogScene) -> None:
    """A process that is killed between the two leaves the store ahead, never behind."""
    scene.fill("cat", 4)
    connection = open_writer(scene.path)
    store(connection, scene.path, note, 5)
    connection.close()
    assert (scene.sizes(), [line.size for line in scene.lines()]) == ([7, 13, 17], [7, 13])
    scene.confirm()
    assert scene.check(scene.history()) == []

    scene.sign()

    assert [line.size for line in scene.lines()] == [7, 13, 17]


def test_a_note_that_can_not_be_made_leaves_no_trace(scene: LogScene) -> None:
    scene.fill("cat", 4)
    connection = open_writer(scene.path)

    def fails(_size: int, _root: bytes) -> bytes:
        raise JournalError("no key")

    with pytest.raises(JournalError, match="no key"):
        store(connection, scene.path, fails, 5)
    assert not connection.in_transaction
    connection.close()
    assert scene.sizes() == [7, 13]
    scene.fill("dan", 2)


def test_a_torn_last_line_is_left_out_and_made_whole(scene: LogScene) -> None:
    content = scene.published.read_bytes()
    for cut in (1, 40, len(content.splitlines()[1])):
        scene.published.write_bytes(content[:-cut])
        last = last_published(scene.published)
        assert last is not None
        assert last.size == 7
        assert [line.size for line in scene.lines()] == [7]
        scene.confirm()
        assert scene.check(scene.history()) == []
        scene.sign(always=True)
        assert scene.published.read_bytes() == content

    scene.published.write_bytes(content[:30])
    assert last_published(scene.published) is None
    scene.sign()
    assert scene.published.read_bytes() == content


def test_a_lost_file_of_checkpoints_is_published_again(scene: LogScene) -> None:
    content = scene.published.read_bytes()
    scene.published.unlink()
    scene.confirm()
    scene.sign()
    assert scene.published.read_bytes() == content


def test_another_process_that_is_stopped_while_it_publishes_does_not_stop_this_one(
    scene: LogScene,
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def stopped(_last: object) -> list[CheckpointRow]:
        entered.set()
        leave.wait(30)
        return []

    other = threading.Thread(target=publish, args=(scene.published, stopped))
    other.start()
    entered.wait(10)
    scene.fill("cat", 4)
    try:
        with pytest.raises(JournalError, match="held by another process"):
            scene.sign()
    finally:
        leave.set()
        other.join()
    assert scene.sizes() == [7, 13, 17]
    scene.sign()
    assert [line.size for line in scene.lines()] == [7, 13, 17]


# ---------------------------------------------------------------- tampering


def exchange(scene: LogScene, position: int) -> None:
    """Change a record and all that follows from it in its stream, as one who owns the file."""
    connection = apsw.Connection(str(scene.path))
    with scene.reader() as reader:
        first = reader.record_at(position)
        assert first is not None
        prev = first.prev
        for record in reader.read(first.stream, first.seq - 1):
            data = canonical.encode({**record.data, "forged": True})
            body = encode_body(record.stream, record.seq, record.kind, record.at_ms, prev, data)
            prev = canonical.digest(canonical.parse(body))
            connection.execute(
                "UPDATE records SET body = ?, hash = unhex(?) WHERE position = ?",
                (body, prev, record.position),
            )
    connection.close()


@pytest.mark.parametrize("tree_too", [True, False])
@pytest.mark.parametrize("published", [True, False])
def test_an_exchanged_record_is_found_at_the_start_whatever_was_exchanged_with_it(
    scene: LogScene, *, tree_too: bool, published: bool
) -> None:
    exchange(scene, 3)
    if tree_too:
        scene.forget_tree()
    if published:
        scene.published.unlink()

    with pytest.raises(JournalError, match="are not those in"):
        scene.confirm()


def test_an_exchanged_record_with_all_its_hashes_made_anew_is_found_by_what_was_signed(
    scene: LogScene,
) -> None:
    exchange(scene, 3)
    scene.forget_tree()

    texts = scene.texts(log=scene.history())
    assert [text for text in texts if "what was signed was exchanged" in text]
    assert any(text.startswith("the checkpoint of 7 records") for text in texts)
    with pytest.raises(
        JournalError, match=r"(?s)Nothing was sent.*README.md, 'A lost or old journal'"
    ):
        scene.confirm()


def test_nothing_is_signed_on_top_of_an_exchanged_record(scene: LogScene) -> None:
    exchange(scene, 3)
    scene.forget_tree()
    scene.fill("cat", 4)

    with pytest.raises(JournalError, match="does not begin with what its last checkpoint covers"):
        scene.sign()
    assert scene.sizes() == [7, 13]


def test_records_cut_off_behind_a_head_are_missed(scene: LogScene) -> None:
    connection = apsw.Connection(str(scene.path))
    connection.execute("DELETE FROM records WHERE position > 10")
    connection.close()

    assert any("records were taken away" in text for text in scene.texts())
    with pytest.raises(JournalError, match="ends at position 10"):
        scene.confirm()


def test_a_restored_backup_is_missed_by_what_was_published(scene: LogScene, tmp_path: Path) -> None:
    """No intent was written since, so the second place's mark alone would not tell."""
    backup(scene.path, tmp_path / "copy")
    scene.fill("cat", 4)
    scene.sign()
    for name in ("journal.db-wal", "journal.db-shm"):
        scene.path.with_name(name).unlink(missing_ok=True)
    (tmp_path / "copy").replace(scene.path)

    with pytest.raises(JournalError, match=r"covers 17 records, but .* ends at position 13"):
        scene.confirm()
    texts = scene.texts(log=scene.history())
    assert any("published checkpoint covers 17 records, the log ends at 13" in t for t in texts)
    assert any("published checkpoint of 17 records is not stored" in text for text in texts)

    scene.fill("eve", 4)
    with pytest.raises(JournalError, match="are not those in"):
        scene.confirm()
    assert any("what was signed was exchanged" in text for text in scene.texts())
    with pytest.raises(JournalError, match="coordinator journal check"):
        scene.sign()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE checkpoints SET root = zeroblob(32) WHERE size = 7", "another size or root"),
        ("UPDATE checkpoints SET size = 8 WHERE size = 7", "another size or root"),
        (
            "UPDATE checkpoints SET note = CAST(replace(note, 'es', 'ez') AS BLOB) WHERE size = 7",
            "is not signed as it should be",
        ),
        ("UPDATE checkpoints SET note = CAST('x' AS BLOB) WHERE size = 7", "note-form"),
        (
            "DELETE FROM checkpoints WHERE size = 7",
            "published checkpoint of 7 records is not stored",
        ),
    ],
)
def test_check_finds_every_change_of_a_stored_head(
    scene: LogScene, statement: str, words: str
) -> None:
    scene.change(statement)

    texts = scene.texts(log=scene.history())
    assert any(words in text for text in texts), texts


@pytest.mark.parametrize("known", [True, False])
def test_a_head_signed_by_a_stranger_is_found(scene: LogScene, *, known: bool) -> None:
    with scene.reader() as reader:
        row = reader.last_checkpoint()
        assert row is not None
    text = Checkpoint(ORIGIN, row.size, row.root).text()
    strange = signed(text, ORIGIN, [(NEXT.address, NEXT.sign)])
    scene.change("UPDATE checkpoints SET note = ? WHERE size = 13", strange)
    scene.published.unlink()

    texts = scene.texts(log=scene.history() if known else None)
    assert any("checkpoint of 13 records is not signed" in text for text in texts)
    with pytest.raises(JournalError, match="not signed by the key of"):
        scene.confirm()


def test_every_flipped_byte_of_a_stored_note_is_found(scene: LogScene) -> None:
    with scene.reader() as reader:
        row = reader.last_checkpoint()
    assert row is not None
    history = scene.history()
    connection = apsw.Connection(str(scene.path))
    for index in range(len(row.note)):
        changed = bytearray(row.note)
        changed[index] ^= 1
        connection.execute("UPDATE checkpoints SET note = ? WHERE size = 13", (bytes(changed),))
        reader = open_readonly(scene.path)
        try:
            assert check(reader, None, history), index
        finally:
            reader.shut()
    connection.close()


def test_damage_to_what_was_published_is_told(scene: LogScene) -> None:
    lines = scene.published.read_bytes().splitlines(keepends=True)
    good = json.loads(lines[1])
    bad = [
        b"{}\n",
        b"\n",
        b"\xff\n",
        json.dumps(good).encode() + b"\n",
        canonical.encode({**good, "size": 12}) + b"\n",
        canonical.encode({**good, "more": 1}) + b"\n",
        canonical.encode({**good, "size": True}) + b"\n",
    ]
    for line in bad:
        scene.published.write_bytes(lines[0] + line)
        with pytest.raises(JournalError, match="damaged"):
            scene.confirm()
        assert any("damaged" in text for text in scene.texts())
        with pytest.raises(JournalError, match="damaged"):
            scene.sign()
    scene.published.write_bytes(lines[1] + lines[0])
    assert any("less than the one above" in text for text in scene.texts())
    scene.published.write_bytes(b"x" * (1 << 20))
    with pytest.raises(JournalError, match="damaged"):
        scene.confirm()


def test_heads_that_were_published_while_the_check_runs_are_no_finding(scene: LogScene) -> None:
    scene.fill("cat", 4)
    reader = open_readonly(scene.path)
    reader.connection.execute("BEGIN")
    assert reader.last_position() == 17
    # What `check` would see of the file if it asked after its snapshot began.
    until = scene.published.stat().st_size
    scene.sign()
    try:
        assert list(log_findings(reader, scene.history(), scene.witness, until)) == []
        late = scene.published.stat().st_size
        assert list(log_findings(reader, scene.history(), scene.witness, late)) != []
    finally:
        reader.shut()


# ---------------------------------------------------------------- recovered journals


def test_a_recovered_journal_signs_under_another_name_and_forgets_the_former_heads(
    scene: LogScene,
) -> None:
    async def recover() -> None:
        journal = scene.open()
        await journal.append("operator", 0, [Entry("recovery", {"epoch": 1})])
        await journal.append("operator", 1, [Entry("recovered", {"epoch": 1})])
        await journal.close()

    asyncio.run(recover())
    keep = scene.witness.with_name("witness.before-r1")
    set_aside(scene.witness, keep)
    row = scene.sign()
    set_aside(scene.witness, keep)

    assert verify_checkpoint(row.note, origin=f"{ORIGIN}/r1", address=KEY.address).size == 15
    assert [line.size for line in scene.lines()] == [15]
    assert published_path(keep).read_bytes().count(b"\n") == 2
    scene.confirm()
    assert scene.check(scene.history()) == []
    assert scene.check() == []
    with scene.reader() as reader:
        assert log_origin(reader, ORIGIN) == f"{ORIGIN}/r1"
