"""Bitcoin proofs on real blocks, and every known attack with the check that refuses it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from proofs.bitcoin import build_spv, verify_spv
from proofs.bitcoin_claim import check_claim
from proofs.bitcoin_headers import Policy, parse_header, read_policy
from proofs.bitcoin_merkle import branch_of, root_of
from proofs.bitcoin_tx import parse_tx, sha256d, shown
from proofs.errors import ProofUnavailable, Refused
from tests.unit.bitcoin_blocks import (
    MAINNET,
    REGTEST,
    VECTORS,
    block_of,
    classic,
    coinbase,
    mined,
    pushed,
    small_block,
    vector,
)

REAL = ["mainnet-170", "mainnet-100000", "testnet3-926485", "testnet3-1263442"]


def refused(proof: Any, policy: Policy) -> str:
    with pytest.raises(Refused) as error:
        verify_spv(proof, policy)
    return error.value.check


# ------------------------------------------------------------ what verifies


@pytest.mark.parametrize("name", REAL)
def test_every_transaction_of_a_real_block_verifies(name: str) -> None:
    block = vector(name)

    for index in range(1, len(block.txs)):
        facts = verify_spv(block.proof(index), block.policy())
        assert facts.txid == block.txids[index]
        assert (facts.block, facts.run.height) == (block.hash, block.height)
        assert (facts.index, facts.run.confirmations) == (index, len(block.headers))
        assert not facts.witness_shown


def test_the_first_payment_shows_what_it_spent_and_paid() -> None:
    block = vector("mainnet-170")
    facts = verify_spv(block.proof(1), block.policy())

    assert facts.txid == "f4184fc596403b9d638783cf57adfe4c75c605f6356fbc91338530e9831e9e16"
    assert [output.value_sat for output in facts.outputs] == [10 * 10**8, 40 * 10**8]
    assert facts.spends[0].txid.startswith("0437cd7f8525ceed")
    assert facts.run.pinned
    assert facts.run.work == 6 * 4_295_032_833


@pytest.mark.parametrize(("name", "index"), [("testnet3-926485", 1), ("testnet3-1263442", 1)])
def test_witnesses_of_a_real_block_are_proven_by_the_coinbases_commitment(
    name: str, index: int
) -> None:
    block = vector(name)
    facts = verify_spv(block.proof(index, witness=True), block.policy())

    assert facts.witness_shown
    assert facts.tx.inputs[0].witness[-1] == block.txs[index].inputs[0].witness[-1]


@pytest.mark.parametrize("count", range(2, 34))
def test_every_place_of_a_small_block_verifies(count: int) -> None:
    block = small_block(count)

    for index in range(1, count):
        assert verify_spv(block.proof(index), block.policy()).index == index


def test_work_alone_carries_a_block_after_its_anchor() -> None:
    block = small_block(3, confirmations=3)
    before = mined(bytes(32), b"\x07" * 32)
    moved = block_of([tx.raw for tx in block.txs])
    headers = [before, mined(sha256d(before), root_of([tx.txid for tx in block.txs]))]
    proof = moved.proof(1) | {"headers": [header.hex() for header in headers], "at": 1}
    anchors = {shown(sha256d(before)): 99}

    facts = verify_spv(proof, block.policy(min_work=2, confirmations=1, anchors=anchors))
    assert not facts.run.pinned
    assert facts.run.height == 100


def test_a_claim_is_compared_with_what_the_proof_shows() -> None:
    block = vector("mainnet-170")
    facts = verify_spv(block.proof(1), block.policy())
    claim: dict[str, Any] = {
        "txid": facts.txid,
        "block": facts.block,
        "height": 170,
        "outputs": [{"n": 0, "value": "1000000000", "script": facts.outputs[0].script.hex()}],
        "spends": [{"txid": facts.spends[0].txid, "n": 0}],
    }
    check_claim(facts, claim)

    output = claim["outputs"][0]
    changes: list[tuple[dict[str, Any], str]] = [
        ({"txid": facts.block}, "claim-tx"),
        ({"block": facts.txid}, "claim-block"),
        ({"height": 171}, "claim-height"),
        ({"outputs": [output | {"value": "1000000001"}]}, "claim-output"),
        ({"outputs": [output | {"value": 1000000000}]}, "claim-output"),
        ({"outputs": [output | {"script": "51"}]}, "claim-output"),
        ({"outputs": [output | {"n": 2}]}, "claim-output"),
        ({"spends": [{"txid": facts.txid, "n": 0}]}, "claim-spend"),
        ({"spends": [{"txid": facts.spends[0].txid, "n": 1}]}, "claim-spend"),
        ({"spends": [{"txid": [], "n": 1}]}, "claim-form"),
        ({"outputs": [output] * 1001}, "claim-form"),
        ({"more": 1}, "claim-form"),
    ]
    for change, check in changes:
        with pytest.raises(Refused) as error:
            check_claim(facts, claim | change)
        assert error.value.check == check, change


@pytest.mark.parametrize(
    "case", json.loads((VECTORS / "spv.json").read_text()), ids=lambda case: case["name"]
)
def test_the_vectors_for_other_verifiers_say_what_this_one_finds(case: dict[str, Any]) -> None:
    policy = read_policy(case["policy"])
    if "refused" in case:
        assert refused(case["proof"], policy) == case["refused"]
        return
    facts = verify_spv(case["proof"], policy)
    expected = case["facts"]
    claim = {key: expected[key] for key in ("txid", "block", "height", "outputs", "spends")}
    check_claim(facts, claim)
    assert facts.run.confirmations == expected["confirmations"]
    assert str(facts.run.work) == expected["work"]


# ------------------------------------------------------------ attacks: the tree


def test_a_wrong_index_is_refused() -> None:
    block = vector("mainnet-100000")

    for index in (0, 1, 3):
        check = refused(block.proof(2) | {"index": index}, block.policy())
        assert check == ("coinbase-form" if index == 0 else "merkle-root")


def test_an_index_beyond_the_tree_is_refused() -> None:
    block = vector("mainnet-100000")

    for index in (4, 6, 2 + 2**20, 2**53 - 1):
        assert refused(block.proof(2) | {"index": index}, block.policy()) == "merkle-index"
    for strange in (-1, 2**53, True, 2.0, "2", None):
        assert refused(block.proof(2) | {"index": strange}, block.policy()) == "spv-form"


def test_an_inner_node_cannot_pass_as_a_transaction_of_64_bytes() -> None:
    """CVE-2017-12842: the two hashes that make a node are read as a transaction."""
    inner = classic(b"\x33" * 3)
    assert len(inner) == 64
    assert parse_tx(inner).txid == sha256d(inner)
    block = small_block(4)
    leaves = [block.txs[0].txid, b"\x55" * 32, inner[:32], inner[32:]]
    header = mined(bytes(32), root_of(leaves))
    left = sha256d(leaves[0] + leaves[1])
    forged = block.proof(1) | {
        "tx": inner.hex(),
        "index": 1,
        "branch": [left.hex()],
        "coinbase": block.txs[0].raw.hex(),
        "headers": [header.hex()],
        "coinbase_branch": [leaf.hex() for leaf in branch_of(leaves, 0)],
    }
    policy = block.policy(min_work=0, confirmations=1, anchors={shown(sha256d(header)): 100})

    assert refused(forged, policy) == "coinbase-depth"
    deeper = forged | {"branch": [left.hex(), left.hex()]}
    assert refused(deeper, policy) == "tx-64-bytes"


def test_a_transaction_below_a_leaf_of_64_bytes_is_refused_by_the_coinbases_depth() -> None:
    """The other way round: such a leaf is read as a node above a transaction of one's own."""
    block = small_block(2)
    fake = parse_tx(classic(b"never happened"))
    leaf = fake.txid + b"\x44" * 32
    leaves = [block.txs[0].txid, sha256d(leaf)]
    header = mined(bytes(32), root_of(leaves))
    forged = block.proof(1) | {
        "tx": fake.raw.hex(),
        "index": 2,
        "branch": [(b"\x44" * 32).hex(), leaves[0].hex()],
        "headers": [header.hex()],
        "coinbase_branch": [leaves[1].hex()],
    }
    policy = block.policy(min_work=0, confirmations=1, anchors={shown(sha256d(header)): 100})

    assert refused(forged, policy) == "coinbase-depth"


def test_a_coinbase_of_64_bytes_is_refused() -> None:
    small = coinbase(100, b"")
    padding = 64 - len(small)
    block = block_of([coinbase(100, bytes(padding)), classic(b"tx")])
    assert len(block.txs[0].stripped) == 64
    proof = small_block(2).proof(1) | {"coinbase": block.txs[0].raw.hex()}

    assert refused(proof, block.policy()) == "tx-64-bytes"


@pytest.mark.parametrize("count", [3, 5, 6, 7, 9, 11, 13])
def test_the_copy_of_a_repeated_node_proves_nothing(count: int) -> None:
    """CVE-2012-2459: an odd level repeats its last node, so copies fold to the same root."""
    block = small_block(count)
    hashes = [tx.txid for tx in block.txs]
    full = hashes[:]
    while len(full) & (len(full) - 1):
        width = len(full) & -len(full)
        full += full[-width:]
    assert root_of(full) == root_of(hashes)

    for index in range(count, len(full)):
        original = hashes.index(full[index])
        proof = block.proof(original) | {
            "index": index,
            "branch": [node.hex() for node in branch_of(full, index)],
        }
        assert refused(proof, block.policy()) == "merkle-duplicate"


def test_the_first_node_of_a_level_has_no_copy_beside_it() -> None:
    block = small_block(2)
    node = block.txs[0].txid.hex()

    assert refused(block.proof(1) | {"coinbase_branch": [node]}, block.policy()) == (
        "merkle-duplicate"
    )


def test_nothing_may_follow_a_node_that_was_the_last_of_its_level() -> None:
    leaf = parse_tx(classic(b"tx"))
    block = small_block(8)
    branch = [leaf.txid.hex(), "aa" * 32, "bb" * 32]
    proof = block.proof(1) | {"tx": leaf.raw.hex(), "index": 4, "branch": branch}

    assert refused(proof, block.policy()) == "merkle-duplicate"


def test_a_branch_deeper_than_any_block_is_refused_before_work() -> None:
    block = small_block(2)
    proof = block.proof(1) | {"branch": ["aa" * 32] * 16, "coinbase_branch": ["aa" * 32] * 16}

    assert refused(proof, block.policy()) == "spv-form"


def test_dropping_or_adding_a_level_is_refused() -> None:
    block = vector("mainnet-100000")
    proof = block.proof(2)

    assert refused(proof | {"branch": proof["branch"][:1]}, block.policy()) == "coinbase-depth"
    both = {key: [*proof[key], "aa" * 32] for key in ("branch", "coinbase_branch")}
    assert refused(proof | both, block.policy()) == "merkle-root"


def test_an_edited_transaction_is_refused() -> None:
    block = vector("mainnet-170")
    tx = bytearray.fromhex(block.proof(1)["tx"])
    tx[-10] ^= 1

    assert refused(block.proof(1) | {"tx": tx.hex()}, block.policy()) == "merkle-root"


def test_the_coinbase_must_be_one_and_at_the_first_place() -> None:
    block = vector("mainnet-100000")
    proof = block.proof(1)
    other = block.txs[2].raw.hex()
    foreign = vector("mainnet-170").txs[0].raw.hex()

    assert refused(proof | {"coinbase": other}, block.policy()) == "coinbase-form"
    assert refused(proof | {"coinbase": foreign}, block.policy()) == "coinbase-root"
    assert refused(proof | {"tx": foreign}, block.policy()) == "coinbase-form"


def test_a_coinbase_that_names_another_height_is_refused() -> None:
    block = small_block(2, height=100)
    wrong = block.policy(anchors={block.hash: 101})

    assert refused(block.proof(1), wrong) == "coinbase-height"


# ------------------------------------------------------------ attacks: witnesses


def test_a_changed_witness_is_refused() -> None:
    block = vector("testnet3-1263442")
    proof = block.proof(1, witness=True)
    raw = bytearray.fromhex(proof["tx"])
    raw[-20] ^= 1
    assert parse_tx(bytes(raw)).txid == block.txs[1].txid

    assert refused(proof | {"tx": raw.hex()}, block.policy()) == "witness-root"


def test_witnesses_without_their_branch_are_refused() -> None:
    block = vector("testnet3-1263442")
    proof = block.proof(1)
    for key, tx in (("tx", block.txs[1]), ("coinbase", block.txs[0])):
        assert refused(proof | {key: tx.raw.hex()}, block.policy()) == "witness-unproven"


def test_a_witness_branch_of_another_shape_is_refused() -> None:
    block = vector("testnet3-926485")
    proof = block.proof(1, witness=True)
    leaves = [bytes(32), *(tx.wtxid for tx in block.txs[1:])]
    true_branch = [node.hex() for node in branch_of(leaves, 2)]
    classic_one = block.proof(2) | {"witness_branch": true_branch, "coinbase": proof["coinbase"]}

    with pytest.raises(Refused, match="witness-form: a witness branch for a transaction without"):
        verify_spv(classic_one, block.policy())
    shorter = proof | {"witness_branch": proof["witness_branch"][:-1]}
    assert refused(shorter, block.policy()) == "witness-depth"
    without = proof | {"coinbase": block.txs[0].stripped.hex()}
    assert refused(without, block.policy()) == "witness-form"


def test_a_coinbase_without_a_commitment_covers_no_witness() -> None:
    bare = coinbase(100)
    first = bare[:4] + b"\0\x01" + bare[4:-4] + b"\x01\x20" + bytes(32) + bare[-4:]
    other = classic(b"tx")
    spend = other[:4] + b"\0\x01" + other[4:-4] + b"\x01\x01\x51" + other[-4:]
    block = block_of([first, spend])
    assert block.txs[1].has_witness
    proof = block.proof(1) | {
        "tx": spend.hex(),
        "coinbase": first.hex(),
        "witness_branch": ["00" * 32],
    }

    assert refused(proof, block.policy()) == "witness-commitment"
    with pytest.raises(ProofUnavailable, match="witness-commitment"):
        block.proof(1, witness=True)


# ------------------------------------------------------------ form and builder


def test_another_chains_proof_is_refused() -> None:
    block = small_block(2)

    assert refused(block.proof(1), block.policy(chain=MAINNET)) == "spv-chain"
    assert refused(block.proof(1) | {"chain": MAINNET}, block.policy()) == "spv-chain"


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "btc.spv/v2"},
        {"more": 1},
        {"tx": "0G"},
        {"tx": "ABCD"},
        {"tx": "abc"},
        {"tx": 1},
        {"branch": {}},
        {"branch": ["aa"]},
        {"headers": ["aa" * 79]},
        {"headers": ["aa" * 80] * 2049},
        {"at": -1},
        {"witness_branch": "aa"},
    ],
)
def test_another_form_is_refused(change: dict[str, Any]) -> None:
    block = small_block(2)

    assert refused(block.proof(1) | change, block.policy()) == "spv-form"


@pytest.mark.parametrize("value", [None, [], "x", 1, {}, {"kind": "btc.spv/v1"}])
def test_what_is_no_proof_is_refused(value: Any) -> None:
    assert refused(value, small_block(2).policy()) == "spv-form"


def test_a_proof_is_json_and_survives_it() -> None:
    block = vector("testnet3-926485")
    proof = block.proof(1, witness=True)

    assert verify_spv(json.loads(json.dumps(proof)), block.policy()).txid == block.txids[1]


def test_nothing_is_built_from_what_does_not_fit_together() -> None:
    block, other = vector("mainnet-100000"), vector("mainnet-170")
    given: dict[str, Any] = {
        "chain": block.chain,
        "txids": block.txids,
        "tx": block.txs[1].raw.hex(),
        "coinbase": block.txs[0].raw.hex(),
        "headers": [header.hex() for header in block.headers],
        "at": 0,
    }
    build_spv(**given)

    swapped = copy.copy(block.txids)
    swapped[2], swapped[3] = swapped[3], swapped[2]
    changes: list[tuple[dict[str, Any], str]] = [
        ({"tx": other.txs[1].raw.hex()}, "not_in_block"),
        ({"coinbase": other.txs[0].raw.hex()}, "not_in_block"),
        ({"txids": swapped}, "root_mismatch"),
        ({"txids": block.txids[:2]}, "root_mismatch"),
        ({"at": 1}, "root_mismatch"),
        ({"at": 9}, "malformed_answer"),
        ({"tx": given["tx"][:-2]}, "malformed_answer"),
        ({"tx": given["coinbase"]}, "not_provable"),
        ({"txids": ["zz"]}, "malformed_answer"),
    ]
    for change, reason in changes:
        with pytest.raises(ProofUnavailable) as error:
            build_spv(**given | change)
        assert error.value.reason == reason, change


def test_wrong_wtxids_make_no_proof() -> None:
    block = vector("testnet3-926485")
    given: dict[str, Any] = {
        "chain": block.chain,
        "txids": block.txids,
        "tx": block.txs[1].raw.hex(),
        "coinbase": block.txs[0].raw.hex(),
        "headers": [block.headers[0].hex()],
        "at": 0,
    }
    wtxids = [shown(tx.wtxid) for tx in block.txs]
    assert build_spv(**given, wtxids=wtxids) == block.proof(1, witness=True)
    for wrong in (wtxids[:1], wtxids[:3], [*wtxids[:2], "zz"], wtxids[::-1]):
        with pytest.raises(ProofUnavailable, match="not_provable"):
            build_spv(**given, wtxids=wrong)


def test_the_height_in_a_coinbase_is_read_as_script_pushes_it() -> None:
    raws = [coinbase(100), classic(b"tx")]
    assert bytes.fromhex("0164") == pushed(100)
    for height, push in [(0, "00"), (1, "51"), (16, "60"), (17, "0111"), (128, "028000")]:
        first = classic(bytes.fromhex(push) + b"made here", previous=bytes(32), n=0xFFFFFFFF)
        block = block_of([first, raws[1]], height)
        policy = block.policy()
        assert policy.chain == REGTEST
        assert verify_spv(block.proof(1), policy).run.height == height
        wrong = block.policy(anchors={shown(parse_header(block.headers[0]).hash): height + 1})
        assert refused(block.proof(1), wrong) == "coinbase-height"
