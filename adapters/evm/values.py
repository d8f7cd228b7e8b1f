"""Values of contract calls in the JSON form that a plan's lock file has, and back.

Integers are decimal strings, bytes 0x-prefixed lower-case hex, addresses checksummed, arrays and
tuples lists. ``@saga.id32`` stands for the 32 bytes of the saga and is replaced when a call is
built.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from eth_abi.exceptions import EncodingError
from eth_abi.grammar import ABIType, BasicType, TupleType, parse
from web3 import Web3

__all__ = [
    "CODEC",
    "SAGA_ID32",
    "AbiError",
    "address_problem",
    "checksum",
    "json_value",
    "normal_value",
    "python_value",
    "quantity",
    "with_saga",
]

#: The only name that stays in a lock file: 32 bytes that stand for the saga.
SAGA_ID32: Final = "@saga.id32"

CODEC: Final = Web3().codec

_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,77})")
_QUANTITY: Final = re.compile(r"0x[0-9a-fA-F]{1,64}")


class AbiError(ValueError):
    """A value, signature or event does not fit the contract's ABI; the text says how."""


def quantity(answer: object) -> int:
    """Return the number in a node's hexadecimal quantity (Ethereum JSON-RPC), of 256 bits at most.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(answer, str) or _QUANTITY.fullmatch(answer) is None:
        raise ValueError(f"{str(answer)[:80]!r} is no quantity")
    return int(answer, 16)


@lru_cache(maxsize=4096)
def checksum(address: str) -> str:
    """Return an address in its checksummed form (EIP-55); it must be 0x and 40 hex digits."""
    return Web3.to_checksum_address(address)


def address_problem(text: object) -> str | None:
    """Say what is wrong with an address that a person wrote, or None."""
    if not isinstance(text, str) or not Web3.is_address(text) or not text.startswith("0x"):
        return "is no address (0x and 40 hex digits)"
    right = Web3.to_checksum_address(text)
    if text == right:
        return None
    if text[2:].lower() == text[2:] or text[2:].upper() == text[2:]:
        return f"has no checksum (EIP-55), which would catch a typing error; its form is {right}"
    return f"has a wrong checksum (EIP-55): a digit may be mistyped; if all are right it is {right}"


def normal_value(kind: str, value: Any, special: Callable[[str, Any], Any]) -> Any:
    """Return a plan's value for a parameter of type ``kind`` in JSON form.

    Args:
        special: called with the type and the value for each basic part, returns it with names and
            amounts replaced (an asset amount by base units, a signer's name by its address).

    Raises:
        AbiError: it does not fit the type.
    """
    try:
        shape = parse(kind)
        normal = _normal(shape, value, special)
        CODEC.encode([kind], [_python(shape, with_saga(normal, "00" * 32))])
    except (EncodingError, ValueError, TypeError) as error:
        raise AbiError(f"{error} (for {kind})") from None
    return normal


def json_value(kind: str, value: Any) -> Any:
    """Return a decoded value of type ``kind`` in JSON form."""
    return _json(parse(kind), value)


def python_value(kind: str, value: Any) -> Any:
    """Return a value in JSON form as the codec wants it; Python values pass."""
    return _python(parse(kind), value)


def with_saga(value: Any, saga_id32: str) -> Any:
    """Return a value in JSON form with the saga's 64 hex digits in place of their name."""
    if isinstance(value, list):
        return [with_saga(item, saga_id32) for item in value]
    return f"0x{saga_id32}" if value == SAGA_ID32 else value


def _parts(shape: ABIType, value: Any) -> list[tuple[ABIType, Any]] | None:
    """Split a list or tuple into its parts; None for a basic type."""
    if shape.arrlist:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"a list is needed, not {type(value).__name__}")
        if shape.arrlist[-1] and len(value) != shape.arrlist[-1][0]:
            raise ValueError(f"{len(value)} items where {shape.arrlist[-1][0]} are needed")
        return [(shape.item_type, item) for item in value]
    if isinstance(shape, TupleType):
        if not isinstance(value, (list, tuple)) or len(value) != len(shape.components):
            raise ValueError(f"a list of {len(shape.components)} items is needed")
        return list(zip(shape.components, value, strict=True))
    return None


def _json(shape: ABIType, value: Any) -> Any:
    """Return a decoded value in JSON form."""
    parts = _parts(shape, value)
    if parts is not None:
        return [_json(kind, item) for kind, item in parts]
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(shape, BasicType) and shape.base == "address":
        return checksum(value)
    return value


def _python(shape: ABIType, value: Any) -> Any:
    """Return a value in JSON form as the codec wants it; Python values pass."""
    parts = _parts(shape, value)
    if parts is not None:
        return [_python(kind, item) for kind, item in parts]
    base = shape.base if isinstance(shape, BasicType) else ""
    if base in ("uint", "int") and isinstance(value, str):
        return int(value)
    if base == "bytes" and isinstance(value, str):
        return bytes.fromhex(value.removeprefix("0x"))
    return value


def _normal(shape: ABIType, value: Any, special: Callable[[str, Any], Any]) -> Any:
    parts = _parts(shape, value)
    if parts is not None:
        return [_normal(kind, item, special) for kind, item in parts]
    assert isinstance(shape, BasicType)
    value = special(_type_text(shape), value)
    if value == SAGA_ID32:
        if _type_text(shape) != "bytes32":
            raise ValueError(f"{SAGA_ID32} is 32 bytes and fits bytes32 only")
        return value
    if shape.base in ("uint", "int"):
        return _normal_integer(value)
    if shape.base == "bytes":
        return _normal_bytes(value, shape.sub if isinstance(shape.sub, int) else None)
    if shape.base == "bool":
        if type(value) is not bool:
            raise ValueError("true or false is needed")
        return value
    if not isinstance(value, str):
        raise ValueError("a text is needed")  # noqa: TRY004 - the caller expects one error
    if shape.base == "address" and (problem := address_problem(value)):
        raise ValueError(f"{value[:60]} {problem}")
    return value


def _normal_integer(value: Any) -> str:
    if type(value) is int:
        return str(value)
    if not isinstance(value, str) or not _INTEGER.fullmatch(value):
        raise ValueError("an integer or a decimal text without leading zeros is needed")
    return value


def _normal_bytes(value: Any, length: int | None) -> str:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError("bytes are needed as 0x and hex digits")
    data = bytes.fromhex(value[2:])
    if length is not None and len(data) != length:
        raise ValueError(f"{len(data)} bytes where {length} are needed")
    return f"0x{data.hex()}"


def _type_text(shape: ABIType) -> str:
    return str(shape.to_type_str())  # type: ignore[no-untyped-call]
