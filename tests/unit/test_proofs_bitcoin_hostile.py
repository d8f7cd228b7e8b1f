"""Hostile Bitcoin bytes: anything changed is refused by name, and nothing breaks the reader."""

from __future__ import annotations

import copy
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.bitcoin import verify_spv
from proofs.bitcoin_headers import parse_header
from proofs.bitcoin_merkle import branch_of, fold, root_of
from proofs.bitcoin_tx import MAX_MONEY_SAT, MAX_TX_BYTES, is_coinbase, parse_tx, sha256d
from proofs.errors import ProofError, Refused
from tests.unit.bitcoin_blocks import classic, coinbase, vector

CASES = int(os.environ.get("FUZZ_CASES", "10000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
REPLAY = "FUZZ_SEED={seed} FUZZ_CASES={cases} pytest tests/unit/test_proofs_bitcoin_hostile.py"

BLOCK = vector("mainnet-170")
PROOF = BLOCK.proof(1)
WITNESS = vector("testnet3-926485")
WITNESS_PROOF = WITNESS.proof(1, witness=True)


def refuses(proof: Any, block: Any) -> None:
    """A proof of another text than the original must not verify, and only Refused may come out."""
    try:
        verify_spv(proof, block.policy())
    except Refused:
        return
    raise AssertionError("it verified")


@given(st.data())
def test_a_flipped_byte_never_verifies(data: st.DataObject) -> None:
    original, block = data.draw(st.sampled_from([(PROOF, BLOCK), (WITNESS_PROOF, WITNESS)]))
    proof = copy.deepcopy(original)
    spots: list[tuple[Any, Any]] = [(proof, "tx"), (proof, "coinbase")]
    for key in ("branch", "coinbase_branch", "witness_branch", "headers"):
        spots += [(proof[key], n) for n in range(len(proof[key] or []))]
    holder, key = data.draw(st.sampled_from(spots))
    raw = bytearray.fromhex(holder[key])
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    holder[key] = raw.hex()

    refuses(proof, block)


@given(st.data())
def test_a_dropped_repeated_or_moved_element_never_verifies(data: st.DataObject) -> None:
    original, block = data.draw(st.sampled_from([(PROOF, BLOCK), (WITNESS_PROOF, WITNESS)]))
    proof = copy.deepcopy(original)
    key = data.draw(st.sampled_from(["branch", "coinbase_branch", "witness_branch", "headers"]))
    elements = proof[key] or []
    before = list(elements)
    if elements:
        at = data.draw(st.integers(0, len(elements) - 1))
        how = data.draw(st.sampled_from(["drop", "repeat", "swap"]))
        if how == "drop":
            elements.pop(at)
        elif how == "repeat":
            elements.insert(at, elements[at])
        else:
            elements[at], elements[-1] = elements[-1], elements[at]
    if elements != before:
        refuses(proof, block)


@pytest.mark.parametrize("key", sorted(PROOF))
def test_a_missing_field_is_refused(key: str) -> None:
    proof = {name: value for name, value in PROOF.items() if name != key}

    with pytest.raises(Refused, match="spv-form"):
        verify_spv(proof, BLOCK.policy())


@given(st.integers(1, 40), st.data())
def test_a_branch_leads_to_the_root_from_its_own_place_only(count: int, data: Any) -> None:
    leaves = [sha256d(bytes([n])) for n in range(count)]
    index = data.draw(st.integers(0, count - 1))
    branch = branch_of(leaves, index)
    assert fold(leaves[index], index, branch) == root_of(leaves)

    other = data.draw(st.integers(0, 63))
    if other != index:
        assert leads_to(leaves[index], other, branch) != root_of(leaves)


def test_a_tree_has_leaves_and_a_branch_a_leaf_and_a_bound() -> None:
    with pytest.raises(Refused, match="merkle-count"):
        root_of([])
    with pytest.raises(Refused, match="merkle-index"):
        branch_of([bytes(32)], 1)
    with pytest.raises(Refused, match="merkle-depth"):
        fold(bytes(32), 1, [b"\x01" * 32] * 16)


def leads_to(leaf: bytes, index: int, branch: list[bytes]) -> bytes | None:
    try:
        return fold(leaf, index, branch)
    except Refused:
        return None


# ------------------------------------------------------------ transactions


def test_both_forms_of_a_transaction_have_one_id() -> None:
    with_witness = WITNESS.txs[1]
    bare = parse_tx(with_witness.stripped)

    assert bare.txid == with_witness.txid
    assert bare.wtxid != with_witness.wtxid
    assert bare.outputs == with_witness.outputs
    assert [len(item) for item in with_witness.inputs[0].witness] == [0, 71, 72, 105]


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "cut off"),
        (bytes(10), "flag"),
        (classic(b"x") + b"\0", "after the end"),
        (classic(b"x")[:-1], "cut off"),
        (classic(b"x", value=MAX_MONEY_SAT + 1), "more than there can be"),
        (classic(b"x", value=2**64 - 1), "more than there can be"),
        (classic(b"x").replace(b"\x01\x11", b"\xfd\x01\x00\x11", 1), "shortest"),
        (classic(b"x").replace(b"\x01\x11", b"\xff" * 9 + b"\x11", 1), "cannot fit"),
        (classic(b"x").replace(b"\x01\x11", b"\xfe\xff\xff\xff\x7f\x11", 1), "cannot fit"),
        (b"\x02\0\0\0\0\x01\0\0" + bytes(4), "0 inputs"),
        (b"\x02\0\0\0\0\x02" + classic(b"x")[4:], "flag"),
        (b"\x02\0\0\0\0\x01" + classic(b"x")[4:-4] + b"\0" + bytes(4), "without any witness"),
    ],
)
def test_bytes_that_are_no_transaction_are_refused(raw: bytes, why: str) -> None:
    with pytest.raises(Refused, match=why) as error:
        parse_tx(raw)
    assert error.value.check == "tx-form"


def test_a_transaction_beyond_the_bound_is_refused_unread() -> None:
    with pytest.raises(Refused, match="tx-size"):
        parse_tx(bytes(MAX_TX_BYTES + 1))


def test_only_the_null_outpoint_makes_a_coinbase() -> None:
    assert is_coinbase(parse_tx(coinbase(17)))
    assert not is_coinbase(parse_tx(classic(b"x", previous=bytes(32))))
    assert not is_coinbase(parse_tx(classic(b"x", n=0xFFFFFFFF)))


# ------------------------------------------------------------ fuzzers


def damaged(seeds: list[bytes]) -> Iterator[bytes]:
    """Random bytes, and seeds with bytes changed, cut out, repeated or appended."""
    chance = random.Random(SEED)
    for _ in range(CASES):
        raw = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(raw) + 1)
            match chance.randrange(5):
                case 0:
                    raw[at : at + 1] = chance.randbytes(1)
                case 1:
                    del raw[at : at + chance.randint(1, 40)]
                case 2:
                    raw[at:at] = raw[at : at + chance.randint(1, 40)]
                case 3:
                    raw[at:at] = chance.choice([b"\xff" * 9, b"\xfe" * 5, b"\xfd" * 3, b"\0"])
                case _:
                    raw = bytearray(chance.randbytes(chance.randint(0, 120)))
        yield bytes(raw)


def test_the_transaction_reader_survives_damaged_bytes() -> None:
    seeds = [tx.raw for tx in (*BLOCK.txs, *WITNESS.txs)]
    for number, raw in enumerate(damaged(seeds)):
        try:
            tx = parse_tx(raw)
        except ProofError:
            continue
        except Exception as error:
            replay = REPLAY.format(seed=SEED, cases=CASES)
            raise AssertionError(f"case {number}: {raw.hex()}\n{replay}") from error
        assert tx.raw == raw
        assert parse_tx(tx.stripped).txid == tx.txid


def test_the_header_reader_survives_damaged_bytes() -> None:
    for number, raw in enumerate(damaged(BLOCK.headers)):
        try:
            parse_header(raw)
        except ProofError:
            continue
        except Exception as error:
            replay = REPLAY.format(seed=SEED, cases=CASES)
            raise AssertionError(f"case {number}: {raw.hex()}\n{replay}") from error


def test_the_proof_reader_survives_strange_json() -> None:
    chance = random.Random(SEED)
    strange: list[Any] = [
        None,
        True,
        -1,
        2**53,
        1.5,
        "",
        "zz",
        "00",
        [],
        [[]],
        {},
        {"a": 1},
        ["00" * 32] * 99,
    ]
    policy = BLOCK.policy()
    for number in range(CASES):
        proof = copy.copy(PROOF)
        for key in chance.sample(sorted(proof), chance.randint(1, 3)):
            proof[key] = chance.choice(strange)
        if proof == PROOF:
            continue
        try:
            verify_spv(proof, policy)
        except ProofError:
            continue
        except Exception as error:
            replay = REPLAY.format(seed=SEED, cases=CASES)
            raise AssertionError(f"case {number}: {proof}\n{replay}") from error
        raise AssertionError(f"case {number} verified: {proof}")
