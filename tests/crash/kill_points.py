"""A life of a coordinator that ends or stops at one of the points of its way (see `watching`).

It wires the engine as the command line does, and wraps what it hands to the Runner.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import apsw

from coordinator import app, planning, service
from coordinator.cli.entry import call
from coordinator.clock import HostClock
from coordinator.config import load_config
from coordinator.delivery import FileDelivery
from coordinator.journal.sqlite import SqliteJournal
from coordinator.ports import Settings
from coordinator.runner import Runner
from tests.crash import broken_engines
from tests.crash.commits import FILES
from tests.crash.watching import (
    Notes,
    Trail,
    WatchedAdapter,
    WatchedChannel,
    WatchedJournal,
    WatchedSecrets,
)
from tests.crash.world import World
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from adapters.base import Adapter
    from coordinator.config import Config
    from coordinator.devnet.network import Devnet

__all__ = ["PATIENCE_S", "READY", "Orders", "live"]

PATIENCE_S = 30.0
#: In a trail: everything is open, and it waits for the others.
READY = "ready to meet"
#: As patient as production, in fractions of a second.
SETTINGS = Settings(
    resend_slow_blocks=0, resend_ms_min=200, retry_ms_min=50, retry_ms_max=500, journal_poll_ms=50
)


@dataclass(frozen=True)
class Orders:
    """What one life of a coordinator is to do.

    Attributes:
        folder: of the run: plan, journal, trails, notes of what was sent.
        end: a name in `ends.ENDS`.
        number: which life of this run it is; the first starts the saga.
        stop_at: the point at which it sends itself ``by``; None: it lives to the saga's end.
        stop_after: the same for its n-th point, whatever that is called.
        engine: a name in `broken_engines.ENGINES`.
        meet: a file; the life opens everything, then drives when the file is there.
        busy_s: how long an append waits for another process that writes; as in production.
        command: of the command line, to call instead of driving the saga.
        lingers_s: it stays until the saga has had no new record for so long, to watch its blocks.
    """

    devnet: Devnet
    config: Path
    folder: Path
    end: str
    number: int
    stop_at: str | None = None
    stop_after: int | None = None
    by: signal.Signals = signal.SIGKILL
    engine: str = "real"
    meet: Path | None = None
    busy_s: float = 10.0
    command: tuple[str, ...] = ()
    timeout_s: float = PATIENCE_S
    lingers_s: float = 0.0

    @property
    def plan(self) -> Path:
        return self.folder / "plan.toml"

    @property
    def journal(self) -> Path:
        return self.folder / "journal" / "journal.db"

    @property
    def witness(self) -> Path:
        return self.folder / "witness" / "head"

    @property
    def trail(self) -> Path:
        return self.folder / f"trail-{self.number}.txt"

    @property
    def log(self) -> Path:
        return self.folder / f"life-{self.number}.log"


def live(orders: Orders) -> None:
    """One life, in this process: start the saga or take it up, drive it to its end, verify the log.

    Ends this process with the exit code of ``coordinator audit verify``, or of another command.
    """
    _write_to(orders.log)
    broken_engines.ENGINES[orders.engine]()
    os.environ["COORDINATOR_CONFIG"] = str(orders.config)
    if orders.command:
        production: Any = app
        production.SqliteJournal = partial(SqliteJournal, busy_s=orders.busy_s)
        sys.exit(call([*orders.command]))
    asyncio.run(_live(orders))
    sys.exit(call(["audit", "verify"]))


def _write_to(log: Path) -> None:
    """Let everything that this process prints go to a file."""
    sys.stdout = sys.stderr = log.open("a", encoding="utf-8", buffering=1)
    for descriptor in (1, 2):
        os.dup2(sys.stdout.fileno(), descriptor)


async def _live(orders: Orders) -> None:
    trail, world, notes = Trail(orders), World(orders), Notes(orders)
    config = load_config(orders.config)
    passphrases = app.passphrases_for(config, interactive=False)
    async with app.open_adapters(
        config, list(config.chains), passphrases=passphrases, sign=True
    ) as adapters:
        journal = _open_journal(config, orders)
        try:
            rows = journal.sagas()
            saga = rows[0].saga if rows else await _start(orders, config, journal, adapters)
            await world.look(journal, saga)
            runner = Runner(
                journal=WatchedJournal(journal, trail, world),
                adapters={
                    chain: WatchedAdapter(adapter, trail, world, notes)
                    for chain, adapter in adapters.items()
                },
                secrets=WatchedSecrets(app.LazySecrets(config, passphrases), notes),
                clock=HostClock(),
                instance=f"life-{orders.number}",
                deliver=WatchedChannel(FileDelivery(app.preimage_folder(config)), trail),
                settings=SETTINGS,
            )
            if orders.meet is not None:
                trail.note(READY)
                wait_until(orders.meet.exists, what="the others", timeout_s=PATIENCE_S)
            async with asyncio.timeout(orders.timeout_s):
                await runner.run(_lingering(journal, saga, orders.lingers_s))
        finally:
            await journal.close()


async def _lingering(journal: SqliteJournal, saga: str, rest_s: float) -> AsyncIterator[str]:
    """Hand out the saga, and have more to come until it has rested for so long."""
    yield saga
    newest, since_s = 0, time.monotonic()
    while rest_s and time.monotonic() < since_s + rest_s:
        await asyncio.sleep(0.02)
        records = len(journal.read(f"saga:{saga}"))
        if records != newest:
            newest, since_s = records, time.monotonic()


def _open_journal(config: Config, orders: Orders) -> SqliteJournal:
    """Open the journal as the command line does, on files that can be stopped if need be."""
    if not config.journal_path.exists():
        SqliteJournal.create(config.journal_path, config.witness_path)
    files = FILES if FILES in apsw.vfs_names() else None
    path, witness = config.journal_path, config.witness_path
    return SqliteJournal(path, witness, vfs=files, busy_s=orders.busy_s)


async def _start(
    orders: Orders, config: Config, journal: SqliteJournal, adapters: Mapping[str, Adapter]
) -> str:
    """Resolve, check and simulate the plan, and write the saga's first record."""
    lock = await planning.lock_of(planning.read_source(orders.plan, {}), adapters, config)
    planning.require_runnable(lock, await planning.examine(lock, adapters, []))
    started = await service.start(
        journal, adapters, lock.data, lock.digest,
        key="crash", instance="life-1", now_ms=time.time_ns() // 1_000_000,
    )  # fmt: skip
    return started.saga
