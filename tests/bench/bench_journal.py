"""What the journal costs without an engine: nine records in six appends for each saga."""

import asyncio
import hashlib
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coordinator.journal.base import Entry, Raw
from coordinator.journal.sqlite import SqliteJournal
from proofs import canonical
from tests.bench.figures import Figure, Options
from tests.bench.storage import Statement, storage_only, traced

__all__ = ["journal"]

AT_ONCE = 64
CHAINS = ("polygon", "bitcoin", "ethereum")
ACCOUNT = "0x52908400098527886E0F7030069857D2E4169EE7"


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


async def _write_sagas(folder: Path, sagas: int, *, trace: bool) -> tuple[float, list[Statement]]:
    """Write ``sagas``, 64 at once; return the seconds and, if wanted, the statements."""
    path, witness = folder / "a" / "journal.db", folder / "b" / "witness"
    SqliteJournal.create(path, witness)
    journal = SqliteJournal(path, witness)
    statements = traced(journal._connection) if trace else []
    numbers = iter(range(sagas))

    async def lane() -> None:
        for number in numbers:
            await saga(journal, number)

    begin_s = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(AT_ONCE)))
    seconds = time.perf_counter() - begin_s
    await journal.close()
    return seconds, statements


def journal(options: Options) -> list[Figure]:
    """The journal alone: sagas of nine records in six appends, beside the same rows without it."""
    sagas, rounds = options.rounds(3000, 1000), options.rounds(5, 2)
    through, bare = [], []
    for number in range(rounds):
        folder = options.folder / f"journal-{number}"
        _, statements = asyncio.run(_write_sagas(folder / "traced", sagas, trace=True))
        seconds, _ = asyncio.run(_write_sagas(folder / "timed", sagas, trace=False))
        through.append(sagas / seconds)
        bare.append(sagas / storage_only(folder / "storage", statements))
        shutil.rmtree(folder)
    return [
        Figure("journal alone, 64 sagas at once", "sagas/s", through),
        Figure("  storage only, the same rows", "sagas/s", bare),
        Figure("  journal ÷ storage only", "", [a / b for a, b in zip(through, bare, strict=True)]),
    ]
