"""The state of a saga: values that `coordinator.saga.fold` derives from records, and nothing else.

States are never changed in place: a fold returns a new one that shares what did not change.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from json.encoder import encode_basestring as _quote
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from adapters.base import Attempt, Direction
from coordinator.journal.pauses import Pause

__all__ = [
    "Direction",
    "Effort",
    "SagaState",
    "Step",
    "operation_id",
    "saga_id32",
]


class Step(Struct, frozen=True):
    """What the plan fixed for one step; see ``started`` in coordinator/README.md."""

    id: str
    index: int
    chain: str
    action: Mapping[str, Any]
    effect_class: str
    confirm: bool
    undo: bool
    kill: tuple[str, ...]
    reveals: bool
    deliver: str | None
    unique_by: str
    wait_final: bool
    undo_ms: int
    confirm_ms: int
    fee_asset: str
    text: str
    confirm_text: str
    undo_text: str
    #: of its chain: blocks until an effect is final, the longest time between two, and whether
    #: evidence is "required" before pivot and decision, "wanted", or not asked for ("none").
    finality_blocks: int
    slow_ms: int
    proof: str
    #: of its chain: blocks that pass an attempt by before it is replaced by one that pays more;
    #: 0 where the plan knows of none.
    bump_blocks: int = 0
    #: the plan asks for more than the chain's own finality, which alone the adapter knows.
    deeper: bool = False

    @property
    def forward(self) -> bool:
        """Whether the step acts before the decision; retriable steps act only after it."""
        return self.effect_class != "retriable"

    @property
    def pivot(self) -> bool:
        """Whether the effect can not be taken back."""
        return self.effect_class == "pivot"


class Effort(Struct):
    """One step in one direction."""

    phase: str = "idle"
    generation: int = 1
    attempts: tuple[Attempt, ...] = ()
    #: SHA-256 of the hold's preimage, from the forward intent.
    hashlock: str | None = None
    revealed: bool = False
    revealed_ms: int = 0
    tx: str | None = None
    block: str | None = None
    height: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
    #: when the effect was first seen in a block, by the record's own time.
    executed_ms: int = 0
    #: the last record about this effort.
    updated_ms: int = 0
    reason: str | None = None
    claim_open: bool = False
    until_s: int = 0
    #: evidence of the present outcome: "" (none yet), "proved", or why there is none.
    proof: str = ""

    @property
    def killing(self) -> bool:
        """A burn or tombstone of the present generation is durable."""
        return any(
            attempt.generation == self.generation and attempt.purpose != "effect"
            for attempt in self.attempts
        )

    def copied(self) -> "Effort":
        """Return a new effort that shares every part with this one; for the fold alone."""
        return replace(self)

    def has(self, purpose: str) -> bool:
        """Whether the present generation holds an attempt of ``purpose``."""
        return any(
            attempt.generation == self.generation and attempt.purpose == purpose
            for attempt in self.attempts
        )


_IDLE = Effort()


class SagaState(Struct):
    """The fold of a saga's stream."""

    saga: str
    plan: Mapping[str, Any]
    steps: tuple[Step, ...]
    key: str
    digest: str
    deadline_s: int
    expiries: Mapping[str, Mapping[str, int]]
    clocks: Mapping[str, Mapping[str, int]]
    started_ms: int
    by_name: Mapping[str, Step]
    #: chains that its steps run on, sorted.
    chains: tuple[str, ...] = ()
    #: whether any chain of the plan asks for evidence.
    evidence: bool = False
    #: the plan's point of no return, if it has one.
    pivot: Step | None = None
    state: str = "running"
    seq: int = 0
    updated_ms: int = 0
    efforts: dict[tuple[str, str], Effort] = field(default_factory=dict)
    #: the operator's pause of this saga alone.
    pause: Pause | None = None
    stuck: Mapping[str, Any] | None = None
    #: of the newest alarm, for the verdicts that answer it.
    stuck_seq: int = 0
    asked: Mapping[str, Any] | None = None
    cause: Mapping[str, Any] | None = None
    verdicts: tuple[Mapping[str, Any], ...] = ()
    fees: Mapping[str, int] = field(default_factory=dict)
    #: step → outpoints that the first record reserved for its forward effect.
    coins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def effort(self, step: str, direction: str) -> Effort:
        """Return the effort, an idle one if it has no record yet."""
        return self.efforts.get((step, direction), _IDLE)

    def step(self, name: str) -> Step:
        """Return the step called ``name``; KeyError if the plan has none."""
        return self.by_name[name]

    @property
    def paused(self) -> bool:
        """Whether an operator paused this saga by itself."""
        return self.pause is not None

    @property
    def name(self) -> str:
        """The plan's name."""
        return str(self.plan["name"])

    def verdict(self, kind: str, step: str) -> Mapping[str, Any] | None:
        """Return the newest operator verdict of ``kind`` on ``step``."""
        verdict: Mapping[str, Any]
        for verdict in reversed(self.verdicts):
            if verdict["verdict"] == kind and verdict["step"] == step:
                return verdict
        return None

    def copied(self) -> "SagaState":
        """Return a new state that shares every part with this one; for the fold alone."""
        return replace(self)

    def cap_raised(self, step: str, direction: str) -> bool:
        """Whether an operator raised the step's fee cap after its newest attempt."""
        verdict = self.verdict("cap", step)
        if verdict is None or verdict["dir"] != direction:
            return False
        return int(verdict["args"]["attempts"]) >= len(self.effort(step, direction).attempts)

    def cap_pct(self, step: str) -> int:
        """Return by how much an operator's verdict scales the step's fee caps, in per cent."""
        verdict = self.verdict("cap", step)
        return int(verdict["args"]["pct"]) if verdict is not None else 100


@lru_cache(maxsize=1 << 11)
def operation_id(saga: str, step: str) -> str:
    """The 32 bytes (hex) that name a step on chain, in every direction and generation."""
    name = f'{{"op":1,"saga":{_quote(saga)},"step":{_quote(step)}}}'  # canonical JSON
    return hashlib.sha256(name.encode()).hexdigest()


@lru_cache(maxsize=1 << 12)
def saga_id32(saga: str) -> str:
    """The 32 bytes (hex) that stand for the saga itself on chain."""
    return hashlib.sha256(b"saga:" + saga.encode("ascii")).hexdigest()
