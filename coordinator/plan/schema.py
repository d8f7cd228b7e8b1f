"""JSON Schemas of the files people write and keep; `coordinator schema` prints them.

The one of the lock file is also what `load_lock` verifies a file against.
"""

from collections.abc import Mapping
from typing import Any, Final

from coordinator.plan.model import MAX_DEADLINE_S, MAX_STEPS, MAX_UNDO_S
from coordinator.plan.names import ASSET, CONTRACT, IDENTIFIER

__all__ = ["CONFIG_SCHEMA", "LOCK_SCHEMA", "PLAN_SCHEMA", "schemas"]

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_MAX_INTEGER: Final = 2**53 - 1
#: About 280,000 years; keeps every sum of times below 2^63.
_MAX_MS: Final = _MAX_INTEGER

_Schema = Mapping[str, Any]


def _text(pattern: str | None = None, length: int = 4096) -> dict[str, Any]:
    bound: dict[str, Any] = {"type": "string", "maxLength": length}
    return bound | ({"pattern": f"^{pattern}$"} if pattern else {})


def _integer(minimum: int, maximum: int = _MAX_INTEGER) -> dict[str, Any]:
    return {"type": "integer", "minimum": minimum, "maximum": maximum}


def _object(required: _Schema, optional: _Schema | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": sorted(required),
        "additionalProperties": False,
    }


def _map(values: Any, names: str) -> dict[str, Any]:
    return {
        "type": "object",
        "propertyNames": {"pattern": f"^{names}$"},
        "additionalProperties": values,
    }


def _list(items: Any, least: int = 0, most: int = 10_000) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


_NAME: Final = _text(IDENTIFIER)
_ASSET: Final = _text(ASSET)
_BASE_UNITS: Final = _text("(?:0|[1-9][0-9]{0,77})")
_DECIMAL: Final = _text("(?:0|[1-9][0-9]*)(?:\\.[0-9]+)?", 160)
_BOOLEAN: Final = {"type": "boolean"}
_DIRECTIONS: Final = ("forward", "confirm", "undo", "burn")


def _per_direction(values: Any) -> dict[str, Any]:
    return _object({}, dict.fromkeys(_DIRECTIONS, values))


_EXPIRY: Final = {
    "anyOf": [
        {"type": "null"},
        _object({"blocks": _integer(1, 10_000_000)}),
        _object({"seconds": _integer(1, MAX_UNDO_S)}),
    ]
}

_LOCK_STEP: Final = _object({
    "id": _NAME,
    "chain": _NAME,
    "action": {"type": "object"},
    "class": {"enum": ["undoable", "hold", "pivot", "retriable"]},
    "confirm": _BOOLEAN,
    "undo": _BOOLEAN,
    "kill": _list({"enum": ["burn", "tombstone"]}, most=2),
    "reveals": _BOOLEAN,
    "deliver": {"anyOf": [{"type": "null"}, {"enum": ["secret", "file", "calldata"]}]},
    "moves": _list(_object({
        "asset": _ASSET, "amount": _BASE_UNITS, "source": _text(), "target": _text(),
    })),
    "fee_asset": _ASSET,
    "fees": _per_direction(_BASE_UNITS),
    "payers": _per_direction(_text()),
    "reserve": _list({
        "type": "array", "prefixItems": [_text(), _ASSET, _BASE_UNITS],
        "minItems": 3, "maxItems": 3,
    }),
    "expiry": _EXPIRY,
    "locks": _list(_text()),
    "unique_by": {"enum": ["operation", "parent", "claim"]},
    "undo_ms": _integer(0, _MAX_MS),
    "confirm_ms": _integer(0, _MAX_MS),
    "text": _text(),
    "confirm_text": _text(),
    "undo_text": _text(),
    "await": {"enum": ["included", "final"]},
}, {
    "finality_blocks": _integer(1, 1_000_000),
})  # fmt: skip

_TERMS: Final = {
    "type": "object",
    "properties": {
        "kind": _text(),
        "finality_blocks": _integer(1, 1_000_000),
        "block_time_ms": _object({"fast": _integer(0, _MAX_MS), "slow": _integer(0, _MAX_MS)}),
        "outage_s": _integer(0, MAX_UNDO_S),
        "skew_s": _integer(0, MAX_UNDO_S),
    },
    "required": ["block_time_ms", "finality_blocks", "kind"],
}

LOCK_SCHEMA: Final[_Schema] = {
    "$schema": _DIALECT,
    "title": "resolved plan (lock file): what a saga runs; its SHA-256 is the plan digest",
    **_object(
        {
            "v": {"const": 1},
            "name": _NAME,
            "deadline_s": _integer(1, MAX_DEADLINE_S),
            "chains": _map(_TERMS, IDENTIFIER),
            "assets": _map(_integer(0, 36), ASSET),
            "steps": _list(_LOCK_STEP, 1, MAX_STEPS),
            "confirm_order": _list(_NAME, 0, MAX_STEPS),
        },
        {"participants": _map(_text("[0-9a-f]{40}"), IDENTIFIER)},
    ),
}

_INPUT: Final = {
    "anyOf": [
        _object({"asset": _ASSET, "value": _DECIMAL}),
        _object({
            "type": {"enum": ["evm_address", "btc_pubkey", "btc_address", "text", "integer"]},
            "value": {"anyOf": [_text(), {"type": "integer"}]},
        }),
    ]
}  # fmt: skip

PLAN_SCHEMA: Final[_Schema] = {
    "$schema": _DIALECT,
    "title": "plan: steps on several chains, all done or all taken back",
    **_object(
        {
            "version": {"const": 1},
            "name": _NAME,
            "deadline_s": _integer(1, MAX_DEADLINE_S),
            "step": _list(
                _object(
                    {"id": _NAME, "chain": _NAME, "action": _NAME},
                    {
                        "with": {"type": "object"},
                        "effect": {"type": "object"},
                        "undo": {
                            "type": "object",
                            "properties": {"until_s": _integer(1, MAX_UNDO_S)},
                        },
                        "await": {"enum": ["included", "final"], "default": "included"},
                        "finality": _integer(1, 100_000),
                    },
                ),
                1,
                MAX_STEPS,
            ),
        },
        {
            "input": _map(_INPUT, IDENTIFIER),
            "participants": _map(_text("(?:0x[0-9a-fA-F]{40}|@[a-z][a-z0-9_-]*)"), IDENTIFIER),
        },
    ),
}

_KIND: Final = _text("[a-z]{1,20}")

_CHAIN: Final = {
    "type": "object",
    "description": "further keys belong to the kind of chain and are checked by its adapter",
    "properties": {
        "kind": _KIND,
        "enabled": _BOOLEAN,
        "signer": _NAME,
        "rpc": _list(_text()),
        "network": _text(),
        "mainnet": {"const": "enabled"},
        "contracts": _map({"type": "object"}, CONTRACT),
    },
    "required": ["kind"],
}

_ADDRESS: Final = _text("0x[0-9a-fA-F]{40}")
_REFERENCE: Final = _text("(?:file:.+|fd:[0-9]{1,4}|prompt|env:[A-Za-z_]\\w*)")

CONFIG_SCHEMA: Final[_Schema] = {
    "$schema": _DIALECT,
    "title": "chains.toml: chains, assets, signers by reference, journal",
    **_object(
        {"version": {"const": 1}, "chain": _map(_CHAIN, IDENTIFIER)},
        {
            "devnet": _BOOLEAN,
            "journal": _object({}, {"path": _text(), "witness": _text(), "recovery_dir": _text()}),
            "limits": _object(
                {}, {"outage_s": _integer(0, 30 * 86400), "skew_s": _integer(0, 86400)}
            ),
            "asset": _map(
                _object(
                    {"decimals": _integer(0, 36)},
                    {"native": _list(_NAME), "contract": _map(_text(), IDENTIFIER)},
                ),
                ASSET,
            ),
            "signer": _map(
                {
                    "anyOf": [
                        _object(
                            {
                                "type": {"const": "keystore"},
                                "path": _text(),
                                "passphrase": _REFERENCE,
                            },
                            {"kind": _KIND},
                        ),
                        _object(
                            {"type": {"const": "env"}, "variable": _text("[A-Za-z_]\\w*")},
                            {"kind": _KIND},
                        ),
                        _object(
                            {
                                "type": {"const": "http"},
                                "url": _text("https?://.+"),
                                "address": _ADDRESS,
                            },
                            {
                                "kind": {"const": "ethereum"},
                                "credentials": _text("(?:file:.+|env:[A-Za-z_]\\w*)"),
                                "timeout_ms": _integer(100, 60_000),
                            },
                        ),
                        _object(
                            {
                                "type": {"const": "command"},
                                "kind": {"const": "ethereum"},
                                "argv": _list(_text(), 1, 64),
                                "address": _ADDRESS,
                            },
                            {"timeout_ms": _integer(100, 60_000)},
                        ),
                        _object(
                            {
                                "type": {"const": "command"},
                                "kind": {"const": "bitcoin"},
                                "argv": _list(_text(), 1, 64),
                                "public_key": _text("0[23][0-9a-f]{64}"),
                                "network": {"enum": ["mainnet", "testnet3", "signet", "regtest"]},
                            },
                            {"timeout_ms": _integer(100, 60_000)},
                        ),
                    ]
                },
                IDENTIFIER,
            ),
            "secrets": _object({"seed": _text(), "passphrase": _REFERENCE}),
            "log": _object(
                {"origin": _text("[a-z0-9][a-z0-9._/:-]{0,119}"), "key": _NAME},
                {"heartbeat_s": _integer(10, 7 * 86400)},
            ),
        },
    ),
}


def schemas() -> dict[str, _Schema]:
    """Return the schemas by name: ``plan``, ``lock``, ``config``."""
    return {"plan": PLAN_SCHEMA, "lock": LOCK_SCHEMA, "config": CONFIG_SCHEMA}
