"""The file of a settlement bundle: one canonical JSON text, read strictly and built small."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proofs import canonical, fields
from proofs.bundle_parts import MAX_PARTS, expanded, gathered
from proofs.bundle_payload import payload_of
from proofs.errors import CanonicalError, Refused
from proofs.packing import is_packed, packed, unpacked

__all__ = [
    "KIND",
    "MAX_BYTES",
    "MAX_EVIDENCE",
    "MAX_NODES",
    "MAX_PARTS",
    "MAX_RECORDS",
    "Bundle",
    "LogPart",
    "build",
    "read_bundle",
    "with_signature",
]

KIND: Final = "settlement-bundle/v1"
MAX_BYTES: Final = 8 << 20
MAX_RECORDS: Final = 20_000
MAX_EVIDENCE: Final = 4_096
MAX_NODES: Final = 65_536
_MAX_SIGNATURES: Final = 64
_MAX_ROTATIONS: Final = 1_000
_MAX_PATH: Final = 64
#: Name of the check that refuses a file which is not of this form.
_CHECK: Final = "bundle-form"

_KEYS: Final = frozenset(
    {"v", "kind", "payload", "records", "parts", "evidence", "log", "signatures"}
)
_LOG_KEYS: Final = frozenset({"checkpoint", "positions", "nodes", "rotations", "consistency"})
_RECORD_KEYS: Final = frozenset({"at", "data", "kind", "prev", "seq", "stream", "v"})
_SIGNATURE_KEYS: Final = frozenset({"role", "address", "signature"})
_ROLE: Final = re.compile(r"[a-z][a-z0-9_-]{0,47}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class LogPart:
    """What a bundle brings of the audit log, not yet verified.

    Attributes:
        checkpoint: a signed note.
        positions: leaf index of each record.
        nodes: stored nodes of the tree, ``(level, index)`` → hash as base64.
        consistency: ``(size of another checkpoint, path as base64)``.
    """

    checkpoint: bytes
    positions: tuple[int, ...]
    nodes: Mapping[tuple[int, int], str]
    rotations: tuple[bytes, ...]
    consistency: tuple[int, tuple[str, ...]] | None


@dataclass(frozen=True, slots=True)
class Bundle:
    """A file of the right form; what it says is not yet verified.

    Attributes:
        bodies, hashes: stored bytes of each record, and their SHA-256.
        evidence: SHA-256 → a proof's form with all parts put back; the bytes have that hash.
    """

    payload: Mapping[str, Any]
    records: tuple[Mapping[str, Any], ...]
    bodies: tuple[bytes, ...]
    hashes: tuple[str, ...]
    evidence: Mapping[str, Mapping[str, Any]]
    log: LogPart | None
    signatures: tuple[Mapping[str, str], ...]


def build(
    bodies: Sequence[bytes],
    evidence: Mapping[str, bytes],
    log: Mapping[str, Any] | None = None,
    signatures: Sequence[Mapping[str, Any]] = (),
) -> bytes:
    """Return the bundle of a saga.

    Args:
        bodies: stored bytes of all records of its stream, in order.
        evidence: SHA-256 → canonical bytes of each proof that `evidence_names` names.
        log: from `bundle_log.build_log`.
        signatures: from `participants.entry_of`.

    Raises:
        Refused, CanonicalError: these do not make a bundle that could be read again.
    """
    records = [canonical.parse(body) for body in bodies]
    forms = {name: canonical.parse(body, max_bytes=MAX_BYTES) for name, body in evidence.items()}
    parts, replaced = gathered(forms)
    raw = canonical.encode(
        {
            "v": 1,
            "kind": KIND,
            "payload": payload_of(records),
            "records": records,
            "parts": parts,
            "evidence": replaced,
            "log": log,
            "signatures": sorted(signatures, key=lambda entry: str(entry["role"])),
        }
    )
    read_bundle(raw)
    return raw


def with_signature(raw: bytes, entry: Mapping[str, Any]) -> bytes:
    """Return the bundle with one more signature; one of the same role is replaced.

    A packed bundle is returned packed.

    Raises:
        Refused: not a bundle, or not a signature's form.
    """
    read_bundle(raw)
    form = canonical.parse(unpacked(raw, MAX_BYTES), max_bytes=MAX_BYTES)
    others = [one for one in form["signatures"] if one["role"] != entry["role"]]
    form["signatures"] = sorted([*others, dict(entry)], key=lambda one: str(one["role"]))
    signed = canonical.encode(form)
    read_bundle(signed)
    return packed(signed) if is_packed(raw) else signed


def read_bundle(raw: bytes) -> Bundle:
    """Read a bundle, packed or not, without believing it.

    Raises:
        Refused: ``bundle-packing``, ``bundle-size``, ``bundle-form``, ``bundle-parts``,
            ``bundle-evidence``.
    """
    content = unpacked(raw, MAX_BYTES)
    try:
        form = canonical.parse(content, max_bytes=MAX_BYTES)
    except CanonicalError as error:
        raise Refused(_CHECK, str(error)) from None
    form = fields.record(_CHECK, form, _KEYS)
    if form["kind"] != KIND or type(form["v"]) is not int or form["v"] != 1:
        raise Refused(_CHECK, f"not a bundle of kind {KIND}")
    if type(form["payload"]) is not dict:
        raise Refused(_CHECK, "the payload is no object")
    records = tuple(
        fields.record(_CHECK, record, _RECORD_KEYS)
        for record in fields.items(_CHECK, form["records"], most=MAX_RECORDS)
    )
    if not records:
        raise Refused(_CHECK, "no record")
    bodies = tuple(canonical.encode(record) for record in records)
    return Bundle(
        payload=form["payload"],
        records=records,
        bodies=bodies,
        hashes=tuple(hashlib.sha256(body).hexdigest() for body in bodies),
        evidence=_evidence(form["parts"], form["evidence"]),
        log=_log(form["log"]),
        signatures=_signatures(form["signatures"]),
    )


def _evidence(parts: Any, evidence: Any) -> dict[str, Any]:
    if type(evidence) is not dict or len(evidence) > MAX_EVIDENCE:
        raise Refused(_CHECK, f"not an object of at most {MAX_EVIDENCE} proofs")
    for name, proof in evidence.items():
        if not _HASH.fullmatch(name) or type(proof) is not dict:
            raise Refused(_CHECK, "evidence is named by a hash and is an object")
    forms = expanded(fields.items(_CHECK, parts, most=MAX_PARTS), evidence)
    for name, proof in forms.items():
        if canonical.digest(proof) != name:
            raise Refused("bundle-evidence", f"other bytes than those named {name[:16]}…")
    return forms


def _log(value: Any) -> LogPart | None:
    if value is None:
        return None
    form = fields.record(_CHECK, value, _LOG_KEYS)
    positions = fields.items(_CHECK, form["positions"], most=MAX_RECORDS)
    nodes = fields.items(_CHECK, form["nodes"], most=MAX_NODES)
    names = [_node(node) for node in nodes]
    if sorted(set(names)) != names:
        raise Refused(_CHECK, "the log's nodes are not sorted, or one stands there twice")
    rotations = fields.items(_CHECK, form["rotations"], most=_MAX_ROTATIONS)
    return LogPart(
        checkpoint=_note(form["checkpoint"]),
        positions=tuple(fields.integer(_CHECK, position) for position in positions),
        nodes={name: node[2] for name, node in zip(names, nodes, strict=True)},
        rotations=tuple(_note(note) for note in rotations),
        consistency=_consistency(form["consistency"]),
    )


def _node(value: Any) -> tuple[int, int]:
    node = fields.items(_CHECK, value, most=3)
    if len(node) != 3 or type(node[2]) is not str:
        raise Refused(_CHECK, "a node of the log is its level, index and hash")
    return fields.integer(_CHECK, node[0], most=_MAX_PATH), fields.integer(_CHECK, node[1])


def _consistency(value: Any) -> tuple[int, tuple[str, ...]] | None:
    if value is None:
        return None
    form = fields.record(_CHECK, value, frozenset({"size", "path"}))
    path = fields.items(_CHECK, form["path"], most=_MAX_PATH)
    if any(type(node) is not str for node in path):
        raise Refused(_CHECK, "a path is hashes as base64")
    return fields.integer(_CHECK, form["size"]), tuple(path)


def _signatures(value: Any) -> tuple[Mapping[str, str], ...]:
    listed = fields.items(_CHECK, value, most=_MAX_SIGNATURES)
    entries = tuple(fields.record(_CHECK, entry, _SIGNATURE_KEYS) for entry in listed)
    for entry in entries:
        role = entry["role"]
        if type(role) is not str or not _ROLE.fullmatch(role):
            raise Refused(_CHECK, "a signature's role is no name")
        fields.data(_CHECK, entry["address"], most=20, length=20)
        fields.data(_CHECK, entry["signature"], most=65, length=65)
    roles = [entry["role"] for entry in entries]
    if sorted(set(roles)) != roles:
        raise Refused(_CHECK, "the signatures are not sorted by role, or a role signs twice")
    return entries


def _note(value: Any) -> bytes:
    if type(value) is not str:
        raise Refused(_CHECK, "a note is a text")
    return value.encode()
