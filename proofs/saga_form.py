"""The records of a saga, read strictly: which members each kind has, and of what form they are.

Written from coordinator/README.md and proofs/README.md, not from the engine: nothing here is shared
with what wrote the records. Members that a later version adds are let through unread.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proofs.errors import Refused
from proofs.saga_plan import ASSET, CHECK, NAME
from proofs.shapes import (
    Shape,
    count,
    flag,
    listed,
    mapped,
    match,
    members,
    one_of,
    optional,
    table,
    text,
    whole,
)

__all__ = ["DIRECTIONS", "Line", "lines_of"]

DIRECTIONS: Final = ("forward", "confirm", "undo")

_SAGA: Final = match(re.compile(r"[0-9A-Z]{26}"))
_HEX32: Final = match(re.compile(r"[0-9a-f]{64}"))
_ID32: Final = match(re.compile(r"(?:0x)?[0-9a-f]{64}"))
_WORD: Final = match(re.compile(r"[a-z][a-z0-9_./-]{0,47}"))
_AMOUNT: Final = match(re.compile(r"0|[1-9][0-9]{0,99}"))
_RESOURCE: Final = match(re.compile(r"[!-~]{1,200}"))


@dataclass(frozen=True, slots=True)
class Line:
    """One record whose members have been read.

    Attributes:
        seq: its number in the stream.
        at_ms: the writer's own time.
    """

    seq: int
    kind: str
    at_ms: int
    data: Mapping[str, Any]


def _facts(value: Any) -> bool:
    return type(value) is dict and ("fee" not in value or _AMOUNT(value["fee"]))


def _claim(value: Any) -> bool:
    return type(value) is list and len(value) == 2 and _RESOURCE(value[0]) and whole(value[1])


_ABOUT: Final[Mapping[str, Shape]] = {"step": NAME, "dir": one_of(*DIRECTIONS)}
_SEEN: Final[Mapping[str, Shape]] = {
    **_ABOUT,
    "tx": _ID32,
    "block": _ID32,
    "height": whole,
}
_OUTCOME: Final = {"gen": count, "outcome": one_of("done", "not_done")}

#: kind → the members it must have. What only some records of a kind have is in `_SOMETIMES`.
_MEMBERS: Final[Mapping[str, Mapping[str, Shape]]] = {
    "started": {
        "saga": _SAGA,
        "key": text,
        "digest": _HEX32,
        "plan": table,
        "deadline_s": whole,
        "expiries": mapped(NAME, mapped(one_of("height", "time"), whole)),
        "clocks": mapped(NAME, members(height=whole, time_s=whole)),
        "reservations": listed(listed(text, least=5, most=5)),
        "locks": listed(text),
        "instance": text,
    },
    "refused": {"step": NAME, "code": text, "reason": text},
    "intent": {
        **_ABOUT,
        "gen": count,
        "n": count,
        "purpose": one_of("effect", "burn", "tombstone"),
        "tx": _ID32,
        "bytes": _HEX32,
        "chain": NAME,
        "claim": listed(_claim, least=1),
        "since": whole,
        "fee": table,
        "facts": _facts,
        "until_s": whole,
    },
    "reveal": {
        "step": NAME,
        "gen": count,
        "hashlock": _HEX32,
        "deliver": text,
        "until_s": whole,
    },
    "included": {**_SEEN, "facts": _facts, "until_s": whole},
    "orphaned": _SEEN,
    "done": {**_SEEN, "gen": count, "facts": _facts},
    "not_done": {
        **_SEEN,
        "gen": count,
        "reason": text,
        "facts": _facts,
        "claim_open": flag,
    },
    "proved": {
        **_SEEN,
        **_OUTCOME,
        "evidence": listed(members(kind=_WORD, sha256=_HEX32), least=1, most=16),
    },
    "unproved": {**_SEEN, **_OUTCOME, "reason": _WORD, "detail": text},
    "withdrawn": {**_ABOUT, "was": one_of("done", "not_done"), "why": text},
    "decided": {
        "decision": one_of("commit", "rollback"),
        "cause": members(kind=text, text=text),
    },
    "asked": {"what": one_of("rollback"), "by": text, "reason": text},
    "verdict": {
        **_ABOUT,
        "verdict": one_of("adopt", "burn", "cap", "reclaim", "write_off"),
        "by": listed(text, least=1, most=100),
        "reason": text,
        "args": table,
    },
    "stuck": {"reason": text, "question": text, "verdicts": listed(text), "until_s": whole},
    "paused": {"by": text, "reason": text},
    "unpaused": {"by": text, "reason": text},
    "taken_over": {"instance": text, "from": optional(text)},
    "reopened": {"why": text},
    "closed": {
        "state": one_of("committed", "rolled_back", "closed_by_operator"),
        "records": count,
        "fees": mapped(ASSET, _AMOUNT),
    },
}
_SOMETIMES: Final[Mapping[str, Mapping[str, Shape]]] = {
    "started": {"coins": listed(listed(text, least=3, most=3))},
    "intent": {"hashlock": _HEX32},
    "withdrawn": {"kept": listed(text)},
}


def lines_of(records: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """Read records one after the other.

    Raises:
        Refused: ``record-form``, naming the record and the member.
    """
    for at, record in enumerate(records, 1):
        if not isinstance(record, dict):
            raise Refused(CHECK, f"record {at} is no object")
        kind, data = record.get("kind"), record.get("data")
        seq, at_ms = record.get("seq"), record.get("at")
        known = _MEMBERS.get(kind) if isinstance(kind, str) else None
        if known is None:
            raise Refused(CHECK, f"record {at} is of no kind that a saga has")
        if not whole(seq) or not whole(at_ms) or not isinstance(data, dict):
            raise Refused(CHECK, f"record {at} lacks its number, time or data")
        if not NAME(data.get("step", "none")):
            raise Refused(CHECK, f"record {at} ({kind}) has no proper 'step'")
        for name, form in known.items():
            if name not in data or not form(data[name]):
                raise Refused(CHECK, f"record {at} ({kind}) has no proper {name!r}")
        for name, form in _SOMETIMES.get(str(kind), {}).items():
            if name in data and not form(data[name]):
                raise Refused(CHECK, f"record {at} ({kind}) has no proper {name!r}")
        yield Line(seq, str(kind), at_ms, data)  # type: ignore[arg-type]  # checked above
