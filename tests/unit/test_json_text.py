"""Deeply nested JSON is an error, also after a library has raised the recursion limit."""

import sys

import pytest

from adapters.json_text import parse_json


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, "[[" * 3000 + "]]" * 3000])
def test_deep_nesting_does_not_end_the_process(text: str) -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        with pytest.raises(ValueError):
            parse_json(text)
        assert sys.getrecursionlimit() < 100_000
    finally:
        sys.setrecursionlimit(before)


def test_json_is_parsed() -> None:
    assert parse_json(b'{"a": [1, "\xc3\xa4"]}') == {"a": [1, "ä"]}
