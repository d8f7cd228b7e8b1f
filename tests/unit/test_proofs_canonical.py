"""Canonical JSON inside RFC 8785: its own samples, and ECMAScript's serialisation of random values.

RFC 8785 is defined by what ECMAScript's JSON.stringify writes, members sorted: so Node is asked.
"""

import json
import random
import subprocess
from typing import Any

import pytest

from proofs import canonical
from proofs.errors import CanonicalError

#: RFC 8785 section 3.2.2 without its numbers, which are outside of what we allow; bytes of 3.2.4.
SAMPLE = {
    "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
    "literals": [None, True, False],
}
SAMPLE_HEX = (
    "7b226c69746572616c73223a5b6e756c6c2c747275652c66616c73655d2c"
    "22737472696e67223a22e282ac245c75303030665c6e4127425c225c5c5c5c5c222f227d"
)
#: cyberphone/json-canonicalization, testdata: structures and unicode.
STRUCTURES = {
    "1": {"f": {"f": "hi", "F": 5}, "\n": 56},
    "10": {},
    "": "empty",
    "a": {},
    "111": [{"e": "yes", "E": "no"}],
    "A": {},
}
STRUCTURES_TEXT = (
    '{"":"empty","1":{"\\n":56,"f":{"F":5,"f":"hi"}},"10":{},"111":[{"E":"no","e":"yes"}],'
    '"A":{},"a":{}}'
)
_NODE = """
const canon = v => v === null || typeof v !== 'object' ? JSON.stringify(v)
  : Array.isArray(v) ? '[' + v.map(canon).join(',') + ']'
  : '{' + Object.keys(v).sort().map(k => JSON.stringify(k) + ':' + canon(v[k])).join(',') + '}';
const all = JSON.parse(require('fs').readFileSync(0, 'utf8'));
process.stdout.write(JSON.stringify(all.map(canon)));
"""


def test_the_rfcs_sample_has_the_rfcs_bytes() -> None:
    assert canonical.encode(SAMPLE).hex() == SAMPLE_HEX
    assert canonical.parse(bytes.fromhex(SAMPLE_HEX)) == SAMPLE


def test_the_reference_implementations_samples_have_its_bytes() -> None:
    assert canonical.encode(STRUCTURES).decode() == STRUCTURES_TEXT
    # Unicode is not normalised.
    assert canonical.encode({"Unnormalized Unicode": "A\u030a"}) == (
        b'{"Unnormalized Unicode":"A\xcc\x8a"}'
    )


@pytest.mark.parametrize(
    "outside",
    [
        {"p\u00e9ch\u00e9": "a key that is not ASCII"},
        {"numbers": [333333333.33333329]},
        4.5,
        2**53,
        -(2**53),
        "\ud800",
        {1: "a key that is no text"},
    ],
)
def test_what_implementations_disagree_on_has_no_canonical_form(outside: Any) -> None:
    with pytest.raises(CanonicalError):
        canonical.encode(outside)


def test_the_largest_integers_that_every_reader_keeps_are_allowed() -> None:
    assert canonical.encode([2**53 - 1, 1 - 2**53]) == b"[9007199254740991,-9007199254740991]"


def _value(random_: random.Random, depth: int) -> Any:
    kinds = ["text", "int", "literal"] + (["object", "array"] if depth else [])
    match random_.choice(kinds):
        case "text":
            points = [random_.choice((0x7F, 0x2FF, 0xFFFF, 0x10FFFF)) for _ in range(6)]
            drawn = [random_.randrange(most) for most in points]
            return "".join(chr(point) for point in drawn if not 0xD800 <= point < 0xE000)
        case "int":
            return random_.randrange(1 - 2**53, 2**53) >> random_.randrange(54)
        case "literal":
            return random_.choice((None, True, False))
        case "array":
            return [_value(random_, depth - 1) for _ in range(random_.randrange(4))]
        case _:
            keys = ["".join(map(chr, random_.choices(range(128), k=3))) for _ in range(4)]
            return {key: _value(random_, depth - 1) for key in keys}


def test_random_values_are_written_as_ecmascript_writes_them() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    random_ = random.Random(seed)
    values = [_value(random_, 4) for _ in range(500)]
    done = subprocess.run(
        ["node", "-e", _NODE],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=True,
    )
    for value, theirs in zip(values, json.loads(done.stdout), strict=True):
        ours = canonical.encode(value)
        assert ours.decode() == theirs, f"seed {seed}"
        assert canonical.parse(ours) == value, f"seed {seed}"
