"""JSON Schema of what ``audit …`` and ``verify`` print with ``--json``."""

from typing import Any, Final

__all__ = ["AUDIT_SCHEMA"]

_Schema = dict[str, Any]

_TEXT: Final[_Schema] = {"type": "string"}
_COUNT: Final[_Schema] = {"type": "integer", "minimum": 0}
_FLAG: Final[_Schema] = {"type": "boolean"}
_FREE: Final[_Schema] = {"type": "object"}
_STATUS: Final[_Schema] = {"enum": ["passed", "failed", "not verified"]}
_VERDICT: Final[_Schema] = {"enum": ["valid", "invalid", "undecided"]}
_EXIT: Final[_Schema] = {"enum": [0, 40, 41]}


def _or_null(schema: _Schema) -> _Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(schema: _Schema) -> _Schema:
    return {"type": "array", "items": schema}


def _object(description: str = "", /, **properties: _Schema) -> _Schema:
    """Return an object that has exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
    } | ({"description": description} if description else {})


def _printed(kind: str, command: str, /, **properties: _Schema) -> _Schema:
    """Return an object that a command prints: its version and its type are among its members."""
    return _object(f"{command} --json", v={"const": 1}, type={"const": kind}, **properties)


_LOG: Final[_Schema] = _object(
    origin=_TEXT, address=_TEXT, size=_COUNT, root=_TEXT, signed_ms=_COUNT, unsigned=_COUNT
)
_EFFORT: Final[_Schema] = _object(saga=_TEXT, step=_TEXT, dir=_TEXT, text=_TEXT)

_DEFS: Final[dict[str, _Schema]] = {
    "verdict": _printed(
        "verdict",
        "audit verify",
        ok=_FLAG,
        sagas=_COUNT,
        records=_COUNT,
        head=_or_null(_object(position=_COUNT, hash=_TEXT)),
        second_place=_TEXT,
        log=_or_null(_LOG),
        troubles=_list(_TEXT),
    ),
    "bundle": _printed(
        "bundle",
        "audit export",
        path=_TEXT,
        saga=_TEXT,
        outcome={"enum": ["committed", "rolled_back", "closed_by_operator", "open"]},
        bytes=_COUNT,
        records=_COUNT,
        proofs=_COUNT,
        unproved=_list(_object(step=_TEXT, dir=_TEXT, reason=_TEXT)),
        log=_object(size=_or_null(_COUNT), since=_or_null(_COUNT), none=_or_null(_TEXT)),
        signed=_list(_TEXT),
        unsigned=_list(_TEXT),
        refused=_list(_TEXT),
    ),
    "signed": _printed(
        "signed",
        "audit sign",
        path=_TEXT,
        saga=_TEXT,
        outcome=_TEXT,
        role=_TEXT,
        address=_TEXT,
        fresh=_FLAG,
    ),
    "verification": _object(
        "verify --json, and python -m proofs --json",
        v={"const": 1},
        kind={"const": "verification-report/v1"},
        verdict=_VERDICT,
        exit=_EXIT,
        saga=_TEXT,
        outcome=_TEXT,
        checks=_list(_object(name=_TEXT, subject=_TEXT, status=_STATUS, reason=_TEXT, by=_TEXT)),
        facts=_FREE,
    ),
    "testimony": _printed(
        "testimony",
        "audit trust",
        path=_TEXT,
        exit=_EXIT,
        statements=_list(
            _object(
                node=_TEXT,
                chain=_TEXT,
                block=_TEXT,
                height=_COUNT,
                verdict={"enum": ["final", "waiting", "other", "absent"]},
                detail=_TEXT,
            )
        ),
        silent=_list(_object(node=_TEXT, chain=_TEXT, trouble=_TEXT)),
        unstated=_list(_object(chain=_TEXT, block=_TEXT, height=_COUNT)),
        log=_or_null(_FREE),
    ),
    "inclusion": _printed(
        "inclusion",
        "audit prove",
        position=_COUNT,
        stream=_TEXT,
        seq=_COUNT,
        kind=_TEXT,
        hash=_TEXT,
        proof=_FREE,
        checkpoint=_TEXT,
        path=_or_null(_TEXT),
    ),
    "range": _printed(
        "range",
        "audit range --out",
        path=_TEXT,
        first=_COUNT,
        last=_COUNT,
        head=_or_null(_COUNT),
        bytes=_COUNT,
    ),
    "range_verdict": _printed(
        "range_verdict",
        "audit range --verify",
        path=_TEXT,
        verdict=_VERDICT,
        exit=_EXIT,
        checks=_list(_object(name=_TEXT, status=_STATUS, text=_TEXT)),
    ),
    "fsck": _printed(
        "fsck",
        "audit fsck",
        ok=_FLAG,
        exit=_EXIT,
        sagas=_COUNT,
        journal=_list(_TEXT),
        deviations=_list(_EFFORT),
        not_verified=_list({"anyOf": [_EFFORT, _object(text=_TEXT)]}),
    ),
    "head": _printed(
        "head",
        "a line of audit watch",
        at_ms=_COUNT,
        origin=_TEXT,
        size=_COUNT,
        root=_TEXT,
        signed_ms=_COUNT,
        since=_COUNT,
        alarms=_list(
            _object(kind={"enum": ["fork", "shrink", "signature", "damage", "stall"]}, text=_TEXT)
        ),
    ),
    "rotated": _printed(
        "rotated", "audit rotate", position=_COUNT, **{"from": _TEXT}, to=_TEXT, note=_TEXT
    ),
}

AUDIT_SCHEMA: Final[_Schema] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "what audit and verify print with --json",
    "$defs": _DEFS,
    "anyOf": [{"$ref": f"#/$defs/{name}"} for name in _DEFS],
}
