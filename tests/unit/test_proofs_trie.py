"""Merkle-Patricia tries: public roots, and a verifier that only the one right path gets past."""

import json
import random
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs import rlp, trie
from proofs.errors import Refused
from proofs.keccak import keccak256
from proofs.trie_build import Trie, build, build_list
from tests.unit.fuzzing import damaged, fuzz

VECTORS = Path(__file__).parents[1] / "vectors/evm"
PUBLIC = json.loads((VECTORS / "trie.json").read_text())
Path_ = Sequence[bytes]


def content(vector: dict[str, Any], *, secure: bool) -> dict[bytes, bytes]:
    """Keys and values that are left after all changes of a vector."""

    def plain(text: str) -> bytes:
        return bytes.fromhex(text[2:]) if text.startswith("0x") else text.encode()

    left: dict[bytes, bytes] = {}
    for key, value in vector["in"]:
        name = keccak256(plain(key)) if secure else plain(key)
        if value is None:
            left.pop(name, None)
        else:
            left[name] = plain(value)
    return left


@pytest.mark.parametrize("name", PUBLIC["trietest"])
def test_the_public_tests_of_ethereum_give_the_same_roots(name: str) -> None:
    vector = PUBLIC["trietest"][name]

    assert "0x" + build(content(vector, secure=False).items()).root.hex() == vector["root"]


def test_the_public_test_with_hashed_keys_gives_the_same_root_and_proves_each_account() -> None:
    vector = PUBLIC["securetrie"]["accounts"]
    accounts = content(vector, secure=True)
    built = build(accounts.items())

    assert "0x" + built.root.hex() == vector["root"]
    for key, account in accounts.items():
        assert trie.verify_inclusion(built.root, key, built.proof(key)) == account


def test_a_storage_proof_of_mainnet_verifies() -> None:
    vector = json.loads((VECTORS / "storage_proof.json").read_text())
    root = bytes.fromhex(vector["storageHash"])
    key = keccak256(bytes.fromhex(vector["key"]))
    leaf = trie.verify_inclusion(root, key, [bytes.fromhex(node) for node in vector["proof"]])

    assert rlp.string_of(rlp.decode(leaf)).hex() == vector["value"]


KEYS = [bytes(key) for key in ([0], [1], [0x10], [0x11], [0, 0], [0, 1], [1, 0xFF], [0x80], [])]


@pytest.mark.parametrize("size", range(6))
def test_every_small_trie_proves_each_key_present_or_absent_and_nothing_else(size: int) -> None:
    for keys in combinations(KEYS, size):
        # Short values make nodes that lie inside their parents, long ones do not.
        values = {key: bytes([at + 1]) * (40 if at % 2 else 1) for at, key in enumerate(keys)}
        built = build(values.items())
        for key in KEYS:
            proof = built.proof(key)
            if key in values:
                assert trie.verify_inclusion(built.root, key, proof) == values[key]
                assert check(trie.verify_absence, built.root, key, proof) == "trie-present"
            else:
                trie.verify_absence(built.root, key, proof)
                assert check(trie.verify_inclusion, built.root, key, proof) == "trie-absent"


def check(verifier: Callable[..., object], root: bytes, key: bytes, proof: Path_) -> str | None:
    try:
        verifier(root, key, proof)
    except Refused as refused:
        return refused.check
    return None


@pytest.fixture(scope="module")
def listed() -> Trie:
    return build_list([bytes([n]) * 60 for n in range(200)])


KEY = trie.list_key(131)


def attempt(listed: Trie, proof: Path_, key: bytes = KEY) -> str | None:
    return check(trie.verify_inclusion, listed.root, key, proof)


def test_the_honest_proof_of_a_list_verifies(listed: Trie) -> None:
    assert len(listed.proof(KEY)) == 5
    assert attempt(listed, listed.proof(KEY)) is None


def test_a_surplus_node_is_refused(listed: Trie) -> None:
    path = listed.proof(KEY)

    assert attempt(listed, [*path, path[-1]]) == "trie-surplus"
    assert attempt(listed, [*path, b"\x80"]) == "trie-surplus"
    assert attempt(listed, [path[0], path[0], *path[1:]]) == "trie-hash"


def test_a_missing_node_is_refused(listed: Trie) -> None:
    path = listed.proof(KEY)

    assert attempt(listed, path[:-1]) == "trie-incomplete"
    assert attempt(listed, path[1:]) == "trie-hash"
    assert attempt(listed, []) == "trie-incomplete"


def test_nodes_in_another_order_are_refused(listed: Trie) -> None:
    assert attempt(listed, listed.proof(KEY)[::-1]) == "trie-hash"


def test_a_proof_of_another_index_is_refused(listed: Trie) -> None:
    assert attempt(listed, listed.proof(trie.list_key(132))) == "trie-hash"
    assert attempt(listed, listed.proof(KEY), trie.list_key(132)) == "trie-hash"
    assert attempt(listed, listed.proof(KEY), trie.list_key(3)) is not None


def test_an_index_past_the_end_is_absent_and_never_present(listed: Trie) -> None:
    key = trie.list_key(200)

    assert attempt(listed, listed.proof(key), key) == "trie-absent"
    trie.verify_absence(listed.root, key, listed.proof(key))


def test_a_proof_under_another_root_is_refused(listed: Trie) -> None:
    other = build_list([b"other" * 20])

    assert check(trie.verify_inclusion, other.root, KEY, listed.proof(KEY)) == "trie-hash"


def test_the_empty_trie_takes_the_two_proofs_that_nodes_write_and_no_other() -> None:
    for proof in ([], [b"\x80"]):
        trie.verify_absence(trie.EMPTY_ROOT, KEY, proof)
        assert check(trie.verify_inclusion, trie.EMPTY_ROOT, KEY, proof) == "trie-absent"
    for proof in ([b"\x80", b"\x80"], [b"\xc0"]):
        assert check(trie.verify_absence, trie.EMPTY_ROOT, KEY, proof) == "trie-surplus"


def test_more_nodes_than_any_key_has_or_a_longer_key_are_refused(listed: Trie) -> None:
    assert attempt(listed, [b""] * (trie.MAX_NODES + 1)) == "trie-bounds"
    assert attempt(listed, [], bytes(33)) == "trie-bounds"


LEAF = rlp.encode_list([rlp.encode_bytes(b"\x20"), rlp.encode_bytes(b"value" * 8)])
BRANCH_TAIL = [rlp.EMPTY] * 15


def forged(*items: bytes) -> tuple[bytes, list[bytes]]:
    """A root of one node with these items; whoever names his own root can make any node."""
    node = rlp.encode_list(items)
    return keccak256(node), [node]


@pytest.mark.parametrize(
    ("items", "why"),
    [
        ([b"\x80", b"\x80", b"\x80"], "three items"),
        ([rlp.encode_bytes(b"\x20"), b"\x80"], "a leaf without a value"),
        ([rlp.encode_bytes(b"\x40"), b"\x01"], "a flag that does not exist"),
        ([rlp.encode_bytes(b"\x21"), b"\x01"], "padding that is not zero"),
        ([b"\x80", b"\x01"], "a path without its flag"),
        ([rlp.encode_bytes(b"\0"), rlp.encode_bytes(keccak256(LEAF))], "an empty extension"),
        ([rlp.encode_bytes(b"\x10"), b"\x80"], "an extension to nothing"),
        ([rlp.encode_bytes(b"\x10"), rlp.encode_bytes(b"x" * 31)], "a reference of 31 bytes"),
        ([rlp.encode_bytes(b"\x10"), LEAF], "a long node inside another"),
        ([*BRANCH_TAIL, b"\x80", b"\x80"], "a branch with nothing"),
        ([rlp.encode_bytes(b"x" * 32), *BRANCH_TAIL, b"\x80"], "a branch with one child"),
        ([b"\x05", *BRANCH_TAIL, b"\x01"], "a child of one byte"),
        ([rlp.encode_bytes(b"x" * 33), *BRANCH_TAIL, b"\x01"], "a child of 33 bytes"),
    ],
)
def test_a_node_that_no_trie_has_is_refused(items: list[bytes], why: str) -> None:
    root, proof = forged(*items)

    assert check(trie.verify_inclusion, root, b"\0", proof) == "trie-node", why
    assert check(trie.verify_absence, root, b"\0", proof) == "trie-node", why


def test_a_short_node_named_by_a_hash_is_refused() -> None:
    short = rlp.encode_list([rlp.encode_bytes(b"\x30"), b"\x01"])
    root, proof = forged(rlp.encode_bytes(keccak256(short)), *BRANCH_TAIL, b"\x01")

    assert check(trie.verify_inclusion, root, b"\0", [*proof, short]) == "trie-node"


def test_an_extension_below_an_extension_is_refused() -> None:
    inner = rlp.encode_list([rlp.encode_bytes(b"\x10"), rlp.encode_bytes(b"x" * 32)])
    root, proof = forged(rlp.encode_bytes(b"\x10"), rlp.encode_bytes(keccak256(inner)))

    assert check(trie.verify_inclusion, root, b"\0", [*proof, inner]) == "trie-node"


def test_a_node_that_is_not_canonical_is_refused() -> None:
    node = b"\xf8\x02\x20\x01"

    assert check(trie.verify_inclusion, keccak256(node), b"", [node]) == rlp.CHECK


def test_a_list_with_a_repeated_key_or_an_empty_value_is_not_built() -> None:
    with pytest.raises(ValueError, match="twice"):
        build([(b"a", b"1"), (b"a", b"2")])
    with pytest.raises(ValueError, match="empty"):
        build([(b"a", b"")])


def test_the_normalised_form_folds_to_the_root_for_every_index(listed: Trie) -> None:
    for index in range(200):
        key = trie.list_key(index)
        folded = trie.fold(listed.root, key, listed.proof(key))
        value = folded.value
        for before, after in folded.path:
            value = keccak256(before + value + after)
        assert folded.value == bytes([index]) * 60
        assert value == listed.root


TRIES = st.dictionaries(st.binary(max_size=4), st.binary(min_size=1, max_size=70), min_size=1)


@given(TRIES, st.data())
def test_a_changed_dropped_repeated_or_exchanged_node_never_verifies(
    values: dict[bytes, bytes], data: st.DataObject
) -> None:
    built = build(values.items())
    key = data.draw(st.sampled_from(sorted(values)))
    proof = list(built.proof(key))
    at = data.draw(st.integers(0, len(proof) - 1))
    byte = data.draw(st.integers(0, len(proof[at]) - 1))
    flip = data.draw(st.integers(1, 255))
    broken = bytearray(proof[at])
    broken[byte] ^= flip
    wrong: list[list[bytes]] = [
        [*proof[:at], bytes(broken), *proof[at + 1 :]],
        proof[:at] + proof[at + 1 :],
        proof[: at + 1] + proof[at:],
    ]
    wrong += [proof[::-1]] if len(proof) > 1 else []

    assert check(trie.verify_inclusion, built.root, key, proof) is None
    for attack in wrong:
        assert check(trie.lookup, built.root, key, attack) is not None


def test_ten_thousand_paths_of_damaged_nodes_are_refused(listed: Trie) -> None:
    path = list(listed.proof(KEY))

    def attempt(chance: random.Random) -> None:
        node = damaged(chance.choice(path), chance)
        # The attacker names the root here, so that the forms of nodes are reached.
        assert check(trie.lookup, keccak256(node), KEY, [node, *path]) is not None

    fuzz("test_ten_thousand_paths_of_damaged_nodes_are_refused", attempt)
