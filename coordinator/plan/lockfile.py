"""The lock file: a resolved plan in canonical JSON, whose SHA-256 is the plan digest."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from adapters.base import Adapter
from adapters.tables import TableError
from coordinator.errors import PlanError
from coordinator.plan.conform import problems
from coordinator.plan.findings import Finding, PlanRefused
from coordinator.plan.participants import read_participants
from coordinator.plan.schema import LOCK_SCHEMA
from coordinator.plan.source import SourceError, read_bytes
from proofs import canonical
from proofs.errors import CanonicalError

__all__ = ["OURS", "Lock", "compare", "is_lock", "load_lock", "write_lock"]

#: Terms that come from the configuration of the coordinator, not from an adapter.
OURS: Final = frozenset({"outage_s", "skew_s"})
#: Terms that may change between planning and running without changing what runs.
#: Terms that may have changed: what the plan fixed is what runs.
_LOOSE: Final = frozenset({"nodes", "proof"})
_SHOWN_PROBLEMS: Final = 20


@dataclass(frozen=True, slots=True)
class Lock:
    """A resolved plan: ``data`` as in the saga's first record, and the digest of its bytes.

    ``warnings`` are what adapters had to say when they resolved it; a file has none.
    """

    data: Mapping[str, Any]
    digest: str
    warnings: tuple[Finding, ...] = ()


def lock_of(data: Mapping[str, Any], warnings: tuple[Finding, ...] = ()) -> Lock:
    """Return the lock of ``data`` after checking its shape.

    Raises:
        PlanRefused: the shape is wrong.
    """
    wrong = [Finding("E03", "lock", text) for text in problems(data, LOCK_SCHEMA)]
    if not wrong:
        # What a plan file is held to, a lock from elsewhere is held to as well.
        roles = {role: f"0x{digits}" for role, digits in data.get("participants", {}).items()}
        try:
            read_participants(roles)
        except TableError as error:
            wrong.append(Finding("E03", "lock", str(error)))
    if wrong:
        raise PlanRefused(wrong[:_SHOWN_PROBLEMS])
    return Lock(data, canonical.digest(data), warnings)


def is_lock(path: Path) -> bool:
    """Tell a lock file from a plan file by its first bytes; unreadable files are plans."""
    try:
        return b'"confirm_order":' in read_bytes(path)[:64_000]
    except SourceError:
        return False


def load_lock(path: Path, digest: str | None = None) -> Lock:
    """Return the lock in ``path``, its form and shape verified, and its digest if one is given.

    Raises:
        PlanRefused: not canonical, wrong in shape, or another digest than ``digest``.
    """
    try:
        data = canonical.parse(read_bytes(path))
    except SourceError as error:
        raise PlanRefused([Finding("E01", "lock", str(error))]) from None
    except CanonicalError as error:
        hint = "lock files are not edited: make it again with: coordinator plan FILE --out LOCK"
        raise PlanRefused([Finding("E01", f"lock {path}", str(error), hint)]) from None
    lock = lock_of(data)
    if digest is not None and lock.digest != digest:
        text = f"its digest is {lock.digest}, expected {digest}"
        raise PlanRefused([Finding("E01", f"lock {path}", text)])
    return lock


def write_lock(lock: Lock, path: Path) -> None:
    """Write the canonical bytes, whole or not at all: ``sha256sum`` of the file is the digest.

    Raises:
        PlanError: the file can not be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as stream:
            stream.write(canonical.encode(lock.data))
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise PlanError(f"cannot write {path}: {error.strerror}; nothing was sent") from None


def compare(lock: Mapping[str, Any], adapters: Mapping[str, Adapter]) -> list[Finding]:
    """Return what differs between the terms in ``lock`` and those of the open chains."""
    findings = []
    for chain, terms in sorted(lock["chains"].items()):
        where = f"chain {chain!r}"
        if chain not in adapters:
            findings.append(Finding("E07", where, "is not open in this configuration"))
            continue
        now = adapters[chain].terms()
        for key in sorted((set(terms) | set(now)) - OURS):
            if terms.get(key) != now.get(key):
                code = "W17" if key in _LOOSE else "E17"
                text = (
                    f"{key} was {terms.get(key)!a} when the plan was resolved, is {now.get(key)!a}"
                )
                findings.append(Finding(code, where, text, "resolve the plan again"))
    return findings
