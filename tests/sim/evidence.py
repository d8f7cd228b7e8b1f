"""What a run left behind, read without the coordinator: records as JSON, effects from blocks.

Shares no code with the engine: identities, kinds of effects and finality are worked out again.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

from msgspec import Struct

from tests.sim.chain import SimChain
from tests.sim.ledger import Effect, Receipt

__all__ = [
    "Evidence",
    "Hit",
    "Line",
    "SagaView",
    "Stamp",
    "all_hits",
    "attribute",
    "final_at",
    "op_id",
]

#: (action, direction) → kinds of effects that count for it on chain
KINDS = {
    ("lock", "forward"): {"lock"},
    ("lock", "confirm"): {"release"},
    ("lock", "undo"): {"refund"},
    ("hold", "forward"): {"hold"},
    ("hold", "confirm"): {"redeem"},
    ("hold", "undo"): {"refund"},
    ("mint", "forward"): {"mint"},
    ("mint", "confirm"): {"credit"},
    ("mint", "undo"): {"cancel"},
    ("transfer", "forward"): {"transfer"},
    ("transfer", "confirm"): {"transfer"},
    ("transfer", "undo"): {"transfer"},
    ("pay", "forward"): {"transfer"},
}


class Stamp(Protocol):
    @property
    def records(self) -> int: ...

    @property
    def heights(self) -> Mapping[str, int]: ...


@dataclass(slots=True)
class Evidence:
    """What a run left behind.

    Attributes:
        bodies: stored bytes of every record, in commit order.
        stamps: heights of all chains when the record of the same index was written.
        times: the same of the times of the newest blocks that a process could know by then; others
            may have replaced them since.
        raws: transaction id → stored bytes.
        starts: chain → balances before anything happened.
        preimages: (saga, step) → the preimage.
        shown: (stamp, "saga step") each time a preimage was handed to anything, and
            (stamp, "evidence of saga step") when that was asked for evidence, which needs none.
        logs: (records at that time, text).
        proofs: SHA-256 in hex → stored proof.
        births: heights of all chains when a process began.
        finality_broke: blocks that were final have been taken back; checks of timing are off.
    """

    bodies: Sequence[bytes]
    stamps: Sequence[Mapping[str, int]]
    times: Sequence[Mapping[str, int]]
    raws: Mapping[str, bytes]
    chains: Mapping[str, SimChain]
    starts: Mapping[str, Mapping[tuple[str, str], int]]
    preimages: Mapping[tuple[str, str], bytes]
    shown: Sequence[tuple[Stamp, str]]
    logs: Sequence[tuple[int, str]]
    proofs: Mapping[str, bytes]
    finality_broke: bool = False
    births: Sequence[Mapping[str, int]] = ()
    #: all bodies one after the other, for a search in all of them at once.
    text: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.text = b"\n".join(self.bodies)


class Line(Struct):
    position: int
    kind: str
    data: dict[str, Any]
    at_ms: int = 0


class Hit(Struct):
    """An effect in the canonical chain."""

    receipt: Receipt
    effect: Effect


@dataclass(slots=True)
class SagaView:
    """A saga's records and, once attributed, its effects on chain."""

    id: str
    lines: list[Line]
    plan: dict[str, Any]
    #: (step, direction) → effects on chain
    hits: dict[tuple[str, str], list[Hit]] = field(default_factory=dict)

    @property
    def closed(self) -> Line | None:
        return next((line for line in reversed(self.lines) if line.kind == "closed"), None)

    @property
    def state(self) -> str:
        return str(self.closed.data["state"]) if self.closed else "open"

    def decision(self) -> Line | None:
        return next((line for line in self.lines if line.kind == "decided"), None)

    def intents(self, step: str, direction: str) -> list[Line]:
        return [
            line
            for line in self.lines
            if line.kind == "intent" and line.data["step"] == step and line.data["dir"] == direction
        ]

    def last(self, kind: str, step: str, direction: str) -> Line | None:
        return next(
            (
                line
                for line in reversed(self.lines)
                if line.kind == kind and line.data["step"] == step and line.data["dir"] == direction
            ),
            None,
        )


def attribute(saga: SagaView, chains: Mapping[str, SimChain]) -> None:
    """Find every effect on chain that belongs to a step, from the blocks themselves."""
    for step in saga.plan["steps"]:
        chain = chains[step["chain"]]
        action = step["action"]["kind"]
        for direction in ("forward", "confirm", "undo"):
            kinds = KINDS.get((action, direction))
            if kinds is None:
                continue
            if chain.kind == "nonce" and action in {"lock", "hold", "mint"}:
                hits = _by_operation(chain, op_id(saga.id, step["id"]), kinds)
            elif action == "hold" and direction != "forward":
                created = [f"{hit.receipt.tx.tx_id}:0" for hit in saga.hits[step["id"], "forward"]]
                hits = [
                    hit
                    for hit in all_hits(chain)
                    if hit.effect.kind in kinds and hit.effect.ref in created
                ]
            else:
                hits = _by_claim(saga, chain, step, direction, kinds)
            saga.hits[step["id"], direction] = hits


def all_hits(chain: SimChain) -> Iterator[Hit]:
    for block in chain.blocks:
        for receipt in block.receipts:
            if receipt.ok:
                for effect in receipt.effects:
                    yield Hit(receipt, effect)


@lru_cache(maxsize=1 << 12)
def op_id(saga: str, step: str) -> str:
    text = json.dumps({"op": 1, "saga": saga, "step": step}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _by_operation(chain: SimChain, op_id: str, kinds: set[str]) -> list[Hit]:
    return [hit for hit in all_hits(chain) if hit.effect.kind in kinds and hit.effect.ref == op_id]


def _by_claim(
    saga: SagaView, chain: SimChain, step: Mapping[str, Any], direction: str, kinds: set[str]
) -> list[Hit]:
    claims = {
        (resource, value)
        for line in saga.intents(step["id"], direction)
        for resource, value in line.data["claim"]
    }
    action = step["action"]
    target = action["from"] if direction == "undo" else action["to"]
    if action["kind"] == "hold":
        target = "escrow"
    return [
        hit
        for hit in all_hits(chain)
        if hit.effect.kind in kinds
        and hit.effect.target == target
        and not claims.isdisjoint(hit.receipt.tx.claims)
    ]


def final_at(evidence: Evidence, chain: str, receipt: Receipt, heights: Mapping[str, int]) -> bool:
    return heights[chain] - receipt.height + 1 >= evidence.chains[chain].confirmations
