"""The compiled encoder of records gives the bytes that `proofs.canonical` gives, or stands back."""

import hashlib
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coordinator.errors import JournalError
from coordinator.journal.body import (
    ZERO_HASH,
    DataEncoder,
    encode_body,
    read_record,
    sha256_of,
)
from proofs import canonical
from proofs.errors import CanonicalError


class _Word(StrEnum):
    A = "a"


class _Number(IntEnum):
    ONE = 1


_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(canonical.INTEGER_LIMIT - 2, canonical.INTEGER_LIMIT + 2)
    | st.floats()
    | st.text(max_size=8)
    | st.text(st.characters(max_codepoint=0x7F), max_size=8)
    | st.binary(max_size=3)
)
_KEYS = st.text(max_size=4) | st.text(st.characters(max_codepoint=0x7F), max_size=4)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(_KEYS | st.integers(0, 3), inner, max_size=3)
    ),
    max_leaves=12,
)


def _result(encode: Any, value: Any) -> bytes | type[Exception]:
    try:
        return bytes(encode(value))
    except CanonicalError:
        return CanonicalError


@given(data=st.dictionaries(_KEYS, _VALUES, max_size=5))
@example(data={"a": float("nan")})
@example(data={"a": 1.0})
@example(data={"a": {"b": [[[["deep"]]]]}})
@example(data={"a": "\ud800"})
@example(data={"\u00e9": 1, "z": 2})
@example(data={"b": 1, "a": '\x00\x1f\x7f\u2028\U0001f600"\\/'})
def test_both_encoders_give_the_same_bytes_or_both_refuse(data: dict[str, Any]) -> None:
    assert _result(lambda d: DataEncoder().encode("done", d), data) == _result(
        canonical.encode, data
    )


@pytest.mark.parametrize(
    "value",
    [{1}, 1 << 60, b"x", 1.5, object()],
    ids=lambda v: type(v).__name__,
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(CanonicalError):
        DataEncoder().encode("done", {"a": {"b": [value]}})


@pytest.mark.parametrize("value", [_Word.A, _Number.ONE, MappingProxyType({"a": 1})], ids=repr)
def test_what_equals_plain_data_is_stored_as_that_data(value: Any) -> None:
    text = DataEncoder().encode("done", {"a": value})
    assert canonical.parse(text) == {"a": value}


@pytest.mark.parametrize("column", ["hash", "body"])
@pytest.mark.parametrize("value", [None, 5, 1.5, "text", b""], ids=repr)
def test_a_column_that_one_flipped_bit_made_another_type_is_damage(
    column: str, value: object
) -> None:
    """A bit of a row's header says what the bytes behind it are."""
    body = encode_body("saga:amy", 1, "paused", 7, ZERO_HASH, b"{}")
    row = {"hash": hashlib.sha256(body).digest(), "body": body, column: value}
    for strict in (True, False):
        with pytest.raises(JournalError, match=r"damaged: record 1 of saga:amy \(position 3\)"):
            read_record((3, "saga:amy", 1, "paused", row["hash"], row["body"]), strict=strict)
    assert read_record((3, "saga:amy", 1, "paused", hashlib.sha256(body).digest(), body)).seq == 1


@pytest.mark.parametrize("value", [None, 5, 1.5, "text"], ids=repr)
def test_what_is_no_bytes_has_no_hash(value: object) -> None:
    assert sha256_of(value) == ""
    assert sha256_of(b"") == hashlib.sha256(b"").hexdigest()
