"""The journal as the rest of the coordinator sees it: streams of records, fenced and durable.

A record is one line of the audit log. Its stored bytes (``body``) are canonical JSON::

    {"at": host Unix ms, "data": {...}, "kind": "...", "prev": hash of the stream's previous record
     (64 zeros for the first), "seq": 1, 2, 3 … in the stream, "stream": "saga:…", "v": 1}

and its hash is the SHA-256 of exactly these bytes. Everything else the journal keeps (claims,
reservations, locks, saga rows, the log's tree) is derived from records and can be rebuilt from
them; data of their own are the signed bytes of attempts and the proofs, each named by hash in a
record, and the signed checkpoints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from msgspec import Struct

__all__ = [
    "CheckpointRow",
    "ClaimRow",
    "Entry",
    "Journal",
    "Raw",
    "Record",
    "ReservationRow",
    "SagaRow",
    "Streams",
]


class Entry(Struct, frozen=True):
    """A record to be: its kind, its data (JSON inside the canonical subset) and its time.

    ``at_ms`` None lets the journal use the host's clock.
    """

    kind: str
    data: Mapping[str, Any]
    at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Raw:
    """Signed bytes that become durable with the intent that names them (by SHA-256)."""

    tx_id: str
    chain: str
    raw: bytes


class Record(Struct, frozen=True):
    """A durable line. ``position`` is dense in commit order over all streams."""

    position: int
    stream: str
    seq: int
    kind: str
    version: int
    at_ms: int
    data: Mapping[str, Any]
    prev: str
    hash: str
    body: bytes


@dataclass(frozen=True, slots=True)
class SagaRow:
    """Derived overview of a saga; the truth is its stream."""

    saga: str
    plan: str
    digest: str
    key: str
    state: str
    stuck: bool
    paused: bool
    deadline_s: int
    started_ms: int
    updated_ms: int
    seq: int
    #: instance that drives it now, by its own word; liveness only, never safety.
    driver: str | None


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """A nonce or coin that an intent consumed, and for whom."""

    chain: str
    resource: str
    value: int
    stream: str
    step: str
    direction: str


@dataclass(frozen=True, slots=True)
class ReservationRow:
    """An amount of ours set aside for an open saga."""

    saga: str
    chain: str
    account: str
    asset: str
    amount: int


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A signed head of the audit log.

    Attributes:
        size: number of records that it covers.
        root: of the RFC 6962 tree over them.
        note: the signed note (proofs/checkpoint.py).
        at_ms: host Unix ms when it was signed, or last found to be still the head.
    """

    size: int
    root: bytes
    note: bytes
    at_ms: int


class Streams(Protocol):
    """The part of a journal that has streams; readers and journals alike."""

    def read(self, stream: str, after: int = 0) -> list[Record]:
        """Return the records of ``stream`` with seq > ``after``, verified against their hashes."""


class Journal(Protocol):
    """Compare-and-append with the sequence of the caller's own fold (R4)."""

    async def append(
        self,
        stream: str,
        expected: int,
        entries: Sequence[Entry],
        raws: Sequence[Raw] = (),
        evidence: Sequence[bytes] = (),
    ) -> list[Record]:
        """Make ``entries`` the next records of ``stream``, all or none, durable on return.

        ``expected`` is the sequence number of the last record the caller has folded (0: none).
        Appends that wait together share one commit; a loser is refused alone. If any entry is an
        ``intent`` or a ``reveal``, the new (position, head hash) has been written to the second
        place before this returns (R12). Every intent comes with its bytes in ``raws``, every
        ``proved`` record with the proofs that it names by hash in ``evidence``, unless they are
        stored already.

        Raises:
            Fenced: the stream has moved on; fold again.
            ClaimTaken: a claimed nonce or coin belongs to another intent, or a coin to reserve or
                to claim is kept for another effect.
            KeyTaken: the idempotency key of a ``started`` record belongs to another saga.
            ReservationShort, LockTaken: what a ``started`` record sets aside is not to be had.
            JournalBroken: disk or database failed; nothing more is written by this process.
        """

    def read(self, stream: str, after: int = 0) -> list[Record]:
        """Return the records of ``stream`` with seq > ``after``, verified against their hashes."""

    def streams(self, prefix: str = "saga:") -> list[str]:
        """Return the names of all streams that begin with ``prefix``."""

    def sagas(self, *, open_only: bool = False) -> list[SagaRow]:
        """Return saga rows, oldest first."""

    def saga(self, saga: str) -> SagaRow | None:
        """Return the row of a saga, None if there is none of this id."""

    def sagas_after(self, position: int) -> list[SagaRow]:
        """Return the rows of sagas with a record past ``position``; older ones cost nothing."""

    def position_at(self, at_ms: int) -> int:
        """Return the position of the last record before host time ``at_ms`` (Unix ms), as far as
        times rise with positions: appends that waited together may differ by some seconds.
        """

    def saga_of_key(self, key: str) -> SagaRow | None:
        """Return the saga that an idempotency key started, for ever."""

    def evidence(self, digest: str) -> bytes:
        """Return the proof with this SHA-256 (64 hex digits), checked against it.

        Raises:
            JournalError: there is none, or its bytes are others.
        """

    def raw(self, tx_id: str) -> bytes:
        """Return an attempt's stored bytes, checked against the hash in its intent."""

    def claims(self, chain: str) -> list[ClaimRow]:
        """Return every live claim on ``chain``."""

    def claim(self, chain: str, resource: str, value: int) -> ClaimRow | None:
        """Return who claimed a nonce or coin, None while nobody has."""

    def locked(self, chain: str) -> dict[str, str]:
        """Return outpoint → open saga for the coins on ``chain`` that are kept until it closes:
        what it brought into accounts of ours for its undo, what it reserved for its payment.
        """

    def reservations(self, chain: str) -> list[ReservationRow]:
        """Return what open sagas have set aside on ``chain``; what they brought into accounts of
        ours there is set aside for their undo.
        """

    def last_position(self) -> int:
        """Return the position of the newest record, 0 for none."""

    def tail(self, after: int) -> list[tuple[int, str, int]]:
        """Return (position, stream, seq) of records past position ``after``, oldest first.

        Shows a process what others appended; cheap when nothing was written since.
        """

    async def drive(self, saga: str, instance: str | None) -> None:
        """Note which live process drives ``saga``; a hint for others, never a permission."""

    async def close(self) -> None:
        """Finish what was handed in, then close."""
