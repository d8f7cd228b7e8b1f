"""The ABI as binding needs it: the same bytes as the library that made the transaction."""

import random
from typing import Any

import pytest
from eth_abi.abi import encode as library_encode
from hypothesis import given
from hypothesis import strategies as st

from proofs.errors import Refused
from proofs.evm_abi import Shape, call_data, encode, shape_of, shown_in, topic_of
from proofs.keccak import keccak256

_BASIC = ("address", "bool", "string", "bytes", "bytes1", "bytes32", "uint8", "uint256", "int128")


def some_type(chance: random.Random, depth: int = 0) -> str:
    kind = chance.random()
    if depth < 3 and kind < 0.25:
        parts = ",".join(some_type(chance, depth + 1) for _ in range(chance.randint(1, 3)))
        return f"({parts})"
    if depth < 3 and kind < 0.5:
        return some_type(chance, depth + 1) + chance.choice(("[]", "[1]", "[3]"))
    return chance.choice(_BASIC)


def some_value(shape: Shape, chance: random.Random) -> tuple[Any, Any]:
    """A value in the form of a lock file, and as the library takes it."""
    match shape.base:
        case "tuple":
            pairs = [some_value(part, chance) for part in shape.parts]
        case "array":
            count = chance.randint(0, 3) if shape.size is None else shape.size
            pairs = [some_value(shape.parts[0], chance) for _ in range(count)]
        case "bool":
            flag = chance.random() < 0.5
            return flag, flag
        case "string":
            text = "".join(chance.choice("aé€ ") for _ in range(chance.randint(0, 40)))
            return text, text
        case "address" | "bytes":
            length = shape.size or (20 if shape.base == "address" else chance.randint(0, 70))
            data = chance.randbytes(length)
            written = f"0x{data.hex()}"
            return written, written if shape.base == "address" else data
        case _:
            bits = shape.size or 256
            number = chance.getrandbits(bits - (shape.base == "int"))
            number = -number if shape.base == "int" and chance.random() < 0.5 else number
            return str(number), number
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


@given(st.integers(min_value=0, max_value=2**48))
def test_values_of_any_type_are_encoded_as_the_library_does_and_found_in_its_data(
    seed: int,
) -> None:
    chance = random.Random(seed)
    types = [some_type(chance) for _ in range(chance.randint(0, 4))]
    shapes = [shape_of(text) for text in types]
    pairs = [some_value(shape, chance) for shape in shapes]
    written = [pair[0] for pair in pairs]
    data = library_encode(types, [pair[1] for pair in pairs])

    assert encode(types, written) == data
    for at, value in enumerate(written):
        assert shown_in(data, shapes, at, value)
        other, _ = some_value(shapes[at], chance)
        assert shown_in(data, shapes, at, other) == (value == other)


def test_a_call_begins_with_its_selector() -> None:
    data = call_data("transfer(address,uint256)", ["address", "uint256"], ["0x" + "11" * 20, "5"])

    assert data.hex() == "a9059cbb" + "00" * 12 + "11" * 20 + "00" * 31 + "05"
    assert topic_of("E()", []) == keccak256(b"E()")


def test_a_place_beyond_the_data_shows_nothing() -> None:
    shapes = [shape_of("string"), shape_of("uint256")]
    for data in (b"", b"\xff" * 32, b"\xff" * 64, bytes(31), (2**255).to_bytes(32, "big") * 2):
        assert not shown_in(data, shapes, 0, "x")
        assert not shown_in(data, shapes, 1, "5")


@pytest.mark.parametrize(
    "text",
    ["", "uint", "int", "uint7", "uint0", "uint264", "uint08", "bytes0", "bytes33", "address20",
     "bool1", "string1", "fixed128x18", "function", "uint256[0]", "uint256[01]", "uint256[",
     "uint256]", "(uint256", "uint256)", "(uint256,)", "(,)", " uint256", "uint256 ", "Uint256",
     "uint256[1000000000]", "uint256" + "[]" * 9, "(" * 9 + "bool" + ")" * 9,
     "(" + "bool," * 300 + "bool)",     "uint\u0662\u0665\u0666"],
)  # fmt: skip
def test_what_is_no_type_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="step-form"):
        shape_of(text)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("uint8", "256"), ("uint8", "-1"), ("uint8", 5), ("uint8", "05"), ("uint8", "+5"),
        ("uint8", "0x5"), ("uint8", ""), ("uint8", None), ("uint256", "1" * 79), ("int8", "128"),
        ("int8", "-129"), ("bool", 1), ("bool", "true"), ("address", "11" * 20),
        ("address", "0x" + "11" * 19), ("bytes4", "0x11"), ("bytes", "0x1"), ("bytes", "11"),
        ("string", 7), ("string", "\ud800"), ("uint8[2]", ["1"]), ("uint8[]", "1"),
        ("uint8[]", {"0": "1"}), ("(uint8,bool)", ["1"]), ("(uint8)", "1"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_its_type_is_refused(kind: str, value: Any) -> None:
    with pytest.raises(Refused, match="step-form"):
        encode([kind], [value])


@pytest.mark.parametrize("types", [None, "uint8", [7], ["uint8"] * 65, [["uint8"]]])
def test_types_that_are_none_are_refused(types: Any) -> None:
    with pytest.raises(Refused, match="step-form"):
        encode(types, [])


def test_the_number_of_values_is_the_number_of_types() -> None:
    for values in ([], ["1", "2"], None, 7):
        with pytest.raises(Refused, match="step-form"):
            encode(["uint8"], values)
