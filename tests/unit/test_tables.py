"""Strict tables and exact amounts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.assets import AMOUNT_LIMIT, AmountError, format_amount, parse_amount
from adapters.tables import Table, TableError


def test_a_misspelt_key_is_refused_with_the_key_that_was_meant() -> None:
    table = Table("chain.polygon", {"finalty": 1})
    table.integer("finality", 2)
    with pytest.raises(
        TableError, match=r"'finalty' in \[chain.polygon\]; did you mean 'finality'"
    ):
        table.finish()


def test_a_table_inside_is_finished_with_the_outer_one() -> None:
    table = Table("chain.a", {"fee": {"max": 1, "mux": 2}})
    table.table("fee").integer("max")
    with pytest.raises(TableError, match=r"'mux' in \[chain.a.fee\]; did you mean 'max'"):
        table.finish()


def test_everything_asked_for_is_accepted() -> None:
    table = Table("", {"a": 1, "b": "x", "c": True, "d": ["y"], "e": {"f": 1}, "g": {"h": {}}})
    assert table.integer("a") == 1
    assert table.text("b", pattern="x|y") == "x"
    assert table.flag("c") is True
    assert table.texts("d") == ["y"]
    assert table.table("e").integer("f") == 1
    assert list(table.tables("g")) == ["h"]
    table.finish()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1", "must be an integer, not a text"),
        (True, "must be an integer, not a boolean"),
        (1.0, "must be an integer, not a floating-point number"),
        (-1, "must be an integer from 0 to 10"),
        (11, "must be an integer from 0 to 10"),
    ],
)
def test_an_integer_is_only_an_integer_in_its_range(value: object, message: str) -> None:
    with pytest.raises(TableError, match=message):
        Table("t", {"n": value}).integer("n", minimum=0, maximum=10)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1, "must be a text, not an integer"),
        ("", "is empty"),
        ("x" * 5000, "longer than 4096"),
        ("a\u202eb", "U\\+202E RIGHT-TO-LEFT OVERRIDE"),
        ("a\u200bb", "U\\+200B ZERO WIDTH SPACE"),
        ("a\nb", "U\\+000A"),
        ("b", "does not have the form a\\+"),
        ("aa\n", "U\\+000A"),
    ],
)
def test_a_text_is_visible_bounded_and_of_its_form(value: object, message: str) -> None:
    with pytest.raises(TableError, match=message):
        Table("t", {"s": value}).text("s", pattern="a+")


def test_no_error_quotes_a_value_because_it_may_be_a_secret() -> None:
    secret = "hunter2-hunter2"
    table = Table("t", {"s": secret, "l": [secret, 1], "n": {}})
    for read in (
        lambda: table.text("s", pattern="x"),
        lambda: table.integer("s"),
        lambda: table.texts("l"),
        lambda: table.texts("s"),
        lambda: table.table("s"),
        lambda: table.flag("s"),
        table.finish,
    ):
        with pytest.raises(TableError) as caught:
            read()
        assert secret not in str(caught.value)


def test_missing_values_are_named_unless_they_have_a_default() -> None:
    table = Table("t", {})
    with pytest.raises(TableError, match=r"'a' is missing in \[t\]"):
        table.text("a")
    assert table.text("a", None) is None
    assert table.integer("b", 3) == 3
    assert table.table("c", None) is None
    assert table.table("d", {}).names() == []
    assert table.texts("e", ()) == []


def test_a_path_stays_in_the_folder_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "link").symlink_to("/")
    table = Table(
        "t", {"a": "inside/x", "b": "../x", "c": "/abs/x", "d": "~/x", "e": "link/etc"},
        folder=tmp_path,
    )  # fmt: skip
    assert table.path("a") == tmp_path / "inside/x"
    assert table.path("c") == Path("/abs/x")
    for key in "bde":
        with pytest.raises(TableError, match=f"'{key}' in"):
            table.path(key)


def test_references_come_from_the_environment_only() -> None:
    table = Table("t", {"rpc": ["env:NODE", "http://x"], "r": ["env:NONE"], "s": ["env:a b"]},
                  environ={"NODE": "http://y"})  # fmt: skip
    assert table.references("rpc") == ["http://y", "http://x"]
    with pytest.raises(TableError, match="environment variable NONE, which is not set"):
        table.references("r")
    with pytest.raises(TableError, match="names no environment variable"):
        table.references("s")


@pytest.mark.parametrize(
    "text",
    [
        "", " 1", "1 ", "+1", "-1", "1e3", "1E3", "0x10", "1_000", "1,5", ".5", "5.", "01", "00.1",
        "1.000", "nan", "inf", "١", "1\n", "½", "1" * 200,
    ],
)  # fmt: skip
def test_what_is_no_plain_decimal_is_no_amount(text: str) -> None:
    with pytest.raises(AmountError):
        parse_amount(text, 2)


def test_amounts_stop_below_the_width_of_a_word() -> None:
    assert parse_amount(str(AMOUNT_LIMIT - 1), 0) == AMOUNT_LIMIT - 1
    with pytest.raises(AmountError, match="2\\^256"):
        parse_amount(str(AMOUNT_LIMIT), 0)


def test_amounts_read_as_people_write_them() -> None:
    assert parse_amount("0.015", 8) == 1_500_000
    assert format_amount(1_500_000, 8) == "0.015"
    assert format_amount(-5, 0) == "-5"
    assert format_amount(0, 18) == "0"


@given(st.integers(0, AMOUNT_LIMIT - 1), st.integers(0, 36))
def test_formatting_and_parsing_lose_nothing(amount: int, decimals: int) -> None:
    assert parse_amount(format_amount(amount, decimals), decimals) == amount
