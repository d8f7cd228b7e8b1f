"""What a record changes in the derived tables: a pure function, used to write and to rebuild.

A change is the name of a statement in queries.sql and its parameters. Writing a record and
rebuilding from it run the same changes, so the tables can not drift apart from the records.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

__all__ = [
    "OPERATOR_STREAM",
    "SAGA_PREFIX",
    "Change",
    "attempt_of",
    "brought",
    "brought_lock",
    "changes",
    "claims_of",
    "evidence_of",
    "is_progress",
    "outpoint_lock",
    "reserved",
    "reserved_coins",
    "still_stuck",
]

#: Name of a statement in queries.sql, and its parameters.
Change = tuple[str, tuple[str | int | None, ...]]

#: Streams with this prefix are sagas; the rest of the name is the saga's id.
SAGA_PREFIX: Final = "saga:"
#: Stream of what operators decide about the journal as a whole.
OPERATOR_STREAM: Final = "operator"
#: Kinds that leave a saga as stuck as it was; every other record is progress.
_NO_PROGRESS: Final = frozenset(
    {"stuck", "paused", "unpaused", "taken_over", "asked", "proved", "unproved"}
)
_SHA256: Final = re.compile(r"[0-9a-f]{64}").fullmatch
_STATE_OF_DECISION: Final = {"commit": "confirming", "rollback": "undoing"}


def changes(
    stream: str, kind: str, data: Mapping[str, Any], at_ms: int, *, stuck: bool
) -> list[Change]:
    """Return what the record of ``kind`` changes, in order.

    Args:
        stuck: whether the saga was stuck before this record.

    Raises:
        KeyError, TypeError, ValueError: ``data`` lacks what a record of this kind must have.
    """
    if not stream.startswith(SAGA_PREFIX):
        # What a recovery found consumed on a chain is never given again, whoever consumed it.
        return _claims(stream, data) if kind in ("intent", "unexplained") else []
    found: list[Change] = []
    if stuck and is_progress(kind, data):
        found.append(("saga_stuck", (0, stream[5:])))
    if kind == "intent":
        found += _claims(stream, data)
        if data["dir"] == "forward" and data["purpose"] == "effect":
            found += _kept(stream[5:], data)
    elif kind in _OF_SAGA:
        found += _OF_SAGA[kind](stream[5:], data, at_ms)
    return found


def is_progress(kind: str, data: Mapping[str, Any]) -> bool:
    """Whether a record of ``kind`` ends what a saga was stuck in.

    Another try of a confirm or undo that failed, and its failure, are no progress.
    """
    if kind in _NO_PROGRESS:
        return False
    if kind == "intent":
        return bool(data["gen"] == 1)
    return kind != "not_done" or data["dir"] == "forward"


def still_stuck(kind: str, data: Mapping[str, Any], *, stuck: bool) -> bool:
    """Whether a saga is stuck after a record of ``kind``."""
    return kind == "stuck" or (stuck and not is_progress(kind, data))


def claims_of(data: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Return the (chain, resource, value) triples that an intent claims."""
    chain = data["chain"]
    return [(chain, resource, int(value)) for resource, value in data["claim"]]


def attempt_of(data: Mapping[str, Any]) -> tuple[str, str]:
    """Return (transaction id, SHA-256 of the stored bytes in hex) of an intent."""
    return data["tx"], data["bytes"]


def evidence_of(data: Mapping[str, Any]) -> list[str]:
    """Return the SHA-256 (64 lower-case hex digits) of the proofs that a ``proved`` record names.

    Raises:
        KeyError, TypeError, ValueError: it names none, or not in this form.
    """
    found = [item["sha256"] for item in data["evidence"]]
    if not found or any(_SHA256(digest) is None for digest in found):
        raise ValueError("a proved record names its evidence by SHA-256")
    return found


def outpoint_lock(chain: str, outpoint: str) -> str:
    """Return the lock that keeps a coin for one open saga (DESIGN.md §3.2): an output of its own
    for its undo, or a coin of ours for its payment.
    """
    return f"outpoint:{chain}:{outpoint}"


def reserved_coins(data: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the (step, chain, outpoint) that a ``started`` record reserves for its payment."""
    return [(step, chain, outpoint) for step, chain, outpoint in data.get("coins", ())]


def brought_lock(saga: str, chain: str, step: str, brings: Sequence[str]) -> str:
    """Return the lock that stands for [account, asset, amount] that a step brought in."""
    account, asset, amount = brings
    return f"brought:{chain}:{saga}/{step}:{asset}:{_amount(amount)}:{account}"


def brought(resource: str) -> tuple[tuple[str, str, str], int]:
    """Return ((chain, account, asset), amount) of a lock that stands for value brought in."""
    _, chain, _step, asset, amount, account = resource.split(":", 5)
    return (chain, account, asset), int(amount)


def reserved(data: Mapping[str, Any]) -> dict[tuple[str, str, str], tuple[int, int]]:
    """Return (chain, account, asset) → (amount, available) of a ``started`` record, in base units.

    Entries for the same account and asset are added up; the smallest ``available`` counts.
    """
    sums: dict[tuple[str, str, str], tuple[int, int]] = {}
    for chain, account, asset, amount, available in data["reservations"]:
        wanted, free = _amount(amount), _amount(available)
        if (chain, account, asset) in sums:
            before, least = sums[chain, account, asset]
            wanted, free = before + wanted, min(least, free)
        sums[chain, account, asset] = wanted, free
    return sums


@lru_cache(maxsize=1 << 12)
def _amount(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is not an amount in base units")
    return int(text)


def _claims(stream: str, data: Mapping[str, Any]) -> list[Change]:
    step, direction = data["step"], data["dir"]
    return [("claim_insert", (*claim, stream, step, direction)) for claim in claims_of(data)]


def _kept(saga: str, data: Mapping[str, Any]) -> list[Change]:
    """Keep what a forward effect brings into an account of ours for its undo (DESIGN.md §3.2).

    A durable intent counts as sent, so it counts from here on. Every attempt makes a coin of its
    own; an amount is brought in once, whichever attempt of the step lands.
    """
    chain, facts = data["chain"], data["facts"]
    if "outpoint" in facts:
        return [("lock_keep", (outpoint_lock(chain, facts["outpoint"]), saga))]
    if "brings" not in facts or data["n"] != 1:
        return []
    return [("brought_insert", (brought_lock(saga, chain, data["step"], facts["brings"]), saga))]


def _started(saga: str, data: Mapping[str, Any], at_ms: int) -> list[Change]:
    name, digest, key = data["plan"]["name"], data["digest"], data["key"]
    row = (saga, name, digest, key, data["deadline_s"], at_ms, data["instance"])
    found: list[Change] = [("saga_insert", row)]
    for where, (amount, _available) in reserved(data).items():
        found.append(("reservation_insert", (saga, *where, str(amount))))
    found += [("lock_insert", (resource, saga)) for resource in dict.fromkeys(data["locks"])]
    if "coins" in data:
        found += [
            ("lock_insert", (outpoint_lock(chain, outpoint), saga))
            for _step, chain, outpoint in reserved_coins(data)
        ]
    return found


def _decided(saga: str, data: Mapping[str, Any], _at_ms: int) -> list[Change]:
    decision = data["decision"]
    return [("saga_decided", (decision, _STATE_OF_DECISION[decision], saga))]


def _closed(saga: str, data: Mapping[str, Any], _at_ms: int) -> list[Change]:
    return [
        ("saga_closed", (data["state"], saga)),
        ("reservations_delete", (saga,)),
        ("locks_delete", (saga,)),
    ]


def _reopened(saga: str, _data: Mapping[str, Any], _at_ms: int) -> list[Change]:
    return [("saga_reopened", (saga,))]


def _withdrawn(saga: str, data: Mapping[str, Any], _at_ms: int) -> list[Change]:
    """What an undo had given back is in our account again and is kept for it, after the end too."""
    return [("brought_keep", (lock, saga)) for lock in data.get("kept", ())]


def _stuck(saga: str, _data: Mapping[str, Any], _at_ms: int) -> list[Change]:
    return [("saga_stuck", (1, saga))]


def _paused(saga: str, _data: Mapping[str, Any], _at_ms: int) -> list[Change]:
    return [("saga_paused", (1, saga))]


def _unpaused(saga: str, _data: Mapping[str, Any], _at_ms: int) -> list[Change]:
    return [("saga_paused", (0, saga))]


def _taken_over(saga: str, data: Mapping[str, Any], _at_ms: int) -> list[Change]:
    return [("saga_driver", (data["instance"], saga))]


_OF_SAGA: Final[Mapping[str, Callable[[str, Mapping[str, Any], int], list[Change]]]] = {
    "started": _started,
    "decided": _decided,
    "closed": _closed,
    "reopened": _reopened,
    "withdrawn": _withdrawn,
    "stuck": _stuck,
    "paused": _paused,
    "unpaused": _unpaused,
    "taken_over": _taken_over,
}
