"""Entries as a runner writes them, for tests of journals."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from coordinator.journal.base import Entry, Raw
from proofs import canonical

PLAN: Mapping[str, Any] = {"v": 1, "name": "plan of the tests", "steps": []}


def stream(saga: str) -> str:
    return f"saga:{saga}"


def started(
    saga: str,
    *,
    key: str | None = None,
    reservations: Sequence[tuple[str, str, str, int, int]] = (),
    locks: Sequence[str] = (),
    plan: Mapping[str, Any] = PLAN,
    coins: Sequence[tuple[str, str, str]] = (),
) -> Entry:
    data: dict[str, Any] = {
        "saga": saga,
        "key": f"key of {saga}" if key is None else key,
        "digest": canonical.digest(plan),
        "plan": plan,
        "deadline_s": 1_790_000_000,
        "expiries": {},
        "clocks": {},
        "reservations": [[*where, str(amount), str(free)] for *where, amount, free in reservations],
        "locks": list(locks),
        "instance": "first",
    }
    if coins:
        data["coins"] = [list(coin) for coin in coins]
    return Entry("started", data)


def intent(
    tx: str,
    claim: Sequence[tuple[str, int]] = (),
    *,
    step: str = "pay",
    direction: str = "forward",
    chain: str = "polygon",
    raw: bytes | None = None,
    facts: Mapping[str, Any] | None = None,
    number: int = 1,
) -> tuple[Entry, Raw]:
    raw = f"signed bytes of {tx}".encode() if raw is None else raw
    data = {
        "step": step,
        "dir": direction,
        "gen": 1,
        "n": number,
        "purpose": "effect",
        "tx": tx,
        "bytes": hashlib.sha256(raw).hexdigest(),
        "chain": chain,
        "claim": [list(one) for one in claim],
        "since": 7,
        "fee": {},
        "facts": {} if facts is None else facts,
        "until_s": 1_790_000_000,
    }
    return Entry("intent", data), Raw(tx, chain, raw)


def included(tx: str, *, step: str = "pay") -> Entry:
    return Entry(
        "included",
        {"step": step, "dir": "forward", "tx": tx, "block": "0xb", "height": 8, "facts": {}},
    )


def proved(*proofs: bytes, step: str = "pay") -> Entry:
    names = [{"kind": "test/v1", "sha256": hashlib.sha256(proof).hexdigest()} for proof in proofs]
    data = {"step": step, "dir": "forward", "gen": 1, "tx": "0x1", "block": "0xb", "height": 8}
    return Entry("proved", {**data, "outcome": "done", "evidence": names})


def decided(decision: str) -> Entry:
    return Entry("decided", {"decision": decision, "cause": {"kind": "test", "text": "test"}})


def closed(state: str = "committed") -> Entry:
    return Entry("closed", {"state": state, "records": 0, "fees": {}})


def plain(kind: str) -> Entry:
    return Entry(kind, {"by": "test", "reason": "test"})
