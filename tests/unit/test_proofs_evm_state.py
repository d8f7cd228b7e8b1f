"""``evm.storage/v1`` and ``evm.ancestor/v1``: what they show, and what they refuse."""

import random
import subprocess
import sys
from typing import Any

import pytest

from adapters.evm.contracts import load
from proofs import evm
from proofs.errors import ProofUnavailable, Refused
from proofs.evm_ancestor import (
    HISTORY_ADDRESS,
    HISTORY_WINDOW,
    ancestor_slots,
    build_ancestor,
    verify_ancestor,
)
from proofs.evm_effects import OperationTerms
from proofs.evm_storage import LAYOUTS, build_storage, operation_slots, verify_storage
from tests.contracts.slots import AMOUNTS, ESCROWS, HEADS, mapping_slot
from tests.unit.evm_block_scene import (
    ASSET,
    CHAIN,
    GROUP,
    OP_ID,
    VAULT,
    account_state,
    changed,
    header_fields,
    refusal,
)
from tests.unit.fuzzing import damaged, fuzz

VAULT_CODE, TOKEN_CODE = LAYOUTS
PARTY, PAYEE = b"\x66" * 20, b"\x77" * 20
HISTORY_CODE = bytes.fromhex("6e49e66782037c0555897870e29fa5e552daf4719552131a0abce779daec0a5d")


def head(status: int, kind: int = 2, refund_after_s: int = 1_800_000_000) -> int:
    return status | kind << 8 | refund_after_s << 16 | int.from_bytes(PARTY, "big") << 96


def storage_proof(
    words: dict[bytes, int], code: bytes = VAULT_CODE, *, terms: bool = False
) -> dict[str, Any]:
    block, answer = account_state(VAULT, code, words)
    slots = operation_slots(LAYOUTS[code], GROUP, OP_ID, terms=terms)
    return build_storage(CHAIN, block, answer(slots), GROUP, OP_ID)


def held() -> dict[bytes, int]:
    """The words of an open hold in the Vault."""
    values = (head(1), int.from_bytes(ASSET, "big"), 5, int.from_bytes(PAYEE, "big"), 9)
    return dict(
        zip(operation_slots(LAYOUTS[VAULT_CODE], GROUP, OP_ID, terms=True), values, strict=True)
    )


def test_the_layouts_are_those_of_the_contracts_that_are_deployed() -> None:
    hashes = {bytes.fromhex(str(load(name).runtime_code_hash)[2:]) for name in ("Vault", "Token")}

    assert hashes == set(LAYOUTS)
    assert LAYOUTS[VAULT_CODE].heads == LAYOUTS[TOKEN_CODE].heads == HEADS
    assert (LAYOUTS[VAULT_CODE].terms, LAYOUTS[TOKEN_CODE].terms) == (ESCROWS, AMOUNTS)


def test_slots_are_those_that_vyper_computes() -> None:
    address = "0x" + GROUP.hex()
    slots = operation_slots(LAYOUTS[VAULT_CODE], GROUP, OP_ID, terms=True)
    escrow = mapping_slot(ESCROWS, address, OP_ID)

    assert int.from_bytes(slots[0]) == mapping_slot(HEADS, address, OP_ID)
    assert [int.from_bytes(slot) - escrow for slot in slots[1:]] == [0, 1, 2, 3]


@pytest.mark.parametrize("status", [1, 2, 3])
def test_the_head_alone_shows_status_kind_time_and_party(status: int) -> None:
    slot = operation_slots(LAYOUTS[VAULT_CODE], GROUP, OP_ID, terms=False)[0]
    facts = verify_storage(storage_proof({slot: head(status), bytes(32): 1}))

    assert (facts.status, facts.kind, facts.refund_after_s) == (status, 2, 1_800_000_000)
    assert (facts.party, facts.contract, facts.terms) == (PARTY, VAULT, None)
    facts.require_status(status)


def test_the_words_of_a_hold_show_its_whole_terms() -> None:
    facts = verify_storage(storage_proof(held(), terms=True))

    assert facts.terms == OperationTerms(2, ASSET, 5, PAYEE, (9).to_bytes(32, "big"), 1_800_000_000)


def test_the_words_of_a_credit_in_the_token_show_its_whole_terms() -> None:
    slots = operation_slots(LAYOUTS[TOKEN_CODE], GROUP, OP_ID, terms=True)
    words = {slots[0]: head(1, 3, 0), slots[1]: 7}
    facts = verify_storage(storage_proof(words, TOKEN_CODE, terms=True))

    assert facts.terms == OperationTerms(3, VAULT, 7, PARTY, bytes(32), 0)


def test_an_operation_that_never_was_shows_as_unused_in_an_empty_storage_too() -> None:
    for words in ({}, {bytes(32): 1}):
        facts = verify_storage(storage_proof(words))
        assert (facts.status, facts.kind, facts.terms) == (0, 0, None)
        with pytest.raises(Refused) as refused:
            facts.require_status(1)
        assert refused.value.check == "evm-operation-state"


def test_a_tombstone_shows_as_cancelled() -> None:
    slots = operation_slots(LAYOUTS[VAULT_CODE], GROUP, OP_ID, terms=True)
    facts = verify_storage(storage_proof({slots[0]: 4}, terms=True))

    assert (facts.status, facts.kind, facts.terms) == (4, 0, None)


@pytest.mark.parametrize("value", [5, head(1, 4), head(1) | 1 << 80])
def test_a_head_that_our_contracts_never_write_is_refused(value: int) -> None:
    slot = operation_slots(LAYOUTS[VAULT_CODE], GROUP, OP_ID, terms=False)[0]
    with pytest.raises(ProofUnavailable, match="evm-operation-state"):
        storage_proof({slot: value})


def test_a_contract_of_other_code_is_refused() -> None:
    block, answer = account_state(VAULT, b"\x01" * 32, held())
    slots = operation_slots(LAYOUTS[VAULT_CODE], GROUP, OP_ID, terms=False)
    with pytest.raises(ProofUnavailable, match="evm-code") as unavailable:
        build_storage(CHAIN, block, answer(slots), GROUP, OP_ID)

    assert unavailable.value.reason == "not_provable"


def test_the_state_of_one_operation_is_not_that_of_another() -> None:
    proof = storage_proof(held())

    for other in ({"op_id": "45" * 32}, {"group": "23" * 20}, {"contract": "12" * 20}):
        try:
            facts = verify_storage(changed(proof, **other))
        except Refused:
            continue
        # The path may end where another key leaves the trie too: then it shows that this is unused.
        assert facts.status == 0


def test_an_account_or_word_that_is_absent_is_not_taken_for_one_that_is_there() -> None:
    block, answer = account_state(VAULT, VAULT_CODE, held())
    given = answer(operation_slots(LAYOUTS[VAULT_CODE], GROUP, OP_ID, terms=False))
    with pytest.raises(ProofUnavailable):
        build_storage(CHAIN, block, {**given, "address": "0x" + "99" * 20}, GROUP, OP_ID)
    proof = build_storage(CHAIN, block, given, GROUP, OP_ID)

    assert refusal(verify_storage, changed(proof, head=[])) == "trie-incomplete"
    assert refusal(verify_storage, changed(proof, head=["80"])) == "trie-hash"
    assert refusal(verify_storage, changed(proof, account=[])) == "trie-incomplete"


def test_surplus_missing_and_exchanged_nodes_are_refused() -> None:
    proof = storage_proof(held(), terms=True)

    for name in ("account", "head"):
        path = proof[name]
        assert (
            refusal(verify_storage, changed(proof, **{name: [*path, path[-1]]})) == "trie-surplus"
        )
        assert refusal(verify_storage, changed(proof, **{name: path[:-1]})) == "trie-incomplete"
    terms = proof["terms"]
    assert refusal(verify_storage, changed(proof, terms=terms[:3])) == "evm-code"
    assert refusal(verify_storage, changed(proof, terms=[*terms, terms[0]])) == "evm-code"
    assert refusal(verify_storage, changed(proof, terms=terms[::-1])) is not None
    assert refusal(verify_storage, changed(proof, terms="")) == "evm-code"


def test_a_stale_state_is_shown_under_its_own_block_only() -> None:
    earlier, later = dict(held()), dict(held())
    later[next(iter(later))] = head(3)
    old, new = storage_proof(earlier), storage_proof(later)

    assert verify_storage(old).status == 1
    assert verify_storage(new).status == 3
    assert refusal(verify_storage, changed(new, head=old["head"])) == "trie-hash"
    assert refusal(verify_storage, changed(new, header=old["header"])) == "trie-hash"


def ancestor_proof(height: int = 90, value: int = 7, code: bytes = HISTORY_CODE) -> dict[str, Any]:
    slot = ancestor_slots(height)[0]
    block, answer = account_state(HISTORY_ADDRESS, code, {slot: value, bytes(32): 3})
    return build_ancestor(CHAIN, block, answer([slot]), height)


def test_an_ancestor_is_shown_by_the_history_contract_with_all_its_zeros() -> None:
    facts = verify_ancestor(ancestor_proof())

    assert (facts.height, facts.hash, facts.header.height) == (90, (7).to_bytes(32, "big"), 100)


@pytest.mark.parametrize("height", [100, 101, 100 + HISTORY_WINDOW])
def test_a_block_that_is_no_ancestor_within_the_window_is_refused(height: int) -> None:
    assert refusal(verify_ancestor, changed(ancestor_proof(), ancestor=height)) == "evm-ancestor"


def test_a_block_beyond_the_ring_is_refused_although_its_slot_is_taken() -> None:
    block = header_fields(number=hex(20_000))
    slot = ancestor_slots(5)[0]
    assert slot == ancestor_slots(5 + HISTORY_WINDOW)[0]
    _, answer = account_state(HISTORY_ADDRESS, HISTORY_CODE, {slot: 7})
    with pytest.raises(ProofUnavailable, match="evm-ancestor"):
        build_ancestor(CHAIN, block, answer([slot]), 5)


def test_a_proof_of_one_height_is_none_of_another() -> None:
    assert refusal(verify_ancestor, changed(ancestor_proof(), ancestor=91)) is not None


def test_a_height_that_the_contract_does_not_know_is_refused() -> None:
    with pytest.raises(ProofUnavailable, match="evm-ancestor"):
        ancestor_proof(value=0)


def test_a_history_contract_of_other_code_is_refused() -> None:
    with pytest.raises(ProofUnavailable, match="evm-history-code"):
        ancestor_proof(code=b"\x02" * 32)


@pytest.mark.parametrize(
    "answer", [None, {}, {"accountProof": 1, "storageProof": []}, {"storageProof": [{}]}]
)
def test_an_answer_that_is_no_proof_is_malformed(answer: Any) -> None:
    with pytest.raises(ProofUnavailable) as unavailable:
        build_storage(CHAIN, header_fields(), answer, GROUP, OP_ID)

    assert unavailable.value.reason == "malformed_answer"


@pytest.mark.parametrize(
    "proof", [storage_proof(held(), terms=True), ancestor_proof()], ids=["storage", "ancestor"]
)
def test_claims_say_what_their_proofs_show(proof: dict[str, Any]) -> None:
    facts = evm.verify(proof)
    evm.check_claim(facts, facts.claim())
    with pytest.raises(Refused):
        evm.check_claim(facts, {**facts.claim(), "block": "00" * 32})


STORAGE, ANCESTOR = storage_proof(held(), terms=True), ancestor_proof()


def test_ten_thousand_damaged_state_proofs_are_refused() -> None:
    def attempt(chance: random.Random) -> None:
        proof = chance.choice([STORAGE, ANCESTOR])
        name = chance.choice(["account", "head" if proof is STORAGE else "slot"])
        at = chance.randrange(len(proof[name]))
        node = damaged(bytes.fromhex(proof[name][at]), chance).hex()
        if node != proof[name][at]:
            path = [*proof[name][:at], node, *proof[name][at + 1 :]]
            assert refusal(evm.verify, changed(proof, **{name: path})) == "trie-hash"

    fuzz("test_ten_thousand_damaged_state_proofs_are_refused", attempt)


def test_verifying_needs_no_library_of_ethereum() -> None:
    names = "{name.split('.')[0] for name in sys.modules}"
    code = f"import sys, coincurve, proofs.evm; print(*sorted({names}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    # Crypto is pycryptodome.
    assert {"proofs", "Crypto", "coincurve"} <= set(done.stdout.split())
    assert not {
        "web3",
        "eth_account",
        "eth_utils",
        "eth_hash",
        "rlp",
        "adapters",
        "coordinator",
    } & set(done.stdout.split())
