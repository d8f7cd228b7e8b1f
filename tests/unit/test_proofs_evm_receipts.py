"""``evm.receipt/v1``: what it binds, and each attack with the check that refuses it."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs import evm, trie
from proofs.errors import ProofUnavailable, Refused
from proofs.evm_effects import OPERATION_TOPIC, OperationTerms, word
from proofs.evm_inclusion import InclusionFacts, build_receipt, verify_receipt
from proofs.evm_receipts import COMMIT_ALL, CommitmentRule, encode_receipt
from proofs.evm_transactions import encode_transaction
from proofs.keccak import keccak256
from proofs.trie_build import build_list
from tests.unit.evm_block_scene import (
    ASSET,
    CHAIN,
    CHAIN_ID,
    EVENT,
    GROUP,
    OP_ID,
    SENDER,
    VAULT,
    Made,
    changed,
    header_fields,
    log_of,
    made_block,
    receipt_fields,
    refusal,
    signed,
)
from tests.unit.fuzzing import damaged, fuzz

TRANSACTIONS = [signed(nonce) for nonce in range(20)]


@pytest.fixture(scope="module")
def made() -> Made:
    return made_block(TRANSACTIONS)


@pytest.fixture(scope="module")
def proof(made: Made) -> dict[str, Any]:
    return made.proof()


def effect(check: Callable[[InclusionFacts], None], proof: dict[str, Any]) -> str | None:
    return refusal(lambda given: check(verify_receipt(given)), proof)


def test_a_proof_shows_transaction_sender_success_and_the_operations_event(
    made: Made, proof: dict[str, Any]
) -> None:
    facts = verify_receipt(proof)

    assert (facts.tx_hash, facts.sender, facts.nonce) == (made.name(0), SENDER, 0)
    assert (facts.succeeded, facts.index, facts.header.height) == (True, 0, 100)
    assert facts.operations == (EVENT,)
    assert "0x" + facts.header.hash.hex() == made.block["hash"]
    facts.require_operation(EVENT)


@pytest.mark.parametrize("index", range(20))
def test_each_transaction_of_a_block_is_proven_at_its_own_index(made: Made, index: int) -> None:
    facts = verify_receipt(made.proof(index))

    assert (facts.index, facts.tx_hash, facts.nonce) == (index, made.name(index), index)


def test_a_block_of_one_transaction_is_proven() -> None:
    facts = verify_receipt(made_block([signed()]).proof())

    assert facts.operations == (EVENT,)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"op_id": b"\x45" * 32}, "no event of this operation id"),
        ({"group": b"\x23" * 20}, "no event of this operation id"),
        ({"contract": b"\x12" * 20}, "no event of this operation id"),
        ({"status": 2}, "differs in status"),
        ({"kind": 2}, "differs in kind"),
        ({"asset": b"\x34" * 20}, "differs in asset"),
        ({"amount": 10**18 + 1}, "differs in amount"),
        ({"params_hash": bytes(32)}, "differs in params_hash"),
    ],
)
def test_the_right_transaction_with_another_event_is_refused(
    proof: dict[str, Any], other: dict[str, Any], says: str
) -> None:
    with pytest.raises(Refused, match=says) as refused:
        verify_receipt(proof).require_operation(replace(EVENT, **other))

    assert refused.value.check == "evm-operation"


def test_a_reverted_receipt_shows_no_effect() -> None:
    reverted = made_block([signed()], [receipt_fields(signed(), status=0)]).proof()

    assert not verify_receipt(reverted).succeeded
    assert effect(lambda facts: facts.require_operation(EVENT), reverted) == "evm-status"
    assert effect(lambda facts: facts.require_call(VAULT, 0, None), reverted) == "evm-status"
    assert effect(lambda facts: facts.require_event(VAULT, [], {}), reverted) == "evm-status"


def test_a_repeated_call_that_succeeds_without_an_event_shows_no_effect() -> None:
    replayed = made_block([signed()], [receipt_fields(signed())]).proof()

    assert verify_receipt(replayed).succeeded
    assert effect(lambda facts: facts.require_operation(EVENT), replayed) == "evm-operation"


def test_an_event_with_dirty_words_is_no_event_of_ours() -> None:
    log = log_of(EVENT)
    dirty = [
        {**log, "topics": [log["topics"][0], "0x" + "01" * 32, *log["topics"][2:]]},
        {**log, "topics": [*log["topics"][:3], "0x" + "01" * 32]},
        {**log, "topics": log["topics"][:3]},
        {**log, "data": log["data"] + "00"},
        {**log, "data": "0x01" + log["data"][4:]},
        {**log, "data": log["data"][:68] + "01" + log["data"][70:]},
    ]
    for broken in dirty:
        receipt = {**receipt_fields(signed()), "logs": [broken]}
        assert verify_receipt(made_block([signed()], [receipt]).proof()).operations == ()


def test_a_declared_event_is_bound_by_its_topics_and_words(proof: dict[str, Any]) -> None:
    facts = verify_receipt(proof)
    topics = [OPERATION_TOPIC, None, OP_ID, None]

    facts.require_event(VAULT, topics, {2: word(10**18)})
    wrong: list[tuple[bytes, list[bytes | None], dict[int, bytes]]] = [
        (ASSET, list(topics), {}),
        (VAULT, [OPERATION_TOPIC, None, GROUP, None], {}),
        (VAULT, [OPERATION_TOPIC, None, OP_ID], {}),
        (VAULT, list(topics), {2: word(1)}),
        (VAULT, list(topics), {9: word(0)}),
    ]
    for contract, wanted, words in wrong:
        with pytest.raises(Refused) as refused:
            facts.require_event(contract, wanted, words)
        assert refused.value.check == "evm-event"


def test_a_call_is_bound_by_target_value_and_data(proof: dict[str, Any]) -> None:
    facts = verify_receipt(proof)

    facts.require_call(VAULT, 0, facts.data)
    facts.require_call(VAULT, 0, None)
    for to, value_wei, data in ((ASSET, 0, None), (VAULT, 1, None), (VAULT, 0, b"")):
        with pytest.raises(Refused) as refused:
            facts.require_call(to, value_wei, data)
        assert refused.value.check == "evm-call"


def test_the_hash_of_terms_covers_every_term() -> None:
    terms = OperationTerms(2, ASSET, 5, GROUP, b"\x09" * 32, 1_700_000_000)
    others: list[dict[str, Any]] = [
        {"kind": 1}, {"asset": GROUP}, {"amount": 6}, {"beneficiary": ASSET},
        {"hashlock": bytes(32)}, {"refund_after_s": 0},
    ]  # fmt: skip

    assert len({terms.hash, *(replace(terms, **other).hash for other in others)}) == 7


ATTACKS: dict[str, Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]] = {
    "another index": lambda proof, _: changed(proof, index=1),
    "the receipt of another": lambda proof, other: changed(proof, receipt=other["receipt"]),
    "the transaction of another": lambda proof, other: changed(
        proof, transaction=other["transaction"]
    ),
    "both of another": lambda _, other: changed(other, index=0),
    "the paths exchanged": lambda proof, _: changed(
        proof, receipt=proof["transaction"], transaction=proof["receipt"]
    ),
    "the header of another": lambda proof, _: changed(
        proof, header=made_block([signed(5)]).proof()["header"]
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_paths_that_do_not_belong_to_this_index_and_header_are_refused(
    proof: dict[str, Any], made: Made, attack: str
) -> None:
    assert refusal(verify_receipt, ATTACKS[attack](proof, made.proof(1))) == "trie-hash"


def test_a_header_edited_to_other_roots_is_another_block(proof: dict[str, Any]) -> None:
    raw = bytes.fromhex(proof["header"])
    edited = raw[:-1] + bytes([raw[-1] ^ 1])

    assert verify_receipt(changed(proof, header=edited.hex())).header.hash == keccak256(edited)
    assert keccak256(edited) != keccak256(raw)


def test_surplus_missing_and_repeated_nodes_are_refused(proof: dict[str, Any]) -> None:
    for name in ("receipt", "transaction"):
        path = proof[name]
        for nodes, check in (
            ([*path, path[-1]], "trie-surplus"),
            (path[:-1], "trie-incomplete"),
            (path[:1] + path, "trie-hash"),
            (path[::-1], "trie-hash"),
            ([], "trie-incomplete"),
        ):
            assert refusal(verify_receipt, changed(proof, **{name: nodes})) == check


def test_absence_never_passes_as_presence(made: Made, proof: dict[str, Any]) -> None:
    key = trie.list_key(20)
    receipts = build_list([encode_receipt(receipt) for receipt in made.receipts])
    texts = build_list([encode_transaction(each) for each in made.block["transactions"]])
    beyond = changed(
        proof,
        index=20,
        receipt=[node.hex() for node in receipts.proof(key)],
        transaction=[node.hex() for node in texts.proof(key)],
    )

    assert refusal(verify_receipt, beyond) == "trie-absent"


def test_a_proof_of_one_chain_is_none_of_another(proof: dict[str, Any]) -> None:
    assert refusal(verify_receipt, changed(proof, chain="eip155:1")) == "evm-chain"


def test_a_transaction_that_names_no_chain_is_refused() -> None:
    legacy = signed(type=None, chainId=None, gasPrice=9, maxFeePerGas=None,
                    maxPriorityFeePerGas=None)  # fmt: skip
    block = made_block([legacy])
    with pytest.raises(ProofUnavailable, match="evm-chain") as unavailable:
        block.proof()

    assert unavailable.value.reason == "not_provable"


def test_receipt_and_transaction_of_different_types_are_refused() -> None:
    transaction = signed()
    made = made_block([transaction], [{**receipt_fields(transaction), "type": "0x1"}])
    with pytest.raises(ProofUnavailable, match="evm-types-agree"):
        made.proof()


@pytest.mark.parametrize(
    "other",
    [
        {"chain": "eip155:0"}, {"chain": "eip155:031337"}, {"chain": "EIP155:31337"},
        {"chain": "eip155:31337 "}, {"chain": "eip155:" + "9" * 400}, {"chain": 31337},
        {"chain": "еip155:31337"}, {"chain": "eip155:٣"},
        {"index": -1}, {"index": True}, {"index": "0"}, {"index": 2**24 + 1}, {"index": 0.0},
        {"index": None}, {"header": ""}, {"header": "0x00"}, {"header": None},
        {"receipt": None}, {"receipt": {}}, {"receipt": [1]}, {"receipt": ["zz"]},
        {"receipt": ["00"] * 66}, {"transaction": ["AB"]}, {"transaction": ["abc"]},
        {"kind": "evm.storage/v1"}, {"kind": None}, {"extra": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_proof_of_another_form_is_refused(proof: dict[str, Any], other: dict[str, Any]) -> None:
    check = "rlp-canonical" if other == {"header": ""} else "evm-form"

    assert refusal(verify_receipt, changed(proof, **other)) == check


@pytest.mark.parametrize(
    "value", [None, 1, "x", [], {}, {"kind": []}, {"kind": "evm.x/v1"}], ids=str
)
def test_what_is_no_proof_at_all_is_refused(value: Any) -> None:
    assert refusal(evm.verify, value) == "evm-form"


def test_a_path_larger_than_any_is_refused_before_it_is_hashed(proof: dict[str, Any]) -> None:
    huge = ["00" * (1 << 20)] * 5

    assert refusal(verify_receipt, changed(proof, receipt=huge)) == "evm-form"


def test_a_claim_that_says_other_than_its_proof_is_refused(proof: dict[str, Any]) -> None:
    facts = evm.verify(proof)
    claim = facts.claim()
    evm.check_claim(facts, claim)
    lies: list[Any] = [
        {**claim, "succeeded": False}, {**claim, "succeeded": 1}, {**claim, "tx": "00" * 32},
        {**claim, "height": 101}, {**claim, "more": 1}, {}, None,
        {name: value for name, value in claim.items() if name != "block"},
    ]  # fmt: skip

    for lie in lies:
        with pytest.raises(Refused) as refused:
            evm.check_claim(facts, lie)
        assert refused.value.check == "evm-claim"


def unavailable(made: Made, name: bytes, rule: CommitmentRule = COMMIT_ALL) -> str:
    with pytest.raises(ProofUnavailable) as caught:
        build_receipt(CHAIN, made.block, made.receipts, name, rule)
    return caught.value.reason


def test_receipts_that_do_not_make_the_root_give_no_proof_at_all(made: Made) -> None:
    name = made.name(0)
    edited = [{**made.receipts[3], "cumulativeGasUsed": "0x1"}]
    lists = [made.receipts[:-1], made.receipts[::-1], [*made.receipts[:3], *edited]]

    for receipts in lists:
        assert unavailable(Made(made.block, receipts), name) == "root_mismatch"


def test_transactions_that_do_not_make_the_root_give_no_proof_at_all(made: Made) -> None:
    listed = made.block["transactions"]
    block = {**made.block, "transactions": [*listed[:-1], {**listed[-1], "nonce": "0x999"}]}

    assert unavailable(Made(block, made.receipts), made.name(0)) == "root_mismatch"


def test_a_block_that_is_not_what_its_hash_says_gives_no_proof(made: Made) -> None:
    block = {**made.block, "stateRoot": "0x" + "12" * 32}

    assert unavailable(Made(block, made.receipts), made.name(0)) == "header_mismatch"


def test_a_transaction_that_a_reorganisation_took_out_is_not_in_the_block(made: Made) -> None:
    assert unavailable(made, b"\x66" * 32) == "not_in_block"


def test_a_node_that_gives_hashes_or_nothing_gives_no_proof(made: Made) -> None:
    names = [each["hash"] for each in made.block["transactions"]]

    for listed in (names, None, [None], 7):
        block = {**made.block, "transactions": listed}
        assert unavailable(Made(block, made.receipts), made.name(0)) == "malformed_answer"


def test_polygons_state_sync_is_left_out_below_the_fork_and_demanded_from_it() -> None:
    before, after = CommitmentRule("test", 101), CommitmentRule("test", 100)
    transaction = signed()
    made = made_block([transaction])
    name = keccak256(
        b"matic-bor-receipt-" + (100).to_bytes(8, "big") + bytes.fromhex(made.block["hash"][2:])
    )
    sync = {**transaction, "hash": "0x" + name.hex(), "type": "0x0", "gasPrice": "0x0"}
    seen = Made(
        {**made.block, "transactions": [transaction, sync]},
        [*made.receipts, receipt_fields(sync)],
    )

    kept = build_receipt(CHAIN, seen.block, seen.receipts, made.name(0), before)
    assert kept == made.proof()
    assert unavailable(seen, made.name(0), after) == "root_mismatch"
    assert unavailable(seen, name, before) == "not_in_block"
    # Another entry of the same looks is part of the block, whatever it is.
    other = {**sync, "hash": "0x" + "77" * 32}
    strange = Made({**seen.block, "transactions": [transaction, other]}, seen.receipts)
    assert unavailable(strange, made.name(0), before) == "root_mismatch"


def test_a_state_sync_that_the_header_commits_to_is_proven_around() -> None:
    transaction, raw = signed(), b"\x7f\xc0"
    sync = {"hash": "0x" + keccak256(raw).hex(), "type": "0x7f"}
    receipts = [receipt_fields(transaction, [EVENT]), receipt_fields(sync)]
    texts = build_list([encode_transaction(transaction), raw])
    answers = build_list([encode_receipt(receipt) for receipt in receipts])
    header = header_fields(
        transactionsRoot="0x" + texts.root.hex(), receiptsRoot="0x" + answers.root.hex()
    )
    block = {**header, "transactions": [transaction, sync]}
    name = bytes.fromhex(transaction["hash"][2:])
    rule = CommitmentRule("test", 100)

    with pytest.raises(ProofUnavailable) as caught:
        build_receipt(CHAIN, block, receipts, name, rule)
    assert caught.value.reason == "unknown_transaction_type"
    built = build_receipt(CHAIN, block, receipts, name, rule, raw={1: raw})
    verify_receipt(built).require_operation(EVENT)


@given(st.data())
def test_a_flipped_byte_of_a_proof_never_verifies_as_the_same(data: st.DataObject) -> None:
    # One digit of any of its texts; the header's alone makes another block, never the same one.
    proof = PROOF
    texts: list[tuple[str, int | None]] = [("header", None)]
    texts += [(name, at) for name in ("receipt", "transaction") for at in range(len(proof[name]))]
    name, at = data.draw(st.sampled_from(texts))
    text = proof[name] if at is None else proof[name][at]
    place = data.draw(st.integers(0, len(text) - 1))
    digit = data.draw(st.sampled_from([each for each in "0123456789abcdef" if each != text[place]]))
    broken = text[:place] + digit + text[place + 1 :]
    nodes = broken if at is None else [*proof[name][:at], broken, *proof[name][at + 1 :]]
    attacked = changed(proof, **{name: nodes})

    if name == "header":
        try:
            facts = verify_receipt(attacked)
        except Refused:
            return
        assert facts.header.hash != verify_receipt(proof).header.hash
    else:
        assert refusal(verify_receipt, attacked) == "trie-hash"


PROOF = made_block(TRANSACTIONS).proof()


def test_ten_thousand_damaged_proofs_are_refused() -> None:
    def attempt(chance: random.Random) -> None:
        name = chance.choice(["receipt", "transaction"])
        path = [bytes.fromhex(node) for node in PROOF[name]]
        kind = chance.randrange(3)
        if kind == 0:
            at = chance.randrange(len(path))
            path[at] = damaged(path[at], chance)
        elif kind == 1:
            path.insert(chance.randrange(len(path) + 1), chance.choice(path))
        else:
            path.pop(chance.randrange(len(path)))
        nodes = [node.hex() for node in path]
        if nodes != PROOF[name]:
            assert refusal(verify_receipt, changed(PROOF, **{name: nodes})) is not None

    fuzz("test_ten_thousand_damaged_proofs_are_refused", attempt)


def test_the_chain_id_of_the_scene_is_the_one_that_is_signed() -> None:
    assert verify_receipt(PROOF).chain == f"eip155:{CHAIN_ID}"
