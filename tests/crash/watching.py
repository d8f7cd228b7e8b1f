"""Named points of a saga's way, and what watches a life pass them.

A point is ``before`` or ``after`` a call that matters: ``append KIND:STEP.DIRECTION#n`` (named by
any record that it makes durable), ``prepare STEP.DIRECTION#n``, ``submit STEP.DIRECTION#n``,
``deliver STEP#n`` (of a preimage); ``#n`` counts within one life. What ends an attempt goes by its
purpose: ``burn:STEP.DIRECTION``. Instead of ``before``, the moment of an append can be one inside
its commit (see `commits`). What the Runner is handed is wrapped; production code has no hook for
any of this.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import apsw

from coordinator.devnet.network import CHAIN_IDS, Devnet
from coordinator.errors import ClaimTaken, Fenced
from tests.crash.commits import MOMENTS, stop_inside
from tests.crash.evidence import witnessed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adapters.base import Adapter, Attempt, ClaimBook, Prepared, Purpose, Submission, Task
    from coordinator.app import LazySecrets
    from coordinator.delivery import FileDelivery
    from coordinator.journal.base import Entry, Raw, Record
    from coordinator.journal.sqlite import SqliteJournal
    from coordinator.signers import Secret
    from tests.crash.kill_points import Orders
    from tests.crash.world import World

__all__ = [
    "Notes",
    "Trail",
    "WatchedAdapter",
    "WatchedChannel",
    "WatchedJournal",
    "WatchedSecrets",
    "heights",
    "is_at",
]


class Trail:
    """Writes down every point that is passed, and stops this process at the one that is wanted."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._file = os.open(orders.trail, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._counts: Counter[str] = Counter()
        self._passed = 0
        self._inside: str | None = None
        moment = (orders.stop_at or "").partition(" ")[0]
        if moment in MOMENTS:
            stop_inside(moment, self._reached)

    def passed(self, side: str, call: str, names: Sequence[str]) -> None:
        """Pass a point; ``names`` are everything that it may be called by."""
        line = self._count(side, call, names)
        self.note(line)
        self._passed += 1
        here = is_at(line, self._orders.stop_at)
        if here or self._passed == self._orders.stop_after:
            self._stop()

    def commits(self, names: Sequence[str]) -> None:
        """The next commit makes ``names`` durable; its moments are points of theirs."""
        for moment in MOMENTS:
            line = self._count(moment, "append", names)
            if is_at(line, self._orders.stop_at):
                self._inside = line

    def _reached(self) -> None:
        line, self._inside = self._inside, None
        if line is not None:
            self.note(line)
            self._stop()

    def _stop(self) -> None:
        # To this very thread: it shall not take a step more, also if others do not stop at once.
        signal.pthread_kill(threading.get_ident(), self._orders.by)

    def _count(self, side: str, call: str, names: Sequence[str]) -> str:
        for name in names:
            self._counts[f"{side} {call} {name}"] += 1
        numbered = [f"{name}#{self._counts[f'{side} {call} {name}']}" for name in names]
        return f"{side} {call} {'+'.join(numbered)}"

    def note(self, line: str) -> None:
        os.write(self._file, f"{line}\n".encode())


def is_at(line: str, point: str | None) -> bool:
    """Whether a line of a trail is ``point``: an append goes by the name of each of its records."""
    side, call, names = line.split(" ", 2)
    return point in {f"{side} {call} {name}" for name in names.split("+")}


class WatchedJournal:
    """A journal whose appends are points; around it the world goes on."""

    def __init__(self, inner: SqliteJournal, trail: Trail, world: World) -> None:
        self._inner, self._trail, self._world = inner, trail, world

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def append(
        self,
        stream: str,
        expected: int,
        entries: Sequence[Entry],
        raws: Sequence[Raw] = (),
        evidence: Sequence[bytes] = (),
    ) -> list[Record]:
        names = [_name(entry) for entry in entries]
        self._trail.passed("before", "append", names)
        self._trail.commits(names)
        try:
            records = await self._inner.append(stream, expected, entries, raws, evidence)
        except (Fenced, ClaimTaken):
            self._trail.note(f"lost append {'+'.join(names)}")
            raise
        if stream.startswith("saga:"):
            await self._world.look(self._inner, stream.removeprefix("saga:"))
        self._trail.passed("after", "append", names)
        return records


def _name(entry: Entry) -> str:
    """Kind, step and direction, as in ``intent:lock.forward``; burns by their purpose."""
    purpose = entry.data.get("purpose", "effect")
    kind = entry.kind if purpose == "effect" else purpose
    about = ".".join(str(entry.data[key]) for key in ("step", "dir") if key in entry.data)
    return f"{kind}:{about}" if about else kind


class WatchedAdapter:
    """An adapter whose prepares and submits are points; around it the world goes on."""

    def __init__(self, inner: Adapter, trail: Trail, world: World, notes: Notes) -> None:
        self._inner, self._trail, self._world, self._notes = inner, trail, world, notes
        self._prepared: dict[str, str] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def prepare(
        self, task: Task, purpose: Purpose, book: ClaimBook, former: Sequence[Attempt]
    ) -> Prepared:
        name = _call(task.step, task.direction, purpose)
        self._trail.passed("before", "prepare", [name])
        prepared = await self._inner.prepare(task, purpose, book, former)
        self._prepared[prepared.tx_id] = name
        self._world.prepared(name)
        self._trail.passed("after", "prepare", [name])
        return prepared

    async def submit(self, tx_id: str, raw: bytes) -> Submission:
        name = self._notes.leaving(tx_id, raw) or self._prepared[tx_id]
        self._trail.passed("before", "submit", [name])
        said = await self._inner.submit(tx_id, raw)
        self._world.sent(name)
        self._trail.passed("after", "submit", [name])
        return said


def _call(step: str, direction: str, purpose: str) -> str:
    """What an attempt is called, as in ``lock.forward`` and ``burn:lock.forward``."""
    return f"{step}.{direction}" if purpose == "effect" else f"{purpose}:{step}.{direction}"


class WatchedSecrets:
    """The hold secrets of the life; taking a preimage out is noted."""

    def __init__(self, inner: LazySecrets, notes: Notes) -> None:
        self._inner, self._notes = inner, notes

    def preimage(self, *, saga: str, step: str, generation: int) -> Secret:
        self._notes.taken_out(step)
        return self._inner.preimage(saga=saga, step=step, generation=generation)

    def hashlock(self, *, saga: str, step: str, generation: int) -> str:
        return self._inner.hashlock(saga=saga, step=step, generation=generation)


class WatchedChannel:
    """A channel of preimages whose deliveries are points."""

    def __init__(self, inner: FileDelivery, trail: Trail) -> None:
        self._inner, self._trail = inner, trail

    def __call__(
        self, saga: str, step: str, deliver: str, preimage: bytes, facts: Mapping[str, Any]
    ) -> None:
        self._trail.passed("before", "deliver", [step])
        self._inner(saga, step, deliver, preimage, facts)
        self._trail.passed("after", "deliver", [step])


class Notes:
    """What leaves, with what journal, second place and nodes have at this moment, as raw bytes."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    def leaving(self, tx_id: str, raw: bytes) -> str | None:
        """Note a submission; return what it is called, None if the journal knows nothing of it."""
        found = {data["tx"]: (position, data) for position, data in self._records("intent")}
        position, data = found.get(tx_id, (None, None))
        name = None if data is None else _call(data["step"], data["dir"], data["purpose"])
        self._write(
            what=name or "nothing that the journal knows",
            tx=tx_id,
            sha256=hashlib.sha256(raw).hexdigest(),
            intent=position,
        )
        return name

    def taken_out(self, step: str) -> None:
        """Note that a preimage was taken out of the place where it cannot leak."""
        decided = [data["decision"] for _, data in self._records("decided")]
        self._write(what="preimage", step=step, decided=decided)

    def _records(self, kind: str) -> list[tuple[int, dict[str, Any]]]:
        # The same library as the journal's: a second one would drop its locks on the file.
        connection = apsw.Connection(str(self._orders.journal), apsw.SQLITE_OPEN_READONLY)
        found = connection.execute("SELECT position, body FROM records WHERE kind = ?", (kind,))
        rows = [(position, json.loads(body)["data"]) for position, body in found]
        connection.close()
        return rows

    def _write(self, **note: Any) -> None:
        note |= {
            "life": self._orders.number,
            "heights": heights(self._orders.devnet),
            "witnessed": witnessed(self._orders.witness.read_bytes()),
        }
        with (self._orders.folder / "notes.jsonl").open("a", encoding="utf-8") as notes:
            notes.write(json.dumps(note) + "\n")


def heights(devnet: Devnet) -> dict[str, int]:
    """The height of every chain, as its node says."""
    found = {chain: int(devnet.rpc(chain, "eth_blockNumber"), 16) for chain in CHAIN_IDS}
    return found | {"bitcoin": devnet.rpc("bitcoin", "getblockcount")}
