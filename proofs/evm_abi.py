"""The contract ABI, as far as binding needs it: values of a plan's lock file to their bytes.

Integers are decimal strings, bytes and addresses ``0x`` and hex, arrays and tuples lists. Types
come from a plan, so they are hostile: their length and depth are bounded, and recursion follows
the type, never the data. Nothing of a log is decoded: what is wanted is encoded and compared.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from proofs.errors import Refused
from proofs.evm_effects import word
from proofs.keccak import keccak256
from proofs.step import FORM

__all__ = ["Shape", "call_data", "encode", "shape_of", "shown_in", "topic_of"]

_TYPE_CHARS_MAX: Final = 1024
_DEPTH_MAX: Final = 8
_PARAMETERS_MAX: Final = 64
_BASIC: Final = re.compile(r"(address|bool|string|bytes|uint|int)([1-9][0-9]{0,2})?")
_SUFFIX: Final = re.compile(r"\[([1-9][0-9]{0,8})?\]$")
_NAME: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]{0,127}")
_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,77})")
_HEX: Final = re.compile(r"0x((?:[0-9a-fA-F]{2})*)")


@dataclass(frozen=True, slots=True)
class Shape:
    """A type: ``base`` and its bits, bytes or elements (None: any number).

    ``parts`` are the components of a tuple, or the one type of an array's elements.
    """

    base: str
    size: int | None = None
    parts: tuple["Shape", ...] = ()

    @property
    def dynamic(self) -> bool:
        """Whether the value lies elsewhere and its head only says where."""
        if self.base in {"string", "bytes", "array"} and self.size is None:
            return True
        return any(part.dynamic for part in self.parts)

    @property
    def head_bytes(self) -> int:
        """Bytes that a value takes where its parameter stands."""
        if self.dynamic:
            return 32
        if self.base == "array":
            return (self.size or 0) * self.parts[0].head_bytes
        return sum(part.head_bytes for part in self.parts) if self.base == "tuple" else 32


@lru_cache(maxsize=1024)
def shape_of(text: str) -> Shape:
    """Return the type written ``text``.

    Raises:
        Refused: ``step-form``: it is none in canonical form, or beyond a bound.
    """
    if len(text) > _TYPE_CHARS_MAX:
        raise Refused(FORM, "a type of the ABI that is too long")
    return _shape(text, 0)


def encode(types: Sequence[Any], values: Any) -> bytes:
    """Return values in the ABI's one canonical form.

    Raises:
        Refused: ``step-form``: they do not fit the types.
    """
    return _tuple(_shapes(types), values)


def call_data(signature: Any, types: Sequence[Any], values: Any) -> bytes:
    """Return the data of a call.

    Raises:
        Refused: ``step-form``: signature, types and values do not fit each other.
    """
    return topic_of(signature, types)[:4] + encode(types, values)


def topic_of(signature: Any, types: Sequence[Any]) -> bytes:
    """Return the hash of a signature, which has to be a name and just these types.

    Raises:
        Refused: ``step-form``.
    """
    _shapes(types)
    end = f"({','.join(types)})"
    if not isinstance(signature, str) or not signature.endswith(end):
        raise Refused(FORM, "a signature that has not the types beside it")
    if not _NAME.fullmatch(signature[: -len(end)]):
        raise Refused(FORM, "a signature without a name")
    return keccak256(signature.encode())


def shown_in(data: bytes, shapes: Sequence[Shape], at: int, value: Any) -> bool:
    """Tell whether parameter ``at`` of ``data`` is ``value``, in canonical form.

    Raises:
        Refused: ``step-form``: the value does not fit its type.
    """
    wanted = _value(shapes[at], value)
    start = sum(shape.head_bytes for shape in shapes[:at])
    if shapes[at].dynamic:
        head = data[start : start + 32]
        # A place beyond the data shows nothing; a huge one costs nothing.
        start = int.from_bytes(head, "big") if len(head) == 32 else len(data)
    return data[start : start + len(wanted)] == wanted


def _shapes(types: Any) -> list[Shape]:
    if not isinstance(types, (list, tuple)) or len(types) > _PARAMETERS_MAX:
        raise Refused(FORM, "no list of types of the ABI")
    if not all(isinstance(text, str) for text in types):
        raise Refused(FORM, "a type of the ABI is a text")
    return [shape_of(text) for text in types]


def _shape(text: str, depth: int) -> Shape:
    if depth > _DEPTH_MAX:
        raise Refused(FORM, "a type of the ABI that is nested too deep")
    suffix = _SUFFIX.search(text)
    if suffix is not None:
        size = int(suffix[1]) if suffix[1] else None
        return Shape("array", size, (_shape(text[: suffix.start()], depth + 1),))
    if text.startswith("(") and text.endswith(")"):
        return Shape("tuple", None, tuple(_shape(part, depth + 1) for part in _split(text[1:-1])))
    match = _BASIC.fullmatch(text)
    base, size = (match[1], int(match[2]) if match[2] else None) if match else ("", None)
    sized = {"uint": range(8, 257, 8), "int": range(8, 257, 8), "bytes": range(1, 33)}
    allowed = size in sized[base] if size is not None and base in sized else size is None
    if not base or not allowed or (size is None and base in {"uint", "int"}):
        raise Refused(FORM, "a type that the ABI does not have, or not in its canonical form")
    return Shape(base, size)


def _split(text: str) -> list[str]:
    """Return the components of a tuple."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]] if text else []


def _value(shape: Shape, value: Any) -> bytes:
    """Return a value as it stands where its head says, or in its head's place."""
    match shape.base:
        case "tuple":
            return _tuple(shape.parts, value)
        case "array":
            return _array(shape, value)
        case "uint" | "int":
            return _integer(shape, value)
        case "bool" if type(value) is bool:
            return word(int(value))
        case "string" if isinstance(value, str):
            return _counted(_utf8(value))
        case "address":
            return word(_bytes(value, 20))
        case "bytes":
            data = _bytes(value, shape.size)
            return _counted(data) if shape.size is None else data.ljust(32, b"\0")
    raise Refused(FORM, f"a value that is no {shape.base}")


def _tuple(shapes: Sequence[Shape], values: Any) -> bytes:
    if not isinstance(values, (list, tuple)) or len(values) != len(shapes):
        raise Refused(FORM, f"a list of {len(shapes)} values belongs here")
    heads, tails = [], []
    place = sum(shape.head_bytes for shape in shapes)
    for shape, value in zip(shapes, values, strict=True):
        data = _value(shape, value)
        if shape.dynamic:
            heads.append(word(place))
            tails.append(data)
            place += len(data)
        else:
            heads.append(data)
    return b"".join((*heads, *tails))


def _array(shape: Shape, values: Any) -> bytes:
    if not isinstance(values, (list, tuple)) or shape.size not in {None, len(values)}:
        raise Refused(FORM, "an array of another length")
    data = _tuple([shape.parts[0]] * len(values), values)
    return data if shape.size is not None else word(len(values)) + data


def _integer(shape: Shape, value: Any) -> bytes:
    if not isinstance(value, str) or not _INTEGER.fullmatch(value):
        raise Refused(FORM, "an integer is a decimal text")
    number, bits = int(value), shape.size or 256
    low, high = (0, 1 << bits) if shape.base == "uint" else (-(1 << bits - 1), 1 << bits - 1)
    if not low <= number < high:
        raise Refused(FORM, f"a number beyond {bits} bits")
    return word(number % 2**256)


def _bytes(value: Any, size: int | None) -> bytes:
    match = _HEX.fullmatch(value) if isinstance(value, str) else None
    if match is None or size not in {None, len(match[1]) // 2}:
        raise Refused(FORM, "bytes of another length, or none")
    return bytes.fromhex(match[1])


def _utf8(value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise Refused(FORM, "a text that has no UTF-8 form") from None


def _counted(data: bytes) -> bytes:
    """Return bytes with their length before them, filled up to whole words."""
    return word(len(data)) + data.ljust(-(-len(data) // 32) * 32, b"\0")
