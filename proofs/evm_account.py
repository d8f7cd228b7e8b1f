"""Accounts and words of storage under the state root of a header (EIP-1186)."""

from collections.abc import Mapping, Sequence
from typing import Any

from proofs import rlp, trie
from proofs.evm_form import node_data, reading
from proofs.evm_header import Header
from proofs.keccak import keccak256

__all__ = ["account_at", "account_path", "storage_paths", "word_at"]


def account_at(header: Header, address: bytes, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return storage root and code hash of an account that exists under the header's state.

    Raises:
        Refused: the path does not show that.
    """
    leaf = trie.verify_inclusion(header.state_root, keccak256(address), path)
    nonce, balance, storage_root, code_hash = rlp.list_of(rlp.decode(leaf), least=4, most=4)
    rlp.number_of(nonce)
    rlp.number_of(balance)
    return rlp.string_of(storage_root, 32), rlp.string_of(code_hash, 32)


def word_at(storage_root: bytes, slot: bytes, path: Sequence[bytes]) -> int:
    """Return a word of storage; one that is absent is zero.

    Public chains keep no zero; anvil does, and its roots commit to it, so it may be there too.

    Raises:
        Refused: the path does not show what the slot holds.
    """
    leaf = trie.lookup(storage_root, keccak256(slot), path)
    return 0 if leaf is None else rlp.number_of(rlp.decode(leaf))


def account_path(answer: Mapping[str, Any]) -> list[str]:
    """Return the account's nodes in an answer of ``eth_getProof``, as hex.

    Raises:
        ProofUnavailable: ``malformed_answer``.
    """
    with reading("an account's proof"):
        return [node_data(node).hex() for node in answer["accountProof"]]


def storage_paths(answer: Mapping[str, Any]) -> list[list[str]]:
    """Return the nodes of each slot in an answer of ``eth_getProof``, at least one slot, as hex.

    Raises:
        ProofUnavailable: ``malformed_answer``.
    """
    with reading("a storage proof"):
        entries = [[node_data(node).hex() for node in at["proof"]] for at in answer["storageProof"]]
        if not entries:
            raise ValueError("no slot was proven")
        return entries
