"""Everything that can be wrong with a simulated chain, and with the nodes in front of it."""

from dataclasses import dataclass, field

__all__ = ["Disturbance", "Node"]


@dataclass(slots=True)
class Disturbance:
    """What is wrong with a chain. The fields that hold sets name calls (`ledger.Ledger.refusal`).

    Attributes:
        paused: what a simulation sees; the contract's switch.
        reverting: what shows only in the block.
        stolen: another wallet with our keys consumes the claim of such a transaction first.
        stuck: kept out of blocks.
        skew_s: the chain's clock error.
        unprovable: no proof can be built.
        halted: no blocks come.
        slow: a block comes only each so many ticks.
        base_fee: what a block costs now; what pays less waits.
        relay_fee: what every pool wants now at least; below it nothing gets in.
        old_wins: miners take what was replaced, if it pays, in the place of what replaced it.
        room: how many transactions the pool holds; the cheapest are put out (None: all).
    """

    paused: set[str] = field(default_factory=set)
    reverting: set[str] = field(default_factory=set)
    stolen: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)
    skew_s: int = 0
    unprovable: bool = False
    halted: bool = False
    slow: int = 1
    base_fee: int = 0
    relay_fee: int = 0
    old_wins: bool = False
    room: int | None = None


@dataclass(slots=True)
class Node:
    """One node of a chain, and what is wrong with it.

    Attributes:
        lag: blocks that it is behind.
        lies: empty, or as final: ``denies`` (shows no effect), ``forges`` (shows effects that are
            not there), ``reverts`` (shows reverts that are not there).
        hangs: takes nothing and answers nothing.
        mute: takes what is sent and answers nothing to it.
    """

    lag: int = 0
    lies: str = ""
    hangs: bool = False
    mute: bool = False

    @property
    def honest(self) -> bool:
        return not (self.lag or self.lies or self.hangs or self.mute)

    def like(self, other: "Node") -> bool:
        """Whether both, if they answer, say the same."""
        return (self.lag, self.lies) == (other.lag, other.lies)
