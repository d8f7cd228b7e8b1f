"""Journals of schema version 1: read as they are, and brought to this version."""

import asyncio
from pathlib import Path

import apsw
import pytest

from coordinator.errors import JournalError
from coordinator.journal import tree
from coordinator.journal.backup import backup
from coordinator.journal.database import SCHEMA_VERSION, migrate
from coordinator.journal.reading import open_readonly
from coordinator.journal.sqlite import SqliteJournal
from coordinator.journal.verify import check, rebuild
from coordinator.journal.witness import Witness
from proofs.log import leaf_hash, root_of
from tests.conformance.journal_records import proved

VECTOR = Path(__file__).parents[1] / "vectors" / "journal" / "version-1.sql"
PROOF = b"{}"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "journal" / "journal.db"
    path.parent.mkdir(mode=0o700)
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.execute(VECTOR.read_text())
    identity = connection.execute("SELECT value FROM meta WHERE name = 'journal_id'").get
    connection.close()
    path.chmod(0o600)
    (tmp_path / "elsewhere").mkdir()
    Witness.create(tmp_path / "elsewhere" / "witness", identity)
    return path


def witness(old: Path) -> Path:
    return old.parents[1] / "elsewhere" / "witness"


def test_an_old_journal_is_read_as_it_is(old: Path) -> None:
    before = old.read_bytes()
    reader = open_readonly(old)
    try:
        assert [row.state for row in reader.sagas()] == ["committed", "running"]
        assert len(reader.read("saga:amy")) == 7
        assert reader.raw("0xbob1") == b"signed bytes of 0xbob1"
        assert (reader.checkpoints(), reader.last_checkpoint(), reader.rotations()) == (
            [],
            None,
            [],
        )
        with pytest.raises(JournalError, match="no evidence"):
            reader.evidence("00" * 32)
        leaves = [leaf_hash(record.body) for record in reader.records()]
        assert tree.root(reader, len(leaves)) == root_of(leaves)
        assert check(reader, witness(old)) == []
    finally:
        reader.shut()
    assert old.read_bytes() == before


def test_an_old_journal_is_not_written_before_it_is_migrated(old: Path) -> None:
    with pytest.raises(JournalError, match="coordinator journal migrate"):
        SqliteJournal(old, witness(old))


def test_migration_keeps_every_record_and_adds_what_is_new(old: Path, tmp_path: Path) -> None:
    reader = open_readonly(old)
    before, identity = list(reader.records()), reader.journal_id
    reader.shut()
    backup(old, tmp_path / "copy")

    assert migrate(old) == (1, SCHEMA_VERSION)
    assert migrate(old) == (SCHEMA_VERSION, SCHEMA_VERSION)

    async def go_on() -> None:
        journal = SqliteJournal(old, witness(old))
        await journal.append("saga:bob", 2, [proved(PROOF)], evidence=[PROOF])
        await journal.close()

    asyncio.run(go_on())
    reader = open_readonly(old)
    try:
        assert list(reader.records())[:-1] == before
        assert reader.journal_id == identity
        assert check(reader, witness(old)) == []
    finally:
        reader.shut()
    assert rebuild(old) == 11
    # The backup that was made first is what it was.
    reader = open_readonly(tmp_path / "copy")
    assert list(reader.records()) == before
    reader.shut()


def test_a_migrated_journal_has_the_very_tables_of_a_new_one(old: Path, tmp_path: Path) -> None:
    SqliteJournal.create(tmp_path / "new.db", tmp_path / "there" / "witness")
    migrate(old)

    def tables(path: Path) -> object:
        connection = apsw.Connection(str(path))
        rows = connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
        version = connection.pragma("user_version")
        connection.close()
        return version, [(name, " ".join(str(sql).split())) for name, sql in rows]

    assert tables(old) == tables(tmp_path / "new.db")
