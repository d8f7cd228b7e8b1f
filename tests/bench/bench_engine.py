"""The engine on simulated chains with the durable journal on disk: many sagas, one, ten thousand.

Each scenario runs in a process of its own, set up like one that drives sagas.
"""

import asyncio
import pickle
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from coordinator.interpreter import prepare_to_drive
from proofs import canonical
from tests.bench.engine import Engine, Ran
from tests.bench.figures import Figure, Options
from tests.bench.storage import storage_only, traced

__all__ = ["alone", "leave_sagas", "many", "resumed"]

AT_ONCE: Final = 64
_KINDS: Final = {"ok": "all succeed", "fail": "third fails, two undone"}
_LEAST: Final = {"ok": 1500.0, "fail": 1000.0}
_MAX_MB: Final = 300.0
#: A depth that no step reaches while it is measured.
_NEVER: Final = 1 << 20
#: Where the chains wait for the next process.
_CHAINS: Final = "chains.pickle"


def many(options: Options) -> list[Figure]:
    """64 sagas at once, beside a script that writes the same rows in the same run."""
    sagas, rounds = options.rounds(2000, 500), options.rounds(5, 2)
    figures: list[Figure] = []
    memory_mb: list[float] = []
    for kind, meaning in _KINDS.items():
        rounds_ = [_apart(_round, options.folder, sagas, kind) for _ in range(rounds)]
        best = rounds_[0]
        figures.append(
            Figure(
                f"64 sagas at once, {meaning}",
                "sagas/s",
                [one["rate"] for one in rounds_],
                least=_LEAST[kind],
                facts={
                    "records per saga": best["records"],
                    "commits per saga": best["commits"],
                    "processor µs per saga": round(_median(rounds_, "cpu_us")),
                    "ready without a processor µs per saga": round(_median(rounds_, "kept_us")),
                    "so undisturbed about": f"{_median(rounds_, 'undisturbed'):.0f} sagas/s",
                },
            )
        )
        figures.append(
            Figure(
                f"  storage only, the same rows, {meaning}",
                "sagas/s",
                [one["storage_rate"] for one in rounds_],
            )
        )
        figures.append(
            Figure(
                f"  engine ÷ storage only, {meaning}",
                "",
                [one["rate"] / one["storage_rate"] for one in rounds_],
                least=0.5,
            )
        )
        memory_mb += [one["memory_mb"] for one in rounds_]
    figures.append(Figure("memory of the process, 64 at once", "MB", memory_mb, most=_MAX_MB))
    return figures


def alone(options: Options) -> list[Figure]:
    """One saga after the other, nobody to share a commit with."""
    sagas = options.rounds(200, 40)
    found = _apart(_alone, options.folder, sagas)
    return [Figure("one saga alone, start to end", "ms", found["ms"], most=8.0)]


def resumed(options: Options) -> list[Figure]:
    """Open sagas that wait for a height, taken up by a new process."""
    sagas, rounds = options.rounds(10_000, 1_000), options.rounds(3, 1)
    found = [_apart(_resume, options.folder, sagas) for _ in range(rounds)]
    return [
        Figure(
            f"{sagas:,} open sagas resumed",
            "s",
            [one["seconds"] for one in found],
            most=10.0 * sagas / 10_000,
        ),
        Figure(
            f"memory with {sagas:,} open sagas",
            "MB",
            [one["after_mb"] for one in found],
            most=_MAX_MB,
            facts={"of it interpreter and simulated chains MB": round(found[0]["before_mb"])},
        ),
    ]


def leave_sagas(folder: Path, sagas: int) -> None:
    """Leave a journal in ``folder`` with open sagas that nobody drives."""

    async def leave() -> None:
        engine = Engine(folder, rich=sagas, confirmations=_NEVER)
        await engine.leave_open(sagas, AT_ONCE)
        (folder / _CHAINS).write_bytes(pickle.dumps(engine.adapters))

    asyncio.run(leave())


def _median(rounds: list[dict[str, float]], key: str) -> float:
    return statistics.median(one[key] for one in rounds)


# ---------------------------------------------------------------- in a process of its own


def _apart(scenario: Callable[..., dict[str, Any]], folder: Path, *arguments: Any) -> Any:
    """Run ``scenario`` in a fresh process and a fresh folder."""
    place = Path(tempfile.mkdtemp(dir=folder))
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(scenario, place, *arguments).result()
    finally:
        shutil.rmtree(place)


def _kept_waiting_s() -> float:
    """Seconds that this thread was ready and had no processor: what others took (Linux)."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def _memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _round(folder: Path, sagas: int, kind: str) -> dict[str, Any]:
    """One timed run and its rows again; the rows are traced in a third run that nobody times."""
    prepare_to_drive()
    cpu_s, kept_s = time.process_time(), _kept_waiting_s()
    ran, _ = asyncio.run(_many(folder / "timed", sagas, kind, trace=False))
    cpu_s, kept_s = time.process_time() - cpu_s, _kept_waiting_s() - kept_s
    memory_mb = _memory_mb()
    _, statements = asyncio.run(_many(folder / "traced", sagas, kind, trace=True))
    storage_s = storage_only(folder / "storage", statements)
    end = {"ok": "committed", "fail": "rolled_back"}[kind]
    assert ran.ends == {end: sagas}, ran.ends
    assert ran.moved == {"ok": 3 * sagas, "fail": 0}[kind], ran.moved
    return {
        "rate": ran.per_second,
        "storage_rate": sagas / storage_s,
        "records": ran.records / sagas,
        "commits": round(ran.commits / sagas, 3),
        "cpu_us": cpu_s * 1e6 / sagas,
        "kept_us": kept_s * 1e6 / sagas,
        "undisturbed": sagas / max(ran.seconds - kept_s, 1e-9),
        "memory_mb": memory_mb,
    }


async def _many(folder: Path, sagas: int, kind: str, *, trace: bool) -> tuple[Ran, list[Any]]:
    engine = Engine(folder, rich=sagas)
    if kind == "fail":
        engine.fail_third()
    statements = traced(engine.journal._connection) if trace else []
    return await engine.run(sagas, AT_ONCE), statements


def _alone(folder: Path, sagas: int) -> dict[str, Any]:
    prepare_to_drive()
    return {"ms": asyncio.run(_one_by_one(folder, sagas))}


async def _one_by_one(folder: Path, sagas: int) -> list[float]:
    engine = Engine(folder, rich=sagas)
    lock = await engine.begin()
    digest = canonical.digest(lock)
    spent_ms = []
    for number in range(sagas):
        begin_s = time.perf_counter()
        await engine.one(lock, digest, f"bench-{number}")
        spent_ms.append((time.perf_counter() - begin_s) * 1000)
    await engine.end()
    return spent_ms


def _resume(folder: Path, sagas: int) -> dict[str, float]:
    """Let one process leave the sagas open, and this one take them up."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(leave_sagas, folder, sagas).result()
    prepare_to_drive()
    return asyncio.run(_reopen(folder))


async def _reopen(folder: Path) -> dict[str, float]:
    engine = Engine(folder, adapters=pickle.loads((folder / _CHAINS).read_bytes()))
    before_mb = _memory_mb()
    begin_s = time.perf_counter()
    await engine.take_all()
    seconds = time.perf_counter() - begin_s
    after_mb = _memory_mb()
    await engine.abandon()
    return {"seconds": seconds, "before_mb": before_mb, "after_mb": after_mb}
