"""Named points of a saga's way, and a life of a coordinator that ends or stops at one of them.

A point is ``before`` or ``after`` a call that matters: ``append KIND:STEP.DIRECTION#n`` (named by
any record that it makes durable), ``prepare STEP.DIRECTION#n``, ``submit STEP.DIRECTION#n``; ``#n``
counts within one life. A life wires the engine as the command line does, and wraps the journal and
the adapters that it hands to the Runner. Production code has no hook for any of this.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

from coordinator import app, planning, service
from coordinator.cli.entry import call
from coordinator.clock import HostClock
from coordinator.config import load_config
from coordinator.delivery import FileDelivery
from coordinator.devnet.control import pause_token
from coordinator.devnet.network import CHAIN_IDS, Devnet
from coordinator.errors import ClaimTaken, Fenced
from coordinator.runner import Runner, Settings
from tests.crash import broken_engines
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adapters.base import Adapter, Attempt, ClaimBook, Prepared, Purpose, Submission, Task
    from coordinator.config import Config
    from coordinator.journal.base import Entry, Raw, Record
    from coordinator.journal.sqlite import SqliteJournal

__all__ = ["PATIENCE_S", "Orders", "heights", "is_at", "live"]

PLAN = Path(__file__).parents[2] / "examples" / "alz-transfer.toml"
PATIENCE_S = 30.0
#: As patient as production, in fractions of a second.
SETTINGS = Settings(
    resend_slow_blocks=0, resend_ms_min=200, retry_ms_min=50, retry_ms_max=500, journal_poll_ms=50
)


@dataclass(frozen=True)
class Orders:
    """What one life of a coordinator is to do.

    Attributes:
        folder: of the run: journal, trails, notes of what was sent.
        end: ``committed``, or ``rolled_back`` because the token refuses the mint once it is signed.
        number: which life of this run it is; the first starts the saga.
        stop_at: the point at which it sends itself ``by``; None: it lives to the saga's end.
        stop_after: the same for its n-th point, whatever that is called.
        engine: a name in `broken_engines.ENGINES`.
        meet: a file; the life opens everything, then drives when the file is there.
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
    timeout_s: float = PATIENCE_S

    @property
    def journal(self) -> Path:
        return self.folder / "journal" / "journal.db"

    @property
    def trail(self) -> Path:
        return self.folder / f"trail-{self.number}.txt"

    @property
    def log(self) -> Path:
        return self.folder / f"life-{self.number}.log"


# ---------------------------------------------------------------- inside a life


class Trail:
    """Writes down every point that is passed, and stops this process at the one that is wanted."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._file = os.open(orders.trail, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._counts: Counter[str] = Counter()
        self._passed = 0

    def passed(self, side: str, call: str, names: Sequence[str]) -> None:
        """Pass a point; ``names`` are everything that it may be called by."""
        for name in names:
            self._counts[f"{side} {call} {name}"] += 1
        numbered = [f"{name}#{self._counts[f'{side} {call} {name}']}" for name in names]
        line = f"{side} {call} {'+'.join(numbered)}"
        self.note(line)
        self._passed += 1
        here = is_at(line, self._orders.stop_at)
        if here or self._passed == self._orders.stop_after:
            os.kill(os.getpid(), self._orders.by)

    def note(self, line: str) -> None:
        os.write(self._file, f"{line}\n".encode())


def is_at(line: str, point: str | None) -> bool:
    """Whether a line of a trail is ``point``: an append goes by the name of each of its records."""
    side, call, names = line.split(" ", 2)
    return point in {f"{side} {call} {name}" for name in names.split("+")}


class WatchedJournal:
    """A journal whose appends are points."""

    def __init__(self, inner: SqliteJournal, trail: Trail) -> None:
        self._inner, self._trail = inner, trail

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def append(
        self, stream: str, expected: int, entries: Sequence[Entry], raws: Sequence[Raw] = ()
    ) -> list[Record]:
        names = [_name(entry) for entry in entries]
        self._trail.passed("before", "append", names)
        try:
            records = await self._inner.append(stream, expected, entries, raws)
        except (Fenced, ClaimTaken):
            self._trail.note(f"lost append {'+'.join(names)}")
            raise
        self._trail.passed("after", "append", names)
        return records


def _name(entry: Entry) -> str:
    """Kind, step and direction, as in ``intent:lock.forward``; burns by their purpose."""
    kind = entry.data.get("purpose", "effect")
    kind = entry.kind if kind == "effect" else kind
    about = ".".join(str(entry.data[key]) for key in ("step", "dir") if key in entry.data)
    return f"{kind}:{about}" if about else kind


class WatchedAdapter:
    """An adapter whose prepares and submits are points; around it the world goes on."""

    def __init__(self, inner: Adapter, trail: Trail, orders: Orders) -> None:
        self._inner, self._trail, self._orders = inner, trail, orders
        self._prepared: dict[str, str] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def prepare(
        self, task: Task, purpose: Purpose, book: ClaimBook, former: Sequence[Attempt]
    ) -> Prepared:
        name = f"{task.step}.{task.direction}"
        self._trail.passed("before", "prepare", [name])
        prepared = await self._inner.prepare(task, purpose, book, former)
        self._prepared[prepared.tx_id] = name
        if self._orders.end == "rolled_back" and name == "mint.forward":
            self._pause()
        self._trail.passed("after", "prepare", [name])
        return prepared

    def _pause(self) -> None:
        """The token's owner stops new mints: what is signed by now, only the chain will refuse.

        Once for all lives of a run; nobody goes on before it is so.
        """
        with (self._orders.folder / "paused").open("a+", encoding="utf-8") as marker:
            fcntl.flock(marker, fcntl.LOCK_EX)
            if marker.tell() == 0:
                pause_token(self._orders.devnet, "ethereum")
                marker.write("ethereum")

    async def submit(self, tx_id: str, raw: bytes) -> Submission:
        name = self._take_note(tx_id, raw)
        self._trail.passed("before", "submit", [name])
        said = await self._inner.submit(tx_id, raw)
        self._trail.passed("after", "submit", [name])
        return said

    def _take_note(self, tx_id: str, raw: bytes) -> str:
        """Write down what is about to leave, and what journal and nodes have at this moment."""
        orders = self._orders
        # The same library as the journal's: a second one would drop its locks on the file.
        connection = apsw.Connection(str(orders.journal), apsw.SQLITE_OPEN_READONLY)
        intents = connection.execute("SELECT position, body FROM records WHERE kind = 'intent'")
        found = {json.loads(body)["data"]["tx"]: (position, body) for position, body in intents}
        connection.close()
        position, body = found.get(tx_id, (None, b""))
        data = json.loads(body)["data"] if body else {}
        name = f"{data['step']}.{data['dir']}" if data else self._prepared[tx_id]
        note = {
            "what": name,
            "tx": tx_id,
            "sha256": hashlib.sha256(raw).hexdigest(),
            "intent": position,
            "heights": heights(orders.devnet),
            "life": orders.number,
        }
        with (orders.folder / "sent.jsonl").open("a", encoding="utf-8") as notes:
            notes.write(json.dumps(note) + "\n")
        return name


def live(orders: Orders) -> None:
    """One life, in this process: start the saga or take it up, drive it to its end, verify the log.

    Ends this process with the exit code of ``coordinator audit verify``.
    """
    _write_to(orders.log)
    broken_engines.ENGINES[orders.engine]()
    asyncio.run(_live(orders))
    os.environ["COORDINATOR_CONFIG"] = str(orders.config)
    sys.exit(call(["audit", "verify"]))


def _write_to(log: Path) -> None:
    """Let everything that this process prints go to a file."""
    sys.stdout = sys.stderr = log.open("a", encoding="utf-8", buffering=1)
    for descriptor in (1, 2):
        os.dup2(sys.stdout.fileno(), descriptor)


async def _live(orders: Orders) -> None:
    config = load_config(orders.config)
    passphrases = app.passphrases_for(config, interactive=False)
    async with app.open_adapters(
        config, list(config.chains), passphrases=passphrases, sign=True
    ) as adapters:
        journal = app.open_journal(config, create=True)
        try:
            rows = journal.sagas()
            saga = rows[0].saga if rows else await _start(config, journal, adapters)
            trail = Trail(orders)
            runner = Runner(
                journal=WatchedJournal(journal, trail),
                adapters={
                    chain: WatchedAdapter(adapter, trail, orders)
                    for chain, adapter in adapters.items()
                },
                secrets=app.LazySecrets(config, passphrases),
                clock=HostClock(),
                instance=f"life-{orders.number}",
                deliver=FileDelivery(app.preimage_folder(config)),
                settings=SETTINGS,
            )
            if orders.meet is not None:
                wait_until(orders.meet.exists, what="the others", timeout_s=PATIENCE_S)
            async with asyncio.timeout(orders.timeout_s):
                await runner.run(service.only(saga))
        finally:
            await journal.close()


async def _start(config: Config, journal: SqliteJournal, adapters: Mapping[str, Adapter]) -> str:
    """Resolve, check and simulate the plan, and write the saga's first record."""
    lock = await planning.lock_of(planning.read_source(PLAN, {}), adapters, config)
    planning.require_runnable(lock, await planning.examine(lock, adapters, []))
    started = await service.start(
        journal, adapters, lock.data, lock.digest,
        key="crash", instance="life-1", now_ms=time.time_ns() // 1_000_000,
    )  # fmt: skip
    return started.saga


def heights(devnet: Devnet) -> dict[str, int]:
    """The height of every chain, as its node says."""
    found = {chain: int(devnet.rpc(chain, "eth_blockNumber"), 16) for chain in CHAIN_IDS}
    return found | {"bitcoin": devnet.rpc("bitcoin", "getblockcount")}
