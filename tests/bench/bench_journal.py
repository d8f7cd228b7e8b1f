"""What the journal costs: three-step sagas through it, beside the bare statements of the same rows.

Run as ``python -m tests.bench.bench_journal [SAGAS] [ROUNDS] [FOLDER]``. It prints, never judges.
"""

import asyncio
import hashlib
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from coordinator.journal.base import Entry, Raw
from coordinator.journal.sqlite import SqliteJournal
from coordinator.journal.statements import SCHEMA
from proofs import canonical

AT_ONCE = 64
CHAINS = ("polygon", "bitcoin", "ethereum")
ACCOUNT = "0x52908400098527886E0F7030069857D2E4169EE7"
NAMES = ("journal, wall", "journal, cpu", "storage only, wall", "storage only, cpu")

Statement = tuple[str, Any]


def plan() -> dict[str, Any]:
    """Return a resolved plan of the size that a three-step plan has."""
    steps = [
        {
            "id": f"step-{chain}",
            "chain": chain,
            "action": {"do": "lock", "vault": ACCOUNT, "amount": "1" + "0" * 20, "asset": "ALZ"},
            "class": "undoable",
            "confirm": True,
            "undo": True,
            "kill": ["tombstone", "burn"],
            "reveals": False,
            "deliver": None,
            "moves": [{"asset": "ALZ", "amount": "1" + "0" * 20, "source": ACCOUNT, "target": "x"}],
            "fee_asset": "POL",
            "fees": {"forward": "1000000", "confirm": "1000000", "undo": "1000000"},
            "payers": {"forward": ACCOUNT, "confirm": ACCOUNT, "undo": ACCOUNT},
            "reserve": [[ACCOUNT, "ALZ", "1" + "0" * 20]],
            "expiry": None,
            "locks": [],
            "unique_by": "operation",
            "text": "lock 100 ALZ in the vault on " + chain,
            "confirm_text": "release 100 ALZ",
            "undo_text": "refund 100 ALZ",
            "await": "included",
        }
        for chain in CHAINS
    ]
    chains = {chain: {"chain_id": 1, "genesis": "0x" + "ab" * 32} for chain in CHAINS}
    return {"v": 1, "name": "three", "deadline_s": 600, "chains": chains, "steps": steps}


PLAN = plan()
DIGEST = canonical.digest(PLAN)


def started(saga: str) -> Entry:
    """Return the first record of ``saga``."""
    reservations = [[chain, ACCOUNT, "ALZ", "1000", "1" + "0" * 30] for chain in CHAINS]
    data = {
        "saga": saga,
        "key": f"key-{saga}",
        "digest": DIGEST,
        "plan": PLAN,
        "deadline_s": 1_790_000_000,
        "expiries": {},
        "clocks": {chain: {"height": 100, "time_s": 1_790_000_000} for chain in CHAINS},
        "reservations": reservations,
        "locks": [],
        "instance": "bench",
    }
    return Entry("started", data)


def intent(number: int, step: int) -> tuple[Entry, Raw]:
    """Return an intent of ``step`` and its bytes, all different for each saga ``number``."""
    raw = hashlib.sha256(b"%d/%d" % (number, step)).digest() * 8
    tx, chain = "0x" + hashlib.sha256(raw).hexdigest(), CHAINS[step]
    data = {
        "step": f"step-{chain}",
        "dir": "forward",
        "gen": 1,
        "n": 1,
        "purpose": "effect",
        "tx": tx,
        "bytes": hashlib.sha256(raw).hexdigest(),
        "chain": chain,
        "claim": [[f"nonce:{ACCOUNT}", number]],
        "since": 100,
        "fee": {"max_fee_wei": "30000000000", "gas": "121000"},
        "facts": {},
        "until_s": 1_790_000_000,
    }
    return Entry("intent", data), Raw(tx, chain, raw)


def included(tx: str, step: int) -> Entry:
    """Return the record that ``step``'s transaction is in a block."""
    data: Mapping[str, Any] = {
        "step": f"step-{CHAINS[step]}",
        "dir": "forward",
        "tx": tx,
        "block": "0x" + "cd" * 32,
        "height": 101,
        "facts": {"operation": "0x" + "ef" * 32, "amount": "1" + "0" * 20},
        "until_s": 1_790_000_000,
    }
    return Entry("included", data)


async def saga(journal: SqliteJournal, number: int) -> None:
    """Write the nine records of one saga in six appends, as its runner would."""
    name = f"{number:026d}"
    stream = f"saga:{name}"
    one, two, three = (intent(number, step) for step in range(3))
    appends: list[tuple[list[Entry], list[Raw]]] = [
        ([started(name), one[0]], [one[1]]),
        ([included(one[1].tx_id, 0), two[0]], [two[1]]),
        ([included(two[1].tx_id, 1), three[0]], [three[1]]),
        ([included(three[1].tx_id, 2)], []),
        ([Entry("decided", {"decision": "commit", "cause": {"kind": "final", "text": ""}})], []),
        ([Entry("closed", {"state": "committed", "records": 9, "fees": {"POL": "21000"}})], []),
    ]
    seq = 0
    for entries, raws in appends:
        seq = (await journal.append(stream, seq, entries, raws))[-1].seq


async def through_journal(folder: Path, sagas: int, trace: list[Statement] | None = None) -> None:
    """Write ``sagas``, 64 at once; ``trace`` collects the statements."""
    path, witness = folder / "a" / "journal.db", folder / "b" / "witness"
    SqliteJournal.create(path, witness)
    journal = SqliteJournal(path, witness)
    if trace is not None:
        journal._connection.exec_trace = _tracer(trace)
    numbers = iter(range(sagas))

    async def lane() -> None:
        for number in numbers:
            await saga(journal, number)

    await asyncio.gather(*(lane() for _ in range(AT_ONCE)))
    await journal.close()


def _tracer(trace: list[Statement]) -> Callable[[apsw.Cursor, str, Any], bool]:
    def see(_cursor: apsw.Cursor, text: str, values: Any) -> bool:
        if not text.startswith(("SELECT", "PRAGMA")):
            trace.append((text, values))
        return True

    return see


def storage_only(folder: Path, trace: list[Statement]) -> None:
    """Write the same rows in the same commits, and nothing else.

    No encoding, hashing, checking, waiting for callers, second place.
    """
    target = apsw.Connection(str(folder / "bare.db"))
    target.execute("PRAGMA journal_mode = WAL")
    target.execute("PRAGMA synchronous = FULL")
    target.execute(SCHEMA)
    run = target.cursor().execute
    for text, values in trace:
        run(text, values)
    target.close()


@contextmanager
def _clocks(spent_us: dict[str, list[float]], name: str, sagas: int) -> Iterator[None]:
    """Note wall clock and this process's own time on a core, per saga."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    yield
    spent_us[f"{name}, wall"].append((time.perf_counter() - wall_s) / sagas * 1e6)
    spent_us[f"{name}, cpu"].append((time.process_time() - cpu_s) / sagas * 1e6)


def main() -> None:
    """Print medians and spread, of wall clock and of this process's own time on a core."""
    sagas, rounds = (int(text) for text in (sys.argv[1:3] + ["3000", "5"][len(sys.argv[1:3]) :]))
    parent = sys.argv[3] if len(sys.argv) > 3 else None
    spent_us: dict[str, list[float]] = {name: [] for name in NAMES}
    commits = 0
    for _ in range(rounds):
        folder = Path(tempfile.mkdtemp(dir=parent))
        try:
            trace: list[Statement] = []
            asyncio.run(through_journal(folder / "traced", sagas, trace))
            commits = sum(text == "COMMIT" for text, _values in trace)
            with _clocks(spent_us, "journal", sagas):
                asyncio.run(through_journal(folder, sagas))
            with _clocks(spent_us, "storage only", sagas):
                storage_only(folder, trace)
        finally:
            shutil.rmtree(folder)
    lines = [
        f"{platform.machine()}, {os.cpu_count()} cores, {platform.platform()}",
        f"Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()}",
        f"load {os.getloadavg()[0]:.1f}, {sagas} sagas, 9 records in 6 appends, {AT_ONCE} at once",
        f"{rounds} rounds, {commits / sagas:.3f} commits per saga",
    ]
    for name, values in spent_us.items():
        median = statistics.median(values)
        lines.append(
            f"{name:>18}: {median:6.0f} us per saga, median ({min(values):.0f} to "
            f"{max(values):.0f}), {1e6 / median:.0f} sagas/s"
        )
    sys.stdout.write("\n".join([*lines, json.dumps(spent_us), ""]))


if __name__ == "__main__":
    main()
