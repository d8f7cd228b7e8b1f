"""Evidence from EVM chains: one door to the proofs of each kind.

=================== ==============================================================================
kind                what it shows
=================== ==============================================================================
``evm.receipt/v1``  a transaction at an index of a block, who signed it, what became of it
``evm.storage/v1``  the state of an operation of our contracts at the end of a block
``evm.ancestor/v1`` which block is the ancestor of another at a height
=================== ==============================================================================
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from proofs import evm_ancestor, evm_inclusion, evm_storage
from proofs.errors import Refused
from proofs.evm_ancestor import AncestorFacts, verify_ancestor
from proofs.evm_form import CHECK
from proofs.evm_inclusion import InclusionFacts, verify_receipt
from proofs.evm_storage import StorageFacts, verify_storage

__all__ = ["CLAIM", "KINDS", "Facts", "check_claim", "verify"]

Facts: TypeAlias = InclusionFacts | StorageFacts | AncestorFacts

#: Name of the check that refuses a claim which says other than its proof.
CLAIM: Final = "evm-claim"
#: The verifier of each kind.
KINDS: Final[Mapping[str, Callable[[Any], Facts]]] = {
    evm_inclusion.KIND: verify_receipt,
    evm_storage.KIND: verify_storage,
    evm_ancestor.KIND: verify_ancestor,
}


def verify(proof: Any) -> Facts:
    """Return what a proof shows.

    Raises:
        Refused: it shows nothing, or is of no kind here.
    """
    kind = proof.get("kind") if isinstance(proof, Mapping) else None
    verifier = KINDS.get(kind) if isinstance(kind, str) else None
    if verifier is None:
        raise Refused(CHECK, f"the kind is none of {', '.join(KINDS)}")
    return verifier(proof)


def check_claim(facts: Facts, claim: Any) -> None:
    """Check that a step's claim says exactly what its proof shows.

    Raises:
        Refused: ``evm-claim``, naming what differs.
    """
    shown = facts.claim()
    if not isinstance(claim, Mapping) or set(claim) != set(shown):
        raise Refused(CLAIM, f"a claim has exactly {', '.join(shown)}")
    # False == 0 in Python, and a claim that says 0 is no claim that says false.
    other = [
        name
        for name, value in shown.items()
        if claim[name] != value or type(claim[name]) is not type(value)
    ]
    if other:
        raise Refused(CLAIM, f"the claim differs from its proof in {', '.join(other)}")
