"""Broken: what a stranger is shown, and what a verifier believes (R6, R8, R10)."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, broken

__all__ = ["EVIDENCE"]

_BUNDLE: Final = "tests/unit/test_proofs_bundle.py"
_LOG: Final = "tests/unit/test_proofs_log.py"
_SIGNED: Final = "tests/unit/test_proofs_checkpoint.py"
_SPV: Final = "tests/unit/test_proofs_bitcoin.py"
_STEP: Final = "tests/unit/test_proofs_step_evm.py"
_RULES: Final = "tests/unit/test_proofs_saga_rules.py"
_TRIE: Final = "tests/unit/test_proofs_trie.py"
_NO: Final = "DID NOT RAISE .*Refused"

EVIDENCE: Final[tuple[Mutant, ...]] = (
    broken(
        "proof of another block accepted",
        "R8",
        f"{_STEP}::test_a_record_that_says_other_than_its_proof_is_refused",
        "assert None == 'step-block'",
        "proofs.step_evm",
        "if receipt.header.hash != outcome.block:",
        "if not outcome.block:",
    ),
    broken(
        "proof of another transaction accepted",
        "R8",
        f"{_STEP}::test_the_proof_of_another_transaction_of_the_same_block_is_refused",
        "assert 'step-block' == 'step-tx'",
        "proofs.step_evm",
        "if receipt.tx_hash != outcome.tx:",
        "if not outcome.tx:",
    ),
    broken(
        "a claim of another account counts",
        "§3 outcomes",
        f"{_STEP}::test_an_equal_effect_in_a_transaction_of_another_account_is_another_payment",
        r"assert None in \{'step-",
        "proofs.step_evm",
        "if receipt.sender != effect.payer:",
        "if not receipt.sender:",
    ),
    broken(
        "a reverted transaction is done",
        "§3 outcomes",
        "tests/unit/test_proofs_evm_receipts.py::test_a_reverted_receipt_shows_no_effect",
        "assert 'evm-operation' == 'evm-status'",
        "proofs.evm_effects",
        "    if not succeeded:\n",
        "    if False:\n",
    ),
    broken(
        "a trie's nodes are not hashed",
        "R8",
        f"{_TRIE}::test_a_proof_under_another_root_is_refused",
        "assert None == 'trie-hash'",
        "proofs.trie",
        "if keccak256(node) != wanted:",
        "if not wanted:",
    ),
    broken(
        "surplus nodes are let through",
        "R8",
        f"{_TRIE}::test_a_surplus_node_is_refused",
        "assert None == 'trie-surplus'",
        "proofs.trie",
        "if len(steps) != len(proof):",
        "if len(steps) > len(proof):",
    ),
    broken(
        "a block is not tied to its transactions",
        "R8",
        f"{_SPV}::test_an_edited_transaction_is_refused",
        _NO,
        "proofs.bitcoin",
        "if fold(tx.txid, index, branch) != block.merkle_root:",
        "if False:",
    ),
    broken(
        "an inner node passes as a transaction",
        "R8",
        f"{_SPV}::test_a_transaction_below_a_leaf_of_64_bytes_is_refused_by_the_coinbases_depth",
        _NO,
        "proofs.bitcoin",
        "if len(branch) != len(coinbase_branch):",
        "if False:",
    ),
    broken(
        "too few confirmations suffice",
        "§7 quorum",
        "tests/unit/test_proofs_bitcoin_headers.py::test_too_few_confirmations_are_refused",
        _NO,
        "proofs.bitcoin_headers",
        "if confirmations < policy.confirmations:",
        "if False:",
    ),
    broken(
        "a log may be rewritten",
        "R6",
        f"{_LOG}::test_a_rewritten_log_does_not_begin_with_the_old_one",
        _NO,
        "proofs.log",
        "if (older, newer) != (old_root, new_root):",
        "if newer != new_root:",
    ),
    broken(
        "a record is not tied to its log",
        "R6",
        f"{_LOG}::test_every_leaf_of_every_small_tree_is_at_its_own_place_only",
        _NO,
        "proofs.log",
        "    if node != root:\n",
        "    if not root:\n",
    ),
    broken(
        "anybody signs the log",
        "R6",
        f"{_SIGNED}::test_a_signature_copied_from_another_checkpoint_is_refused",
        _NO,
        "proofs.checkpoint",
        "if recover(digest_of(note.text), lines[0].signature) != address:",
        "if not lines:",
    ),
    broken(
        "a head of another log counts",
        "R6",
        f"{_SIGNED}::test_a_checkpoint_of_another_log_is_refused",
        _NO,
        "proofs.checkpoint",
        "if checkpoint.origin != origin:",
        "if not checkpoint.origin:",
    ),
    broken(
        "value given up by one person passes the audit",
        "§3 verdicts",
        f"{_RULES}::test_value_given_up_by_one_person_is_told_as_that_and_not_as_a_wrong_end",
        "assert 'by the word of one person' in",
        "proofs.saga_order",
        "if len(persons) < 2:",
        "if not persons:",
    ),
    broken(
        "an undo out of order passes the audit",
        "§3.6",
        f"{_RULES}::test_a_broken_history_is_refused_by_the_rule_it_breaks[undone_in_forward_order]",
        "assert 'undo-order' in",
        "proofs.saga_order",
        "if later.forward and not _taken_back(course, later):",
        "if False:",
    ),
    broken(
        "an effect without intent passes the audit",
        "R1",
        f"{_RULES}::test_a_broken_history_is_refused_by_the_rule_it_breaks[no_intent]",
        "assert 'intents' in",
        "proofs.saga_intents",
        "if not effort.attempts and not effort.revealed:",
        "if False:",
    ),
    broken(
        "one transaction serves two efforts",
        "R2",
        f"{_RULES}::test_a_broken_history_is_refused_by_the_rule_it_breaks[one_transaction_for_lock_and_refund]",
        "assert 'one-effect' in",
        "proofs.saga_intents",
        "for other in sorted(served - {key}):",
        "for other in ():",
    ),
    broken(
        "a preimage in a bundle is not noticed",
        "R9",
        f"{_BUNDLE}::test_a_preimage_in_a_record_before_its_reveal_is_refused",
        r"assert 'secrets\.preimages' in \[",
        "proofs.bundle_secrets",
        "if hashlib.sha256(window).hexdigest() in early:",
        "if False:",
    ),
    broken(
        "evidence of what is no more is recorded",
        "R10",
        "tests/unit/test_proving.py::test_an_answer_about_another_outcome_is_dropped",
        r"assert \(\[Entry\(kind=.* == \(\[\], \[\]\)",
        "coordinator.proving",
        "if got.outcome != (effort.tx, effort.block):",
        "if not got.outcome:",
    ),
)
