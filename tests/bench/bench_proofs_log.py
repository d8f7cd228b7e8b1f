"""What the audit log's tree costs at a million records, in a process and database of its own."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import apsw

from proofs.log import (
    Frontier,
    append,
    build_consistency,
    build_inclusion,
    frontier_at,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from tests.bench.figures import Figure, Options

__all__ = ["tree"]

_BATCH: Final = 1000
_RECORD_BYTES: Final = 260
_SCHEMA: Final = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE node (level INTEGER, place INTEGER, hash BLOB, PRIMARY KEY (level, place))
WITHOUT ROWID;
"""


def tree(options: Options) -> list[Figure]:
    """Merkle tree of the log at one million records (short: 100,000) in SQLite."""
    records = options.rounds(1_000_000, 100_000)
    database = options.folder / "tree.db"
    command = [sys.executable, "-m", "tests.bench.bench_proofs_log", str(database), str(records)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    seen = json.loads(answer.stdout)
    size = {"records": records, "disk MB": round(database.stat().st_size / 1e6, 1)}
    return [
        Figure("log append, a thousand records a batch", "µs/record", seen["append"], most=50),
        Figure("inclusion proof built", "ms", seen["inclusion"], most=2),
        Figure("consistency proof built", "ms", seen["consistency"], most=2),
        Figure("inclusion proof verified", "ms", seen["verify inclusion"], most=2),
        Figure("consistency proof verified", "ms", seen["verify consistency"], most=2),
        Figure("frontier read at start", "ms", seen["reopen"]),
        Figure("memory of the process at its most", "MB", seen["memory"], most=100, facts=size),
    ]


class _Tree:
    """Nodes of a log in a table, as a journal may keep them."""

    def __init__(self, path: str) -> None:
        self._connection = apsw.Connection(path)
        self._connection.execute(_SCHEMA).fetchall()  # the pragmas answer with rows
        self.frontier = Frontier.empty()

    def extend(self, records: Sequence[bytes]) -> None:
        nodes, frontier = append(self.frontier, map(leaf_hash, records))
        with self._connection:
            self._connection.executemany("INSERT INTO node VALUES (?, ?, ?)", nodes)
        self.frontier = frontier

    def read(self, names: Sequence[tuple[int, int]]) -> list[bytes]:
        select = "SELECT hash FROM node WHERE level = ? AND place = ?"
        return [self._connection.execute(select, name).get for name in names]


def _measure(path: str, count: int) -> dict[str, list[float]]:
    chance = random.Random(1)
    log = _Tree(path)
    seen: dict[str, list[float]] = {}
    for first in range(0, count, _BATCH):
        records = [b"%d" % n + bytes(_RECORD_BYTES - 7) for n in range(first, first + _BATCH)]
        _timed(seen, "append", 1e6 / _BATCH, log.extend, records)
    root = log.frontier.root()
    for _ in range(1000):
        index = chance.randrange(count)
        path_up = _timed(seen, "inclusion", 1e3, build_inclusion, index, count, log.read)
        (leaf,) = log.read([(0, index)])
        _timed(seen, "verify inclusion", 1e3, verify_inclusion, leaf, index, count, path_up, root)
        old = chance.randrange(1, count)
        old_root = frontier_at(old, log.read).root()
        proof = _timed(seen, "consistency", 1e3, build_consistency, old, count, log.read)
        heads = old, count, old_root, root
        _timed(seen, "verify consistency", 1e3, verify_consistency, *heads, proof)
    assert _timed(seen, "reopen", 1e3, frontier_at, count, log.read) == log.frontier
    seen["memory"] = [_peak_mb()]
    return seen


def _timed(seen: dict[str, list[float]], name: str, scale: float, call: Any, *given: Any) -> Any:
    start = time.perf_counter()
    result = call(*given)
    seen.setdefault(name, []).append(scale * (time.perf_counter() - start))
    return result


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_measure(sys.argv[1], int(sys.argv[2]))))
