"""A journal whose log is signed by keys of the tests."""

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import coincurve

from coordinator.journal import tree
from coordinator.journal.base import CheckpointRow
from coordinator.journal.checkpoints import confirm_signed, key_history
from coordinator.journal.database import open_writer
from coordinator.journal.published import Published, published_path, read_published
from coordinator.journal.reading import JournalReader, open_readonly
from coordinator.log_key import LogKey
from coordinator.notary import Desk
from coordinator.signers import Secret
from proofs.checkpoint_keys import KeyHistory
from proofs.keccak import keccak256
from tests.conformance.journal_records import closed, plain, started, stream
from tests.unit.journal_scene import Scene

ORIGIN = "tests.example/log"


def log_key(name: str) -> LogKey:
    secret = hashlib.sha256(name.encode()).digest()
    public = coincurve.PrivateKey(secret).public_key.format(compressed=False)
    return LogKey(name, keccak256(public[1:])[12:], Secret(secret))


KEY, NEXT = log_key("log"), log_key("next")


class LogScene(Scene):
    """A journal, its second place, and a desk that signs."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.now_ms = 1_790_000_000_000
        self.published = published_path(self.witness)

    def clock(self) -> int:
        self.now_ms += 1
        return self.now_ms

    def desk(self, key: LogKey = KEY) -> Desk:
        return Desk(self.path, self.witness, ORIGIN, key, now_ms=self.clock)

    def sign(self, key: LogKey = KEY, *, always: bool = False) -> CheckpointRow:
        desk = self.desk(key)
        try:
            row = desk.sign(always=always)
        finally:
            desk.close()
        assert row is not None
        return row

    def fill(self, saga: str, records: int) -> None:
        """Append one saga of so many records, at least two."""

        async def go() -> None:
            journal = self.open()
            entries = [started(saga), *[plain("paused")] * (records - 2), closed()]
            await journal.append(stream(saga), 0, entries)
            await journal.close()

        asyncio.run(go())

    @contextmanager
    def reader(self) -> Iterator[JournalReader]:
        reader = open_readonly(self.path)
        try:
            yield reader
        finally:
            reader.shut()

    def history(self, address: bytes | None = KEY.address) -> KeyHistory | None:
        with self.reader() as reader:
            return key_history(reader, ORIGIN, address)

    def confirm(self) -> None:
        """Do what every start does."""
        with self.reader() as reader:
            log = key_history(reader, ORIGIN, KEY.address)
            confirm_signed(reader, self.witness, log)

    def forget_tree(self) -> None:
        """Delete what is derived, so that it is made anew from the records as they are."""
        connection = open_writer(self.path)
        tree.delete(connection)
        connection.close()

    def lines(self) -> list[Published]:
        return list(read_published(self.published))

    def sizes(self) -> list[int]:
        with self.reader() as reader:
            return [row.size for row in reader.checkpoints()]

    def texts(self, **given: Any) -> list[str]:
        return [finding.text for finding in self.check(**given)]
