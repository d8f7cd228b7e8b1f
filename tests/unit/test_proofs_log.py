"""RFC 6962 trees: published vectors, every small tree, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.errors import ProofError, Refused
from proofs.log import (
    EMPTY_ROOT,
    MAX_PATH,
    Frontier,
    append,
    build_consistency,
    build_inclusion,
    frontier_at,
    inclusion_sides,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from proofs.log_record import MAX_RECORD_BYTES, build_record, verify_record

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "log" / "rfc6962.json").read_text())
MOST = 130
CASES = int(os.environ.get("FUZZ_CASES", "10000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
REPLAY = f"FUZZ_SEED={SEED} FUZZ_CASES={CASES} pytest tests/unit/test_proofs_log.py"


class Stored:
    """A log whose nodes lie in a table, as the journal's do."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        nodes, self.frontier = append(Frontier.empty(), leaves)
        self.nodes = {(level, index): node for level, index, node in nodes}
        assert len(self.nodes) == len(nodes)

    def read(self, names: Sequence[tuple[int, int]]) -> list[bytes]:
        return [self.nodes[name] for name in names]


def mth(leaves: Sequence[bytes]) -> bytes:
    """The definition of RFC 6962, 2.1, word by word."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + mth(leaves[:split]) + mth(leaves[split:])).digest()


LEAVES = [leaf_hash(b"record %d" % n) for n in range(MOST)]
ROOTS = [EMPTY_ROOT, *(mth(LEAVES[:size]) for size in range(1, MOST + 1))]
LOG = Stored(LEAVES)


def check(error: pytest.ExceptionInfo[Refused]) -> str:
    return error.value.check


# ------------------------------------------------------------ published vectors


def test_published_roots_hold() -> None:
    leaves = [leaf_hash(bytes.fromhex(leaf)) for leaf in VECTORS["leaves"]]

    for size, root in enumerate(VECTORS["roots"]):
        assert root_of(leaves[:size]).hex() == root


@pytest.mark.parametrize("case", VECTORS["inclusion"])
def test_published_audit_paths_are_built_and_verified(case: dict[str, Any]) -> None:
    leaves = [leaf_hash(bytes.fromhex(leaf)) for leaf in VECTORS["leaves"]]
    path = [bytes.fromhex(node) for node in case["path"]]
    index, size = case["index"], case["size"]

    assert build_inclusion(index, size, Stored(leaves).read) == path
    root = bytes.fromhex(VECTORS["roots"][size])
    verify_inclusion(leaves[index], index, size, path, root)


@pytest.mark.parametrize("case", VECTORS["consistency"])
def test_published_consistency_proofs_are_built_and_verified(case: dict[str, Any]) -> None:
    leaves = [leaf_hash(bytes.fromhex(leaf)) for leaf in VECTORS["leaves"]]
    proof = [bytes.fromhex(node) for node in case["proof"]]
    old, new = case["old"], case["new"]

    assert build_consistency(old, new, Stored(leaves).read) == proof
    roots = [bytes.fromhex(root) for root in VECTORS["roots"]]
    verify_consistency(old, new, roots[old], roots[new], proof)


# ------------------------------------------------------------ every small tree


def test_every_root_is_that_of_the_definition() -> None:
    frontier = Frontier.empty()
    for size in range(MOST + 1):
        assert frontier.root() == ROOTS[size]
        assert frontier == frontier_at(size, LOG.read)
        if size < MOST:
            nodes, frontier = append(frontier, LEAVES[size : size + 1])
            assert all(LOG.nodes[level, index] == node for level, index, node in nodes)


def test_every_leaf_of_every_small_tree_is_at_its_own_place_only() -> None:
    for size in range(1, MOST + 1):
        for index in range(size):
            path = build_inclusion(index, size, LOG.read)
            verify_inclusion(LEAVES[index], index, size, path, ROOTS[size])
            for other in {index ^ 1, index + 1, index - 1, size - 1, 0} - {index}:
                with pytest.raises(Refused):
                    verify_inclusion(LEAVES[index], other, size, path, ROOTS[size])


def test_every_small_tree_is_consistent_with_every_smaller_one() -> None:
    for new in range(MOST + 1):
        for old in range(new + 1):
            proof = build_consistency(old, new, LOG.read)
            verify_consistency(old, new, ROOTS[old], ROOTS[new], proof)


def test_no_damaged_proof_of_a_small_tree_verifies() -> None:
    for new in range(2, MOST + 1, 7):
        for old in range(1, new):
            proof = build_consistency(old, new, LOG.read)
            bad = [proof[:-1], proof[1:], [*proof, proof[-1]], [*proof, ROOTS[new]]]
            bad += [[*proof[:n], bytes(32), *proof[n + 1 :]] for n in range(len(proof))]
            for damaged in bad:
                with pytest.raises(Refused):
                    verify_consistency(old, new, ROOTS[old], ROOTS[new], damaged)


def test_batches_give_the_tree_that_single_appends_give() -> None:
    for batch in (2, 3, 7, 64, 129):
        frontier = Frontier.empty()
        stored: dict[tuple[int, int], bytes] = {}
        for start in range(0, MOST, batch):
            nodes, frontier = append(frontier, LEAVES[start : start + batch])
            stored |= {(level, index): node for level, index, node in nodes}
        assert (stored, frontier) == (LOG.nodes, LOG.frontier)


# ------------------------------------------------------------ attacks


def test_a_shortened_log_is_no_extension_of_the_longer_one() -> None:
    with pytest.raises(Refused) as error:
        verify_consistency(9, 8, ROOTS[9], ROOTS[8], [])
    assert check(error) == "log-size"
    with pytest.raises(Refused) as error:
        build_consistency(9, 8, LOG.read)
    assert check(error) == "log-size"


def test_a_rewritten_log_does_not_begin_with_the_old_one() -> None:
    for edited in (0, 3, 6):
        leaves = list(LEAVES[:100])
        leaves[edited] = leaf_hash(b"never was")
        other = Stored(leaves)
        for old in range(edited + 1, 100):
            proof = build_consistency(old, 100, other.read)
            with pytest.raises(Refused) as error:
                verify_consistency(old, 100, ROOTS[old], other.frontier.root(), proof)
            assert check(error) == "log-consistency"


def test_a_consistency_proof_of_another_length_is_refused_as_such() -> None:
    for old, new in [(5, 9), (8, 9), (7, 130), (64, 130)]:
        proof = build_consistency(old, new, LOG.read)
        for damaged in (proof[:-1], [*proof, proof[0]], proof * 40):
            with pytest.raises(Refused) as error:
                verify_consistency(old, new, ROOTS[old], ROOTS[new], damaged)
            assert check(error) == "log-path"
    for old, proof in [(5, [LEAVES[0]]), (0, [LEAVES[0]])]:
        with pytest.raises(Refused) as error:
            verify_consistency(old, 5, ROOTS[old], ROOTS[5], proof)
        assert check(error) == "log-path"
    with pytest.raises(Refused, match="more than 64 hashes"):
        verify_consistency(5, 9, ROOTS[5], ROOTS[9], [bytes(32)] * 1000)


def test_another_root_of_the_same_size_is_a_fork() -> None:
    with pytest.raises(Refused) as error:
        verify_consistency(5, 5, ROOTS[5], ROOTS[6], [])
    assert check(error) == "log-fork"
    with pytest.raises(Refused) as error:
        verify_consistency(0, 5, ROOTS[1], ROOTS[5], [])
    assert check(error) == "log-fork"
    with pytest.raises(Refused) as error:
        verify_consistency(0, 0, EMPTY_ROOT, ROOTS[5], [])
    assert check(error) == "log-root"


def test_a_right_prefix_under_a_wrong_new_root_is_refused() -> None:
    with pytest.raises(Refused) as error:
        verify_consistency(5, 9, ROOTS[5], ROOTS[10], build_consistency(5, 9, LOG.read))
    assert check(error) == "log-consistency"


def test_an_inner_node_cannot_pass_as_a_record() -> None:
    """The prefixes keep leaves and nodes apart, whatever a record's bytes are."""
    assert leaf_hash(LEAVES[0] + LEAVES[1]) != node_hash(LEAVES[0], LEAVES[1])
    path = build_inclusion(0, 8, LOG.read)
    proof = build_record(LEAVES[0] + LEAVES[1], 0, 4, path[1:])
    with pytest.raises(Refused) as error:
        verify_record(proof, size=4, root=ROOTS[8])
    assert check(error) == "log-root"


@pytest.mark.parametrize(("index", "size"), [(-1, 8), (8, 8), (0, 0), (9, 8)])
def test_a_leaf_outside_the_tree_is_refused(index: int, size: int) -> None:
    with pytest.raises(Refused) as error:
        verify_inclusion(LEAVES[0], index, size, [], ROOTS[8])
    assert check(error) == "log-index"
    with pytest.raises(Refused) as error:
        build_inclusion(index, size, LOG.read)
    assert check(error) == "log-index"


def test_a_path_of_another_length_is_refused() -> None:
    path = build_inclusion(3, 8, LOG.read)
    for damaged in (path[:-1], [*path, path[0]], [], path * 30, [b"short"] * 3):
        with pytest.raises(Refused) as error:
            verify_inclusion(LEAVES[3], 3, 8, damaged, ROOTS[8])
        assert check(error) == "log-path"


def test_a_frontier_must_have_as_many_peaks_as_its_size_says() -> None:
    with pytest.raises(ValueError, match="peaks"):
        Frontier(3, (LEAVES[0],))


def test_sides_of_the_largest_log_are_few() -> None:
    assert len(inclusion_sides(2**53 - 2, 2**53 - 1)) <= MAX_PATH


# ------------------------------------------------------------ the step proof


def record_proof() -> dict[str, Any]:
    return build_record(b"record 5", 5, 9, build_inclusion(5, 9, LOG.read))


def test_a_record_is_shown_to_be_a_leaf() -> None:
    facts = verify_record(json.loads(json.dumps(record_proof())), size=9, root=ROOTS[9])

    assert (facts.record, facts.index) == (b"record 5", 5)


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"kind": "ledger.rfc6962/v2"}, "log-form"),
        ({"more": 1}, "log-form"),
        ({"record": "0G"}, "log-form"),
        ({"record": "00" * (MAX_RECORD_BYTES + 1)}, "log-form"),
        ({"index": 5.0}, "log-form"),
        ({"path": ["00" * 32] * 65}, "log-form"),
        ({"path": ["00"]}, "log-form"),
        ({"size": 10}, "log-size"),
        ({"index": 9}, "log-index"),
        ({"index": 8}, "log-path"),
        ({"index": 4}, "log-root"),
        ({"record": b"record 6".hex()}, "log-root"),
    ],
)
def test_a_record_proof_that_is_changed_is_refused(change: dict[str, Any], refused: str) -> None:
    with pytest.raises(Refused) as error:
        verify_record(record_proof() | change, size=9, root=ROOTS[9])
    assert check(error) == refused


# ------------------------------------------------------------ properties and fuzzers


@given(st.data())
def test_a_flipped_bit_of_an_inclusion_proof_never_verifies(data: Any) -> None:
    size = data.draw(st.integers(2, MOST))
    index = data.draw(st.integers(0, size - 1))
    parts = [LEAVES[index], ROOTS[size], *build_inclusion(index, size, LOG.read)]
    which = data.draw(st.integers(0, len(parts) - 1))
    flipped = bytearray(parts[which])
    flipped[data.draw(st.integers(0, 31))] ^= data.draw(st.integers(1, 255))
    parts[which] = bytes(flipped)

    with pytest.raises(Refused):
        verify_inclusion(parts[0], index, size, parts[2:], parts[1])


def test_the_verifiers_survive_random_proofs() -> None:
    chance = random.Random(SEED)
    for number in range(CASES):
        proof = [chance.choice(LEAVES) for _ in range(chance.randint(0, 9))]
        old, new = chance.randint(-1, 300), chance.randint(-1, 300)
        roots = chance.choice(ROOTS), chance.choice(ROOTS)
        try:
            if chance.random() < 0.5:
                verify_consistency(old, new, *roots, proof)
            else:
                verify_inclusion(roots[0], old, new, proof, roots[1])
        except ProofError:
            continue
        except Exception as error:
            raise AssertionError(f"case {number}: {old} {new}\n{REPLAY}") from error
        known = not proof and old in {0, new}
        assert known, f"case {number} verified: {old} {new}\n{REPLAY}"
