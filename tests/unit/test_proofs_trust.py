"""The trust file: what it covers, how it may not contradict itself, and hostile ones."""

import json
import random
from typing import Any

import pytest

from proofs.errors import Refused
from proofs.trust import MAX_BYTES, Trust, read_trust
from tests.unit.bundle_scene import BITCOIN, EVM, committed
from tests.unit.fuzzing import damaged, fuzz

A, B, C = "aa" * 32, "bb" * 32, "cc" * 32


def trust_of(**chain: Any) -> dict[str, Any]:
    evm = {"schemes": ["evm.receipt/v1"], "blocks": {}, "needed": 1, "statements": []}
    return {
        "v": 1, "kind": "trust/v1", "log": None, "chains": {EVM: evm | chain}, "participants": {},
    }  # fmt: skip


def said(node: str, block: str, height: int = 7) -> dict[str, Any]:
    return {"node": node, "block": block, "height": height, "at_s": 1}


def read(form: Any) -> Trust:
    return read_trust(json.dumps(form).encode())


def refused(form: Any) -> str:
    with pytest.raises(Refused) as error:
        read(form)
    return error.value.check


def believed(block: str, height: int = 7, **chain: Any) -> str | None:
    return read(trust_of(**chain)).chains[EVM].believes(block, height)


def test_a_pinned_block_is_believed() -> None:
    assert believed(A, blocks={A: 7}) == "pinned"


def test_a_block_that_nobody_knows_is_not_believed() -> None:
    assert believed(A, blocks={B: 8}, statements=[said("n", B, 8)]) is None


def test_as_many_different_nodes_as_needed_carry_a_block() -> None:
    statements = [said("a", A), said("a", A), said("b", A)]

    assert believed(A, needed=2, statements=statements) == "statement of a, b"
    assert believed(A, needed=3, statements=statements) is None


@pytest.mark.parametrize(
    "chain",
    [
        {"blocks": {B: 7}},
        {"blocks": {A: 8}},
        {"statements": [said("a", B)]},
        {"blocks": {A: 7}, "statements": [said("a", B)]},
        {"statements": [said("a", A), said("b", B)]},
    ],
    ids=["another pinned", "pinned elsewhere", "another stated", "pin against node", "two nodes"],
)
def test_a_block_that_contradicts_what_is_known_is_refused(chain: dict[str, Any]) -> None:
    with pytest.raises(Refused) as error:
        believed(A, **chain)

    assert error.value.check == "block-contradicted"


def test_one_dissenting_node_of_less_than_needed_does_not_hide_what_enough_others_state() -> None:
    statements = [said("a", A), said("b", A), said("c", B)]

    assert believed(A, needed=2, statements=statements) == "statement of a, b"


@pytest.mark.parametrize(
    "chain",
    [
        {"blocks": {A: 7, B: 7}},
        {"statements": [said("a", A), said("a", B)]},
        {"statements": [said("a", A), said("b", A, 8)]},
        {"blocks": {A: 7}, "statements": [said("a", A, 8)]},
    ],
)
def test_a_file_that_contradicts_itself_is_refused(chain: dict[str, Any]) -> None:
    assert refused(trust_of(**chain)) == "block-contradicted"


def bitcoin(**changes: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "schemes": ["btc.spv/v1"], "min_work": "0", "confirmations": 2, "anchors": {A: 7},
        "needed": 1, "statements": [],
    }  # fmt: skip
    return {**trust_of(), "chains": {BITCOIN: known | changes}}


def test_statements_of_enough_nodes_are_anchors() -> None:
    form = bitcoin(needed=2, statements=[said("a", B, 9), said("b", B, 9), said("a", C, 8)])
    chain = read(form).chains[BITCOIN]

    assert chain.policy is not None
    assert chain.policy.anchors == {A: 7, B: 9}
    assert (chain.carries(A), chain.carries(B)) == ("pinned", "statement of a, b")


def test_without_any_known_block_there_is_no_policy() -> None:
    assert read(bitcoin(anchors={})).chains[BITCOIN].policy is None


@pytest.mark.parametrize(
    "form",
    [
        None, [], {}, {**trust_of(), "v": 2}, {**trust_of(), "v": True}, {**trust_of(), "more": 1},
        {**trust_of(), "chains": {"eip155:0": {}}}, {**trust_of(), "chains": {"eip155:٣": {}}},
        {**trust_of(), "participants": {"Buyer": "11" * 20}},
        {**trust_of(), "participants": {"buyer": "0x" + "11" * 20}},
        trust_of(needed=0), trust_of(needed=1.0), trust_of(schemes=["btc.spv/v1"]),
        trust_of(schemes="evm.receipt/v1"), trust_of(blocks={"AA" * 32: 7}),
        trust_of(blocks={A: -1}), trust_of(blocks={A: 2**53}), trust_of(statements=[{}]),
        trust_of(statements=[said("a b", A)]), trust_of(statements=[said("nоde", A)]),
        bitcoin(min_work="-1"), bitcoin(min_work=1), bitcoin(confirmations=5000),
        {**trust_of(), "log": {"origin": "Log", "address": "11" * 20, "checkpoint": None}},
        {**trust_of(), "log": {"origin": "log", "address": "11", "checkpoint": None}},
        {**trust_of(), "log": {"origin": "log", "address": "11" * 20, "checkpoint": {"size": 1}}},
    ],
)  # fmt: skip
def test_what_is_no_trust_file_is_refused(form: Any) -> None:
    assert refused(form) == "trust-form"


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\xff", b"{", b"[" * 100_000, b'{"a":' * 50_000, b'{"v":1,"v":1}', b"1e400",
        b'{"v":1e1}', b"NaN", b"9" * 5000, b"\xef\xbb\xbf{}", b" " * (MAX_BYTES + 1),
        b'{"v":"\\ud800"}',
    ],
)  # fmt: skip
def test_what_is_not_json_of_ours_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused) as error:
        read_trust(raw)

    assert error.value.check == "trust-form"


def test_damaged_trust_files_end_in_our_errors_only() -> None:
    good = json.dumps(committed().trust()).encode()

    def attempt(chance: random.Random) -> object:
        return read_trust(damaged(good, chance))

    fuzz("test_damaged_trust_files_end_in_our_errors_only", attempt)
