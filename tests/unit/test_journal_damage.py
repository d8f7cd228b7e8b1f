"""Damage is found and named; derived tables are made anew."""

import asyncio
import hashlib
from pathlib import Path

import apsw
import pytest

from coordinator.errors import JournalError
from coordinator.journal.backup import backup
from coordinator.journal.base import SagaRow
from coordinator.journal.body import encode_body
from coordinator.journal.reading import _checkpoint, _saga_row, open_readonly
from coordinator.journal.verify import _key, check, rebuild
from proofs import canonical
from tests.conformance.journal_records import intent, plain, proved, started
from tests.unit.journal_scene import Scene, journal_records


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    made = Scene(tmp_path)
    made.run_saga("amy", 1)
    made.run_saga("bob", 5)
    return made


def test_a_sound_journal_has_no_findings(scene: Scene) -> None:
    assert scene.check() == []


def test_a_flipped_bit_in_any_byte_of_a_record_is_detected_and_named(scene: Scene) -> None:
    third = journal_records(scene.path, "amy")[2]
    connection = apsw.Connection(str(scene.path))
    reader = open_readonly(scene.path)
    try:
        for index in range(len(third.body)):
            damaged = bytearray(third.body)
            damaged[index] ^= 1 << (index % 8)
            connection.execute("UPDATE records SET body = ? WHERE position = 3", (bytes(damaged),))
            with pytest.raises(JournalError, match=r"record 3 of saga:amy \(position 3\)"):
                reader.read("saga:amy")
        connection.execute("UPDATE records SET body = ? WHERE position = 3", (third.body,))
        assert reader.read("saga:amy")[2] == third
    finally:
        reader.shut()
        connection.close()


def test_check_names_the_one_damaged_record_by_stream_sequence_and_position(scene: Scene) -> None:
    scene.change(
        "UPDATE records SET body = CAST(replace(body, '0xamy1', '0xamy9') AS BLOB) "
        "WHERE position = 3"
    )

    first, second = scene.check()

    assert (first.stream, first.seq, first.position) == ("saga:amy", 3, 3)
    assert "hash" in first.text
    assert "not compared" in second.text


def test_a_changed_record_with_a_matching_hash_breaks_the_chain_behind_it(scene: Scene) -> None:
    old = journal_records(scene.path, "amy")[2]
    data = canonical.encode({**old.data, "height": 9})
    body = encode_body(old.stream, 3, old.kind, old.at_ms, old.prev, data)
    scene.change(
        "UPDATE records SET body = ?1, hash = unhex(?2) WHERE position = 3",
        body,
        canonical.digest(canonical.parse(body)),
    )

    with pytest.raises(JournalError, match=r"record 4 of saga:amy \(position 4\) names"):
        journal_records(scene.path, "amy")
    assert [(f.seq, f.position) for f in scene.check()][:1] == [(4, 4)]


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ("UPDATE records SET hash = zeroblob(32) WHERE position = 3", "(position 3)"),
        ("UPDATE records SET kind = 'closed' WHERE position = 3", "(position 3)"),
        ("UPDATE records SET sseq = 30 WHERE position = 3", "position 3"),
        ("UPDATE records SET stream = 'saga:eve' WHERE position = 3", "position 3"),
        ("UPDATE records SET position = 99 WHERE position = 3", "position 4"),
        ("DELETE FROM records WHERE position = 3", "position 4"),
        ("DELETE FROM records WHERE position = 14", "older than what this machine"),
        ("UPDATE attempts SET raw = zeroblob(9) WHERE tx = '0xamy1'", "0xamy1"),
        ("DELETE FROM attempts WHERE tx = '0xamy1'", "0xamy1"),
        ("UPDATE attempts SET tx = '0xother' WHERE tx = '0xamy1'", "0xamy1"),
        ("UPDATE attempts SET position = 3 WHERE tx = '0xamy1'", "0xamy1 belong to no intent"),
        ("DELETE FROM claims WHERE value = 1", "table claims lacks"),
        ("UPDATE claims SET stream = 'saga:bob' WHERE value = 1", "table claims"),
        ("INSERT INTO claims VALUES ('polygon', 'x', 1, 's', 'a', 'b')", "no record explains"),
        ("INSERT INTO locks VALUES ('x', 'amy')", "table locks holds"),
        ("INSERT INTO reservations VALUES ('amy', 'p', 'a', 'b', '1')", "table reservations"),
        ("UPDATE sagas SET state = 'running' WHERE saga = 'amy'", "table sagas"),
        ("UPDATE sagas SET key = 'free again' WHERE saga = 'amy'", "table sagas"),
        ("DELETE FROM sagas WHERE saga = 'amy'", "table sagas lacks"),
    ],
)
def test_check_finds_every_kind_of_tampering(scene: Scene, statement: str, names: str) -> None:
    if "position = 14" in statement:
        asyncio.run(_intent_at_the_end(scene))
        statement = statement.replace("14", "16")
    scene.change(statement)

    assert any(names in finding.text for finding in scene.check()), scene.check()


async def _intent_at_the_end(scene: Scene) -> None:
    journal = scene.open()
    entry, raw = intent("0xlast")
    await journal.append("saga:eve", 0, [started("eve"), entry], [raw])
    await journal.close()


PROOF, OTHER = b'{"n":1}', b'{"n":2}'


@pytest.fixture
def proven(scene: Scene) -> Scene:
    async def prove() -> None:
        journal = scene.open()
        await journal.append("operator", 0, [proved(PROOF), proved(OTHER)], (), [PROOF, OTHER])
        await journal.close()

    asyncio.run(prove())
    return scene


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ("DELETE FROM evidence WHERE body = ?1", "that it names is missing"),
        ("UPDATE evidence SET body = zeroblob(7) WHERE body = ?1", "that it names has other bytes"),
        ("UPDATE evidence SET sha256 = zeroblob(32) WHERE body = ?1", "that it names is missing"),
        ("UPDATE evidence SET sha256 = zeroblob(32) WHERE body = ?1", "is named by no record"),
        ("INSERT INTO evidence VALUES (zeroblob(32), ?1)", f"{'00' * 32} is named by no record"),
    ],
)
def test_check_finds_every_change_of_a_proof(proven: Scene, statement: str, names: str) -> None:
    assert proven.check() == []
    proven.change(statement, PROOF)

    findings = proven.check()
    assert any(names in finding.text for finding in findings), findings
    # The other proof and the record that names it are sound.
    assert {finding.position for finding in findings} <= {15, None}


def test_a_proof_that_changed_is_not_given_out(proven: Scene) -> None:
    proven.change("UPDATE evidence SET body = zeroblob(7) WHERE body = ?1", PROOF)

    reader = open_readonly(proven.path)
    with pytest.raises(JournalError, match="damaged"):
        reader.evidence(hashlib.sha256(PROOF).hexdigest())
    assert reader.evidence(hashlib.sha256(OTHER).hexdigest()) == OTHER
    reader.shut()


def test_a_backup_holds_the_proofs_and_a_rebuild_keeps_them(proven: Scene, tmp_path: Path) -> None:
    backup(proven.path, tmp_path / "copy")
    rebuild(proven.path)

    for path in (proven.path, tmp_path / "copy"):
        reader = open_readonly(path)
        assert reader.evidence(hashlib.sha256(PROOF).hexdigest()) == PROOF
        assert check(reader) == []
        reader.shut()


def test_stored_bytes_that_changed_are_not_given_out(scene: Scene) -> None:
    scene.change("UPDATE attempts SET raw = zeroblob(9) WHERE tx = '0xamy1'")

    reader = open_readonly(scene.path)
    with pytest.raises(JournalError, match="They were not sent"):
        reader.raw("0xamy1")
    assert reader.raw("0xamy2") == b"signed bytes of 0xamy2"
    reader.shut()


def test_the_driver_is_a_hint_that_needs_no_record(scene: Scene) -> None:
    scene.change("UPDATE sagas SET driver = 'somebody' WHERE saga = 'amy'")

    assert scene.check() == []


@pytest.mark.parametrize("table", ["claims", "reservations", "locks", "sagas"])
def test_derived_tables_are_rebuilt_from_the_records(scene: Scene, table: str) -> None:
    async def open_saga() -> None:
        journal = scene.open()
        begin = started(
            "eve",
            reservations=[("polygon", "0xA", "ALZ", 3, 9)],
            locks=["x", "y"],
            coins=[("pay", "bitcoin", "ab:0")],
        )
        brings, raw = intent("0xeve", [("nonce", 9)], facts={"brings": ["0xB", "ALZ", "3"]})
        entries = [begin, brings, plain("stuck"), plain("paused")]
        await journal.append("saga:eve", 0, entries, [raw])
        await journal.close()

    asyncio.run(open_saga())
    connection = apsw.Connection(str(scene.path))
    before = connection.execute(f"SELECT * FROM {table}").fetchall()
    assert before
    connection.execute(f"DELETE FROM {table}")
    connection.close()
    assert scene.check()

    assert rebuild(scene.path) == 18

    assert scene.check() == []
    connection = apsw.Connection(str(scene.path))
    assert connection.execute(f"SELECT * FROM {table}").fetchall() == before
    connection.close()


def test_a_rebuild_over_damaged_records_changes_nothing(scene: Scene) -> None:
    scene.change("UPDATE records SET hash = zeroblob(32) WHERE position = 9")
    with pytest.raises(JournalError, match=r"record 2 of saga:bob \(position 9\)"):
        rebuild(scene.path)

    connection = apsw.Connection(str(scene.path))
    assert connection.execute("SELECT count(*) FROM claims").get == 4
    connection.close()


def complaints(scene: Scene) -> list[str]:
    """Return the findings, or the refusal to look for any."""
    try:
        return [finding.text for finding in scene.check()]
    except JournalError as refusal:
        return [str(refusal)]


def test_the_files_structure_is_checked_too(scene: Scene) -> None:
    content = bytearray(scene.path.read_bytes())
    # The pointer array of a b-tree page somewhere in the middle.
    middle = len(content) // 2 // 4096 * 4096
    content[middle + 3 : middle + 12] = b"\xff" * 9
    scene.path.write_bytes(content)

    assert complaints(scene)


@pytest.mark.parametrize(
    "change",
    [
        "type = 'Table'",
        "tbl_name = 'Claims'",
        "sql = replace(sql, 'PRIMARY KEY', 'CHECK')",
        "sql = replace(sql, 'NOT NULL', '')",
    ],
)
def test_a_change_of_what_the_database_demands_of_later_rows_is_found(
    scene: Scene, change: str
) -> None:
    """R3 rests on it: the table of claims alone makes a claim unique."""
    connection = apsw.Connection(str(scene.path))
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
    connection.pragma("writable_schema", 1)
    changed = connection.execute(
        f"UPDATE sqlite_schema SET {change} WHERE name = 'claims' RETURNING 1"
    ).fetchall()
    connection.close()

    assert changed
    assert complaints(scene)


@pytest.mark.parametrize("keep", [0, 50, 4096, 9000])
def test_a_truncated_file_is_refused_or_reported(scene: Scene, keep: int) -> None:
    scene.path.write_bytes(scene.path.read_bytes()[:keep])

    assert complaints(scene)
    with pytest.raises(JournalError):
        asyncio.run(_touch(scene))


async def _touch(scene: Scene) -> None:
    journal = scene.open()
    try:
        journal.read("saga:amy")
        journal.sagas()
    finally:
        await journal.close()


def test_rows_of_any_types_are_ordered_as_the_database_does() -> None:
    values = [None, 5, 1.5, "5", "text", b"", b"text", -3]
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE rows (a, b)")
    for first in values:
        connection.executemany("INSERT INTO rows VALUES (?, ?)", [(first, b) for b in values])
    ordered = connection.execute("SELECT a, b FROM rows ORDER BY a, b").fetchall()
    assert sorted(ordered, key=_key) == ordered
    connection.close()


@pytest.mark.parametrize("column", range(4))
@pytest.mark.parametrize("value", [None, 1.5, "text"], ids=repr)
def test_a_signed_head_with_a_column_of_another_type_is_damage(column: int, value: object) -> None:
    row: list[object] = [5, b"root", b"note", 7]
    row[column] = value
    with pytest.raises(JournalError, match=r"the signed head of .* records is none"):
        _checkpoint(tuple(row))


@pytest.mark.parametrize("column", range(11))
def test_a_saga_row_with_a_column_of_another_type_is_damage(column: int) -> None:
    row: list[object] = ["amy", "plan", "digest", "key", "running", 0, 0, 5, 6, 7, 8, "driver"]
    row[column] = b"bytes"
    with pytest.raises(JournalError, match=r"the row of saga .* of another type"):
        _saga_row(tuple(row))


@pytest.mark.parametrize("driver", [b"bytes", 5, None])
def test_a_driver_that_is_no_text_is_nobody(driver: object) -> None:
    row = ("amy", "plan", "digest", "key", "running", 0, 1, 5, 6, 7, 8, driver)
    assert _saga_row(row) == SagaRow(
        "amy", "plan", "digest", "key", "running", False, True, 5, 6, 7, 8, None
    )


@pytest.mark.parametrize("body", ["x'00'", "CAST('{}' AS BLOB)", "CAST('null' AS BLOB)"])
def test_the_position_of_a_time_is_not_taken_from_damaged_records(scene: Scene, body: str) -> None:
    scene.change(f"UPDATE records SET body = {body} WHERE position = 1")
    reader = open_readonly(scene.path)
    try:
        with pytest.raises(JournalError, match="the journal is damaged: record 1 of"):
            reader.position_at(1)
    finally:
        reader.shut()
