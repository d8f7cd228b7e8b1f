"""Values, calls and reverts of contracts, between a plan's JSON and bytes."""

from typing import Any

import pytest
from eth_abi.abi import encode as abi_encode

from adapters.evm import abi
from adapters.evm.contracts import load
from adapters.evm.effects import params_hash
from adapters.evm.values import AbiError, address_problem, normal_value, python_value, with_saga
from tests.contracts import scene

_ADDRESS = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
_VAULT = load("Vault").abi


def _plain(_kind: str, value: Any) -> Any:
    return value


@pytest.mark.parametrize(
    ("kind", "value", "normal"),
    [
        ("uint256", 7, "7"),
        ("uint256", str(2**256 - 1), str(2**256 - 1)),
        ("int8", -128, "-128"),
        ("bool", True, True),
        ("address", _ADDRESS, _ADDRESS),
        ("bytes32", f"0x{'AB' * 32}", f"0x{'ab' * 32}"),
        ("bytes32", "@saga.id32", "@saga.id32"),
        ("bytes", "0x", "0x"),
        ("string", "grüße", "grüße"),
        ("uint256[]", [1, "2"], ["1", "2"]),
        ("(address,uint8[2])[]", [[_ADDRESS, [1, 2]]], [[_ADDRESS, ["1", "2"]]]),
    ],
)
def test_a_value_of_a_plan_gets_one_form(kind: str, value: Any, normal: Any) -> None:
    assert normal_value(kind, value, _plain) == normal
    if "@" not in str(normal):
        abi_encode([kind], [python_value(kind, normal)])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("uint8", 256),
        ("uint8", -1),
        ("uint256", "1e3"),
        ("uint256", "007"),
        ("uint256", True),
        ("uint256", 1.5),
        ("uint256", None),
        ("uint256", "9" * 79),
        ("bool", 1),
        ("bool", "true"),
        ("address", _ADDRESS.lower()),
        ("address", _ADDRESS[:-1] + "4"),
        ("address", "alice"),
        ("bytes32", "0x00"),
        ("bytes32", "00" * 32),
        ("bytes4", "@saga.id32"),
        ("string", 5),
        ("uint256[2]", [1]),
        ("uint256[]", "12"),
        ("(uint256,bool)", [1]),
    ],
)
def test_a_value_that_does_not_fit_is_refused(kind: str, value: Any) -> None:
    with pytest.raises(AbiError):
        normal_value(kind, value, _plain)


def test_the_saga_takes_the_place_of_its_name_at_any_depth() -> None:
    assert with_saga([["@saga.id32"], "5"], "ab" * 32) == [[f"0x{'ab' * 32}"], "5"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (_ADDRESS, None),
        (_ADDRESS.lower(), f"its form is {_ADDRESS}"),
        (_ADDRESS.swapcase().replace("0X", "0x"), "wrong checksum"),
        (_ADDRESS[2:], "no address"),
        ("", "no address"),
        (5, "no address"),
        ("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", "no address"),
    ],
)
def test_an_address_needs_its_checksum(text: object, words: str | None) -> None:
    problem = address_problem(text)
    assert problem is None if words is None else words in (problem or "")


def test_a_function_is_found_by_its_signature_and_another_one_is_named() -> None:
    found = abi.find_function(_VAULT, " lock( bytes32,address,uint256,address,uint256 )")
    assert (found.types[0], found.payable) == ("bytes32", True)
    with pytest.raises(AbiError, match=r"it has lock\(bytes32,address"):
        abi.find_function(_VAULT, "lock(bytes32)")
    with pytest.raises(AbiError, match="only reads"):
        abi.find_function(_VAULT, "owner()")
    with pytest.raises(AbiError, match="no event"):
        abi.find_event(_VAULT, "Nothing()")


def test_a_log_is_read_only_if_it_is_the_events_own() -> None:
    event = abi.find_event(_VAULT, "Redeemed(address,bytes32,bytes32)")
    topics = (event.topic, f"0x{_ADDRESS[2:].rjust(64, '0')}", f"0x{'11' * 32}")
    values = [_ADDRESS, f"0x{'11' * 32}", f"0x{'22' * 32}"]
    assert event.values(topics, f"0x{'22' * 32}") == values
    assert event.values(topics, "0x") is None
    assert event.values(topics[:2], f"0x{'22' * 32}") is None
    assert event.values((f"0x{'00' * 32}", *topics[1:]), f"0x{'22' * 32}") is None
    assert event.values((topics[0], "0xzz", topics[2]), f"0x{'22' * 32}") is None


_ERRORS = [{"type": "error", "name": "Short", "inputs": [{"name": "by", "type": "uint256"}]}]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (abi.selector("Error(string)") + abi_encode(["string"], ["too early"]), "too early"),
        (abi.selector("Panic(uint256)") + abi_encode(["uint256"], [0x11]),
         "panic 0x11: arithmetic overflow"),
        (abi.selector("Short(uint256)") + abi_encode(["uint256"], [9]), "Short(9)"),
        (abi.selector("Long(uint256)"), "reverted with data 0x"),
        (abi.selector("Error(string)") + b"\xff" * 9, "reverted with data 0x"),
        (abi.selector("Error(string)") + abi_encode(["string"], ["a\x1b[2J\u202eb"]),
         "a\ufffd[2J\ufffdb"),
        (b"", "reverted without a reason"),
    ],
)  # fmt: skip
def test_a_revert_is_told_in_one_printable_line(data: bytes, reason: str) -> None:
    told = abi.revert_reason(data, _ERRORS)
    assert told.startswith(reason)
    assert told.isprintable() or "\ufffd" in told
    assert len(told) <= 300


def test_terms_hash_as_the_contract_hashes_them() -> None:
    ours = params_hash(2, _ADDRESS, 5, _ADDRESS, "11" * 32, 77)
    assert ours == scene.params_hash(2, _ADDRESS, 5, _ADDRESS, b"\x11" * 32, 77).hex()


@pytest.mark.parametrize("place", [2**63, 2**64, 2**255, 2**256 - 1])
def test_a_place_beyond_all_memory_is_no_value_of_an_event_and_no_reason(place: int) -> None:
    data = place.to_bytes(32, "big")
    event = abi.Event("Said(string)", ("string",), (False,))

    assert event.values([event.topic], f"0x{data.hex()}") is None
    assert "reverted with data" in abi.revert_reason(bytes.fromhex("08c379a0") + data)
    with pytest.raises(AbiError):
        abi.decode(("string",), data)
