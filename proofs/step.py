"""What binds evidence to a step, in the words that every chain's binding shares."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "ANCESTOR",
    "BLOCK",
    "CHAIN",
    "CLAIM",
    "DIRECTION",
    "EFFECT",
    "FORM",
    "KINDS",
    "STATE",
    "TX",
    "BlockRef",
    "StepContext",
    "StepEvidence",
]

#: Names of the checks, as proofs/README.md lists them.
FORM: Final = "step-form"
DIRECTION: Final = "step-direction"
KINDS: Final = "step-kinds"
CHAIN: Final = "step-chain"
TX: Final = "step-tx"
BLOCK: Final = "step-block"
CLAIM: Final = "step-claim"
EFFECT: Final = "step-effect"
STATE: Final = "step-state"
ANCESTOR: Final = "step-ancestor"


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a step's effect depends on beside its action; all of it stands in the saga's records.

    Attributes:
        deadline_s: decision deadline, Unix seconds. No check of an EVM effect needs it: a forward
            effect that is made again after the commit has a later one.
        expiry: the hold's absolute expiry, ``{"time": s}`` or ``{"height": n}``.
        forward: facts of the forward effect: of its intent, overlaid by those of its ``done``.
        hashlock: SHA-256 of the hold's preimage, 64 hex digits.
        claims: pairs of resource and value, as intents name what the effort's attempts consume,
            tombstones excepted. None where the transaction is bound to its claim already.
    """

    deadline_s: int = 0
    expiry: Mapping[str, Any] | None = None
    forward: Mapping[str, Any] | None = None
    hashlock: str | None = None
    claims: Collection[Any] | None = None


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A block that evidence rests on: hash (64 hex digits), height, time in Unix seconds."""

    hash: str
    height: int
    time_s: int


@dataclass(frozen=True, slots=True)
class StepEvidence:
    """What evidence shows of a step, once these blocks are trusted.

    Attributes:
        blocks: every one has to be the chain's by the verifier's own trust. Blocks that the
            evidence itself ties to one of these are left out.
        text: one line for people.
        state: the state of the operation by a storage proof: ``unused``, ``open``, ``released``,
            ``refunded`` or ``cancelled``; None without such a proof.
    """

    blocks: tuple[BlockRef, ...]
    text: str
    state: str | None
