"""Step proof ``ledger.rfc6962/v1``: a record is a leaf of a log that the verifier trusts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from proofs import fields
from proofs.errors import Refused
from proofs.log import MAX_PATH, leaf_hash, verify_inclusion

__all__ = ["KIND", "MAX_RECORD_BYTES", "RecordFacts", "build_record", "verify_record"]

KIND: Final = "ledger.rfc6962/v1"
MAX_RECORD_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class RecordFacts:
    """What a verified record proof shows: these bytes are that leaf of the log."""

    record: bytes
    index: int
    size: int
    root: bytes


def build_record(record: bytes, index: int, size: int, path: Sequence[bytes]) -> dict[str, Any]:
    """Return the JSON form of a step proof ``ledger.rfc6962/v1``."""
    return {
        "kind": KIND,
        "record": record.hex(),
        "index": index,
        "size": size,
        "path": [node.hex() for node in path],
    }


def verify_record(proof: Any, *, size: int, root: bytes) -> RecordFacts:
    """Check such a proof against a tree that the verifier trusts, by its size and root.

    Raises:
        Refused: ``log-form``, ``log-size``, ``log-index``, ``log-path``, ``log-root``.
    """
    check = "log-form"
    form = fields.record(check, proof, frozenset({"kind", "record", "index", "size", "path"}))
    if form["kind"] != KIND:
        raise Refused(check, f"not a proof of kind {KIND}")
    if fields.integer(check, form["size"]) != size:
        raise Refused("log-size", f"a proof for another tree than that of {size} leaves")
    index = fields.integer(check, form["index"])
    path = fields.datas(check, form["path"], most=MAX_PATH, length=32)
    record = fields.data(check, form["record"], most=MAX_RECORD_BYTES)
    verify_inclusion(leaf_hash(record), index, size, path, root)
    return RecordFacts(record, index, size, root)
