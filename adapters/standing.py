"""What is known of one node, and whether it is set aside. Pure: time is an argument.

A node that does not answer rests, longer each time it fails in vain; one that asks for a pause gets
it; one that is far behind the others, or serves another chain, is set aside until it shows
otherwise. Nodes that are set aside stay in the count of which a majority is needed.
"""

import math
from dataclasses import dataclass
from enum import Enum
from typing import Final

from adapters.errors import Busy, WrongChain

__all__ = ["Pace", "Standing", "State"]

#: First rest after trouble; it doubles while the trouble lasts.
_REST_S: Final = 1.0
_REST_MAX_S: Final = 60.0
#: Blocks and seconds that a healthy node may lack: it hears of blocks a little later.
_LAG_BLOCKS_MIN: Final = 3
_LAG_S_MIN: Final = 60
_SLOW_BLOCKS: Final = 10
#: After a long pause of the chain the newest block alone is much later; a node may miss it so long.
_GRACE_S: Final = 10.0
#: One that showed what a majority contradicts is asked after all others for so long.
_SUSPECT_S: Final = 3600.0


class State(Enum):
    """How a node stands; the values are words for people."""

    NEW = "not asked yet"
    WELL = "well"
    AWAY = "away"
    BUSY = "busy"
    BEHIND = "behind"
    FOREIGN = "on another chain"
    ASTRAY = "on another branch than the majority"


@dataclass(frozen=True, slots=True)
class Pace:
    """How far a node of a chain may be behind the others before it is set aside."""

    blocks: int = _LAG_BLOCKS_MIN
    seconds: int = _LAG_S_MIN

    @classmethod
    def of(cls, fast_ms: int, slow_ms: int) -> "Pace":
        """Derive it from the time between blocks, at best and at worst."""
        seconds = max(_LAG_S_MIN, _SLOW_BLOCKS * slow_ms // 1000)
        # As many as a fast chain makes while a healthy node hears of them.
        return cls(max(_LAG_BLOCKS_MIN, 10_000 // max(1, fast_ms)), seconds)


@dataclass(slots=True)
class Standing:
    """One node's standing.

    Attributes:
        label: scheme, host and port; never more of the address.
        trouble: the newest trouble, for people; kept after it is over.
        failed_s: monotonic time of the newest trouble.
        rest_until_s: monotonic time until which it is asked last.
        hold_until_s: monotonic time until which it is not asked at all, by its own wish.
        height, time_s: its newest block as it told last.
        lag_blocks, lag_s: how far that is behind the other nodes.
    """

    label: str
    state: State = State.NEW
    trouble: str = ""
    fails: int = 0
    failed_s: float = 0.0
    rest_until_s: float = 0.0
    hold_until_s: float = 0.0
    height: int | None = None
    time_s: int = 0
    lag_blocks: int = 0
    lag_s: int = 0
    late_since_s: float | None = None
    suspect_until_s: float = 0.0

    @property
    def aside(self) -> bool:
        """Whether its answers and its vote do not count."""
        return self.state in (State.BEHIND, State.FOREIGN)

    def held(self, now_s: float) -> bool:
        """Tell whether it asked not to be asked now."""
        return now_s < self.hold_until_s

    def rests(self, now_s: float) -> bool:
        """Tell whether others are asked before it."""
        return now_s < max(self.rest_until_s, self.hold_until_s)

    def suspect(self, now_s: float) -> bool:
        """Tell whether a majority contradicted it not long ago."""
        return now_s < self.suspect_until_s

    def contradicted(self, what: str, now_s: float) -> None:
        """A majority shows something else than it does."""
        self.suspect_until_s = now_s + _SUSPECT_S
        self.trouble = f"{self.label} shows {what}, which a majority of the nodes contradicts"

    def answered(self, asked_s: float = math.inf) -> None:
        """It answered a question that was asked then; if it failed since, that stands."""
        if asked_s < self.failed_s:
            return
        self.fails, self.rest_until_s, self.hold_until_s = 0, 0.0, 0.0
        if self.state not in (State.BEHIND, State.ASTRAY):
            self.state = State.WELL

    def failed(self, error: BaseException, now_s: float) -> None:
        """It did not answer, or shows another chain."""
        self.trouble, self.failed_s = str(error), now_s
        if (
            now_s >= self.rest_until_s
        ):  # questions that were on their way fail together, and count once
            self.rest_until_s = now_s + min(_REST_S * 2 ** min(self.fails, 10), _REST_MAX_S)
            self.fails += 1
        if isinstance(error, WrongChain):
            self.state = State.FOREIGN
        elif isinstance(error, Busy):
            self.hold_until_s = now_s + (error.wait_s or 0.0)
            self._unless_aside(State.BUSY)
        else:
            self._unless_aside(State.AWAY)

    def _unless_aside(self, state: State) -> None:
        if not self.aside:
            self.state = state

    def showed(self, height: int, time_s: int) -> None:
        """It told its newest block."""
        self.height, self.time_s = height, time_s

    def compared(self, height: int, time_s: int, pace: Pace, now_s: float) -> None:
        """Hold its newest block against that of the others: set it aside, or take it back."""
        assert self.height is not None, "it showed no block yet"
        self.lag_blocks = max(0, height - self.height)
        self.lag_s = max(0, time_s - self.time_s) if self.lag_blocks else 0
        if self.lag_s <= pace.seconds:
            self.late_since_s = None
        elif self.late_since_s is None:
            self.late_since_s = now_s
        late = self.late_since_s is not None and now_s - self.late_since_s >= _GRACE_S
        if self.lag_blocks > pace.blocks or late:
            if self.state is not State.FOREIGN:
                self.state = State.BEHIND
                self.trouble = f"{self.label} is {self.lag_blocks} blocks, {self.lag_s} s behind"
        elif self.state is State.BEHIND and self.late_since_s is None:
            self.state = State.WELL

    def word(self, now_s: float) -> str:
        """Return its state in a word or two."""
        return "contradicted" if self.suspect(now_s) and not self.aside else self.state.value

    def sentence(self, now_s: float) -> str:
        """Describe it in one line: state, newest block, lag, rest, newest trouble."""
        parts = [f"node {self.label} is {self.word(now_s)}"]
        if self.height is not None:
            lag = f", {self.lag_blocks} blocks and {self.lag_s} s behind" if self.lag_blocks else ""
            parts.append(f"at height {self.height}{lag}")
        if self.rests(now_s):
            rest_s = max(self.rest_until_s, self.hold_until_s) - now_s
            parts.append(f"rests {rest_s:.0f} s more")
        if self.trouble:
            over = self.state is State.WELL and not self.suspect(now_s)
            known = "was: " if over else ""
            parts.append(f"{known}{self.trouble}")
        return "; ".join(parts)
