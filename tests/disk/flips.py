"""One bit of a journal's files is turned over: it is found, or all that can be read is the same."""

from __future__ import annotations

import asyncio
import random
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from coordinator.errors import JournalError
from coordinator.journal.base import Entry
from coordinator.journal.checkpoints import confirm_signed, key_history
from coordinator.journal.database import reading
from coordinator.journal.liveness import live
from coordinator.journal.reading import JournalReader, open_readonly
from coordinator.journal.sqlite import SqliteJournal
from coordinator.journal.verify import check
from coordinator.journal.witness import Witness
from tests.conformance.journal_records import intent, plain, proved, started
from tests.disk.cases import folder
from tests.unit.log_scene import KEY, ORIGIN, LogScene

__all__ = ["Bit", "Flipped", "Ground", "one"]

#: Every n-th flip goes into any of the files, the others into the journal's.
_SMALL: Final = 5
_ELSEWHERE: Final = "elsewhere"
_TABLES: Final = (
    "attempts", "evidence", "claims", "reservations", "locks", "checkpoints", "log_nodes",
    "meta",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bit:
    """One bit of a journal's files; times and hashes are others in each, their places are not."""

    file: str
    byte: int
    bit: int
    in_log: bool

    @property
    def replay(self) -> str:
        """The command that turns it over again."""
        log = " log" if self.in_log else ""
        return f"python -m tests.disk flip {self.file} {self.byte} {self.bit}{log}"


@dataclass(frozen=True, slots=True)
class Flipped:
    """What became of one flip.

    Attributes:
        found: who noticed it, empty if nobody did.
        other: what could be read although it was not what had been written; must be empty.
        short: how many records of the log were taken for never written.
    """

    found: str
    other: str
    short: int = 0


class Ground:
    """A journal with ended and open sagas, proofs and signed heads, made once and damaged often.

    Args:
        in_log: leave the newest records in SQLite's log, as a process that died would.
    """

    def __init__(self, place: Path, *, in_log: bool) -> None:
        self._place = place
        self._in_log = in_log
        self._scene = LogScene(place / "whole")
        for number, saga in enumerate(("amy", "bob", "cat")):
            self._scene.run_saga(saga, 1 + 2 * number)
        asyncio.run(self._open_sagas())
        self._scene.sign()
        if in_log:
            self._tail()
        else:
            shutil.copytree(place / "whole", place / "sound")
        self._files = sorted(
            (path.relative_to(place / "sound"), path.read_bytes())
            for path in (place / "sound").rglob("*")
            if path.is_file() and not path.name.endswith("-shm")
        )
        self.sound = self._look(place / "sound")

    async def _open_sagas(self) -> None:
        journal = self._scene.open()
        for number, saga in enumerate(("dan", "eve")):
            entry, raw = intent(f"0x{saga}", [("nonce", 50 + number)], facts={"brings": _BRINGS})
            reserved = [("polygon", "0xA", "ALZ", 3, 9)]
            begin = started(saga, reservations=reserved, locks=[f"lock {saga}"])
            await journal.append(f"saga:{saga}", 0, [begin, entry, plain("stuck")], [raw])
        proof = b'{"n":1}'
        await journal.append("operator", 0, [proved(proof)], (), [proof])
        await journal.close()

    def _tail(self) -> None:
        """Add records and take the files as they are while the log holds them."""

        async def add() -> None:
            journal = self._scene.open()
            entry, raw = intent("0xfay", [("nonce", 60)])
            await journal.append("saga:fay", 0, [started("fay"), entry], [raw])
            for number in range(8):
                await journal.append("saga:fay", 2 + number, [Entry("paused", {"n": number})])
            shutil.copytree(self._place / "whole", self._place / "sound")
            await journal.close()

        asyncio.run(add())

    # ------------------------------------------------------------ one flip

    def draw(self, number: int) -> Bit:
        """Choose a bit, another for another number."""
        rng = random.Random(number)
        sizes = [0 if name.parts[0] == _ELSEWHERE else len(all_) for name, all_ in self._files]
        chosen = self._files[rng.choices(range(len(sizes)), sizes)[0]]
        if number % _SMALL == 0:
            chosen = rng.choice(self._files)
        name, content = chosen
        # Mostly where there is something: most of a page that is half full is zeros.
        used = [at for at, byte in enumerate(content) if byte] if number % 2 else None
        byte = rng.choice(used) if used else rng.randrange(len(content))
        return Bit(str(name), byte, rng.randrange(8), self._in_log)

    def flip(self, bit: Bit) -> Flipped:
        """Turn a bit over, and look what becomes of it."""
        name = Path(bit.file)
        damaged = bytearray(dict(self._files)[name])
        damaged[bit.byte] ^= 1 << bit.bit
        root = self._place / "flip"
        for path, whole in self._files:
            (root / path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            (root / path).touch(0o600)
            (root / path).write_bytes(damaged if path == name else whole)
        try:
            return self._judged(root)
        finally:
            shutil.rmtree(root)

    def _judged(self, root: Path) -> Flipped:
        try:
            seen = self._look(root)
        except JournalError as error:
            return Flipped(f"reading: {error}", "")
        records, other = _compare(self.sound, seen)
        found = self._check(root) or self._start(root)
        if records < len(self.sound["records"]) and not other:
            return Flipped(found, "", short=len(self.sound["records"]) - records)
        return Flipped(found, "" if found else other)

    def _look(self, root: Path) -> dict[str, Any]:
        """Return everything that can be read of a journal, by the reader that everybody uses."""
        reader = open_readonly(root / "journal" / "journal.db")
        try:
            return _everything(reader)
        finally:
            reader.shut()

    def _check(self, root: Path) -> str:
        """Return what `journal check` says."""
        reader = open_readonly(root / "journal" / "journal.db")
        try:
            log = key_history(reader, ORIGIN, KEY.address)
            found = check(reader, root / "elsewhere" / "witness", log)
        except JournalError as error:
            return f"check: {error}"
        finally:
            reader.shut()
        return f"check: {found[0].text}" if found else ""

    def _start(self, root: Path) -> str:
        """Return why a start is refused."""
        path, witness = root / "journal" / "journal.db", root / "elsewhere" / "witness"
        try:
            reader = open_readonly(path)
            try:
                confirm_signed(reader, witness, key_history(reader, ORIGIN, KEY.address))
            finally:
                reader.shut()
            journal = SqliteJournal(path, witness)
        except JournalError as error:
            return f"start: {error}"
        asyncio.run(journal.close())
        assert Witness.read(witness)
        return ""


_BRINGS: Final = ["0xB", "ALZ", "3"]


def _everything(reader: JournalReader) -> dict[str, Any]:
    seen: dict[str, Any] = {"records": [record.body for record in reader.records()]}
    seen["streams"] = {name: reader.read(name) for name in ("operator", *reader.streams())}
    seen["raws"] = [
        reader.raw(record.data["tx"]) for record in reader.records() if record.kind == "intent"
    ]
    seen["proofs"] = [
        reader.evidence(item["sha256"])
        for record in reader.records()
        if record.kind == "proved"
        for item in record.data["evidence"]
    ]
    # Who drives is a hint that no hash covers: whatever became of it, nobody of that name lives.
    seen["alive"] = [
        row.driver is not None and live(reader.path, row.driver) for row in reader.sagas()
    ]
    seen["sagas"] = [replace(row, driver=None) for row in reader.sagas()]
    seen["open"] = [replace(row, driver=None) for row in reader.sagas(open_only=True)]
    # So is when a head was last found to be the newest.
    seen["heads"] = [(head.size, head.root, head.note) for head in reader.checkpoints()]
    run = reader.connection.execute
    with reading(reader.path):
        for table in _TABLES:
            columns = "size, root, note" if table == "checkpoints" else "*"
            seen[f"table {table}"] = run(f"SELECT {columns} FROM {table} ORDER BY 1, 2").fetchall()
        seen["schema"] = run("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()
    return seen


def _compare(sound: dict[str, Any], seen: dict[str, Any]) -> tuple[int, str]:
    """Return how many of the records are there, and what is other than it was."""
    records = len(seen["records"])
    if seen["records"] != sound["records"][:records]:
        return records, "records are other than they were written"
    if records < len(sound["records"]):
        # What is derived from the missing ones is missing, too; `check` compares the two.
        return records, ""
    return records, ", ".join(key for key in sound if seen[key] != sound[key])


def one(bit: Bit) -> str:
    """Turn one bit over again and say what became of it."""
    with folder() as place:
        return str(Ground(place, in_log=bit.in_log).flip(bit))
