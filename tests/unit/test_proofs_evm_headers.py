"""Block headers: real ones of several forks by their real hashes, and forms that no fork has."""

import json
from pathlib import Path
from typing import Any

import pytest

from proofs import rlp
from proofs.errors import ProofUnavailable, Refused
from proofs.evm_header import CHECK, MAX_BYTES, header_of, read_header
from tests.unit.evm_block_scene import header_fields
from tests.unit.fuzzing import damaged, fuzz

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/evm/headers.json").read_text())


def items_of(raw: bytes) -> list[bytes]:
    """The fields of a header, each with its prefix."""
    return [raw[start:end] for start, end in rlp.elements(raw, 30)]


@pytest.mark.parametrize("vector", VECTORS["rlp"], ids=lambda vector: vector["fork"])
def test_a_mainnet_header_is_read_and_has_its_known_hash(vector: dict[str, Any]) -> None:
    header = read_header(bytes.fromhex(vector["rlp"]))

    assert "0x" + header.hash.hex() == vector["hash"]
    assert header.height == vector["height"]


@pytest.mark.parametrize("vector", VECTORS["json"], ids=lambda vector: vector["fork"])
def test_a_header_is_rebuilt_from_the_fields_that_a_node_gives(vector: dict[str, Any]) -> None:
    fields = vector["header"]
    header = read_header(header_of(fields))

    assert "0x" + header.hash.hex() == fields["hash"]
    assert header.height == int(fields["number"], 16)
    assert header.time_s == int(fields["timestamp"], 16)
    assert "0x" + header.state_root.hex() == fields["stateRoot"]
    assert "0x" + header.receipts_root.hex() == fields["receiptsRoot"]
    assert "0x" + header.transactions_root.hex() == fields["transactionsRoot"]
    assert "0x" + header.parent_hash.hex() == fields["parentHash"]


def test_fields_that_a_node_gives_as_null_are_not_there() -> None:
    fields = VECTORS["json"][0]["header"]

    assert header_of({**fields, "withdrawalsRoot": None}) == header_of(fields)


@pytest.mark.parametrize("name", ["stateRoot", "timestamp", "extraData", "requestsHash"])
def test_a_field_of_another_value_makes_no_header_of_that_block(name: str) -> None:
    fields = header_fields()
    other = "0x" + bytes(31).hex() + "07" if len(fields[name]) == 66 else "0x07"

    with pytest.raises(ProofUnavailable) as unavailable:
        header_of({**fields, name: other})

    assert unavailable.value.reason == "header_mismatch"


@pytest.mark.parametrize(
    "broken",
    [
        {"stateRoot": "0x01"},
        {"stateRoot": None},
        {"number": "12"},
        {"number": 12},
        {"number": "0x_1"},
        {"number": "0x" + "f" * 65},
        {"extraData": "0xabc"},
        {"hash": None},
        {"logsBloom": ["0x00"]},
    ],
)
def test_an_answer_that_is_no_header_is_malformed(broken: dict[str, Any]) -> None:
    with pytest.raises(ProofUnavailable) as unavailable:
        header_of({**header_fields(), **broken})

    assert unavailable.value.reason == "malformed_answer"


def test_a_block_with_the_fields_of_no_fork_gives_no_proof() -> None:
    half_of_amsterdam = header_fields(blockAccessListHash="0x" + "ab" * 32)

    with pytest.raises(ProofUnavailable) as unavailable:
        header_of(half_of_amsterdam)

    assert unavailable.value.reason == "header_mismatch"


@pytest.mark.parametrize("count", [0, 1, 14, 18, 19, 22])
def test_a_number_of_fields_that_no_fork_has_is_refused(count: int) -> None:
    items = items_of(header_of(VECTORS["json"][2]["header"]))

    with pytest.raises(Refused) as refused:
        read_header(rlp.encode_list(items[:count]))

    assert refused.value.check == CHECK


@pytest.mark.parametrize(
    ("at", "item"),
    [(0, b"\xa1" + b"x" * 33), (2, b"\x80"), (6, b"\x80"), (14, b"\x87" + b"x" * 7), (3, b"\xc0")],
)
def test_a_field_of_another_length_is_refused(at: int, item: bytes) -> None:
    items = items_of(header_of(header_fields()))
    items[at] = item

    with pytest.raises(Refused) as refused:
        read_header(rlp.encode_list(items))

    assert refused.value.check == CHECK


@pytest.mark.parametrize(
    "number", [b"\x82\x00\x01", b"\x87" + b"\xff" * 7, b"\xc0"], ids=["zero", "huge", "list"]
)
def test_a_height_that_is_no_short_number_is_refused(number: bytes) -> None:
    items = items_of(header_of(header_fields()))
    items[8] = number

    with pytest.raises(Refused) as refused:
        read_header(rlp.encode_list(items))

    assert refused.value.check == rlp.CHECK


def test_a_header_beyond_the_bound_is_refused() -> None:
    with pytest.raises(Refused, match="limit"):
        read_header(bytes(MAX_BYTES + 1))


def test_ten_thousand_damaged_headers_are_read_or_refused() -> None:
    raw = header_of(header_fields())
    fuzz(
        "test_ten_thousand_damaged_headers_are_read_or_refused",
        lambda chance: read_header(damaged(raw, chance)),
    )
