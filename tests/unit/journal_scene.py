"""A SQLite journal in a folder of its own, with a few sagas in it."""

import asyncio
import shutil
from pathlib import Path

import apsw

from coordinator.journal.base import Record
from coordinator.journal.reading import open_readonly
from coordinator.journal.sqlite import SqliteJournal
from coordinator.journal.verify import Finding, check
from proofs.checkpoint_keys import KeyHistory
from tests.conformance.journal_records import closed, decided, included, intent, started, stream


class Scene:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal" / "journal.db"
        self.witness = folder / "elsewhere" / "witness"
        SqliteJournal.create(self.path, self.witness)

    def open(self, **options: object) -> SqliteJournal:
        return SqliteJournal(self.path, self.witness, **options)  # type: ignore[arg-type]

    def run_saga(self, saga: str, nonce: int) -> list[Record]:
        """Append a saga's seven records and return them."""

        async def go() -> list[Record]:
            journal = self.open()
            first, raw = intent(f"0x{saga}1", [("nonce", nonce)], step="a")
            second, other = intent(f"0x{saga}2", [("nonce", nonce + 1)], step="b")
            begin = started(
                saga, reservations=[("polygon", "0xA", "ALZ", 1, 9)], locks=[f"lock {saga}"]
            )
            await journal.append(stream(saga), 0, [begin, first], [raw])
            await journal.append(stream(saga), 2, [included(raw.tx_id, step="a"), second], [other])
            await journal.append(stream(saga), 4, [included(other.tx_id, step="b")])
            await journal.append(stream(saga), 5, [decided("commit"), closed()])
            await journal.close()
            return journal_records(self.path, saga)

        return asyncio.run(go())

    def change(self, statement: str, *values: object) -> None:
        """Change the database behind the journal's back."""
        connection = apsw.Connection(str(self.path))
        connection.execute(statement, values)
        assert connection.changes() == 1
        connection.close()

    def put_back(self, copy: Path) -> None:
        """A copy of the database takes its place, as somebody restores a backup."""
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        shutil.copyfile(copy, self.path)

    def check(self, log: KeyHistory | None = None) -> list[Finding]:
        reader = open_readonly(self.path)
        try:
            return check(reader, self.witness, log)
        finally:
            reader.shut()


def journal_records(path: Path, saga: str) -> list[Record]:
    reader = open_readonly(path)
    try:
        return reader.read(stream(saga))
    finally:
        reader.shut()
