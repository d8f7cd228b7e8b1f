"""The state of a saga as its records tell it: values, and nothing that changes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proofs.saga_plan import Step

__all__ = ["ENDS", "LIVE", "Attempt", "Course", "Effort"]

LIVE: Final = frozenset({"running", "confirming", "undoing"})
ENDS: Final = frozenset({"committed", "rolled_back", "closed_by_operator"})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One intent: stored bytes that may have been sent from here on."""

    seq: int
    generation: int
    purpose: str
    tx: str
    claim: frozenset[tuple[str, int]]
    facts: Mapping[str, Any]


@dataclass(slots=True)
class Effort:
    """One step in one direction."""

    phase: str = "idle"
    generation: int = 1
    attempts: list[Attempt] = field(default_factory=list)
    hashlock: str | None = None
    revealed: bool = False
    #: the present outcome, or where the effect was last seen.
    tx: str | None = None
    block: str | None = None
    height: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
    #: number of the record of the outcome; 0 without one.
    outcome_seq: int = 0
    #: when the effect was first seen in a block, as the writer said.
    executed_ms: int = 0
    #: it was ``done`` at some time, whatever came of it.
    was_done: bool = False
    #: ``proved``, or the reason why there is no proof of the present outcome; empty: none yet.
    proof: str = ""
    #: names and kinds of the proofs of the present outcome, and the record's data.
    evidence: Mapping[str, Any] | None = None
    claim_open: bool = False

    @property
    def settled(self) -> bool:
        """Whether its outcome is final now."""
        return self.phase in {"done", "not_done"}

    def forget(self) -> None:
        """Drop what a block had shown: that block is gone, or counts no more."""
        self.tx = self.block = None
        self.height, self.facts, self.executed_ms, self.outcome_seq = 0, {}, 0, 0
        self.proof, self.evidence = "", None


@dataclass(slots=True)
class Course:
    """The state after some records; `saga_course.apply` changes it, one object is one telling."""

    started: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    by_name: Mapping[str, Step] = field(default_factory=dict)
    state: str = ""
    seq: int = 0
    efforts: dict[tuple[str, str], Effort] = field(default_factory=dict)
    decision: str = ""
    cause: Mapping[str, Any] | None = None
    asked: bool = False
    verdicts: list[Mapping[str, Any]] = field(default_factory=list)
    fees: dict[str, int] = field(default_factory=dict)

    @property
    def saga(self) -> str:
        """The saga's id."""
        return str(self.started["saga"])

    @property
    def pivot(self) -> Step | None:
        """The step that can not be taken back, if the plan has one."""
        return next((step for step in self.steps if step.pivot), None)

    def effort(self, step: str, direction: str) -> Effort:
        """Return the effort; one that no record has is idle."""
        return self.efforts.get((step, direction)) or Effort()

    def has_verdict(self, verdict: str, step: str) -> bool:
        """Whether a person ruled so on the step."""
        return any(v["verdict"] == verdict and v["step"] == step for v in self.verdicts)

    @property
    def given_up(self) -> bool:
        """Whether a person gave value up: then the end is the operator's."""
        return any(v["verdict"] in {"write_off", "reclaim"} for v in self.verdicts)
