"""Transactions and receipts: the bytes that a block commits to, and what may not pass as them."""

from typing import Any

import pytest
from eth_account import Account

from proofs import rlp
from proofs.errors import ProofUnavailable
from proofs.evm_receipts import (
    COMMIT_ALL,
    commitment_rule,
    encode_receipt,
    read_receipt,
)
from proofs.evm_transactions import encode_transaction, read_transaction
from proofs.keccak import keccak256
from tests.unit.evm_block_scene import (
    CHAIN_ID,
    EVENT,
    SENDER,
    VAULT,
    receipt_fields,
    refusal,
    signed,
)
from tests.unit.fuzzing import damaged, fuzz

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SLOTS = [{"address": "0x" + "ab" * 20, "storageKeys": ["0x" + "00" * 32, "0x" + "ff" * 32]}]
NO_FEES = {"maxFeePerGas": None, "maxPriorityFeePerGas": None}
TYPES: dict[str, dict[str, Any]] = {
    "legacy": {**NO_FEES, "type": None, "gasPrice": 10**10},
    "access list": {**NO_FEES, "type": 1, "gasPrice": 10**10, "accessList": SLOTS},
    "two prices": {"type": 2, "accessList": SLOTS},
    "blobs": {
        "type": 3,
        "accessList": SLOTS,
        "maxFeePerBlobGas": 10**9,
        "blobVersionedHashes": ["0x01" + "cd" * 31],
    },
    "creation": {"type": 2, "to": None},
}


@pytest.mark.parametrize("name", TYPES)
def test_a_transaction_of_each_type_is_encoded_to_its_hash_and_its_sender_recovered(
    name: str,
) -> None:
    fields = signed(7, **TYPES[name])
    raw = encode_transaction(fields)
    read = read_transaction(raw)

    assert "0x" + keccak256(raw).hex() == fields["hash"]
    assert (read.hash, read.sender, read.chain_id) == (keccak256(raw), SENDER, CHAIN_ID)
    assert (read.nonce, read.value_wei) == (7, 0)
    assert read.data == bytes(range(100))
    assert read.to == (None if name == "creation" else VAULT)


def test_a_delegation_is_encoded_to_its_hash_and_its_sender_recovered() -> None:
    account = Account.create()
    authorisation = account.sign_authorization(
        {"chainId": CHAIN_ID, "address": "0x" + "11" * 20, "nonce": 3}
    )
    made = account.sign_transaction(
        {
            "type": 4, "chainId": CHAIN_ID, "nonce": 0, "gas": 99_999, "maxFeePerGas": 9,
            "maxPriorityFeePerGas": 1, "to": "0x" + VAULT.hex(), "value": 5, "data": "0x",
            "authorizationList": [authorisation],
        }
    )  # fmt: skip
    read = read_transaction(bytes(made.raw_transaction))

    assert (read.kind, read.hash) == (4, bytes(made.hash))
    assert "0x" + read.sender.hex() == account.address.lower()


def test_a_legacy_transaction_from_before_eip_155_names_no_chain() -> None:
    fields = signed(0, **TYPES["legacy"], chainId=None)

    assert int(fields["v"], 16) in {27, 28}
    assert read_transaction(encode_transaction(fields)).chain_id is None
    assert read_transaction(encode_transaction(fields)).sender == SENDER


def test_the_bytes_of_a_type_that_only_its_chain_knows_must_come_from_the_node() -> None:
    deposit = {**signed(), "type": "0x7e"}

    assert encode_transaction(deposit, b"\x7e\xc0") == b"\x7e\xc0"
    with pytest.raises(ProofUnavailable) as unavailable:
        encode_transaction(deposit)
    assert unavailable.value.reason == "unknown_transaction_type"


def elements(fields: dict[str, Any]) -> tuple[bytes, list[bytes]]:
    raw = encode_transaction(fields)
    prefix, body = (raw[:1], raw[1:]) if raw[0] < 0x80 else (b"", raw)
    return prefix, [body[start:end] for start, end in rlp.elements(body, 20)]


def test_the_other_form_of_a_signature_is_refused() -> None:
    prefix, items = elements(signed())
    s = rlp.number_of(rlp.decode(items[-1]))
    parity = rlp.number_of(rlp.decode(items[-3]))
    items[-1], items[-3] = rlp.encode_int(ORDER - s), rlp.encode_int(1 - parity)

    assert refusal(read_transaction, prefix + rlp.encode_list(items)) == "evm-signature"


@pytest.mark.parametrize("parity", [2, 27, 37])
def test_a_parity_that_is_neither_0_nor_1_is_refused(parity: int) -> None:
    prefix, items = elements(signed())
    items[-3] = rlp.encode_int(parity)

    assert refusal(read_transaction, prefix + rlp.encode_list(items)) == "evm-signature"


@pytest.mark.parametrize("v", [0, 1, 26, 29, 34])
def test_a_legacy_v_that_no_signature_has_is_refused(v: int) -> None:
    _, items = elements(signed(**TYPES["legacy"]))
    items[-3] = rlp.encode_int(v)

    assert refusal(read_transaction, rlp.encode_list(items)) == "evm-signature"


@pytest.mark.parametrize("r", [0, ORDER, 5])
def test_a_signature_that_no_key_makes_is_refused(r: int) -> None:
    prefix, items = elements(signed())
    items[-2] = rlp.encode_int(r)

    assert refusal(read_transaction, prefix + rlp.encode_list(items)) == "evm-signature"


def test_a_changed_payment_is_not_by_the_sender_any_more() -> None:
    prefix, items = elements(signed())
    items[6] = rlp.encode_int(10**18)

    assert read_transaction(prefix + rlp.encode_list(items)).sender != SENDER


@pytest.mark.parametrize("prefix", [b"\0", b"\x05", b"\x7e", b"\x7f"])
def test_bytes_of_an_unknown_type_are_refused(prefix: bytes) -> None:
    _, items = elements(signed())

    assert refusal(read_transaction, prefix + rlp.encode_list(items)) == "evm-transaction"


@pytest.mark.parametrize("name", TYPES)
def test_an_element_too_many_or_too_few_is_refused(name: str) -> None:
    prefix, items = elements(signed(**TYPES[name]))
    for wrong in ([*items, b"\x80"], items[:-1], []):
        assert refusal(read_transaction, prefix + rlp.encode_list(wrong)) == "evm-transaction"


def test_a_blob_transaction_in_the_form_of_the_network_is_refused() -> None:
    raw = encode_transaction(signed(**TYPES["blobs"]))
    pooled = b"\x03" + rlp.encode_list([raw[1:], *[rlp.encode_list([])] * 3])

    assert refusal(read_transaction, pooled) == "evm-transaction"


@pytest.mark.parametrize(
    ("at", "item"),
    [
        (1, b"\x82\x00\x01"),
        (1, b"\x89" + b"\xff" * 9),
        (5, b"\x93" + b"x" * 19),
        (5, b"\xc0"),
        (6, b"\xc0"),
        (8, b"\x80"),
        (8, rlp.encode_list([rlp.encode_list([b"\x93" + b"x" * 19, rlp.encode_list([])])])),
        (8, rlp.encode_list([rlp.encode_list([b"\x94" + b"x" * 20])])),
        (8, rlp.encode_list([rlp.encode_list([b"\x94" + b"x" * 20, rlp.encode_list([b"\1"])])])),
    ],
)
def test_an_element_of_another_form_is_refused(at: int, item: bytes) -> None:
    prefix, items = elements(signed())
    items[at] = item

    assert refusal(read_transaction, prefix + rlp.encode_list(items)) == rlp.CHECK


@pytest.mark.parametrize("kind", ["0x0", "0x1", "0x2", "0x3", "0x4"])
@pytest.mark.parametrize("status", [0, 1])
def test_a_receipt_of_each_type_comes_back_with_its_logs(kind: str, status: int) -> None:
    fields = receipt_fields({**signed(), "type": kind}, [EVENT] * status, status=status)
    read = read_receipt(encode_receipt(fields))

    assert (read.kind, read.succeeded, len(read.logs)) == (int(kind, 16), status == 1, status)
    assert read.cumulative_gas == 0x5208


def test_a_receipt_from_before_byzantium_says_nothing_of_success() -> None:
    fields = {**receipt_fields(signed()), "status": None, "root": "0x" + "ab" * 32, "type": "0x0"}

    assert refusal(read_receipt, encode_receipt(fields)) == "evm-receipt"


@pytest.mark.parametrize(
    ("at", "item", "check"),
    [
        (0, b"\x02", "evm-receipt"),
        (0, b"\xc0", rlp.CHECK),
        (1, b"\x82\x00\x01", rlp.CHECK),
        (2, b"\x80", rlp.CHECK),
        (3, b"\x80", rlp.CHECK),
        (3, rlp.encode_list([rlp.encode_list([])]), rlp.CHECK),
    ],
)
def test_a_receipt_of_another_form_is_refused(at: int, item: bytes, check: str) -> None:
    raw = encode_receipt(receipt_fields(signed()))
    items = [raw[1:][start:end] for start, end in rlp.elements(raw[1:], 4)]
    items[at] = item

    assert refusal(read_receipt, raw[:1] + rlp.encode_list(items)) == check
    assert refusal(read_receipt, b"\0" + raw[1:]) == "evm-receipt"
    assert refusal(read_receipt, raw[:1] + rlp.encode_list(items[:3])) == "evm-receipt"


@pytest.mark.parametrize("broken", [{"status": "0x2"}, {"logs": None}, {"logs": [{}]}, {"type": 2}])
def test_an_answer_that_is_no_receipt_is_malformed(broken: dict[str, Any]) -> None:
    with pytest.raises(ProofUnavailable) as unavailable:
        encode_receipt({**receipt_fields(signed()), **broken})

    assert unavailable.value.reason == "malformed_answer"


def test_polygon_leaves_its_state_sync_out_before_the_fork_and_commits_to_it_from_there() -> None:
    name, other = b"\x01" * 32, b"\x02" * 32
    for chain_id, fork in ((137, 80_084_800), (80002, 28_899_616)):
        rule = commitment_rule(chain_id)
        left_out = rule.left_out(fork - 1, name)
        assert left_out == keccak256(b"matic-bor-receipt-" + (fork - 1).to_bytes(8, "big") + name)
        assert rule.left_out(fork - 1, other) != left_out
        assert rule.left_out(fork, name) is None


def test_all_other_chains_commit_to_all_that_nodes_list() -> None:
    assert commitment_rule(1) is COMMIT_ALL
    assert COMMIT_ALL.left_out(1, bytes(32)) is None


def test_ten_thousand_damaged_transactions_are_read_or_refused() -> None:
    raws = [encode_transaction(signed(**changes)) for changes in TYPES.values()]
    fuzz(
        "test_ten_thousand_damaged_transactions_are_read_or_refused",
        lambda chance: read_transaction(damaged(chance.choice(raws), chance)),
    )


def test_ten_thousand_damaged_receipts_are_read_or_refused() -> None:
    raw = encode_receipt(receipt_fields(signed(), [EVENT, EVENT]))
    fuzz(
        "test_ten_thousand_damaged_receipts_are_read_or_refused",
        lambda chance: read_receipt(damaged(raw, chance)),
    )


def test_no_bytes_are_neither_a_transaction_nor_a_receipt() -> None:
    assert refusal(read_transaction, b"") == rlp.CHECK
    assert refusal(read_receipt, b"") == rlp.CHECK
