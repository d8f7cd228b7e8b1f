"""``evm.ancestor/v1``: which block was an ancestor of another, in one proof of constant size.

The chain itself keeps the hashes of the last 8191 blocks in the storage of a contract (EIP-2935).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proofs import fields
from proofs.errors import ProofUnavailable, Refused
from proofs.evm_account import account_at, account_path, storage_paths, word_at
from proofs.evm_effects import word
from proofs.evm_form import CHECK, chain_id_of, hex_bytes, members, nodes
from proofs.evm_header import MAX_BYTES, Header, header_of, read_header

__all__ = [
    "ANCESTOR",
    "CODE",
    "HISTORY_ADDRESS",
    "HISTORY_WINDOW",
    "KIND",
    "AncestorFacts",
    "ancestor_slots",
    "build_ancestor",
    "verify_ancestor",
]

KIND: Final = "evm.ancestor/v1"
#: Names of the checks of this kind alone.
ANCESTOR: Final = "evm-ancestor"
CODE: Final = "evm-history-code"

#: Where the history contract is, and for how many blocks it remembers.
HISTORY_ADDRESS: Final = bytes.fromhex("0000f90827f1c53a10cb7a02335b175320002935")
HISTORY_WINDOW: Final = 8191
#: Hash of the code in the EIP. Rings of other lengths have other code.
_HISTORY_CODE: Final = bytes.fromhex(
    "6e49e66782037c0555897870e29fa5e552daf4719552131a0abce779daec0a5d"
)


@dataclass(frozen=True, slots=True)
class AncestorFacts:
    """That the block ``hash`` at ``height`` is an ancestor of the block of ``header``."""

    chain: str
    header: Header
    height: int
    hash: bytes

    def claim(self) -> dict[str, Any]:
        """Return the facts in the form that a claim states them in."""
        return {
            "ancestor": self.hash.hex(),
            "ancestor_height": self.height,
            "block": self.header.hash.hex(),
            "height": self.header.height,
        }


def ancestor_slots(height: int) -> list[bytes]:
    """Return the slot of `HISTORY_ADDRESS` that holds the hash of the block at ``height``."""
    return [word(height % HISTORY_WINDOW)]


def build_ancestor(
    chain: str, block: Mapping[str, Any], answer: Mapping[str, Any], height: int
) -> dict[str, Any]:
    """Return the proof of which block is the ancestor at ``height``, verified.

    Args:
        block: the descendant, as ``eth_getBlockByNumber`` gives it.
        answer: as ``eth_getProof`` gives it for `HISTORY_ADDRESS`, `ancestor_slots` and it.

    Raises:
        ProofUnavailable: as `build_storage`; ``not_provable`` too where the chain has no EIP-2935.
    """
    (slot,) = storage_paths(answer)[:1]
    proof = {
        "kind": KIND,
        "chain": chain,
        "header": header_of(block).hex(),
        "ancestor": height,
        "account": account_path(answer),
        "slot": slot,
    }
    try:
        verify_ancestor(proof)
    except Refused as refused:
        raise ProofUnavailable("not_provable", str(refused)) from None
    return proof


def verify_ancestor(proof: Any) -> AncestorFacts:
    """Return what a proof of this kind shows.

    Raises:
        Refused: it shows nothing; the check says where it failed.
    """
    chain, header_text, height, account, slot = members(
        proof, KIND, "chain", "header", "ancestor", "account", "slot"
    )
    chain_id_of(chain)
    header = read_header(hex_bytes(header_text, most=MAX_BYTES))
    height = fields.integer(CHECK, height)
    if not 1 <= header.height - height <= HISTORY_WINDOW:
        raise Refused(ANCESTOR, f"no block from 1 to {HISTORY_WINDOW} before {header.height}")
    storage_root, code_hash = account_at(header, HISTORY_ADDRESS, nodes(account))
    if code_hash != _HISTORY_CODE:
        raise Refused(CODE, "the chain's history contract is not that of EIP-2935")
    value = word_at(storage_root, ancestor_slots(height)[0], nodes(slot))
    if value == 0:
        raise Refused(ANCESTOR, "the history contract holds nothing for this height")
    return AncestorFacts(chain, header, height, word(value))
