"""The log's tree in the journal: lazily stored, never wrong, and damage to it is found."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.errors import JournalError
from coordinator.journal import tree
from coordinator.journal.base import Entry
from coordinator.journal.database import open_writer
from coordinator.journal.reading import JournalReader, open_readonly
from coordinator.journal.verify import rebuild
from proofs.errors import Refused
from proofs.log import (
    EMPTY_ROOT,
    build_consistency,
    build_inclusion,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from tests.unit.log_scene import LogScene

COUNT = 75


@pytest.fixture
def scene(tmp_path: Path) -> LogScene:
    made = LogScene(tmp_path)
    made.fill("amy", 40)
    made.fill("bob", COUNT - 40)
    return made


@pytest.fixture
def writer(scene: LogScene) -> Iterator[apsw.Connection]:
    connection = open_writer(scene.path)
    yield connection
    connection.close()


def leaves(reader: JournalReader) -> list[bytes]:
    return [leaf_hash(record.body) for record in reader.records()]


def stored(scene: LogScene) -> list[tuple[object, ...]]:
    connection = apsw.Connection(str(scene.path))
    rows = connection.execute("SELECT level, idx, hash FROM log_nodes ORDER BY 1, 2").fetchall()
    connection.close()
    return rows


@pytest.mark.parametrize("kept", [0, 2, 30, 64, 74])
def test_every_proof_and_root_is_right_however_much_is_stored(
    scene: LogScene, writer: apsw.Connection, kept: int
) -> None:
    if kept:
        tree.extend(writer, scene.path, kept)
    assert sum(1 for level, *_ in stored(scene) if level == 1) == kept // 2

    with scene.reader() as reader:
        hashes = leaves(reader)
        roots = [root_of(hashes[:size]) for size in range(COUNT + 1)]
        read = tree.nodes(reader)
        assert tree.root(reader, 0) == EMPTY_ROOT
        for size in range(1, COUNT + 1):
            assert tree.root(reader, size) == roots[size]
            for index in range(size):
                path = build_inclusion(index, size, read)
                verify_inclusion(hashes[index], index, size, path, roots[size])
            for old in range(size + 1):
                proof = build_consistency(old, size, read)
                verify_consistency(old, size, roots[old], roots[size], proof)
        assert tree.inclusion(reader, 7, 50) == build_inclusion(7, 50, read)
        assert tree.consistency(reader, 7, 50) == build_consistency(7, 50, read)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.integers(1, 40), max_size=6))
def test_whatever_the_steps_in_which_it_grows_the_tree_is_the_same(
    scene: LogScene, steps: list[int]
) -> None:
    connection = open_writer(scene.path)
    try:
        tree.delete(connection)
        for step in steps:
            tree.extend(connection, scene.path, step)
        while tree.extend(connection, scene.path, 16) > 1:
            pass
        assert tree.write(connection, scene.path) == COUNT
    finally:
        connection.close()
    assert len(stored(scene)) == sum(COUNT >> level for level in range(1, 7))
    assert scene.check() == []


def test_what_another_process_stored_meanwhile_is_not_stored_twice(
    scene: LogScene, writer: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_writer(scene.path)
    hashed = tree._next_nodes

    def overtaken(
        connection: apsw.Connection, path: Path, stored: int, most: int
    ) -> tuple[list[tuple[int, int, bytes]], int]:
        made = hashed(connection, path, stored, most)
        if connection is writer:
            tree.extend(other, path, 64)
        return made

    monkeypatch.setattr(tree, "_next_nodes", overtaken)
    try:
        tree.extend(writer, scene.path, 32)
    finally:
        other.close()
    assert sum(1 for level, *_ in stored(scene) if level == 1) == 32
    assert scene.check() == []


def test_a_reader_writes_nothing_and_holds_no_snapshot(scene: LogScene) -> None:
    with scene.reader() as reader:
        read = tree.nodes(reader)
        build_inclusion(3, COUNT, read)
        assert stored(scene) == []
        scene.fill("cat", 5)
        # The same reader sees what came since: none of its statements is still open.
        assert reader.last_position() == COUNT + 5
        assert tree.root(reader, COUNT + 5) == root_of(leaves(reader))


def test_what_lies_beyond_the_log_has_no_proof(scene: LogScene) -> None:
    with scene.reader() as reader:
        with pytest.raises(Refused, match="log-index"):
            tree.inclusion(reader, 50, 50)
        with pytest.raises(Refused, match="log-size"):
            tree.consistency(reader, 51, 50)
        for asked in (COUNT + 1, COUNT + 100):
            with pytest.raises(JournalError, match=f"lacks record {COUNT + 1}"):
                tree.root(reader, asked)


def test_the_tree_is_derived_and_made_anew_by_a_rebuild(
    scene: LogScene, writer: apsw.Connection
) -> None:
    tree.write(writer, scene.path)
    before = stored(scene)
    writer.execute("DELETE FROM log_nodes WHERE level = 2")
    assert len(scene.check()) == COUNT >> 2
    rebuild(scene.path)
    assert stored(scene) == before
    assert scene.check() == []


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM log_nodes WHERE level = 1 AND idx = 3", "node 3 of level 1 .*is missing"),
        ("DELETE FROM log_nodes WHERE level = 3 AND idx = 8", "node 8 of level 3 .*is missing"),
        ("DELETE FROM log_nodes WHERE level = 6", "node 0 of level 6 .*is missing"),
        (
            "UPDATE log_nodes SET hash = zeroblob(32) WHERE level = 2 AND idx = 5",
            "node 5 .*differs",
        ),
        ("UPDATE log_nodes SET hash = zeroblob(3) WHERE level = 6", "node 0 of level 6 .*differs"),
        ("INSERT INTO log_nodes VALUES (1, 37, zeroblob(32))", "explained by no record"),
        ("INSERT INTO log_nodes VALUES (1, 900, zeroblob(32))", "explained by no record"),
        ("INSERT INTO log_nodes VALUES (4, 4, zeroblob(32))", "node 4 of level 4 .*no record"),
        ("INSERT INTO log_nodes VALUES (7, 0, zeroblob(32))", "node 0 of level 7 .*no record"),
        ("INSERT INTO log_nodes VALUES (0, 0, zeroblob(32))", "node 0 of level 0 .*no record"),
        ("INSERT INTO log_nodes VALUES (-1, 0, zeroblob(32))", "no record"),
        ("INSERT INTO log_nodes VALUES (2, -1, zeroblob(32))", "node -1 of level 2 .*no record"),
    ],
)
def test_check_finds_every_node_that_the_records_do_not_explain(
    scene: LogScene, writer: apsw.Connection, statement: str, words: str
) -> None:
    tree.write(writer, scene.path)
    scene.change(statement)

    findings = scene.texts()

    assert any(re.search(words, text) for text in findings), findings


def test_a_missing_node_is_told_and_never_guessed(scene: LogScene, writer: apsw.Connection) -> None:
    tree.write(writer, scene.path)
    scene.change("DELETE FROM log_nodes WHERE level = 5 AND idx = 1")

    with scene.reader() as reader, pytest.raises(JournalError, match="node 1 of level 5"):
        tree.inclusion(reader, 3, COUNT)


def test_a_tree_that_stands_in_its_own_way_is_refused_and_not_mended_in_silence(
    scene: LogScene, writer: apsw.Connection
) -> None:
    tree.write(writer, scene.path)
    # Pairs 35 and 36 are gone, the node above 34 and 35 is not.
    writer.execute("DELETE FROM log_nodes WHERE level = 1 AND idx >= 35")

    with pytest.raises(JournalError, match="coordinator journal rebuild"):
        tree.extend(writer, scene.path)
    assert not writer.in_transaction


def test_the_newest_records_are_read_again_and_older_ones_taken_from_the_tree(
    tmp_path: Path,
) -> None:
    scene = LogScene(tmp_path)

    async def fill() -> None:
        journal = scene.open()
        seq = 0
        for _ in range(5):
            entries = [Entry("note", {"n": seq + n}) for n in range(500)]
            await journal.append("operator", seq, entries)
            seq += 500
        await journal.close()

    asyncio.run(fill())
    connection = open_writer(scene.path)
    tree.write(connection, scene.path)
    reader = open_readonly(scene.path)
    whole = tree.root(reader, 2500)
    assert all(
        tree.root_from_records(reader, 2500, newest) == whole for newest in (0, 1, 1500, 9999)
    )
    assert scene.check() == []
    connection.execute("UPDATE records SET body = CAST('{}' AS BLOB) WHERE position = 1100")
    assert tree.root_from_records(reader, 2500, 400) == whole
    assert tree.root_from_records(reader, 2500, 1500) != whole
    connection.close()
    reader.shut()
