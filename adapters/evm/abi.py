"""Contract calls as bytes and back: functions, events and reasons of reverts (web3's codec)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

from eth_abi.exceptions import DecodingError, EncodingError
from eth_abi.grammar import TupleType, parse
from eth_utils.abi import get_abi_input_types

from adapters.evm.values import CODEC, AbiError, json_value, python_value
from proofs.keccak import keccak256

__all__ = [
    "Event",
    "Function",
    "decode",
    "encode",
    "find_event",
    "find_function",
    "hash_of",
    "revert_reason",
    "selector",
    "word",
]

#: What the codec raises for bytes that are not of the types; overflows at offsets beyond memory.
_UNREADABLE: Final = (DecodingError, ValueError, OverflowError)
_ERROR: Final = bytes.fromhex("08c379a0")  # Error(string)
_PANIC: Final = bytes.fromhex("4e487b71")  # Panic(uint256)
_PANICS: Final = {
    0x01: "assertion failed", 0x11: "arithmetic overflow", 0x12: "division by zero",
    0x21: "bad enum value", 0x22: "broken storage", 0x31: "pop of an empty array",
    0x32: "index out of bounds", 0x41: "out of memory", 0x51: "call of an unset function",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Function:
    """A function: ``signature`` in canonical form, ``set(bytes32,uint256)``."""

    signature: str
    types: tuple[str, ...]
    payable: bool


@dataclass(frozen=True, slots=True)
class Event:
    """An event; ``indexed`` tells for each parameter whether it is a topic."""

    signature: str
    types: tuple[str, ...]
    indexed: tuple[bool, ...]

    @property
    def topic(self) -> str:
        """Topic 0 of its logs."""
        return _topic(self.signature)

    def values(self, topics: Sequence[str], data: str) -> list[Any] | None:
        """Return the parameters of a log in JSON form, None if it is not this event's.

        An indexed parameter of variable length shows as its hash, as the log has it.
        """
        if len(topics) != 1 + sum(self.indexed) or topics[0] != self.topic:
            return None
        heads = iter(topics[1:])
        plain = [kind for kind, topic in zip(self.types, self.indexed, strict=True) if not topic]
        try:
            rest = iter(CODEC.decode(plain, bytes.fromhex(data.removeprefix("0x"))))
            return [
                _topic_value(kind, next(heads)) if topic else json_value(kind, next(rest))
                for kind, topic in zip(self.types, self.indexed, strict=True)
            ]
        except _UNREADABLE:
            return None


def hash_of(data: bytes) -> bytes:
    """Return the Keccak-256 of ``data``."""
    return keccak256(data)


def word(value: int | str) -> bytes:
    """Return an integer or a 0x-prefixed address as one 32-byte word."""
    number = int(value, 16) if isinstance(value, str) else value
    return number.to_bytes(32, "big")


@lru_cache(maxsize=256)
def selector(signature: str) -> bytes:
    """Return the four bytes that choose the function ``signature``."""
    return hash_of(signature.encode())[:4]


@lru_cache(maxsize=256)
def _topic(signature: str) -> str:
    return f"0x{hash_of(signature.encode()).hex()}"


def encode(signature: str, types: Sequence[str], values: Sequence[Any]) -> bytes:
    """Return call data; ``values`` may be Python values or in JSON form.

    Raises:
        AbiError: a value does not fit its type.
    """
    try:
        plain = [python_value(kind, value) for kind, value in zip(types, values, strict=True)]
        return selector(signature) + CODEC.encode(types, plain)
    except (EncodingError, ValueError, TypeError) as error:
        raise AbiError(f"{signature}: {error}") from None


def decode(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    """Return the values in ``data``.

    Raises:
        AbiError: they are not there.
    """
    try:
        return tuple(CODEC.decode(types, data))
    except _UNREADABLE as error:
        raise AbiError(f"an answer that is not ({','.join(types)}): {error}") from None


def find_function(abi: Sequence[Mapping[str, Any]], text: str) -> Function:
    """Return the function with this signature.

    Raises:
        AbiError: the ABI has none; the text names those of the same name.
    """
    entry, signature = _find(abi, "function", text)
    mutability = str(entry.get("stateMutability", "nonpayable"))
    if mutability in ("view", "pure"):
        raise AbiError(f"{signature} only reads; a step needs an effect")
    return Function(signature, _types(entry), mutability == "payable")


def find_event(abi: Sequence[Mapping[str, Any]], text: str) -> Event:
    """Return the event with this signature.

    Raises:
        AbiError: the ABI has none, or it is anonymous.
    """
    entry, signature = _find(abi, "event", text)
    if entry.get("anonymous"):
        raise AbiError(f"event {signature} is anonymous and can not be told from others")
    indexed = tuple(bool(item.get("indexed")) for item in entry.get("inputs", ()))
    return Event(signature, _types(entry), indexed)


def revert_reason(data: bytes, abi: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return what a contract said when it reverted, for people; one short printable line."""
    reason = _reason(data, abi)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in reason[:300])


def _reason(data: bytes, abi: Sequence[Mapping[str, Any]]) -> str:
    try:
        if data[:4] == _ERROR:
            return str(decode(["string"], data[4:])[0])
        if data[:4] == _PANIC:
            code = decode(["uint256"], data[4:])[0]
            return f"panic {code:#04x}: {_PANICS.get(code, 'unknown')}"
        for entry in abi:
            if entry.get("type") != "error":
                continue
            types = _types(entry)
            if selector(f"{entry['name']}({','.join(types)})") == data[:4]:
                values = zip(types, decode(types, data[4:]), strict=True)
                shown = (str(json_value(kind, value)) for kind, value in values)
                return f"{entry['name']}({', '.join(shown)})"
    except AbiError:
        pass
    return f"reverted with data 0x{data[:64].hex()}" if data else "reverted without a reason"


def _find(abi: Sequence[Mapping[str, Any]], kind: str, text: str) -> tuple[Mapping[str, Any], str]:
    wanted = "".join(text.split())
    entries = [entry for entry in abi if entry.get("type") == kind and "name" in entry]
    signatures = [f"{entry['name']}({','.join(_types(entry))})" for entry in entries]
    for entry, signature in zip(entries, signatures, strict=True):
        if signature == wanted:
            return entry, signature
    name = wanted.partition("(")[0]
    same = [signature for signature in signatures if signature.partition("(")[0] == name]
    known = f"; it has {', '.join(same)}" if same else ""
    raise AbiError(f"the contract's ABI has no {kind} {text[:100]}{known}")


def _types(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(get_abi_input_types(cast("Any", {"inputs": [], **entry, "type": "function"})))


def _topic_value(kind: str, topic: str) -> Any:
    shape = parse(kind)
    if shape.is_dynamic or shape.arrlist or isinstance(shape, TupleType):
        return topic
    return json_value(kind, CODEC.decode([kind], bytes.fromhex(topic[2:]))[0])
