"""No secret in a bundle: no preimage that was not let out, and no signed bytes.

What looks like hex is tried at every place; the hash of each run of 32 bytes is compared with the
hashlocks of holds whose preimage was never revealed.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from proofs.report import Check, failed, passed, unverified
from proofs.saga_state import Course

__all__ = ["check_secrets"]

_HEX: Final = re.compile(r"[0-9a-fA-F]{64,}")
#: Members that no record has: whoever adds one lets out what must not leave its place.
_FORBIDDEN: Final = frozenset(
    {"raw", "preimage", "secret", "private_key", "passphrase", "mnemonic", "seed", "password"}
)
#: Places tried at most; beyond it nobody's honest bundle goes.
_MAX_TRIED: Final = 1 << 20


def check_secrets(
    course: Course,
    records: Sequence[Mapping[str, Any]],
    evidence: Mapping[str, Mapping[str, Any]],
) -> tuple[Check, ...]:
    """Return what was found of preimages and of signed bytes."""
    return (
        _check_preimages(course, records, evidence),
        _check_bytes(records),
    )


def _check_preimages(
    course: Course,
    records: Sequence[Mapping[str, Any]],
    evidence: Mapping[str, Mapping[str, Any]],
) -> Check:
    name = "secrets.preimages"
    hashlocks = _hashlocks(records)
    hidden = {lock for lock, at in hashlocks.items() if at == 0}
    tried = 0
    for at, record in enumerate(records, 1):
        # A hold's preimage stands in no record, and before its reveal nowhere at all.
        early = {lock for lock, revealed in hashlocks.items() if revealed == 0 or at < revealed}
        for window in _windows(record["data"]) if early else ():
            tried += 1
            if tried > _MAX_TRIED:
                return unverified(name, "more data than could be searched")
            if hashlib.sha256(window).hexdigest() in early:
                return failed(name, f"record {at} holds the preimage of a hashlock")
    for digest, proof in evidence.items() if hidden else ():
        for window in _windows(proof):
            tried += 1
            if tried > _MAX_TRIED:
                return unverified(name, "more data than could be searched")
            if hashlib.sha256(window).hexdigest() in hidden:
                return failed(name, f"the proof {digest[:16]}… holds a preimage not let out")
    return passed(name, f"{len(hashlocks)} hashlocks of {course.saga}, no preimage before its time")


def _hashlocks(records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return hashlock → number of the record from which on its preimage may be out; 0: never."""
    found: dict[str, int] = {}
    for at, record in enumerate(records, 1):
        lock = record["data"].get("hashlock")
        if type(lock) is str:
            found.setdefault(lock, 0)
            if record["kind"] == "reveal":
                found[lock] = found[lock] or at
    return found


def _check_bytes(records: Sequence[Mapping[str, Any]]) -> Check:
    name = "secrets.bytes"
    signed = {record["data"].get("bytes") for record in records if record["kind"] == "intent"}
    for at, record in enumerate(records, 1):
        for key, value in _members(record["data"]):
            if key in _FORBIDDEN:
                return failed(name, f"record {at} has a member {key!r}")
            if type(value) is not str:
                continue
            for run in _HEX.findall(value):
                even = run[: len(run) // 2 * 2]
                if hashlib.sha256(bytes.fromhex(even)).hexdigest() in signed:
                    return failed(name, f"record {at} holds the signed bytes of an attempt")
    return passed(name, "records name signed bytes by their hash only")


def _windows(value: Any) -> Iterator[bytes]:
    """Yield every run of 32 bytes in every text that looks like hex."""
    for _, text in _members(value):
        if type(text) is not str:
            continue
        for run in _HEX.findall(text):
            for start in {0, len(run) % 2}:
                raw = bytes.fromhex(run[start : start + (len(run) - start) // 2 * 2])
                for at in range(len(raw) - 31):
                    yield raw[at : at + 32]


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the values inside a value with the key that each stands under; no recursion."""
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        key, found = stack.pop()
        yield key, found
        if type(found) is dict:
            stack += found.items()
        elif type(found) is list:
            stack += ((key, item) for item in found)
