"""Our reader and writer of RLP: one form for each value, bounds before work."""

from typing import Any

import pytest
import rlp as oracle  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from proofs import rlp
from proofs.errors import Refused
from tests.unit.fuzzing import damaged, fuzz

VALUES = st.recursive(
    st.binary(max_size=80), lambda inner: st.lists(inner, max_size=6), max_leaves=20
)


def written(value: Any) -> bytes:
    """The value through our writer, which takes ready items."""
    if isinstance(value, bytes):
        return rlp.encode_bytes(value)
    return rlp.encode_list(written(item) for item in value)


def depth(value: Any) -> int:
    return 0 if isinstance(value, bytes) else 1 + max(map(depth, value), default=0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"", "80"),
        (b"\0", "00"),
        (b"\x7f", "7f"),
        (b"\x80", "8180"),
        (b"dog", "83646f67"),
        ([], "c0"),
        ([b"cat", b"dog"], "c88363617483646f67"),
        ([[], [[]], [[], [[]]]], "c7c0c1c0c3c0c1c0"),
        (b"a" * 55, "b7" + "61" * 55),
        (b"a" * 56, "b838" + "61" * 56),
        (b"a" * 1024, "b90400" + "61" * 1024),
        ([b"a" * 55], "f838b7" + "61" * 55),
    ],
)
def test_the_examples_of_the_yellow_paper_are_written_and_read(value: Any, text: str) -> None:
    assert written(value).hex() == text
    assert rlp.decode(bytes.fromhex(text)) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no item"),
        ("8001", "two items"),
        ("8100", "one byte with a needless prefix"),
        ("817f", "one byte with a needless prefix"),
        ("82ff", "cut off"),
        ("b800", "a long length that is short"),
        ("b837" + "61" * 55, "a long length that is short"),
        ("b90038" + "61" * 56, "a length with a leading zero"),
        ("b838" + "61" * 55, "cut off"),
        ("b9", "a length that is cut off"),
        ("bfffffffffffffffff", "longer than anything"),
        ("f800", "a long list that is short"),
        ("f90038" + "61" * 56, "a list's length with a leading zero"),
        ("c1", "a cut off list"),
        ("c28100", "an element in no canonical form"),
        ("c183", "an element longer than its list"),
        ("c0c0", "two lists"),
    ],
)
def test_a_form_that_is_not_the_canonical_one_is_refused(text: str, why: str) -> None:
    with pytest.raises(Refused) as refused:
        rlp.decode(bytes.fromhex(text))

    assert refused.value.check == rlp.CHECK, why


def test_lists_may_nest_to_the_bound_and_no_deeper() -> None:
    assert rlp.decode(nested(rlp.MAX_DEPTH))
    with pytest.raises(Refused, match="nested deeper"):
        rlp.decode(nested(rlp.MAX_DEPTH + 1))


def nested(levels: int) -> bytes:
    text = b""
    for _ in range(levels):
        text = rlp.encode_list([text])
    return text


def test_a_hundred_thousand_open_lists_end_in_a_refusal_and_no_overflow() -> None:
    with pytest.raises(Refused, match="nested deeper"):
        rlp.decode(nested(100_000))


def test_more_items_than_the_bound_are_refused() -> None:
    with pytest.raises(Refused, match="items"):
        rlp.decode(rlp.encode_list([b"\x01"] * (rlp.MAX_ITEMS + 1)))


def test_more_bytes_than_the_bound_are_refused() -> None:
    with pytest.raises(Refused, match="limit"):
        rlp.decode(rlp.encode_bytes(bytes(rlp.MAX_BYTES)))


@given(VALUES)
def test_what_another_library_writes_we_write_and_read_alike(value: Any) -> None:
    text = oracle.encode(value)

    assert written(value) == text
    if depth(value) <= rlp.MAX_DEPTH:
        assert rlp.decode(text) == value


@given(st.binary(max_size=60))
def test_what_is_read_at_all_is_the_only_form_of_its_value(text: bytes) -> None:
    try:
        value = rlp.decode(text)
    except Refused:
        return

    assert written(value) == text


@given(st.integers(0, 2**256 - 1))
def test_numbers_come_back(number: int) -> None:
    assert rlp.number_of(rlp.decode(rlp.encode_int(number))) == number


@pytest.mark.parametrize("item", [b"\0", b"\0\x01", b"\x01" * 33, [b"\x01"]])
def test_a_number_with_a_leading_zero_too_long_or_a_list_is_refused(item: rlp.Item) -> None:
    with pytest.raises(Refused):
        rlp.number_of(item)


@pytest.mark.parametrize("item", [b"\x01" * 19, [b"\x01" * 20]])
def test_a_string_of_another_length_or_a_list_is_refused(item: rlp.Item) -> None:
    with pytest.raises(Refused):
        rlp.string_of(item, 20)


@pytest.mark.parametrize("item", [b"ab", [b"a", b"b", b"c"], []])
def test_a_list_of_another_length_or_a_string_is_refused(item: rlp.Item) -> None:
    with pytest.raises(Refused):
        rlp.list_of(item, least=1, most=2)


def test_ten_thousand_damaged_texts_are_read_or_refused() -> None:
    texts = [written([[b"cat", [b"", b"\x80" * 60]], [[[]]], b"\x01"]), written(b"dog" * 30)]
    fuzz(
        "test_ten_thousand_damaged_texts_are_read_or_refused",
        lambda chance: rlp.decode(damaged(chance.choice(texts), chance)),
    )
