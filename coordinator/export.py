"""The settlement bundle of one saga: everything a stranger needs to check it, and no secret.

The form is specified in proofs/README.md and verified by `proofs.bundle`. All of it comes from the
journal: no chain is asked, and neither signed bytes nor preimages are among it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coordinator.errors import CoordinatorError, JournalError
from coordinator.journal import tree
from coordinator.journal.base import CheckpointRow, Record
from proofs import bundle_form, bundle_log, bundle_payload, canonical
from proofs.checkpoint import parse_checkpoint, parse_note
from proofs.errors import ProofError, Refused
from proofs.participants import verify_signature

if TYPE_CHECKING:
    from coordinator.journal.reading import JournalReader

__all__ = [
    "Exported",
    "NotExported",
    "WrongFile",
    "covering_head",
    "export_bundle",
    "kept_signatures",
    "older_head",
]


class NotExported(CoordinatorError):
    """The journal gives no bundle that would verify; nothing was written."""

    exit_code = 40


class WrongFile(CoordinatorError):
    """A file that was named is of another kind than it has to be; nothing was written."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Exported:
    """A bundle and what there is to say about it.

    Attributes:
        raw: the file's bytes.
        payload: what participants sign.
        head: size of the checkpoint that covers it; None: it is tied to no log.
        proofs: number of proofs in it.
        unproved: effects without evidence: (step, direction, reason or "not asked for").
    """

    raw: bytes
    payload: dict[str, Any]
    records: int
    head: int | None
    proofs: int
    unproved: tuple[tuple[str, str, str], ...]


def covering_head(reader: "JournalReader", records: Sequence[Record]) -> CheckpointRow | None:
    """Return the newest signed head of the log if it covers all of ``records``."""
    newest = reader.last_checkpoint()
    return newest if newest is not None and newest.size >= records[-1].position else None


def export_bundle(
    reader: "JournalReader",
    saga: str,
    head: CheckpointRow | None,
    *,
    since: int | None = None,
    signatures: Sequence[dict[str, str]] = (),
) -> Exported:
    """Return the bundle of ``saga`` as its journal is now.

    Args:
        head: from `covering_head`; None leaves the log part out.
        since: size of a checkpoint that an auditor holds; the head is shown to be consistent.
        signatures: those to take over.

    Raises:
        JournalError: a record, a proof or a node of the log is damaged or missing.
        NotExported: the records are no saga by the rules of the verifier.
    """
    records = reader.read(f"saga:{saga}")
    bodies = [canonical.parse(record.body) for record in records]
    try:
        payload = bundle_payload.payload_of(bodies)
        evidence = {name: reader.evidence(name) for name in bundle_payload.evidence_names(bodies)}
        log = None if head is None else _log_part(reader, records, head, since)
        raw = bundle_form.build([record.body for record in records], evidence, log, signatures)
    except ProofError as error:
        raise NotExported(
            f"saga {saga} gives no bundle: {error}. Nothing was written. See: coordinator audit "
            f"verify {saga}"
        ) from None
    unproved = tuple(
        (effect["step"], effect["dir"], effect["unproved"] or "not asked for")
        for effect in payload["effects"]
        if not effect["evidence"]
    )
    size = None if head is None else head.size
    return Exported(raw, payload, len(records), size, len(evidence), unproved)


def _log_part(
    reader: "JournalReader", records: Sequence[Record], head: CheckpointRow, since: int | None
) -> dict[str, Any]:
    return bundle_log.build_log(
        head.note,
        [record.position - 1 for record in records],
        tree.nodes(reader),
        rotations=[note for note in reader.rotations() if _size_of(note) < head.size],
        older=since,
    )


def _size_of(rotation: bytes) -> int:
    """Return the size of the log at which a rotation was signed (line 5 of its text)."""
    try:
        return int(rotation.split(b"\n")[4])
    except (IndexError, ValueError):
        raise JournalError(
            "the journal is damaged: a record log_key holds no rotation. See: coordinator journal "
            "check"
        ) from None


def kept_signatures(
    former: bytes, path: Path, saga: str, payload: dict[str, Any]
) -> list[dict[str, str]]:
    """Return the signatures of an earlier export of the same saga that still hold.

    Raises:
        WrongFile: the earlier file is no bundle of this saga, so it must not be replaced.
    """
    try:
        bundle = bundle_form.read_bundle(former)
    except Refused as error:
        raise WrongFile(
            f"{path} holds something else than a bundle ({error.reason}), so it was not replaced. "
            "Name another --out."
        ) from None
    if bundle.payload.get("saga") != saga:
        raise WrongFile(
            f"{path} is the bundle of saga {bundle.payload.get('saga')}, so it was not replaced. "
            "Name another --out."
        )
    encoded = canonical.encode(payload)
    return [dict(entry) for entry in bundle.signatures if _holds(entry, payload, encoded)]


def _holds(entry: Mapping[str, str], payload: Mapping[str, Any], encoded: bytes) -> bool:
    address = payload["participants"].get(entry["role"])
    if address is None:
        return False
    saga, outcome = payload["saga"], payload["outcome"]
    try:
        verify_signature(entry, saga=saga, outcome=outcome, payload=encoded, address=address)
    except Refused:
        return False
    return True


def older_head(reader: "JournalReader", note: bytes) -> int:
    """Return the size of a checkpoint that somebody holds, if this journal is of the same log.

    Raises:
        WrongFile: it is no checkpoint.
        NotExported: this log never had that head: one of both is forged, or this is an old copy.
    """
    try:
        head = parse_checkpoint(parse_note(note).text)
    except Refused as error:
        raise WrongFile(
            f"--since-checkpoint is no checkpoint: {error}. Nothing was written."
        ) from None
    if head.size > reader.last_position():
        raise NotExported(
            f"the checkpoint you hold covers {head.size} records, this journal has "
            f"{reader.last_position()}: it is an old copy, or of another log. Nothing was written."
        )
    if tree.root(reader, head.size) != head.root:
        raise NotExported(
            f"the checkpoint you hold has another root for the first {head.size} records than this "
            "journal: one of both was forged. Nothing was written. Keep your checkpoint and see: "
            "coordinator audit verify"
        )
    return head.size
