"""The form that all Merkle proofs share: one fold, and positions that the fold alone lets pass."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs import log, trie, trie_build
from proofs.bitcoin_headers import parse_header
from proofs.bitcoin_merkle import root_of
from proofs.bitcoin_tx import sha256d
from proofs.errors import ProofError, Refused
from proofs.keccak import keccak256
from proofs.normal import (
    BITCOIN,
    LOG,
    TRIE,
    folded,
    from_log,
    from_spv,
    from_trie,
    verify,
)
from tests.unit.bitcoin_blocks import classic, small_block, vector

CASES = int(os.environ.get("FUZZ_CASES", "10000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
REPLAY = f"FUZZ_SEED={SEED} FUZZ_CASES={CASES} pytest tests/unit/test_proofs_normal.py"

VECTORS = Path(__file__).parents[1] / "vectors" / "log"
RECORDS = [b"record %d" % n for n in range(11)]
VALUES = [b"value %d" % n + bytes(40) for n in range(200)]


def of_log(index: int = 9) -> tuple[dict[str, Any], bytes]:
    nodes, frontier = log.append(log.Frontier.empty(), map(log.leaf_hash, RECORDS))
    stored = {(level, at): node for level, at, node in nodes}
    path = log.build_inclusion(index, 11, lambda names: [stored[name] for name in names])
    return from_log(RECORDS[index], index, 11, path, frontier.root()), frontier.root()


def of_bitcoin(name: str = "mainnet-100000", index: int = 2) -> tuple[dict[str, Any], bytes]:
    block = vector(name)
    root = parse_header(block.headers[0]).merkle_root
    return from_spv(block.proof(index), root), root


def of_trie(index: int = 130) -> tuple[dict[str, Any], bytes]:
    built = trie_build.build_list(VALUES)
    key = trie.list_key(index)
    return from_trie(built.root, key, built.proof(key)), built.root


FORMS = {LOG: of_log(), BITCOIN: of_bitcoin(), TRIE: of_trie()}
SCHEMES = sorted(FORMS)


SIZES = {LOG: 11, BITCOIN: 4, TRIE: None}


def refused(form: Any, scheme: str, root: bytes, size: int | None = -1) -> str:
    with pytest.raises(Refused) as error:
        verify(form, scheme=scheme, root=root, size=SIZES.get(scheme) if size == -1 else size)
    return error.value.check


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_form_carries_every_scheme(scheme: str) -> None:
    form, root = FORMS[scheme]
    size = SIZES[scheme]
    proven = verify(json.loads(json.dumps(form)), scheme=scheme, root=root, size=size)

    assert folded(form, scheme) == root
    assert proven.value.hex() == form["value"]
    assert proven.index == form.get("index")


@pytest.mark.parametrize("index", [0, 1, 54, 127, 128, 199])
def test_any_element_of_a_trie_has_the_form(index: int) -> None:
    form, root = of_trie(index)

    assert verify(form, scheme=TRIE, root=root).value == VALUES[index]


def test_short_nodes_of_a_trie_lie_inside_their_parents_pair() -> None:
    """A storage trie may hold leaves of less than 32 bytes; they are no step of their own."""
    keys = [bytes([half]) * 4 for half in range(16)]
    built = trie_build.build((key, bytes([n + 1])) for n, key in enumerate(keys))

    for n, key in enumerate(keys):
        form = from_trie(built.root, key, built.proof(key))
        assert len(form["path"]) < 2
        assert verify(form, scheme=TRIE, root=built.root).value == bytes([n + 1])


@pytest.mark.parametrize("index", range(11))
def test_any_record_of_a_log_has_the_form(index: int) -> None:
    form, root = of_log(index)

    assert verify(form, scheme=LOG, root=root, size=11).index == index


@pytest.mark.parametrize(("name", "index"), [("testnet3-926485", n) for n in range(1, 5)])
def test_any_transaction_of_a_block_has_the_form(name: str, index: int) -> None:
    form, root = of_bitcoin(name, index)

    assert verify(form, scheme=BITCOIN, root=root, size=form["size"]).index == index


@pytest.mark.parametrize(
    "case", json.loads((VECTORS / "normal.json").read_text()), ids=lambda case: case["scheme"]
)
def test_the_vectors_for_other_verifiers_say_what_this_one_finds(case: dict[str, Any]) -> None:
    trusted: dict[str, Any] = {
        "scheme": case["scheme"],
        "root": bytes.fromhex(case["root"]),
        "size": case["size"],
    }
    assert verify(case["form"], **trusted).value.hex() == case["form"]["value"]

    moved = case["form"] | case["wrong_position"]
    assert folded(moved, case["scheme"]) == trusted["root"]
    with pytest.raises(Refused):
        verify(moved, **trusted)


# ------------------------------------------------------------ the bare fold is not enough


@pytest.mark.parametrize(
    ("scheme", "change", "check"),
    [
        (LOG, {"index": 8}, "normal-position"),
        (LOG, {"index": 10}, "normal-position"),
        (LOG, {"index": 11}, "normal-position"),
        (LOG, {"size": 10}, "normal-size"),
        (LOG, {"size": 12}, "normal-size"),
        (BITCOIN, {"index": 3}, "normal-position"),
        (BITCOIN, {"size": 8}, "normal-size"),
        (TRIE, {"key": trie.list_key(131).hex()}, "trie-hash"),
        (TRIE, {"key": trie.list_key(1).hex()}, "trie-hash"),
        (TRIE, {"key": "82008200"}, "trie-surplus"),
    ],
)
def test_a_wrong_position_folds_and_does_not_verify(
    scheme: str, change: dict[str, Any], check: str
) -> None:
    form, root = FORMS[scheme]

    assert folded(form | change, scheme) == root
    assert refused(form | change, scheme, root) == check


def test_the_size_is_the_callers() -> None:
    """The path of record 9 fits logs of 11 and of 12; only the checkpoint knows which it is."""
    form, root = FORMS[LOG]

    assert verify(form | {"size": 12}, scheme=LOG, root=root, size=12).index == 9
    assert refused(form, LOG, root, 12) == "normal-size"
    assert refused(form, LOG, root, None) == "normal-size"
    assert refused(FORMS[BITCOIN][0], BITCOIN, FORMS[BITCOIN][1], 8) == "normal-size"


def test_the_scheme_is_the_callers() -> None:
    for scheme in SCHEMES:
        form, root = FORMS[scheme]
        for other in [*SCHEMES, "sha1"]:
            if other != scheme:
                assert refused(form, other, root) == "normal-scheme"
        assert refused(form | {"scheme": "sha1"}, "sha1", root) == "normal-scheme"


def test_the_root_is_the_callers() -> None:
    for scheme in SCHEMES:
        assert refused(FORMS[scheme][0], scheme, bytes(32)) == "normal-root"


def test_a_log_record_that_is_an_inner_node_is_refused() -> None:
    """Pre and post are the prover's: with an empty pre a node's two hashes would be a leaf."""
    form, root = FORMS[LOG]
    leaf = log.leaf_hash(RECORDS[9])
    pre, post = (bytes.fromhex(part) for part in form["path"][0])
    inner = form | {"value": (pre + leaf + post).hex(), "leaf": ["", ""], "path": form["path"][1:]}
    assert folded(inner, LOG) == root

    assert refused(inner, LOG, root) == "normal-position"


def test_an_inner_node_of_a_log_has_its_prefix() -> None:
    leaf = log.leaf_hash(b"x")
    root = hashlib.sha256(b"\x02" + bytes(32) + leaf).digest()
    form = FORMS[LOG][0] | {"value": b"x".hex(), "path": [["02" + "00" * 32, ""]]}
    form |= {"root": root.hex(), "index": 1, "size": 2}
    assert folded(form, LOG) == root

    with pytest.raises(Refused, match="without its prefix"):
        verify(form, scheme=LOG, root=root, size=2)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_pairs_that_do_not_fold_are_refused_before_any_position(scheme: str) -> None:
    form, root = FORMS[scheme]

    assert refused(form | {"path": form["path"][:-1]}, scheme, root) == "normal-fold"
    assert refused(form | {"value": "00" + form["value"]}, scheme, root) == "normal-fold"


def test_a_node_split_elsewhere_is_refused() -> None:
    form, root = FORMS[LOG]
    pre = form["path"][0][0]
    moved = form | {"value": "00" + form["value"], "leaf": ["", ""]}
    assert folded(moved, LOG) == root
    assert refused(moved, LOG, root) == "normal-position"
    assert pre[:2] == "01"

    form, root = FORMS[BITCOIN]
    cut = form | {"value": form["value"][2:], "leaf": [form["value"][:2], ""]}
    assert folded(cut, BITCOIN) == root
    assert refused(cut, BITCOIN, root) == "normal-position"

    form, root = FORMS[TRIE]
    cut = form | {"value": form["value"][2:], "leaf": [form["leaf"][0] + form["value"][:2], ""]}
    assert folded(cut, TRIE) == root
    assert refused(cut, TRIE, root) == "normal-position"


def test_an_inner_node_of_a_block_is_no_transaction() -> None:
    form, root = FORMS[BITCOIN]
    pre, post = (bytes.fromhex(part) for part in form["path"][0])
    node = pre + sha256d(bytes.fromhex(form["value"])) + post
    inner = form | {"value": node.hex(), "path": form["path"][1:], "index": 1, "size": 2}
    assert folded(inner, BITCOIN) == root

    assert refused(inner, BITCOIN, root) == "normal-size"
    assert refused(inner, BITCOIN, root, 2) == "tx-form"
    leaf = classic(b"\x33" * 3)
    block = root_of([sha256d(leaf), bytes(32)])
    made = inner | {"value": leaf.hex(), "index": 0, "root": block.hex()}
    made["path"] = [["", "00" * 32]]
    assert refused(made, BITCOIN, block, 2) == "tx-64-bytes"


def test_the_copy_of_a_repeated_transaction_is_refused() -> None:
    block = small_block(3)
    root = parse_header(block.headers[0]).merkle_root
    form = from_spv(block.proof(2), root)
    pair = form["path"][0]
    copied = form | {"index": 3, "path": [pair[::-1], *form["path"][1:]]}
    assert folded(copied, BITCOIN) == root

    assert refused(copied, BITCOIN, root) == "merkle-duplicate"


# ------------------------------------------------------------ form, properties, fuzzer


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "change",
    [
        {"hash": "sha512"},
        {"more": 1},
        {"value": "0G"},
        {"leaf": [""]},
        {"leaf": ["", "", ""]},
        {"leaf": ["00" * 601, ""]},
        {"path": [["", ""]] * 66},
        {"path": [[]]},
        {"path": ""},
        {"root": "00"},
    ],
)
def test_another_form_is_refused(scheme: str, change: dict[str, Any]) -> None:
    form, root = FORMS[scheme]

    assert refused(form | change, scheme, root) == "normal-form"


@pytest.mark.parametrize("value", [None, [], "x", 1, {}])
def test_what_is_no_form_is_refused(value: Any) -> None:
    assert refused(value, LOG, bytes(32)) == "normal-scheme"


@given(st.data())
def test_a_flipped_byte_never_verifies(data: Any) -> None:
    scheme = data.draw(st.sampled_from(SCHEMES))
    original, root = FORMS[scheme]
    form = copy.deepcopy(original)
    spots: list[tuple[Any, Any]] = [(form, "value"), (form, "root"), (form["leaf"], 0)]
    spots += [(pair, side) for pair in form["path"] for side in (0, 1)]
    spots = [(holder, key) for holder, key in spots if holder[key]]
    if "key" in form:
        spots.append((form, "key"))
    holder, key = data.draw(st.sampled_from(spots))
    raw = bytearray.fromhex(holder[key])
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    holder[key] = raw.hex()

    with pytest.raises(Refused):
        verify(form, scheme=scheme, root=root, size=SIZES[scheme])


@given(st.data())
def test_a_dropped_repeated_or_moved_step_never_verifies(data: Any) -> None:
    scheme = data.draw(st.sampled_from(SCHEMES))
    original, root = FORMS[scheme]
    form = copy.deepcopy(original)
    at = data.draw(st.integers(0, len(form["path"]) - 1))
    how = data.draw(st.sampled_from(["drop", "repeat", "swap", "mirror"]))
    if how == "drop":
        form["path"].pop(at)
    elif how == "repeat":
        form["path"].insert(at, form["path"][at])
    elif how == "swap":
        form["path"][at], form["path"][-1] = form["path"][-1], form["path"][at]
    else:
        form["path"][at] = form["path"][at][::-1]
    if form != original:
        with pytest.raises(Refused):
            verify(form, scheme=scheme, root=root, size=SIZES[scheme])


def test_the_reader_survives_strange_json() -> None:
    chance = random.Random(SEED)
    strange: list[Any] = [
        None,
        True,
        -1,
        0,
        2**53,
        1.5,
        "",
        "zz",
        "00",
        "c0",
        [],
        [[]],
        {},
        ["", ""],
    ]
    strange += [[["", ""]], [["00" * 32, ""]] * 3, keccak256(b"").hex()]
    for number in range(CASES):
        scheme = chance.choice(SCHEMES)
        original, root = FORMS[scheme]
        form = dict(original)
        for key in chance.sample(sorted(form), chance.randint(1, 3)):
            form[key] = chance.choice(strange)
        if "leaf" in form and chance.random() < 0.5:
            form["root"] = root.hex()
        if form == original:
            continue
        try:
            verify(form, scheme=scheme, root=root, size=SIZES[scheme])
        except ProofError:
            continue
        except Exception as error:
            raise AssertionError(f"case {number}: {form}\n{REPLAY}") from error
        raise AssertionError(f"case {number} verified: {form}\n{REPLAY}")
