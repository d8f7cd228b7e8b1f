"""Does a block's header commit to what a node says is in the block?

One header hash names a block's transactions and receipts (the roots of two tries, see
`proofs.evm_inclusion`). What a node says of a transaction of ours is believed only as far as these
agree, so one wrong answer can not make a transaction revert, or an effect disappear, that happened.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.evm.settings import EvmSettings
from proofs.errors import ProofUnavailable
from proofs.evm_form import node_data, node_quantity, reading
from proofs.evm_header import header_of
from proofs.evm_inclusion import CommittedBlock, committed_block
from proofs.evm_receipts import CommitmentRule, commitment_rule, encode_receipt
from proofs.trie import EMPTY_ROOT
from proofs.trie_build import build_list

__all__ = ["require_committed", "require_header", "rule_of"]


def rule_of(settings: EvmSettings) -> CommitmentRule | None:
    """Return what the chain's headers commit to; None where the chain need not be provable."""
    return commitment_rule(settings.chain_id) if settings.proof == "required" else None


def require_header(block: Mapping[str, Any]) -> None:
    """Check that a block's fields hash to its name, and that it is empty only if they say so.

    Raises:
        ProofUnavailable: they do not.
    """
    header_of(block)
    with reading("a block's transactions"):
        is_bare = not block["transactions"] and _root(block, "transactionsRoot") != EMPTY_ROOT
    if is_bare:
        raise ProofUnavailable("root_mismatch", "a block without its transactions")


def require_committed(
    block: Mapping[str, Any], receipts: Sequence[Mapping[str, Any]], rule: CommitmentRule
) -> CommittedBlock | None:
    """Check that the header commits to the block's transactions and to just these receipts.

    Types of transactions that only their chain knows leave the transactions unchecked; each of ours
    is of a known one, and is hashed where it is read.

    Args:
        block: as ``eth_getBlockByNumber`` gives it with whole transactions.
        receipts: as ``eth_getBlockReceipts`` gives them.
        rule: what of these the header commits to.

    Returns:
        What proofs of its transactions can be taken from; None where some are unchecked.

    Raises:
        ProofUnavailable: it does not.
    """
    with reading("a block's transactions and receipts"):
        left_out = rule.left_out(node_quantity(block["number"]), node_data(block["hash"], 32))
        names = [entry["hash"] for entry in block["transactions"]]
        answered = [entry["transactionHash"] for entry in receipts]
        paired = _without(names, left_out) == _without(answered, left_out)
    if not paired:
        raise ProofUnavailable("root_mismatch", "receipts of other transactions than the block's")
    try:
        return committed_block(block, receipts, rule)
    except ProofUnavailable as unavailable:
        if unavailable.reason != "unknown_transaction_type":
            raise
    header_of(block)  # from here on its roots are what its name commits to
    with reading("a block's receipts"):
        answers = [
            entry for entry in receipts if node_data(entry["transactionHash"], 32) != left_out
        ]
    if build_list([encode_receipt(entry) for entry in answers]).root != _root(
        block, "receiptsRoot"
    ):
        raise ProofUnavailable("root_mismatch", "the header commits to other receipts")
    return None


def _without(names: Sequence[str], left_out: bytes | None) -> list[str]:
    return [name for name in names if node_data(name, 32) != left_out]


def _root(block: Mapping[str, Any], name: str) -> bytes:
    return node_data(block[name], 32)
