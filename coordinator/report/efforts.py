"""One effort (a step in one direction) as a report tells it: values, made by `tracing`."""

from dataclasses import dataclass

__all__ = ["AttemptFacts", "EffortFacts", "Evidence", "Incident", "Segment", "UndoFacts"]


@dataclass(frozen=True, slots=True)
class AttemptFacts:
    """One durable intent, or the reveal of a preimage (``purpose`` reveal, no transaction)."""

    seq: int
    at_ms: int
    tx: str | None
    purpose: str
    generation: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A span of the timeline: ``sent`` until a block has it, ``block`` until that is final.

    ``until_ms`` None: it had not ended with the last record.
    """

    kind: str
    from_ms: int
    until_ms: int | None


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that happened at once: included, final, failed, orphaned, withdrawn."""

    kind: str
    at_ms: int
    seq: int
    text: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Proof of the present outcome.

    Attributes:
        status: ``proved``, ``unproved`` (``reason`` says why), ``missing`` (asked for, and the
            records have neither proof nor reason yet), ``not asked`` (by the plan), ``nothing``
            (no transaction to prove).
        proofs: (kind, SHA-256) of each.
    """

    status: str
    proofs: tuple[tuple[str, str], ...] = ()
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class UndoFacts:
    """What the record of an undo says (SYSTEMS.md A)."""

    executed_ms: int
    undone_ms: int
    reason: str
    cause: str
    result: str

    @property
    def delay_ms(self) -> int:
        """How long the effect stood, by the coordinator's clock."""
        return self.undone_ms - self.executed_ms


@dataclass(frozen=True, slots=True)
class EffortFacts:
    """One effort as it is now, and how it came there.

    Attributes:
        phase: see `coordinator.saga.table.PHASES`.
        included_ms, final_ms: when the coordinator saw the present outcome in a block, and final.
        block_s: time in that block's header, Unix seconds: the chain's word, not ours.
        outcome_seq: number of the record that says how it ended; 0 while none does.
        fee: what it cost us so far as its present outcome says, base units of ``fee_asset``.
        failure: why it is not done.
    """

    step: str
    chain: str
    direction: str
    phase: str
    text: str
    attempts: tuple[AttemptFacts, ...]
    tx: str | None
    block: str | None
    height: int
    included_ms: int | None
    final_ms: int | None
    block_s: int | None
    outcome_seq: int
    fee: int
    fee_asset: str
    fee_decimals: int
    failure: str | None
    evidence: Evidence
    undo: UndoFacts | None
    segments: tuple[Segment, ...]
    incidents: tuple[Incident, ...]

    @property
    def intent_ms(self) -> int | None:
        """When its first intent was durable; from then on it counts as sent."""
        return self.attempts[0].at_ms if self.attempts else None

    @property
    def intents(self) -> tuple[AttemptFacts, ...]:
        """Return the attempts that have a transaction."""
        return tuple(attempt for attempt in self.attempts if attempt.tx is not None)

    @property
    def took_ms(self) -> int | None:
        """From the first intent to the final block, by the coordinator's clock."""
        if self.intent_ms is None or self.final_ms is None:
            return None
        return self.final_ms - self.intent_ms
