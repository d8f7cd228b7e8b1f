"""What a node says of a block counts only as far as the block's header commits to it."""

from typing import Any

import pytest

from adapters.errors import Transient
from adapters.evm.blocks import read_block
from adapters.evm.kept import KeptBlocks
from adapters.evm.values import checksum
from proofs.errors import ProofUnavailable
from proofs.evm_inclusion import build_receipt, verify_receipt
from proofs.evm_receipts import COMMIT_ALL, CommitmentRule
from tests.unit.evm_block_scene import (
    CHAIN,
    SENDER,
    VAULT,
    Made,
    made_block,
    receipt_fields,
    signed,
)

_OURS = [checksum("0x" + SENDER.hex())]
_CONTRACTS = [checksum("0x" + VAULT.hex())]


def told(made: Made) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The block and its receipts with the fields that a node adds and no header commits to."""
    sender = "0x" + SENDER.hex()
    entries = [{**entry, "from": sender} for entry in made.block["transactions"]]
    extra = {"blockHash": made.block["hash"], "gasUsed": "0x5208", "effectiveGasPrice": "0x1"}
    receipts = [{**receipt, **extra} for receipt in made.receipts]
    return {**made.block, "transactions": entries}, receipts


def read(
    block: dict[str, Any],
    receipts: list[dict[str, Any]],
    accounts: list[str] = _OURS,
    rule: CommitmentRule | None = COMMIT_ALL,
) -> Any:
    contracts = _CONTRACTS if accounts else []
    return read_block(block, receipts, accounts, contracts, rule)


def two() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Two transactions of ours: the first worked and has an event, the second reverted."""
    entries = [signed(0), signed(1)]
    receipts = made_block(entries).receipts
    receipts[1] = receipt_fields(entries[1], status=0)
    return told(made_block(entries, receipts))


def test_an_honest_block_is_read_with_and_without_the_check() -> None:
    for rule in (COMMIT_ALL, None):
        found = read(*two(), rule=rule)
        assert [landed.succeeded for landed in found.landed] == [True, False]
        assert len(found.operations) == 1


@pytest.mark.parametrize("change", [{"status": "0x0"}, {"logs": []}, {"cumulativeGasUsed": "0x1"}])
def test_a_receipt_that_the_header_does_not_commit_to_is_refused(change: dict[str, Any]) -> None:
    block, receipts = two()
    receipts[0] = {**receipts[0], **change}
    with pytest.raises(Transient, match="not what its hash commits to"):
        read(block, receipts)
    assert read(block, receipts, rule=None), "the check is what refuses it"


def test_receipts_that_changed_places_are_refused() -> None:
    """The trie of receipts names no transaction: only the place of each does."""
    block, receipts = two()
    first, second = (receipt["transactionHash"] for receipt in receipts)
    swapped = [
        {**receipts[0], "transactionHash": second},
        {**receipts[1], "transactionHash": first},
    ]
    with pytest.raises(Transient, match="other transactions"):
        read(block, swapped)


def test_transactions_that_the_header_does_not_commit_to_are_refused() -> None:
    block, receipts = two()
    other = signed(7)
    block["transactions"][1] = {**other, "from": "0x" + SENDER.hex()}
    receipts[1]["transactionHash"] = other["hash"]
    with pytest.raises(Transient, match="other transactions"):
        read(block, receipts)


@pytest.mark.parametrize("accounts", [_OURS, []], ids=["with ours", "without ours"])
def test_a_header_that_does_not_hash_to_its_name_is_refused(accounts: list[str]) -> None:
    block, receipts = two()
    for change in ({"timestamp": "0x65000001"}, {"receiptsRoot": "0x" + "ee" * 32}):
        with pytest.raises(Transient, match="do not hash"):
            read({**block, **change}, receipts, accounts)


def test_a_block_is_empty_only_if_its_header_says_so() -> None:
    block, _ = two()
    with pytest.raises(Transient, match="without its transactions"):
        read({**block, "transactions": []}, [])
    assert read(*told(made_block([]))).landed == ()


def test_a_transaction_of_a_type_that_only_its_chain_knows_does_not_hide_ours() -> None:
    """Receipts are checked all the same."""
    made = made_block([signed(0), signed(1)])
    block, receipts = told(made)
    stranger = {**block["transactions"][1], "type": "0x7e", "from": "0x" + "99" * 20}
    block["transactions"][1] = stranger
    assert len(read(block, receipts).landed) == 1
    receipts[0] = {**receipts[0], "status": "0x0"}
    with pytest.raises(Transient, match="other receipts"):
        read(block, receipts)


def test_what_a_block_was_found_to_commit_to_proves_each_of_its_transactions() -> None:
    block, receipts = two()
    committed = read(block, receipts).committed
    for entry in block["transactions"]:
        name = bytes.fromhex(entry["hash"][2:])
        form = committed.form(CHAIN, name)
        assert verify_receipt(form).tx_hash == name
        assert form == build_receipt(CHAIN, block, receipts, name, COMMIT_ALL)
    with pytest.raises(ProofUnavailable, match="not_in_block"):
        committed.form(CHAIN, b"\x11" * 32)
    assert read(block, receipts, []).committed is None, "it does not concern us"


def test_only_the_newest_blocks_are_kept_and_each_by_its_name() -> None:
    block, receipts = two()
    committed = read(block, receipts).committed
    kept = KeptBlocks()
    for number in range(2000):
        kept.keep({**block, "hash": f"0x{number:064X}"}, committed)
    assert kept.get(f"0x{0:064x}") is None
    assert kept.get(f"0x{1487:064x}") is None
    newest = kept.get(f"0x{1999:064x}")
    assert newest is not None
    assert newest.committed is committed
    assert "transactions" not in newest.fields
    assert len(kept._blocks) == 512, "two transactions each"
