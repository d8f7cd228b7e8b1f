"""``evm.receipt/v1``: a transaction and its receipt at one index of a block, and what they say.

The receipt alone does not name its transaction, and the transaction alone does not say what became
of it; both paths, at the same index under one header, do. Whether that header is the chain's is a
question of the verifier's trust, not of this proof.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proofs import fields, trie
from proofs.errors import ProofUnavailable, Refused
from proofs.evm_effects import (
    CALL,
    OperationEvent,
    operations_in,
    require_event,
    require_operation,
    require_success,
)
from proofs.evm_form import CHECK, chain_id_of, hex_bytes, members, node_data, nodes, reading
from proofs.evm_header import MAX_BYTES, Header, header_of, read_header
from proofs.evm_receipts import CommitmentRule, Log, encode_receipt, read_receipt
from proofs.evm_transactions import encode_transaction, read_transaction
from proofs.trie_build import Trie, build_list

__all__ = [
    "CHAIN",
    "KIND",
    "TYPES",
    "CommittedBlock",
    "InclusionFacts",
    "build_receipt",
    "committed_block",
    "verify_receipt",
]

KIND: Final = "evm.receipt/v1"
#: Names of the checks of this kind alone.
CHAIN: Final = "evm-chain"
TYPES: Final = "evm-types-agree"
_MEMBERS: Final = ("chain", "header", "index", "receipt", "transaction")
#: No block has so many transactions; keys of the trie stay four bytes long.
_MAX_INDEX: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class InclusionFacts:
    """What a proof shows, all of it recomputed; addresses have 20 bytes, hashes 32."""

    chain: str
    header: Header
    index: int
    tx_hash: bytes
    sender: bytes
    nonce: int
    to: bytes | None
    value_wei: int
    data: bytes
    succeeded: bool
    logs: tuple[Log, ...]

    @property
    def operations(self) -> tuple[OperationEvent, ...]:
        """The events of operations that the transaction emitted."""
        return operations_in(self.logs)

    def claim(self) -> dict[str, Any]:
        """Return the facts in the form that a step's claim states them in."""
        return {
            "block": self.header.hash.hex(),
            "height": self.header.height,
            "index": self.index,
            "sender": self.sender.hex(),
            "succeeded": self.succeeded,
            "time_s": self.header.time_s,
            "tx": self.tx_hash.hex(),
        }

    def require_operation(self, wanted: OperationEvent) -> None:
        """Check that the transaction made this change of an operation's status.

        Raises:
            Refused: ``evm-status`` or ``evm-operation``.
        """
        require_success(self.succeeded)
        require_operation(self.operations, wanted)

    def require_event(
        self, contract: bytes, topics: Sequence[bytes | None], words: Mapping[int, bytes]
    ) -> None:
        """Check that the transaction emitted an event (see `evm_effects.require_event`).

        Raises:
            Refused: ``evm-status`` or ``evm-event``.
        """
        require_success(self.succeeded)
        require_event(self.logs, contract, topics, words)

    def require_call(self, to: bytes, value_wei: int, data: bytes | None) -> None:
        """Check that the transaction is this call or payment; ``data`` None is any data.

        Raises:
            Refused: ``evm-status`` or ``evm-call``.
        """
        require_success(self.succeeded)
        if (self.to, self.value_wei) != (to, value_wei) or data not in {None, self.data}:
            raise Refused(CALL, "the transaction is another call than the step's")


@dataclass(frozen=True, slots=True)
class CommittedBlock:
    """A block whose header commits to its transactions and receipts; proofs of all of them.

    Attributes:
        header_raw: the header's RLP.
        indexes: place of each transaction, by the name that the node gave it.
    """

    header_raw: bytes
    indexes: Mapping[bytes, int]
    transactions: Trie
    receipts: Trie

    def form(self, chain: str, tx_hash: bytes) -> dict[str, Any]:
        """Return the proof of a transaction; nobody may rely on it before it is verified.

        Args:
            chain: CAIP-2 name.

        Raises:
            ProofUnavailable: ``not_in_block``.
        """
        index = self.indexes.get(tx_hash)
        if index is None:
            raise ProofUnavailable("not_in_block", f"the block does not list {tx_hash.hex()}")
        key = trie.list_key(index)
        return {
            "kind": KIND,
            "chain": chain,
            "header": self.header_raw.hex(),
            "index": index,
            "transaction": [node.hex() for node in self.transactions.proof(key)],
            "receipt": [node.hex() for node in self.receipts.proof(key)],
        }


def committed_block(
    block: Mapping[str, Any],
    receipts: Sequence[Mapping[str, Any]],
    rule: CommitmentRule,
    raw: Mapping[int, bytes] | None = None,
) -> CommittedBlock:
    """Return a block of which proofs can be given.

    Args:
        block: as ``eth_getBlockByHash`` gives it with whole transactions.
        receipts: as ``eth_getBlockReceipts`` gives them.
        rule: what of these the header commits to.
        raw: bytes of transactions by index, for types that only their chain knows.

    Raises:
        ProofUnavailable: ``malformed_answer``, ``header_mismatch``, ``unknown_transaction_type``;
            ``root_mismatch`` where transactions or receipts do not make the root in the header.
    """
    header_raw = header_of(block)
    header = read_header(header_raw)
    with reading("a block's transactions and receipts"):
        left_out = rule.left_out(header.height, header.hash)
        listed = [(node_data(entry["hash"], 32), entry) for entry in block["transactions"]]
        answers = [(node_data(entry["transactionHash"], 32), entry) for entry in receipts]
    committed = [(name, entry) for name, entry in listed if name != left_out]
    raw = raw or {}
    texts = [encode_transaction(entry, raw.get(at)) for at, (_, entry) in enumerate(committed)]
    answered = [encode_receipt(entry) for name, entry in answers if name != left_out]
    return CommittedBlock(
        header_raw,
        {name: index for index, (name, _) in enumerate(committed)},
        _trie(texts, header.transactions_root, "transactions"),
        _trie(answered, header.receipts_root, "receipts"),
    )


def build_receipt(
    chain: str,
    block: Mapping[str, Any],
    receipts: Sequence[Mapping[str, Any]],
    tx_hash: bytes,
    rule: CommitmentRule,
    raw: Mapping[int, bytes] | None = None,
) -> dict[str, Any]:
    """Return the proof of a transaction of a block, verified; see `committed_block`.

    Args:
        chain: CAIP-2 name.

    Raises:
        ProofUnavailable: as there; ``not_in_block``; ``not_provable`` where it shows nothing.
    """
    proof = committed_block(block, receipts, rule, raw).form(chain, tx_hash)
    try:
        facts = verify_receipt(proof)
    except Refused as refused:
        raise ProofUnavailable("not_provable", str(refused)) from None
    if facts.tx_hash != tx_hash:
        raise ProofUnavailable("root_mismatch", "the proven transaction has another name")
    return proof


def verify_receipt(proof: Any) -> InclusionFacts:
    """Return what a proof of this kind shows.

    Raises:
        Refused: it shows nothing; the check says where it failed.
    """
    chain, header_text, index, receipt_path, transaction_path = members(proof, KIND, *_MEMBERS)
    chain_id = chain_id_of(chain)
    header = read_header(hex_bytes(header_text, most=MAX_BYTES))
    key = trie.list_key(fields.integer(CHECK, index, most=_MAX_INDEX))
    text = trie.verify_inclusion(header.transactions_root, key, nodes(transaction_path))
    answer = trie.verify_inclusion(header.receipts_root, key, nodes(receipt_path))
    transaction, receipt = read_transaction(text), read_receipt(answer)
    if transaction.chain_id != chain_id:
        raise Refused(CHAIN, f"the transaction is signed for chain {transaction.chain_id}")
    if receipt.kind != transaction.kind:
        raise Refused(TYPES, "receipt and transaction are of different types")
    return InclusionFacts(
        chain=chain,
        header=header,
        index=index,
        tx_hash=transaction.hash,
        sender=transaction.sender,
        nonce=transaction.nonce,
        to=transaction.to,
        value_wei=transaction.value_wei,
        data=transaction.data,
        succeeded=receipt.succeeded,
        logs=receipt.logs,
    )


def _trie(texts: Sequence[bytes], root: bytes, what: str) -> Trie:
    built = build_list(texts)
    if built.root != root:
        detail = f"the header commits to other {what}: these {len(texts)} make another root"
        raise ProofUnavailable("root_mismatch", detail)
    return built
