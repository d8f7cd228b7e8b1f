"""Journals that earlier versions wrote are read, migrated, gone on with, and verify."""

import json
from pathlib import Path

import apsw
import pytest

from adapters.base import ChainClock
from coordinator.errors import JournalError
from coordinator.journal import tree
from coordinator.journal.backup import backup
from coordinator.journal.database import SCHEMA_VERSION, migrate
from coordinator.journal.reading import open_readonly
from coordinator.journal.sqlite import SqliteJournal
from coordinator.journal.verify import check as check_journal
from coordinator.journal.witness import Mark, Witness
from coordinator.saga import Now, decide, fold
from coordinator.saga.table import ENDS
from proofs.log import leaf_hash, root_of
from tests.disk.cases import folder
from tests.disk.outcome import report
from tests.disk.world import DiskWorld, shut
from tests.sim.checker import check
from tests.sim.world import evidence_of, saga_id

VECTORS = sorted((Path(__file__).parents[1] / "vectors" / "journal").glob("version-*-*.sql"))
STATES = {
    "started": "running", "forward": "running", "revealed": "confirming",
    "committed": "committed", "undoing": "undoing", "rolled-back": "rolled_back",
}  # fmt: skip


def moment(vector: Path) -> tuple[int, str]:
    """Return the schema version and the moment of a saga's life that a vector holds."""
    _, version, name = vector.stem.split("-", 2)
    return int(version), name


def restore(vector: Path, root: Path) -> tuple[Path, Path]:
    """Make the journal of a vector, and a second place that has witnessed all of it."""
    path, witness = root / "journal" / "journal.db", root / "elsewhere" / "witness"
    path.parent.mkdir(mode=0o700, parents=True)
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.execute(vector.read_text(encoding="utf-8"))
    identity = connection.execute("SELECT value FROM meta WHERE name = 'journal_id'").get
    rows = connection.execute("SELECT position, hash, kind FROM records ORDER BY position")
    left = [(position, digest) for position, digest, kind in rows if kind in {"intent", "reveal"}]
    connection.close()
    path.chmod(0o600)
    Witness.create(witness, identity)
    if left:
        lane = Witness.open(witness, identity, Mark(identity, left[-1][0], left[-1][1].hex()))
        lane.close()
    return path, witness


def bodies(path: Path) -> list[bytes]:
    reader = open_readonly(path)
    try:
        return [record.body for record in reader.records()]
    finally:
        reader.shut()


def findings(path: Path, witness: Path) -> list[str]:
    reader = open_readonly(path)
    try:
        leaves = [leaf_hash(record.body) for record in reader.records()]
        assert tree.root(reader, len(leaves)) == root_of(leaves)
        return [found.text for found in check_journal(reader, witness)]
    finally:
        reader.shut()


def test_there_is_a_journal_of_every_schema_that_was_ever_released() -> None:
    assert {moment(vector)[0] for vector in VECTORS} == set(range(1, SCHEMA_VERSION + 1))
    assert {moment(vector) for vector in VECTORS} == {
        (version, name) for version in range(1, SCHEMA_VERSION + 1) for name in STATES
    }


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.stem)
def test_an_earlier_journal_verifies_before_and_after_its_migration(vector: Path) -> None:
    version, _name = moment(vector)
    with folder() as place:
        path, witness = restore(vector, place / "old")
        before = bodies(path)
        assert findings(path, witness) == []
        backup(path, place / "copy.db")

        if version < SCHEMA_VERSION:
            with pytest.raises(JournalError, match="coordinator journal migrate"):
                SqliteJournal(path, witness)
        assert migrate(path) == (version, SCHEMA_VERSION)
        assert migrate(path) == (SCHEMA_VERSION, SCHEMA_VERSION)

        assert bodies(path) == before
        assert findings(path, witness) == []
        assert bodies(place / "copy.db") == before


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.stem)
def test_an_earlier_saga_is_folded_to_where_it_stood_and_can_be_decided_on(vector: Path) -> None:
    _version, name = moment(vector)
    with folder() as place:
        path, witness = restore(vector, place / "old")
        migrate(path)
        journal = SqliteJournal(path, witness)
        try:
            state = fold(journal.read(f"saga:{saga_id(0)}"))
            assert state.state == STATES[name]
            (row,) = journal.sagas()
            assert row.state == state.state
            for effort in state.efforts.values():
                for attempt in effort.attempts:
                    assert journal.raw(attempt.tx_id)
            decision = decide(state, now_of(state.plan))
            assert bool(decision.commands or decision.waits) == (state.state not in ENDS)
        finally:
            shut(journal)


def now_of(plan: object) -> Now:
    """Return a moment at which every chain of a plan was just reached."""
    names = json.loads(json.dumps(plan))["chains"]
    return Now(1_700_000_000_000, {name: ChainClock(3, 1_700_000_003, True) for name in names})


@pytest.mark.parametrize(
    "vector",
    [vector for vector in VECTORS if moment(vector)[1] in {"started", "forward"}],
    ids=lambda vector: vector.stem,
)
def test_an_earlier_saga_is_driven_on_to_its_end(vector: Path) -> None:
    """The chains are new, so of all moments those in which nothing had arrived can be gone on with:
    what the earlier version had stored is what this one sends.
    """
    with folder() as place:
        path, _witness = restore(vector, place / "old")
        migrate(path)
        before = bodies(path)
        world = DiskWorld("reference", folder=place / "run")
        world.replace_files(place / "old")
        for record in map(json.loads, before):
            if record["kind"] == "intent":
                data = record["data"]
                world.faults.txs[data["tx"]] = f"{data['step']}.{data['dir']}.{data['purpose']}"
        try:
            world.run()
            check(evidence_of(world))
            assert [row.state for row in world.rows()] == ["committed"]
            world.settle()
            world.resume_idly()
        finally:
            world.leave()
        assert bodies(path)[: len(before)] == before
        assert findings(path, place / "old" / "elsewhere" / "witness") == []
    report("old journals", {("driven on", vector.stem): 1}, [], 1)


def test_a_journal_of_a_later_version_is_refused_and_left_as_it_is() -> None:
    with folder() as place:
        path, witness = restore(VECTORS[0], place / "later")
        migrate(path)
        connection = apsw.Connection(str(path))
        connection.pragma("user_version", SCHEMA_VERSION + 1)
        connection.close()
        content = path.read_bytes()

        for attempt in (lambda: SqliteJournal(path, witness), lambda: open_readonly(path),
                        lambda: migrate(path)):  # fmt: skip
            with pytest.raises(JournalError, match="newer coordinator") as caught:
                attempt()
            assert caught.value.exit_code == 30
            assert "nothing was sent" in str(caught.value).lower()
        assert path.read_bytes() == content
