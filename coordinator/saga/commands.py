"""What a decision consists of: commands to carry out now, and waits."""

from collections.abc import Mapping

from msgspec import Struct

from adapters.base import ChainClock
from coordinator.journal.base import Entry
from coordinator.journal.pauses import NO_PAUSES, Pauses
from coordinator.saga.state import Direction, Step

__all__ = [
    "Act",
    "Append",
    "Command",
    "Decision",
    "Deliver",
    "Draft",
    "Now",
    "Prove",
    "Send",
    "Wait",
]


class Now(Struct, frozen=True):
    """What decides beside the records: the host's time, each chain's own (absent while a chain was
    never reached), and what operators hold back.
    """

    host_ms: int
    chains: Mapping[str, ChainClock]
    pauses: Pauses = NO_PAUSES
    #: (chain, account) → why it begins nothing that its own nonces or coins alone make unique.
    halts: Mapping[tuple[str, str], str] = {}

    @property
    def host_s(self) -> int:
        """Host time in whole Unix seconds."""
        return self.host_ms // 1000


class Append(Struct, frozen=True):
    """Write these records together."""

    entries: tuple[Entry, ...]


class Act(Struct, frozen=True):
    """Prepare an attempt, make it durable, send it. ``kill`` stands for burn or tombstone.

    ``again``: what is out may still land; one under the same claim that pays more is wanted.
    """

    step: Step
    direction: Direction
    kill: bool = False
    again: bool = False


class Send(Struct, frozen=True):
    """Send stored bytes again, if due: what makes the effect, or (``kill``) what ends it."""

    step: Step
    direction: Direction
    kill: bool = False


class Deliver(Struct, frozen=True):
    """Put the preimage on the plan's channel again; the reveal intent is durable."""

    step: Step


class Prove(Struct, frozen=True):
    """Get evidence of an outcome that is final; nothing that must be done waits for it."""

    step: Step
    direction: Direction


class Wait(Struct, frozen=True):
    """Why nothing else can be done, until when that is expected, and what ends it."""

    reason: str
    until_s: int
    step: str | None = None
    direction: Direction | None = None
    #: look again when the chain reaches this height.
    chain: str | None = None
    height: int = 0
    #: look again at this host time, before ``until_s``.
    look_s: int = 0
    #: ``until_s`` is a point of no delay: its alarm is not muted by an earlier one; the next such
    #: point is ``next_s`` (0: none).
    urgent: bool = False
    next_s: int = 0
    #: it may not begin, by an operator or for what nobody explains; ``reason`` says why.
    held: bool = False
    #: for evidence alone: the outcome itself is final, and nobody's to decide.
    proof: bool = False


Command = Append | Act | Send | Deliver | Prove


class Decision(Struct, frozen=True):
    """Commands to carry out now (they do not wait for each other), and what is waited for."""

    commands: tuple[Command, ...] = ()
    waits: tuple[Wait, ...] = ()


class Draft:
    """Collects the parts of a decision."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.waits: list[Wait] = []

    def done(self) -> Decision:
        """Return the decision as collected."""
        return Decision(tuple(self.commands), tuple(self.waits))
