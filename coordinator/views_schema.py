"""JSON Schema of what ``--json`` prints; every printed object names its version in ``v``."""

from typing import Any, Final

from coordinator.views import VIEW_VERSION

__all__ = ["VIEW_SCHEMA"]

_Schema = dict[str, Any]

_TEXT: Final[_Schema] = {"type": "string"}
_COUNT: Final[_Schema] = {"type": "integer", "minimum": 0}
_FLAG: Final[_Schema] = {"type": "boolean"}
_FREE: Final[_Schema] = {"type": "object"}
_V: Final[_Schema] = {"const": VIEW_VERSION}


def _object(properties: _Schema) -> _Schema:
    """Return an object that has exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
    }


def _or_null(schema: _Schema) -> _Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(schema: _Schema) -> _Schema:
    return {"type": "array", "items": schema}


#: Base units as a decimal string, and the same amount as a decimal of whole coins.
_AMOUNT: Final[_Schema] = {"base_units": _TEXT, "value": _TEXT}
_AMOUNTS: Final[_Schema] = {"type": "object", "additionalProperties": _object(_AMOUNT)}
_STATE: Final[_Schema] = {
    "enum": [
        "running", "confirming", "undoing", "committed", "rolled_back", "closed_by_operator",
    ]
}  # fmt: skip
_PHASE: Final[_Schema] = {
    "enum": ["idle", "unknown", "included", "done", "not_done", "written_off"]
}
_WAITING: Final[_Schema] = _list(
    _object({"reason": _TEXT, "until_s": _COUNT, "step": _or_null(_TEXT), "dir": _or_null(_TEXT)})
)

_OPEN_CLAIMS: Final[_Schema] = _list(
    _object(
        {
            "step": _TEXT,
            "chain": _TEXT,
            "account": _TEXT,
            "nonce": _COUNT,
            "since_ms": _COUNT,
            "until_s": _COUNT,
            "burn": _or_null(_TEXT),
            "command": _TEXT,
        }
    )
)

_EFFORT: Final[_Schema] = _object(
    {
        "phase": _PHASE,
        "generation": _COUNT,
        "tx": _or_null(_TEXT),
        "block": _or_null(_TEXT),
        "height": _COUNT,
        "reason": _or_null(_TEXT),
        "executed_ms": _COUNT,
        "updated_ms": _COUNT,
        "revealed": _FLAG,
        "proof": _or_null(_TEXT),
        "facts": _FREE,
        "attempts": _list(
            _object(
                {
                    "tx": _TEXT,
                    "purpose": {"enum": ["effect", "burn", "tombstone"]},
                    "generation": _COUNT,
                    "claim": {"type": "array"},
                    "fee": _FREE,
                }
            )
        ),
    }
)

_STEP: Final[_Schema] = _object(
    {
        "id": _TEXT,
        "chain": _TEXT,
        "class": {"enum": ["undoable", "hold", "pivot", "retriable"]},
        "text": _TEXT,
        "confirm_text": _TEXT,
        "undo_text": _TEXT,
        "moves": _list(_object({"asset": _TEXT, "source": _TEXT, "target": _TEXT, **_AMOUNT})),
        "expiry": _or_null(_FREE),
        "forward": _or_null(_EFFORT),
        "confirm": _or_null(_EFFORT),
        "undo": _or_null(_EFFORT),
    }
)

_PAUSE_ITEM: Final[_Schema] = _object(
    {
        "scope": {"enum": ["saga", "signer", "chain", "all"]},
        "name": _TEXT,
        "by": _TEXT,
        "reason": _TEXT,
        "at_ms": _COUNT,
        "accounts": _list(_TEXT),
    }
)
#: What operators asked for, and how far it is effective.
_PAUSE: Final[_Schema] = _object(
    {
        "requested": _list(_PAUSE_ITEM),
        "effective": _FLAG,
        "held": _list(_TEXT),
        "still_out": _list(_TEXT),
    }
)

_PLACE: Final[_Schema] = _object(
    {"step": _TEXT, "chain": _TEXT, "asset": _TEXT, "holder": _TEXT, **_AMOUNT}
)

_SAGA: Final[_Schema] = _object(
    {
        "v": _V,
        "saga": _TEXT,
        "plan": _TEXT,
        "digest": _TEXT,
        "key": _TEXT,
        "state": _STATE,
        "stuck": _or_null(_FREE),
        "paused": _FLAG,
        "pause": _or_null(_PAUSE),
        "asked": _or_null(_FREE),
        "started_ms": _COUNT,
        "updated_ms": _COUNT,
        "deadline_s": _COUNT,
        "records": _COUNT,
        "cause": _or_null(_FREE),
        "steps": _list(_STEP),
        "fees": _AMOUNTS,
        "verdicts": _list(_FREE),
        "waiting": _WAITING,
        "open_claims": _OPEN_CLAIMS,
        "advice": _object(
            {
                "standing": _list(_TEXT),
                "where": _list(_PLACE),
                "irreversible": _TEXT,
                "next": _TEXT,
                "deadline_s": _COUNT,
                "left_s": {"type": "integer"},
            }
        ),
    }
)

_ROW: Final[_Schema] = _object(
    {
        "v": _V,
        "saga": _TEXT,
        "plan": _TEXT,
        "key": _TEXT,
        "state": _STATE,
        "stuck": _or_null(_FREE),
        "paused": _FLAG,
        "pause": _or_null(_PAUSE),
        "started_ms": _COUNT,
        "updated_ms": _COUNT,
        "deadline_s": _COUNT,
        "records": _COUNT,
        "attended": _FLAG,
        "waiting": _WAITING,
        "open_claims": _OPEN_CLAIMS,
        "at_risk": _AMOUNTS,
    }
)

_RECORD: Final[_Schema] = _object(
    {
        "v": _V,
        "type": {"const": "record"},
        "position": _COUNT,
        "stream": _TEXT,
        "seq": _COUNT,
        "kind": _TEXT,
        "at_ms": _COUNT,
        "data": _FREE,
        "prev": _TEXT,
        "hash": _TEXT,
    }
)

_HALTED: Final[_Schema] = _object(
    {"chain": _TEXT, "account": _TEXT, "txs": _list(_TEXT), "command": _TEXT}
)

VIEW_SCHEMA: Final[_Schema] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "what --json prints",
    "$defs": {
        "saga": {**_SAGA, "description": "show --json"},
        "status": {
            **_object(
                {
                    "v": _V,
                    "sagas": _list(_ROW),
                    "pauses": _list(_PAUSE_ITEM),
                    "halted": _list(_HALTED),
                }
            ),
            "description": "status --json",
        },
        "record": {**_RECORD, "description": "a line of audit show, watch, run, resume --json"},
        "end": {
            **_object(
                {
                    "v": _V,
                    "type": {"const": "end"},
                    "exit": _COUNT,
                    "saga": {"$ref": "#/$defs/saga"},
                }
            ),
            "description": "the last line of watch, run and resume --json",
        },
        "error": {
            **_object(
                {
                    "v": _V,
                    "type": {"const": "error"},
                    "error": _object({"exit": _COUNT, "message": _TEXT}),
                }
            ),
            "description": "a line in place of a result; the same text is on stderr",
        },
    },
    "anyOf": [{"$ref": f"#/$defs/{name}"} for name in ("saga", "status", "record", "end", "error")],
}
