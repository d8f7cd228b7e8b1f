"""What the command line says of the log's tree and signed heads."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from coordinator.journal import tree
from coordinator.journal.database import open_writer
from coordinator.notary import Desk
from tests.unit.cli_scene import CliScene, Tale
from tests.unit.log_scene import KEY, ORIGIN

SAGA = "01K0000000000000000000000A"


@pytest.fixture
def scene(tmp_path: Path) -> CliScene:
    made = CliScene(tmp_path)
    made.tell(Tale(SAGA).committed())
    return made


def sign(scene: CliScene) -> None:
    desk = Desk(scene.journal, scene.witness, ORIGIN, KEY, now_ms=lambda: 1)
    desk.sign(always=True)
    desk.close()


def test_the_doctor_says_that_nothing_is_signed(scene: CliScene) -> None:
    assert "the audit log is not signed" in scene.run("doctor", "--offline").stdout
    sign(scene)
    assert "signed up to record" in scene.run("doctor", "--offline").stdout


def test_the_doctor_and_the_check_find_a_journal_that_is_not_what_was_signed(
    scene: CliScene,
) -> None:
    sign(scene)
    assert "all sound" in scene.run("journal", "check").stdout
    with closing(sqlite3.connect(scene.journal)) as database, database:
        database.execute("UPDATE checkpoints SET root = zeroblob(32)")

    assert "another size or root" in scene.run("journal", "check", code=30).stdout
    with closing(sqlite3.connect(scene.journal)) as database, database:
        database.execute("DELETE FROM records WHERE position > 2")
    assert "A lost or old journal" in scene.run("doctor", "--offline", code=30).stdout


def test_a_damaged_tree_is_rebuilt_by_a_command(scene: CliScene) -> None:
    connection = open_writer(scene.journal)
    tree.write(connection, scene.journal)
    connection.close()
    with closing(sqlite3.connect(scene.journal)) as database, database:
        database.execute("UPDATE log_nodes SET hash = zeroblob(32) WHERE level = 1 AND idx = 0")
    assert "of the log's tree differs" in scene.run("journal", "check", code=30).stdout

    assert scene.read("journal", "rebuild")["type"] == "rebuilt"

    assert "all sound" in scene.run("journal", "check").stdout
