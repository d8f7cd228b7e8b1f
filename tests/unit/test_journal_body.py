"""The bytes of records: one canonical form, however it is put together."""

import hashlib
import json
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.errors import JournalError
from coordinator.journal.body import DataEncoder, encode_body, read_record
from proofs import canonical
from proofs.errors import CanonicalError
from tests.conformance.journal_records import PLAN, started

KEYS = st.text(st.characters(max_codepoint=127), max_size=8)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.integers(min_value=-(2**53) + 1, max_value=2**53 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_the_canonical_form_is_sorted_json_without_white_space(value: Any) -> None:
    plain = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    assert canonical.encode(value) == plain.encode()
    assert canonical.parse(canonical.encode(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        math.nan,
        math.inf,
        2**53,
        -(2**53),
        {1: "x"},
        {True: "x"},
        {None: "x"},
        {"é": 1},
        "\ud800",
        {"a": ["\udfff"]},
        {"a": {1, 2}},
        b"x",
        object(),
    ],
)
def test_what_is_outside_the_subset_has_no_form(value: Any) -> None:
    with pytest.raises(CanonicalError):
        canonical.encode(value)
    with pytest.raises(CanonicalError):
        canonical.encode([value])


def test_a_key_of_another_type_is_refused_even_when_an_equal_one_was_seen() -> None:
    class Odd(str):
        __slots__ = ()

    assert canonical.encode({"seen before": 1}) == b'{"seen before":1}'
    assert canonical.encode({Odd("seen before"): 1}) == b'{"seen before":1}'
    with pytest.raises(CanonicalError):
        canonical.encode({Odd("never seen"): 1})


def test_nesting_is_allowed_to_its_limit_and_not_beyond() -> None:
    value: Any = []
    for _ in range(canonical.MAX_DEPTH - 1):
        value = [value]
    assert canonical.parse(canonical.encode(value)) == value
    with pytest.raises(CanonicalError, match="nested"):
        canonical.encode([value])
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(CanonicalError, match="nested"):
        canonical.encode(loop)


@given(st.dictionaries(KEYS | st.sampled_from(["digest", "plan", "zoo"]), VALUES, max_size=6))
def test_data_put_together_from_parts_equals_the_whole(data: dict[str, Any]) -> None:
    data = {**data, "plan": PLAN, "digest": canonical.digest(PLAN)}
    encoder = DataEncoder()

    assert encoder.encode("started", data) == canonical.encode(data)
    assert encoder.encode("started", data) == canonical.encode(data)
    assert encoder.encode("other", data) == canonical.encode(data)


def test_a_known_digest_stores_the_plan_that_has_it_whatever_the_caller_holds() -> None:
    encoder = DataEncoder()
    honest = started("amy").data
    expected = encoder.encode("started", honest)

    assert encoder.encode("started", {**honest, "plan": {"v": 2}}) == expected


@given(VALUES, NUMBERS.filter(lambda n: n >= 0))
def test_a_body_put_together_by_hand_is_the_canonical_form(data: Any, at_ms: int) -> None:
    whole = {
        "at": at_ms,
        "data": data,
        "kind": "paused",
        "prev": "ab" * 32,
        "seq": 3,
        "stream": "saga:01-x.y",
        "v": 1,
    }

    body = encode_body("saga:01-x.y", 3, "paused", at_ms, "ab" * 32, canonical.encode(data))

    assert body == canonical.encode(whole)


def test_a_body_of_an_unknown_version_is_refused_by_name() -> None:
    body = encode_body("s", 1, "k", 1, "0" * 64, b"{}").replace(b'"v":1', b'"v":2')

    with pytest.raises(JournalError, match=r"record 1 of s \(position 9\) has format version 2"):
        read_record((9, "s", 1, "k", hashlib.sha256(body).digest(), body))


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 33 + b"]" * 33,
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b"[" * (1 << 20),
        b'["]]]]","\\"]]",' + b"[" * 32 + b"]" * 33,
    ],
)
def test_deep_text_is_refused_before_a_parser_sees_it(raw: bytes) -> None:
    with pytest.raises(CanonicalError, match="nested deeper"):
        canonical.parse(raw)


@pytest.mark.parametrize(
    "raw", [b'"' + b"\\" * (1 << 19), b'"' * 99999, b'"[' * 99999, b"[]," * 99999, b'"\\"[' * 9999]
)
def test_hostile_text_is_refused_in_a_moment(raw: bytes) -> None:
    begin_s = time.process_time()
    with pytest.raises(CanonicalError):
        canonical.parse(raw)
    assert time.process_time() - begin_s < 2


def test_brackets_inside_strings_do_not_count_as_nesting() -> None:
    value = ["[" * 100, {"{": '\\"[' * 50}]

    assert canonical.parse(canonical.encode(value)) == value
