"""The file: whose it is, which version, who may read it, and what else may use it meanwhile."""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from coordinator.errors import JournalBroken, JournalError
from coordinator.journal.backup import backup
from coordinator.journal.base import Entry
from coordinator.journal.database import APPLICATION_ID, SCHEMA_VERSION, migrate
from coordinator.journal.reading import open_readonly
from coordinator.journal.sqlite import SqliteJournal
from coordinator.journal.statements import QUERIES, SCHEMA
from coordinator.journal.verify import check
from tests.conformance.journal_records import plain, started, stream
from tests.unit.journal_scene import Scene, journal_records

NOBODY = 65534


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


# ---------------------------------------------------------------- identity and version


def test_the_file_says_whose_it_is(scene: Scene) -> None:
    connection = apsw.Connection(str(scene.path))

    assert connection.pragma("application_id") == APPLICATION_ID
    assert connection.pragma("user_version") == SCHEMA_VERSION
    assert connection.pragma("journal_mode") == "wal"
    connection.close()


def test_a_journal_of_a_future_version_is_refused_by_every_door(scene: Scene) -> None:
    connection = apsw.Connection(str(scene.path))
    connection.pragma("user_version", SCHEMA_VERSION + 1)
    connection.close()

    doors: list[Callable[[], object]] = [
        scene.open,
        lambda: open_readonly(scene.path),
        lambda: migrate(scene.path),
        lambda: backup(scene.path, scene.path.with_name("copy")),
    ]
    for door in doors:
        with pytest.raises(JournalError, match=r"newer coordinator.*nothing was sent") as caught:
            door()
        assert caught.value.exit_code == 30


def test_migrating_a_current_journal_changes_nothing(scene: Scene) -> None:
    scene.run_saga("amy", 1)
    before = journal_records(scene.path, "amy")

    assert migrate(scene.path) == (SCHEMA_VERSION, SCHEMA_VERSION)
    assert migrate(scene.path) == (SCHEMA_VERSION, SCHEMA_VERSION)

    assert journal_records(scene.path, "amy") == before
    assert scene.check() == []


@pytest.mark.parametrize("content", [b"", b"no database at all" * 300, None])
def test_what_is_no_journal_is_refused(scene: Scene, content: bytes | None) -> None:
    if content is None:
        scene.path.unlink()
        other = apsw.Connection(str(scene.path))
        other.execute("CREATE TABLE records (x)")
        other.close()
    else:
        scene.path.write_bytes(content)
    scene.path.chmod(0o600)

    for door in (scene.open, lambda: open_readonly(scene.path), lambda: migrate(scene.path)):
        with pytest.raises(JournalError, match="Nothing was sent"):
            door()


def test_a_missing_journal_is_not_made_up(scene: Scene) -> None:
    scene.path.unlink()

    for door in (scene.open, lambda: open_readonly(scene.path), lambda: migrate(scene.path)):
        with pytest.raises(JournalError, match="coordinator run PLAN --execute"):
            door()
    assert not scene.path.exists()


def test_an_existing_journal_is_not_created_again(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="exists already"):
        SqliteJournal.create(scene.path, tmp_path / "third" / "witness")


# ---------------------------------------------------------------- who may read it


def test_file_folder_log_and_copies_are_private(scene: Scene, tmp_path: Path) -> None:
    async def scenario() -> None:
        journal = scene.open()
        await journal.append(stream("amy"), 0, [started("amy")])
        modes = {path.name: path.stat().st_mode & 0o777 for path in scene.path.parent.iterdir()}
        assert modes == dict.fromkeys(["journal.db", "journal.db-wal", "journal.db-shm"], 0o600)
        await journal.close()

    asyncio.run(scenario())
    backup(scene.path, tmp_path / "copy")

    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    assert scene.path.parent.stat().st_mode & 0o777 == 0o700


def test_a_journal_that_others_may_read_is_refused_for_writing(scene: Scene) -> None:
    scene.path.chmod(0o640)

    with pytest.raises(JournalError, match=r"mode 640.*chmod 600"):
        scene.open()


@contextmanager
def _not_root() -> Iterator[None]:
    """File modes mean nothing to root: be somebody else for a while, where we are root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_reader_needs_no_right_to_write_and_a_writer_is_refused(open_folder: Path) -> None:
    scene = Scene(open_folder)
    records = scene.run_saga("amy", 1)
    scene.path.parent.chmod(0o555)
    scene.path.chmod(0o444)
    with _not_root():
        reader = open_readonly(scene.path)
        assert reader.read("saga:amy") == records
        reader.shut()
        with pytest.raises(JournalError, match="Nothing was sent"):
            scene.open()
        with pytest.raises(JournalError, match="can not be created"):
            SqliteJournal.create(scene.path.with_name("new.db"), open_folder / "witness")


def test_records_beside_an_unwritable_journal_are_not_overlooked(open_folder: Path) -> None:
    scene = Scene(open_folder)
    scene.run_saga("amy", 1)
    log = scene.path.with_name("journal.db-wal")
    log.write_bytes(b"frames that nobody has moved into the database")
    scene.path.chmod(0o444)
    scene.path.parent.chmod(0o555)
    with _not_root(), pytest.raises(JournalError, match="Copy both files"):
        open_readonly(scene.path)


def test_reading_imports_no_chain_no_network_and_no_event_loop(scene: Scene) -> None:
    script = (
        "import sys, pathlib; from coordinator.journal.reading import open_readonly; "
        "import coordinator.journal.verify, coordinator.journal.liveness; "
        "r = open_readonly(pathlib.Path(sys.argv[1])); r.sagas(); "
        "print([m for m in ('web3', 'eth_account', 'aiohttp', 'asyncio', 'bitcoin') "
        "if m in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", script, scene.path], capture_output=True, text=True, check=True
    )

    assert said.stdout.strip() == "[]"


# ---------------------------------------------------------------- several at once


def test_a_reader_sees_commits_of_a_running_writer(scene: Scene) -> None:
    async def scenario() -> None:
        journal = scene.open()
        reader = open_readonly(scene.path)
        for seq in range(5):
            entry = started("amy") if seq == 0 else plain("paused")
            await journal.append(stream("amy"), seq, [entry])
            assert len(reader.read(stream("amy"))) == seq + 1
            assert check(reader, scene.witness) == []
        reader.shut()
        await journal.close()

    asyncio.run(scenario())


def test_a_backup_of_a_journal_in_use_is_a_whole_journal(scene: Scene, tmp_path: Path) -> None:
    async def scenario() -> None:
        journal = scene.open()
        stop = asyncio.Event()

        async def write(saga: str) -> None:
            seq = 0
            while not stop.is_set():
                entry = plain("paused") if seq else started(saga)
                await journal.append(stream(saga), seq, [entry])
                seq += 1

        writers = [asyncio.create_task(write(f"s{n}")) for n in range(4)]
        for number in range(5):
            mark = await asyncio.to_thread(backup, scene.path, tmp_path / f"copy{number}")
            copy = open_readonly(tmp_path / f"copy{number}")
            assert check(copy) == []
            assert copy.last_position() == mark.position
            assert copy.journal_id == mark.journal_id
            copy.shut()
        stop.set()
        await asyncio.gather(*writers)
        await journal.close()

    asyncio.run(scenario())


def test_a_backup_does_not_overwrite(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "copy").write_text("precious")

    with pytest.raises(JournalError, match="exists already"):
        backup(scene.path, tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "precious"


def test_while_another_process_writes_the_loop_goes_on_and_the_append_follows(
    scene: Scene,
) -> None:
    async def scenario() -> None:
        journal = scene.open()
        other = apsw.Connection(str(scene.path))
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.ensure_future(journal.append(stream("amy"), 0, [started("amy")]))
        longest_s = 0.0
        for _ in range(50):
            before_s = time.perf_counter()
            await asyncio.sleep(0.002)
            longest_s = max(longest_s, time.perf_counter() - before_s)
        assert not waiting.done()
        # A blocked loop would show the whole wait of a busy timeout here.
        assert longest_s < 1
        other.execute("ROLLBACK")
        assert len(await waiting) == 1
        other.close()
        await journal.close()

    asyncio.run(scenario())


def test_another_process_that_never_lets_go_is_named_and_does_not_end_this_one(
    scene: Scene,
) -> None:
    async def scenario() -> None:
        journal = scene.open(busy_s=0.05)
        other = apsw.Connection(str(scene.path))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match=r"another process.*Nothing was written") as caught:
            await journal.append(stream("amy"), 0, [started("amy")])
        assert not isinstance(caught.value, JournalBroken)
        other.execute("ROLLBACK")
        other.close()
        await journal.append(stream("amy"), 0, [started("amy")])
        await journal.close()

    asyncio.run(scenario())


def test_the_log_does_not_grow_with_the_number_of_commits(scene: Scene) -> None:
    async def scenario() -> int:
        journal = scene.open()
        seq = 0
        entry = started("amy")
        for _ in range(700):
            await journal.append(stream("amy"), seq, [entry, *[_bulky()] * 4])
            seq += 5
            entry = plain("paused")
        size = scene.path.with_name("journal.db-wal").stat().st_size
        await journal.close()
        return size

    # 700 commits of 40 kB each are 28 MB.
    assert asyncio.run(scenario()) < 20_000_000


def _bulky() -> Entry:
    return Entry("paused", {"by": "x" * 10_000, "reason": ""})


def test_processes_that_make_the_same_journal_at_once_end_up_with_one(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys, pathlib; from coordinator.journal.sqlite import SqliteJournal\n"
        "from coordinator.errors import JournalError\n"
        "a, b = map(pathlib.Path, sys.argv[1:])\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "try:\n    SqliteJournal.create(a, b); print('made')\n"
        "except JournalError as error:\n    print('found')\n"
        "asyncio.run(SqliteJournal(a, b).close())\n"
    )
    places = tmp_path / "journal" / "journal.db", tmp_path / "elsewhere" / "witness"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script, *places],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    said = [child.communicate("go\n", timeout=30)[0].strip() for child in children]

    assert sorted(said) == ["found"] * 3 + ["made"]
    assert [child.returncode for child in children] == [0] * 4
    assert [path.name for path in places[0].parent.iterdir()] == ["journal.db"]
    assert [path.name for path in places[1].parent.iterdir()] == ["witness"]


def _explained(explain: str, name: str) -> str:
    """Return how SQLite carries out a statement of the journal, on an empty one."""
    database = apsw.Connection(":memory:")
    database.execute(SCHEMA)
    statement = re.sub(r"\?\d?", "NULL", QUERIES[name])
    return repr(database.execute(f"{explain} {statement}").fetchall())


def test_the_list_of_open_sagas_reads_no_closed_one() -> None:
    assert "open_sagas" in _explained("EXPLAIN QUERY PLAN", "sagas_open")


@pytest.mark.parametrize("name", ["sagas_after", "streams_with_open_claims"])
def test_what_a_service_asks_every_minute_begins_where_it_has_read_to(name: str) -> None:
    plan = _explained("EXPLAIN QUERY PLAN", name)

    assert "USING INTEGER PRIMARY KEY (rowid>?)" in plan
    assert "SCAN" not in plan


@pytest.mark.parametrize("name", ["saga_insert", "saga_decided", "saga_closed"])
def test_no_statement_of_every_saga_builds_a_table_of_its_own(name: str) -> None:
    assert "OpenEphemeral" not in _explained("EXPLAIN", name)
