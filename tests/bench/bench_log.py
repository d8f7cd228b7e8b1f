"""What the signed log costs in a real journal: its tree at a million records, beside appends."""

import asyncio
import hashlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import coincurve

from coordinator.journal import tree
from coordinator.journal.base import Entry
from coordinator.journal.body import DataEncoder
from coordinator.journal.checkpoints import NEWEST
from coordinator.journal.database import open_writer
from coordinator.journal.reading import open_readonly
from coordinator.journal.sqlite import SqliteJournal
from coordinator.journal.writing import Request, Writer
from coordinator.log_key import LogKey
from coordinator.notary import Desk, Notary
from coordinator.signers import Secret
from proofs.keccak import keccak256
from proofs.log import build_consistency, build_inclusion
from tests.bench.bench_journal import saga
from tests.bench.figures import Figure, Options

__all__ = ["signed_log"]

_BATCH: Final = 1000
_AT_ONCE: Final = 64


def signed_log(options: Options) -> list[Figure]:
    """The log of a real journal at a million records (short: 50,000), and what signing costs."""
    records = options.rounds(1_000_000, 50_000)
    seen = {
        part: _apart(options.folder / f"log-{part}", part, records)
        for part in ("grow", "prove", "cold")
    }
    return [*_tree_figures(seen, records), *_beside(options)]


def _tree_figures(seen: dict[str, dict[str, list[float]]], records: int) -> list[Figure]:
    grow, prove, cold = seen["grow"], seen["prove"], seen["cold"]
    size = {"records": records, "disk MB": round(grow["disk"][0], 1)}
    return [
        Figure("tree extended, a thousand records a batch", "µs/record", grow["extend"], most=50),
        Figure("head signed, stored, published; 30 new records", "ms", grow["sign"]),
        Figure("memory while it grows", "MB", grow["memory"], most=100, facts=size),
        Figure("inclusion proof from the journal", "ms", prove["inclusion"], most=2),
        Figure("consistency proof from the journal", "ms", prove["consistency"], most=2),
        Figure("memory while it proves", "MB", prove["memory"], most=100),
        Figure(f"heads held against {NEWEST:,} newest records", "ms", prove["start"]),
        Figure("every record and node compared (journal check)", "s", prove["check"]),
        Figure("first proof of a reader without a stored tree", "s", cold["first"]),
        Figure("its memory", "MB", cold["memory"], most=100),
    ]


def _apart(folder: Path, part: str, records: int) -> dict[str, list[float]]:
    """Measure in a process of its own, whose memory is its own; the first one makes the journal."""
    where = folder.with_name("log-grow")
    command = [sys.executable, "-m", "tests.bench.bench_log", part, str(where), str(records)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    seen: dict[str, list[float]] = json.loads(answer.stdout)
    return seen


# ---------------------------------------------------------------- the tree


def _grow(folder: Path, records: int) -> dict[str, list[float]]:
    path, witness = folder / "journal" / "db", folder / "second" / "head"
    SqliteJournal.create(path, witness)
    connection = open_writer(path)
    connection.pragma("synchronous", "off")  # what is measured comes later
    connection.pragma("wal_autocheckpoint", 4000)
    writer, encoder = Writer(connection), DataEncoder()
    for first in range(0, records, _BATCH):
        entries = [Entry("note", {"n": first + n, "text": "x" * 90}) for n in range(_BATCH)]
        data = [encoder.encode(entry.kind, entry.data) for entry in entries]
        writer.begin(1_790_000_000_000)
        writer.append(Request("bench", first, entries, data, ()))
        writer.commit()
    connection.pragma("synchronous", "full")
    connection.pragma("wal_checkpoint(truncate)")
    before = path.stat().st_size
    seen: dict[str, list[float]] = {"extend": []}
    left = records
    while left:
        start = time.perf_counter()
        left = tree.extend(connection, path, _BATCH)
        seen["extend"].append(1e6 / _BATCH * (time.perf_counter() - start))
    seen["memory"] = [_peak_mb()]
    seen["sign"] = _signing(path, witness, writer, records)
    connection.pragma("wal_checkpoint(truncate)")
    seen["disk"] = [(path.stat().st_size - before) / 1e6]
    connection.close()
    return seen


def _signing(path: Path, witness: Path, writer: Writer, records: int) -> list[float]:
    took, encoder = [], DataEncoder()
    desk = Desk(path, witness, "bench", _key(), now_ms=lambda: 1)
    for number in range(20):
        entries = [Entry("note", {"n": n}) for n in range(30)]
        data = [encoder.encode(entry.kind, entry.data) for entry in entries]
        writer.begin(1_790_000_000_000)
        writer.append(Request("bench", records + 30 * number, entries, data, ()))
        writer.commit()
        start = time.perf_counter()
        desk.sign(always=False)
        took.append(1e3 * (time.perf_counter() - start))
    desk.close()
    return took


def _prove(folder: Path, records: int) -> dict[str, list[float]]:
    chance = random.Random(1)
    reader = open_readonly(folder / "journal" / "db")
    seen: dict[str, list[float]] = {}
    for _ in range(1000):
        index, old = chance.randrange(records), chance.randrange(1, records)
        _timed(seen, "inclusion", 1e3, partial(tree.inclusion, reader, index, records))
        _timed(seen, "consistency", 1e3, partial(tree.consistency, reader, old, records))
    seen["memory"] = [_peak_mb()]
    for _ in range(3):
        _timed(seen, "start", 1e3, lambda: tree.root_from_records(reader, records, NEWEST))
    assert _timed(seen, "check", 1, lambda: list(tree.differences(reader, iter(())))) == []
    reader.shut()
    return seen


def _cold(folder: Path, records: int) -> dict[str, list[float]]:
    path = folder / "journal" / "db"
    connection = open_writer(path)
    tree.delete(connection)
    connection.close()
    reader = open_readonly(path)
    seen: dict[str, list[float]] = {}
    read = tree.nodes(reader)
    _timed(seen, "first", 1, lambda: build_inclusion(records // 3, records, read))
    build_consistency(records // 3, records, read)
    seen["memory"] = [_peak_mb()]
    reader.shut()
    return seen


# ---------------------------------------------------------------- beside appends


def _beside(options: Options) -> list[Figure]:
    """Return records a second of a journal with and without somebody who signs its heads."""
    with_: list[float] = []
    without: list[float] = []
    count = options.rounds(1200, 200)
    for number in range(options.rounds(5, 2)):
        for signing, values in ((True, with_), (False, without)):
            folder = options.folder / f"beside-{number}-{signing}"
            values.append(asyncio.run(_appending(folder, count, signing=signing)))
    slower = [100 * (1 - one / other) for one, other in zip(with_, without, strict=True)]
    return [
        Figure("records a second, nothing signed", "1/s", without),
        Figure("records a second, heads signed each second", "1/s", with_),
        Figure("slower by, at the journal's full speed", "%", slower),
    ]


async def _appending(folder: Path, count: int, *, signing: bool) -> float:
    path, witness = folder / "journal" / "db", folder / "second" / "head"
    SqliteJournal.create(path, witness)
    journal = SqliteJournal(path, witness)
    notary = Notary(Desk(path, witness, "bench", _key(), now_ms=lambda: 1), heartbeat_s=3600)
    if signing:
        notary.start()
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int) -> None:
        async with room:
            await saga(journal, number)
        notary.want()

    start = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(count)))
    took_s = time.perf_counter() - start
    records = journal.last_position()
    if signing:
        await asyncio.to_thread(notary.stop)
    await journal.close()
    return records / took_s


def _key() -> LogKey:
    secret = hashlib.sha256(b"bench").digest()
    public = coincurve.PrivateKey(secret).public_key.format(compressed=False)
    return LogKey("bench", keccak256(public[1:])[12:], Secret(secret))


def _timed(seen: dict[str, list[float]], name: str, scale: float, call: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = call()
    seen.setdefault(name, []).append(scale * (time.perf_counter() - start))
    return result


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


_PARTS: Final = {"grow": _grow, "prove": _prove, "cold": _cold}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(_PARTS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))))
