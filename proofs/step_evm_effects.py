"""What a proven transaction can show of a step on an EVM chain."""

from dataclasses import dataclass
from typing import Any, TypeAlias

from proofs import evm_abi
from proofs.errors import Refused
from proofs.evm_effects import OperationEvent, OperationTerms
from proofs.evm_inclusion import InclusionFacts
from proofs.evm_receipts import Log

__all__ = ["Effect", "EventMatch", "OperationEffect", "TransactionEffect", "absent"]


@dataclass(frozen=True, slots=True)
class EventMatch:
    """An event that ``contract`` has to emit: all its topics (None: any) and some parameters.

    ``words`` are values by their place among the parameters that are no topics.
    """

    contract: bytes
    topics: tuple[bytes | None, ...]
    shapes: tuple[evm_abi.Shape, ...]
    words: tuple[tuple[int, Any], ...]

    def shown_by(self, log: Log) -> bool:
        """Tell whether a log is this event."""
        if log.address != self.contract or len(log.topics) != len(self.topics):
            return False
        pairs = zip(self.topics, log.topics, strict=True)
        if any(want is not None and want != have for want, have in pairs):
            return False
        return all(evm_abi.shown_in(log.data, self.shapes, at, want) for at, want in self.words)


@dataclass(frozen=True, slots=True)
class TransactionEffect:
    """An effect that only a transaction of ``payer`` under the step's claim can carry.

    Without an event the call itself is the effect: its target, value and data (None: any data,
    as for coins, which are what the value is).
    """

    payer: bytes
    to: bytes
    value_wei: int
    data: bytes | None
    event: EventMatch | None
    text: str


@dataclass(frozen=True, slots=True)
class OperationEffect:
    """A change of an operation's status, whoever caused it.

    ``payer`` signs our own attempts; ``code_hash`` is what the plan pins of the contract.
    """

    payer: bytes
    event: OperationEvent
    terms: OperationTerms
    code_hash: bytes | None
    text: str


Effect: TypeAlias = TransactionEffect | OperationEffect


def absent(effect: Effect, facts: InclusionFacts) -> str | None:
    """Say why a transaction does not carry an effect; None where it does."""
    if not facts.succeeded:
        return "the transaction reverted, so it had no effect"
    if isinstance(effect, OperationEffect):
        try:
            facts.require_operation(effect.event)
        except Refused as refused:
            return refused.reason
        return None
    if effect.event is not None:
        shown = any(effect.event.shown_by(log) for log in facts.logs)
        return None if shown else "the transaction did not emit the declared event"
    try:
        facts.require_call(effect.to, effect.value_wei, effect.data)
    except Refused as refused:
        return refused.reason
    return None
