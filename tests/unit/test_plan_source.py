"""Plan files: what is refused, with which words, and that nothing else than a refusal comes out."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.tables import MAX_TEXT
from coordinator.errors import PlanError
from coordinator.plan import PlanRefused, load_lock, read_plan
from coordinator.plan.model import MAX_STEPS, Plan, parse_plan
from coordinator.plan.source import MAX_BYTES, SourceError, parse_json, parse_toml, read_document
from tests.unit.plan_locks import codes

VECTORS = sorted((Path(__file__).parents[1] / "vectors" / "bad_plans").glob("*.toml"))
STEP = {"id": "a", "chain": "polygon", "action": "lock", "with": {"amount": "@amount"}}
GOOD: dict[str, Any] = {
    "version": 1,
    "name": "p",
    "deadline_s": 60,
    "input": {"amount": {"asset": "ALZ", "value": "1"}},
    "step": [STEP],
}


def test_there_are_bad_plans_to_refuse() -> None:
    assert len(VECTORS) >= 40


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_a_bad_plan_is_refused_with_the_words_its_file_expects(path: Path) -> None:
    expected = path.read_text().splitlines()[0].removeprefix("# expect: ")
    with pytest.raises(PlanError) as caught:
        read_plan(path)
    assert expected in str(caught.value)
    assert "nothing was sent" in str(caught.value)


def test_a_good_plan_reads_the_same_from_toml_and_json(tmp_path: Path) -> None:
    toml = tmp_path / "p.toml"
    toml.write_text(
        'version = 1\nname = "p"\ndeadline_s = 60\n'
        'input.amount = { asset = "ALZ", value = "1" }\n'
        '[[step]]\nid = "a"\nchain = "polygon"\naction = "lock"\nwith.amount = "@amount"\n'
    )
    plain = tmp_path / "p.json"
    plain.write_text(json.dumps(GOOD, indent=2))
    assert read_plan(toml) == read_plan(plain)
    assert read_plan(toml).steps[0].spec.params == {"amount": {"asset": "ALZ", "value": "1"}}


def test_ten_megabytes_are_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "big.toml"
    with path.open("wb") as file:
        file.truncate(10_000_000)
    with pytest.raises(PlanRefused, match="larger than 1000000 bytes"):
        read_plan(path)
    with pytest.raises(PlanRefused, match="larger than 1000000 bytes"):
        load_lock(path)
    # /dev/zero never ends; reading all of it would not either
    with pytest.raises(SourceError, match="larger than"):
        read_document(Path("/dev/zero"))


def test_the_limit_itself_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    text = json.dumps(GOOD)
    path.write_text(text + " " * (MAX_BYTES - len(text)))
    assert read_plan(path).name == "p"
    path.write_text(text + " " * (MAX_BYTES - len(text) + 1))
    with pytest.raises(PlanRefused, match="larger than"):
        read_plan(path)


@pytest.mark.parametrize("count", [MAX_STEPS + 1, 10_000])
def test_too_many_steps_are_refused_and_counted(count: int) -> None:
    steps = [STEP | {"id": f"s{n}"} for n in range(count)]
    with pytest.raises(PlanRefused, match=f"has {count} steps, the limit is {MAX_STEPS}"):
        parse_plan(GOOD | {"step": steps})
    assert len(parse_plan(GOOD | {"step": steps[:MAX_STEPS]}).steps) == MAX_STEPS


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"a": 1, "a": 2}', "key 'a' appears twice"),
        (b'{"a": {"b": 1, "b": 2}}', "key 'b' appears twice"),
        (b'{"a": 1.5}', "a is 1.5, which is no integer"),
        (b'{"a": 1e3}', "a is 1e3, which is no integer"),
        (b'{"a": NaN}', "a is NaN, which is no integer"),
        (b'{"a": -Infinity}', "a is -Infinity, which is no integer"),
        (b'{"a": null}', "a is null"),
        (b'{"a": 9007199254740992}', "integer beyond 2^53"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'{"a": ["x", "y\\u202e"]}', "a[2] holds the invisible character U+202E"),
        (b'{"a": "\\ud800"}', "U+D800"),
        (b'{"\\u0430": 1}', "U+0430 CYRILLIC SMALL LETTER A"),
        (b'{"a": "' + b"x" * (MAX_TEXT + 1) + b'"}', "longer than 4096"),
        (b"[" * 100_000, "nested deeper"),
        (b'{"a":' * 30 + b"1" + b"}" * 30, "nested deeper"),
        (b"[1]", "must hold an object, not a list"),
        (b"", "not valid JSON"),
        (b"\xff", "line 1 is not UTF-8"),
        (b'{"a":\n"\xc3"}', "line 2 is not UTF-8"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ('{"a": 1}'.encode("utf-16-le"), "NUL character"),
    ],
)
def test_json_that_people_could_misread_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        parse_json(raw)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"a" + b".a" * 5000 + b" = 1", "line 1 is longer than 4096"),
        (b"x = " + b"[\n" * 100_000, "nested deeper"),
        (b"\na" + b".a" * 16 + b" = 1", "line 2 has a key nested deeper than 16"),
        (b"x = { " + b"'a' . " * 16 + b"a = 1 }", "line 1 has a key nested deeper than 16"),
        (b"[a" + b".a" * 16 + b"]", "line 1 has a key nested deeper than 16"),
        (b"a = 1\na = 2", "at line 2"),
        (b"a = 0x" + b"f" * 3000, "integer beyond 2^53"),
        (b"\x00", "NUL character"),
        (b"a = 1979-05-27", "a is a date"),
    ],
)
def test_toml_that_would_cost_or_confuse_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        parse_toml(raw)
    assert message in str(caught.value)


def test_deep_nesting_does_not_end_the_process_when_a_library_raised_the_recursion_limit() -> None:
    code = (
        "import sys; sys.setrecursionlimit(10**6)\n"
        "from coordinator.plan.source import SourceError, parse_json, parse_toml\n"
        "deep = b'x = ' + b'[\\n' * 400_000\n"
        "for parse, raw in ((parse_json, b'[' * 900_000), (parse_toml, deep)):\n"
        "    try: parse(raw)\n"
        "    except SourceError as error: print(error)\n"
    )
    done = subprocess.run(  # noqa: PLW1510 - the return code is what is looked at
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "nested deeper than 16\n" * 2), done.stderr


def test_brackets_in_strings_and_comments_are_no_nesting() -> None:
    brackets = "[{" * 20
    text = f'# {brackets}\na = "{brackets}"\nb = \'{brackets}\'\nc = """{brackets}"""\n'
    assert set(parse_toml(text.encode()).values()) == {brackets}
    assert parse_json(json.dumps({"a": brackets + '"', "b": "\\"}).encode())["a"][:-1] == brackets


def test_a_file_that_is_not_there_is_an_error_of_the_plan(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path, Path("a\x00b")):
        with pytest.raises(PlanRefused, match="E01"):
            read_plan(path)


def test_sets_change_declared_inputs_only_and_are_checked_again() -> None:
    typed = {"type": "evm_address", "value": "0x" + "1" * 40}
    plan = GOOD | {
        "input": {**GOOD["input"], "to": typed, "n": {"type": "integer", "value": 5}},
        "step": [STEP | {"with": {"amount": "@amount", "to": "@to", "n": ["@n"]}}],
    }
    new = "0x" + "2" * 40
    params = parse_plan(plan, {"amount": "2.5", "to": new, "n": "7"}).steps[0].spec.params
    assert params == {"amount": {"asset": "ALZ", "value": "2.5"}, "to": new, "n": [7]}
    for name, value, message in (
        ("amuont", "1", "names no input of this plan; it has: amount, n, to"),
        ("amount", "1e5", "not a plain decimal amount"),
        ("amount", "", "is empty"),
        ("amount", "1\u200b", "invisible character"),
        ("to", "0x12", "is no evm_address"),
        ("n", "1.5", "is no integer"),
    ):
        with pytest.raises(PlanRefused) as caught:
            parse_plan(plan, {name: value})
        assert message in str(caught.value)


def test_integers_are_the_same_however_they_are_written() -> None:
    def value(given: object) -> object:
        step = STEP | {"with": {"amount": "@amount", "n": "@n"}}
        plan = GOOD | {
            "input": {**GOOD["input"], "n": {"type": "integer", "value": given}}, "step": [step],
        }  # fmt: skip
        return parse_plan(plan).steps[0].spec.params["n"]

    assert value(5) == value("5") == 5
    assert value("9007199254740992") == "9007199254740992"


def test_the_saga_name_is_left_for_the_adapter() -> None:
    step = STEP | {"with": {"amount": "@amount", "id": "@saga.id32"}}
    assert parse_plan(GOOD | {"step": [step]}).steps[0].spec.params["id"] == "@saga.id32"


def test_substitution_reaches_effect_and_undo_and_keeps_the_undo_deadline_apart() -> None:
    step = STEP | {
        "effect": {"event": "E(uint256)", "where": {"0": "@amount"}},
        "undo": {"function": "f(bytes32)", "args": ["@saga.id32"], "until_s": 90},
    }
    found = parse_plan(GOOD | {"step": [step]}).steps[0]
    assert found.spec.effect == {
        "event": "E(uint256)",
        "where": {"0": {"asset": "ALZ", "value": "1"}},
    }
    assert found.spec.undo == {"function": "f(bytes32)", "args": ["@saga.id32"]}
    assert found.undo_until_s == 90


def test_all_mistakes_are_reported_at_once() -> None:
    bad = GOOD | {
        "name": "P", "deadline_s": 0, "extra": 1,
        "input": {"amount": {"asset": "ALZ", "value": "x"}, "B": {"type": "text", "value": "y"}},
        "step": [STEP | {"id": "A"}, STEP | {"chain": 1}, STEP | {"more": 1}],
    }  # fmt: skip
    with pytest.raises(PlanRefused) as caught:
        parse_plan(bad)
    found = codes(caught.value.findings)
    assert sorted(found) == ["E02", "E03", "E03", "E03", "E03", "E04", "E04", "E05"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)
KEYS = st.sampled_from([
    "version", "name", "deadline_s", "input", "step", "id", "chain", "action", "with", "effect",
    "undo", "await", "asset", "value", "type", "amount", "until_s",
])  # fmt: skip
VALUES = st.recursive(
    st.sampled_from([1, 0, -1, "p", "a", "@amount", "@", "@saga.id32", "ALZ", "text", True, ""])
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_read_or_refused(raw: bytes) -> None:
    for parse in (parse_toml, parse_json):
        try:
            parse(raw)
        except SourceError as error:
            assert str(error)  # noqa: PT017 - either outcome is right


@given(st.text(max_size=300))
def test_arbitrary_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_toml, parse_json):
        try:
            parse(text.encode("utf-8", "surrogatepass"))
        except SourceError as error:
            assert str(error)  # noqa: PT017


@settings(max_examples=200)
@given(JSON | VALUES)
def test_arbitrary_structures_are_plans_or_refused(value: object) -> None:
    raw = json.dumps(value).encode()
    try:
        assert isinstance(parse_plan(parse_json(raw)), Plan)
    except (SourceError, PlanRefused) as error:
        assert str(error)  # noqa: PT017


@settings(max_examples=200)
@given(st.dictionaries(KEYS, VALUES))
def test_half_right_structures_are_plans_or_refused(changes: dict[str, Any]) -> None:
    raw = json.dumps(GOOD | changes).encode()
    try:
        assert isinstance(parse_plan(parse_json(raw), {"amount": "3"}), Plan)
    except (SourceError, PlanRefused) as error:
        assert str(error)  # noqa: PT017


@given(st.data())
def test_a_plan_with_any_byte_changed_is_a_plan_or_refused(data: st.DataObject) -> None:
    raw = bytearray(VECTORS[0].read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        parse_plan(parse_toml(bytes(raw)))
    except (SourceError, PlanRefused) as error:
        assert str(error)  # noqa: PT017


def test_our_reader_accepts_what_the_standard_one_does_for_plain_documents() -> None:
    text = 'a = 1\nb = "x"\n[c]\nd = [1, "y", true]\n'
    assert parse_toml(text.encode()) == tomllib.loads(text)


SELLER = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


@pytest.mark.parametrize("text", [SELLER, SELLER.lower(), f"0x{SELLER[2:].upper()}", "@who"])
def test_a_participant_is_an_address_in_any_honest_writing(text: str) -> None:
    who = {"who": {"type": "evm_address", "value": SELLER}} if text == "@who" else {}
    document = GOOD | {"participants": {"seller": text}, "input": GOOD["input"] | who}

    assert parse_plan(document).participants == {"seller": SELLER[2:].lower()}


def test_more_participants_than_can_be_named_are_refused_and_counted() -> None:
    many = {f"role{n}": f"0x{n:040x}" for n in range(1, 18)}

    with pytest.raises(PlanRefused, match="has 17 roles, the limit is 16"):
        parse_plan(GOOD | {"participants": many})
    assert parse_plan(GOOD).participants == {}
