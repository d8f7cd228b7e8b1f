"""The journal in memory: the real tables and the real checks, without files, threads or time.

Only what waits for a disk is missing. A `MemoryStore` outlives the "process" whose `MemoryJournal`
writes to it, as a file would.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

import apsw

from coordinator.errors import JournalError
from coordinator.journal.base import ClaimRow, Entry, Raw, Record, ReservationRow, SagaRow
from coordinator.journal.body import DataEncoder, check_names
from coordinator.journal.reading import JournalReader
from coordinator.journal.statements import QUERIES, SCHEMA
from coordinator.journal.writing import Request, Writer
from proofs.errors import CanonicalError

__all__ = ["MemoryJournal", "MemoryStore"]

_NOWHERE: Final = Path(":memory:")
#: Statements that stay compiled. The cache is a ring: each use moves a statement to its end, so it
#: holds what a run uses between two uses of one statement, not only all statements.
_COMPILED: Final = 160
#: Bytes of plans by their digest, for all journals of this process.
_ENCODER: Final = DataEncoder()
_TABLES: Final = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'meta'"


def _empty() -> bytes:
    connection = apsw.Connection(":memory:")
    connection.execute(SCHEMA)
    connection.execute(QUERIES["meta_put"], ("journal_id", "0" * 32))
    return connection.serialize("main")


_EMPTY: Final = _empty()
#: Connections of stores that nobody reads any more; each has compiled every statement already.
_POOL: list[apsw.Connection] = []


def _opened() -> apsw.Connection:
    connection = apsw.Connection(":memory:", statementcachesize=_COMPILED)
    # As the journal's own connections: else most reads would be parsed and planned anew.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    connection.deserialize("main", _EMPTY)
    return connection


def _clearing() -> str:
    names = [name for (name,) in _opened().execute(_TABLES)]
    return "".join(f"DELETE FROM {name};" for name in names)


_CLEARED: Final = _clearing()


class MemoryStore:
    """What is on the "disk"; ``records``, ``raws`` and ``proofs`` repeat it for the checker."""

    def __init__(self) -> None:
        connection = _POOL.pop() if _POOL else _opened()
        self.records: list[Record] = []
        self.raws: dict[str, bytes] = {}
        self.proofs: dict[str, bytes] = {}
        self.reader = JournalReader(_NOWHERE, connection)
        self.connection = connection
        # One for all processes: a writer sees others' commits only on another connection.
        self.writer = Writer(connection)
        #: stream → its records as they were read back, each parsed and verified once.
        self.parsed: defaultdict[str, list[Record]] = defaultdict(list)
        #: stream → how many records it has.
        self.lengths: Counter[str] = Counter()
        #: told how many records were just written.
        self.written: Callable[[int], None] = lambda _count: None

    def read(self, saga: str) -> list[Record]:
        """Return a saga's records."""
        return [record for record in self.records if record.stream == f"saga:{saga}"]

    def recycle(self) -> None:
        """Hand the connection to a store that is still to be made; nothing reads this one again."""
        self.connection.execute(_CLEARED)
        _POOL.append(self.connection)


class MemoryJournal:
    """Implements `coordinator.journal.base.Journal` on a `MemoryStore`."""

    def __init__(self, store: MemoryStore, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._reader = store.reader
        self._writer = store.writer
        self._now_ms = now_ms
        self._closed = False

    async def append(
        self,
        stream: str,
        expected: int,
        entries: Sequence[Entry],
        raws: Sequence[Raw] = (),
        evidence: Sequence[bytes] = (),
    ) -> list[Record]:
        if self._closed:
            raise JournalError("the journal is closed; nothing was written")
        if not entries:
            raise JournalError(f"an append to {stream} has no entries; nothing was written")
        try:
            check_names(stream, [entry.kind for entry in entries])
            data = [_ENCODER.encode(entry.kind, entry.data) for entry in entries]
        except CanonicalError as error:
            raise JournalError(f"an entry has no canonical form ({error})") from error
        records = self._write(Request(stream, expected, entries, data, raws, evidence))
        store = self._store
        store.records += records
        store.lengths[stream] += len(records)
        for raw in raws:
            store.raws[raw.tx_id] = raw.raw
        for proof in evidence:
            store.proofs[sha256(proof).hexdigest()] = proof
        store.written(len(records))
        # What is durable is told in a later turn of the loop, as a disk would.
        await asyncio.sleep(0)
        return records

    def _write(self, request: Request) -> list[Record]:
        self._writer.begin(self._now_ms())
        try:
            records = self._writer.append(request)
        except JournalError:
            self._writer.commit()  # a loser has written nothing
            raise
        except BaseException as error:
            self._writer.rollback()
            if isinstance(error, apsw.Error):
                raise JournalError(f"an entry does not fit the tables ({error})") from error
            raise
        self._writer.commit()
        return records

    # ------------------------------------------------------------ reading

    def read(self, stream: str, after: int = 0) -> list[Record]:
        known = self._store.parsed[stream]
        # Sagas are folded again and again, and often nothing is new.
        if len(known) < self._store.lengths[stream]:
            known += self._reader.read(stream, len(known))
        return known[after:]

    def streams(self, prefix: str = "saga:") -> list[str]:
        return self._reader.streams(prefix)

    def sagas(self, *, open_only: bool = False) -> list[SagaRow]:
        return self._reader.sagas(open_only=open_only)

    def saga(self, saga: str) -> SagaRow | None:
        return self._reader.saga(saga)

    def sagas_after(self, position: int) -> list[SagaRow]:
        return self._reader.sagas_after(position)

    def position_at(self, at_ms: int) -> int:
        return self._reader.position_at(at_ms)

    def saga_of_key(self, key: str) -> SagaRow | None:
        return self._reader.saga_of_key(key)

    def evidence(self, digest: str) -> bytes:
        return self._reader.evidence(digest)

    def raw(self, tx_id: str) -> bytes:
        known = self._store.raws.get(tx_id)
        return known if known is not None else self._reader.raw(tx_id)

    def claims(self, chain: str) -> list[ClaimRow]:
        return self._reader.claims(chain)

    def claim(self, chain: str, resource: str, value: int) -> ClaimRow | None:
        return self._reader.claim(chain, resource, value)

    def locked(self, chain: str) -> dict[str, str]:
        return self._reader.locked(chain)

    def reservations(self, chain: str) -> list[ReservationRow]:
        return self._reader.reservations(chain)

    def last_position(self) -> int:
        return self._reader.last_position()

    def tail(self, after: int) -> list[tuple[int, str, int]]:
        # Asked twice a second by every process, and nearly always in vain.
        return self._reader.tail(after) if after < len(self._store.records) else []

    async def drive(self, saga: str, instance: str | None) -> None:
        self._writer.begin(self._now_ms())
        self._writer.drive(saga, instance)
        self._writer.commit()

    async def close(self) -> None:
        self._closed = True
