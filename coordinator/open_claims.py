"""Claims that a tombstone left unused when their saga ended: whose, since when, what burns them.

Such a claim does its saga no harm any more, but every later transaction of its account waits behind
it until it is burnt. Everything here follows from records.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from coordinator.alarm import Notice
from coordinator.journal.base import Record, Streams
from coordinator.journal.reading import JournalReader
from coordinator.patience import patience_s
from coordinator.saga import Effort, SagaState, Step, fold, has_open_claims
from coordinator.saga.table import ENDS

__all__ = [
    "EndedWithOpenClaims",
    "OpenClaim",
    "ended_with_open_claims",
    "open_claims",
    "open_claims_of",
]


@dataclass(frozen=True, slots=True)
class OpenClaim:
    """One claim of an ended saga that nothing has consumed.

    Attributes:
        state: the saga's end.
        account, nonce: the claimed resource and its value.
        since_ms: host time at which the tombstone was final and the claim was not consumed.
        until_s: host time by which a burn should have consumed it; passing it alarms.
        burn: id of the durable self-spend that will consume it, None before there is one.
    """

    saga: str
    state: str
    step: str
    chain: str
    account: str
    nonce: int
    since_ms: int
    until_s: int
    burn: str | None

    @property
    def command(self) -> str:
        """The command that burns it, or sends its burn again."""
        return f"coordinator resume {self.saga}"

    @property
    def place(self) -> str:
        """What is claimed, in words."""
        return f"nonce {self.nonce} of {self.account} on {self.chain}"

    def sentence(self) -> str:
        """Say what is open, since when, and what will burn it."""
        since = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(self.since_ms // 1000))
        return (
            f"{self.place} is still claimed by the cancelled step {self.step} of saga "
            f"{self.saga}, since {since}; later transactions of the account wait behind it. "
            f"{self.way_on()}"
        )

    def way_on(self) -> str:
        """Say what will burn it."""
        if self.burn is not None:
            return f"Its burn {self.burn} is in no final block yet; sent again by: {self.command}"
        return f"Burnt, as soon as the account can pay for it, by: {self.command}"

    def notice(self) -> Notice:
        """Return what a person is told when its until-when has passed."""
        return Notice(
            self.saga,
            self.state,
            self.sentence(),
            f"can {self.account} pay for it, is {self.chain} moving, and is its fee cap above what "
            f"a block costs now? Then: {self.command}",
            self.until_s,
        )

    def view(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "step": self.step,
            "chain": self.chain,
            "account": self.account,
            "nonce": self.nonce,
            "since_ms": self.since_ms,
            "until_s": self.until_s,
            "burn": self.burn,
            "command": self.command,
        }


def ended_with_open_claims(reader: JournalReader) -> list[SagaState]:
    """Return the ended sagas of a journal whose tombstone left a claim that is still open."""
    return EndedWithOpenClaims().find(reader)


class EndedWithOpenClaims:
    """Finds them in one journal again and again: later calls read what is new or was open."""

    def __init__(self) -> None:
        self._position = 0
        #: streams whose claim was open, or that had not ended, when they were last read.
        self._streams: set[str] = set()

    def find(self, reader: JournalReader) -> list[SagaState]:
        """Return the folds of those that there are now."""
        newest = reader.last_position()
        self._streams.update(reader.streams_with_open_claims(self._position))
        self._position = newest
        found = []
        for stream in sorted(self._streams):
            state = fold(reader.read(stream))
            if not has_open_claims(state):
                self._streams.discard(stream)
            elif state.state in ENDS:
                found.append(state)
        return found


def open_claims_of(journal: Streams, state: SagaState) -> tuple[OpenClaim, ...]:
    """Return the open claims of a saga that has ended; reads its records only if it has any."""
    if state.state not in ENDS or not has_open_claims(state):
        return ()
    return open_claims(state, journal.read(f"saga:{state.saga}"))


def open_claims(state: SagaState, records: Sequence[Record]) -> tuple[OpenClaim, ...]:
    """Return the open claims of an ended saga, none of a live one: that has waits of its own.

    Args:
        records: the saga's stream, which ``state`` is the fold of.
    """
    if state.state not in ENDS:
        return ()
    found: list[OpenClaim] = []
    for step in state.steps:
        effort = state.effort(step.id, "forward")
        if effort.phase == "not_done" and effort.claim_open:
            found += _of_step(state, step, effort, records)
    return tuple(found)


def _of_step(
    state: SagaState, step: Step, effort: Effort, records: Sequence[Record]
) -> list[OpenClaim]:
    since_ms, until_s, burn = 0, 0, None
    for record in records:
        data = record.data
        if data.get("step") != step.id or data.get("dir") != "forward":
            continue
        if record.kind == "not_done" and data["claim_open"]:
            since_ms = since_ms or record.at_ms
        elif record.kind in ("not_done", "withdrawn"):
            since_ms = 0
        elif record.kind == "intent" and data["purpose"] == "burn":
            until_s, burn = data["until_s"], data["tx"]
    until_s = max(until_s, since_ms // 1000 + patience_s(step.slow_ms))
    claims = dict.fromkeys(
        claim
        for attempt in effort.attempts
        if attempt.purpose != "tombstone" and attempt.generation == effort.generation
        for claim in attempt.claim
    )
    return [
        OpenClaim(
            state.saga, state.state, step.id, step.chain, account, nonce, since_ms, until_s, burn
        )
        for account, nonce in claims
    ]
