"""What must hold before an append is written; nothing here writes.

Claims, keys, locks and reservations are asked from the database inside the open transaction, so
that what earlier appends of the same transaction wrote counts.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import apsw

from coordinator.errors import (
    ClaimTaken,
    Fenced,
    JournalError,
    KeyTaken,
    LockTaken,
    ReservationShort,
)
from coordinator.journal.base import Entry, Raw
from coordinator.journal.body import MAX_BODY, read_record, sha256_of
from coordinator.journal.derive import (
    OPERATOR_STREAM,
    SAGA_PREFIX,
    attempt_of,
    brought,
    claims_of,
    evidence_of,
    outpoint_lock,
    reserved,
    reserved_coins,
)
from coordinator.journal.pauses import Pauses, begins_a_step, fold_pauses
from coordinator.journal.statements import QUERIES
from proofs import canonical

__all__ = ["MAX_EVIDENCE", "Checks", "Fresh", "Request", "Run"]

#: Bytes of one proof; a whole settlement bundle may have 8 MiB.
MAX_EVIDENCE: Final = 4 << 20

#: Runs a statement on the one cursor of the transaction.
Run = Callable[..., apsw.Cursor]

# Statement texts are looked up once; these run for every intent.
_CLAIM_OWNER: Final = QUERIES["claim_owner"]
_CLAIM_TOP: Final = QUERIES["claim_top"]
_ATTEMPT_RAW: Final = QUERIES["attempt_raw"]
_EVIDENCE_KNOWN: Final = QUERIES["evidence_known"]


class Request(NamedTuple):
    """An append to be: entries with their data in canonical bytes."""

    stream: str
    expected: int
    entries: Sequence[Entry]
    data: Sequence[bytes]
    raws: Sequence[Raw]
    evidence: Sequence[bytes] = ()


class Fresh(NamedTuple):
    """What an append stores beside its records: bytes per entry, and proofs by their hash."""

    raws: Sequence[Raw | None]
    evidence: Mapping[str, bytes]


class Checks:
    """The gates of an append, and the sums of reservations that one of them needs."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._sums: dict[tuple[str, str, str], int] | None = None
        #: saga → its part of the sums: what it set aside and what it brought into accounts of ours.
        self._set_by: dict[str, list[tuple[tuple[str, str, str], int]]] = {}
        #: (chain, account) → the highest nonce that is claimed, -1 for none; what lies above it is
        #: free without asking.
        self._tops: dict[tuple[str, str], int] = {}
        self._pauses: Pauses | None = None

    def forget(self) -> None:
        """Read the sums of reservations, highest claims and pauses again when next needed."""
        self._sums = None
        self._pauses = None
        self._tops.clear()

    def written(self, stream: str) -> None:
        """Note that ``stream`` has new records, of the open transaction."""
        if stream == OPERATOR_STREAM:
            self._pauses = None

    def count(self, name: str, values: Any) -> None:
        """Keep what is remembered in step with a change that is about to be written."""
        if name == "claim_insert":
            where, value = values[:2], values[2]
            if value > self._tops.get(where, value):
                self._tops[where] = value
        elif name == "brought_keep":
            self._sums = None  # it may be among them, and this is rare
        elif self._sums is None:
            return
        elif name == "reservation_insert":
            self._set_aside(self._sums, values[0], values[1:4], int(values[4]))
        elif name == "brought_insert":
            self._set_aside(self._sums, values[1], *brought(values[0]))
        elif name == "reservations_delete":
            for where, amount in self._set_by.pop(values[0], ()):
                rest = self._sums[where] - amount
                if rest:
                    self._sums[where] = rest
                else:
                    del self._sums[where]  # a sum of zero takes no room

    def check(self, request: Request) -> Fresh:
        """Check every entry; return what is to be stored beside the records.

        Raises:
            JournalError: an entry does not pass (see `Journal.append`).
            KeyError, TypeError, ValueError, OverflowError: an entry lacks what its kind must have.
        """
        offered = {raw.tx_id: raw for raw in request.raws}
        wanted: dict[tuple[str, str, int], tuple[str, str]] = {}
        fresh: list[Raw | None] = []
        proofs = _by_hash(request.evidence) if request.evidence else {}
        named: dict[str, bytes] = {}
        starts = request.expected == 0 and request.stream.startswith(SAGA_PREFIX)
        for index, entry in enumerate(request.entries):
            if (entry.kind == "started") != (starts and index == 0):
                raise JournalError(
                    f"{entry.kind} can not be record {request.expected + index + 1} of "
                    f"{request.stream}: a saga has one started record, its first; "
                    "nothing was written"
                )
            if entry.kind == "started":
                self._check_start(request.stream, entry.data)
            if entry.kind == "intent":
                if begins_a_step(entry.data):
                    self._check_paused(request, entry.data)
                claimed = self._check_claims(request.stream, entry.data, wanted)
                fresh.append(self._check_raw(entry.data, offered, claimed=claimed))
            else:
                fresh.append(None)
                if entry.kind == "proved":
                    self._check_evidence(entry.data, proofs, named)
        if offered:
            raise JournalError(
                f"no intent names the bytes of {', '.join(offered)}; nothing was written"
            )
        if proofs:
            raise JournalError(
                f"no proved record names the evidence {', '.join(proofs)}; nothing was written"
            )
        return Fresh(fresh, named)

    def _check_start(self, stream: str, data: Mapping[str, Any]) -> None:
        if data["saga"] != stream[5:]:
            raise JournalError(f"{stream} can not start saga {data['saga']}; nothing was written")
        owner = self._run(QUERIES["saga_of_key"], (data["key"],)).get
        if owner is not None:
            raise KeyTaken(data["key"], owner)
        for resource in data["locks"]:
            owner = self._run(QUERIES["lock_owner"], (resource,)).get
            if owner is not None:
                raise LockTaken(
                    f"{resource} is locked by saga {owner}, which is still open. Nothing was "
                    f"written and nothing was sent. Wait for 'coordinator watch {owner}' to end."
                )
        for _step, chain, outpoint in reserved_coins(data):
            self._check_free(chain, outpoint)
        sums = self._reservation_sums()
        for (chain, account, asset), (amount, available) in reserved(data).items():
            before = sums.get((chain, account, asset), 0)
            if before + amount > available:
                raise ReservationShort(
                    f"{chain}: {account} has {available} of {asset} (base units); open sagas have "
                    f"set aside {before}, this plan needs {amount} more: "
                    f"{before + amount - available} are missing. Nothing was written and nothing "
                    "was sent. Fund the account or wait for an open saga to end."
                )

    def _check_paused(self, request: Request, data: Mapping[str, Any]) -> None:
        """Refuse to begin a step that an operator holds back: asked in the same transaction, a
        pause is effective in every process from the moment that it is durable (R11).
        """
        stream, first = request.stream, request.entries[0]
        if not stream.startswith(SAGA_PREFIX):
            return
        if self._pauses is None:
            rows = self._run(QUERIES["records_of_stream"], (OPERATOR_STREAM, 1)).fetchall()
            self._pauses = fold_pauses([read_record(row) for row in rows])
        if not self._pauses.standing:
            return
        if first.kind == "started":
            plan = first.data["plan"]
        else:
            body = self._run(QUERIES["first_body"], (stream,)).get
            plan = canonical.parse(body, max_bytes=MAX_BODY)["data"]["plan"]
        step = next(step for step in plan["steps"] if step["id"] == data["step"])
        held = self._pauses.on(data["chain"], step["payers"].get("forward"))
        if held:
            raise Fenced(
                f"step {data['step']} of {stream} may not begin: {held[0].words}. Nothing was "
                f"written and nothing of this was sent. Fold {OPERATOR_STREAM} again."
            )

    def _check_free(self, chain: str, outpoint: str) -> None:
        """Refuse to reserve a coin that another open saga keeps, or that an intent has claimed."""
        for query, values in (
            ("lock_owner", (outpoint_lock(chain, outpoint),)),
            ("claim_owner", (chain, outpoint, 0)),
        ):
            if self._run(QUERIES[query], values).fetchone() is not None:
                raise ClaimTaken(chain, outpoint, 0)

    def _check_claims(
        self,
        stream: str,
        data: Mapping[str, Any],
        wanted: dict[tuple[str, str, int], tuple[str, str]],
    ) -> bool:
        """Check an intent's claims; True if one of them, so an earlier attempt, may be there."""
        effort = (data["step"], data["dir"])
        claimed = not data["claim"]
        for claim in claims_of(data):
            coin = ":" in claim[1]
            owner = self._claim_owner(claim) if coin or not self._above_all(claim) else None
            taken = owner is not None and owner != (stream, *effort)
            if taken or wanted.setdefault(claim, effort) != effort:
                raise ClaimTaken(*claim)
            claimed = claimed or owner is not None
            if coin:
                self._check_kept(stream, data, claim)
        return claimed

    def _claim_owner(self, claim: tuple[str, str, int]) -> tuple[str, str, str] | None:
        row: tuple[str, str, str] | None = self._run(_CLAIM_OWNER, claim).fetchone()
        return row

    def _above_all(self, claim: tuple[str, str, int]) -> bool:
        """Whether a nonce is higher than every claimed one of its account."""
        where = claim[:2]
        top = self._tops.get(where)
        if top is None:
            top = self._tops[where] = self._run(_CLAIM_TOP, where).get
        return claim[2] > top

    def _check_kept(
        self, stream: str, data: Mapping[str, Any], claim: tuple[str, str, int]
    ) -> None:
        """Refuse a coin that an open saga keeps, but for its undo or what it is reserved for."""
        keeper = self._run(QUERIES["lock_owner"], (outpoint_lock(claim[0], claim[1]),)).get
        if keeper is None:
            return
        own = stream == f"{SAGA_PREFIX}{keeper}"
        if not own or (data["dir"] != "undo" and not self._is_reserved(stream, data, claim)):
            raise ClaimTaken(*claim)

    def _is_reserved(
        self, stream: str, data: Mapping[str, Any], claim: tuple[str, str, int]
    ) -> bool:
        """Whether the saga's first record reserves the coin for the forward effect of this step."""
        started = canonical.parse(self._run(QUERIES["first_body"], (stream,)).get)["data"]
        wanted = (data["step"], claim[0], claim[1])
        return data["dir"] == "forward" and wanted in reserved_coins(started)

    def _check_raw(
        self, data: Mapping[str, Any], offered: dict[str, Raw], *, claimed: bool
    ) -> Raw | None:
        """Return the bytes to store for an intent, None when they are stored already.

        A transaction consumes what it claims, so under fresh claims it can not be stored yet; were
        it, the table would refuse it.
        """
        tx, digest = attempt_of(data)
        raw = offered.pop(tx, None)
        if raw is not None and hashlib.sha256(raw.raw).hexdigest() != digest:
            raise JournalError(f"the bytes of {tx} are not those its intent names by hash")
        stored = self._run(_ATTEMPT_RAW, (tx,)).get if claimed or raw is None else None
        if stored is None:
            if raw is None:
                raise JournalError(f"the intent of {tx} comes without its bytes; nothing written")
            return raw
        if sha256_of(stored) != digest:
            raise JournalError(f"{tx} is stored with other bytes already; nothing was written")
        return None

    def _check_evidence(
        self, data: Mapping[str, Any], offered: dict[str, bytes], named: dict[str, bytes]
    ) -> None:
        """Move what a record names from ``offered`` to ``named``, unless it is stored already."""
        for digest in evidence_of(data):
            body = offered.pop(digest, None)
            stored = self._run(_EVIDENCE_KNOWN, (bytes.fromhex(digest),)).fetchone() is not None
            if stored or digest in named:
                continue
            if body is None:
                raise JournalError(
                    f"a proved record names the evidence {digest}, which is neither given nor "
                    "stored; nothing was written"
                )
            named[digest] = body

    def _reservation_sums(self) -> dict[tuple[str, str, str], int]:
        sums = self._sums
        if sums is None:
            sums = self._sums = {}
            self._set_by = {}
            for saga, chain, account, asset, amount in self._run(QUERIES["reservations_all"]):
                self._set_aside(sums, saga, (chain, account, asset), int(amount))
            for resource, saga in self._run(QUERIES["locks_between"], ("brought:", "brought;")):
                self._set_aside(sums, saga, *brought(resource))
        return sums

    def _set_aside(
        self,
        sums: dict[tuple[str, str, str], int],
        saga: str,
        where: tuple[str, str, str],
        amount: int,
    ) -> None:
        if amount:
            sums[where] = sums.get(where, 0) + amount
            self._set_by.setdefault(saga, []).append((where, amount))


def _by_hash(evidence: Sequence[bytes]) -> dict[str, bytes]:
    for body in evidence:
        if len(body) > MAX_EVIDENCE:
            raise JournalError(
                f"a proof has {len(body)} bytes, the limit is {MAX_EVIDENCE}; nothing was written"
            )
    return {hashlib.sha256(body).hexdigest(): bytes(body) for body in evidence}
