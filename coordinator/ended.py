"""Ended sagas, watched until their blocks are buried: finality that breaks opens them again.

What is kept of an ended saga is the names of what concerns it, and how far each of its chains has
to come. A reorganisation that touches one of those names has the saga folded and looked at once
more: what it had counted on and is gone becomes ``withdrawn`` after a record ``reopened``, and it
is driven again in its direction (DESIGN.md §3.7). What a person ended stays so: there, what is gone
is an alarm for as long as it is gone.
"""

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from coordinator.alarm import Notice
from coordinator.saga import SagaState
from coordinator.saga.table import ENDS

if TYPE_CHECKING:
    from coordinator.live import Live
    from coordinator.runner import Runner

__all__ = ["REOPENS", "EndedSagas"]

#: Ends that the protocol may take back; what a person ended, a person ended.
REOPENS: Final = frozenset({"committed", "rolled_back"})
#: A saga is watched until its last block is this many finality periods below the newest.
_BURIED_FINALITIES: Final = 3
#: Records that were written together may be this far out of the order of their times.
_DISORDER_MS: Final = 60_000


class _Watched(Struct):
    """The names that concern an ended saga, chain → height at which it is buried there, and where
    its chains were when it began.
    """

    keys: set[str]
    until: dict[str, int]
    clocks: Mapping[str, Mapping[str, int]]


class EndedSagas:
    """What this process watches of sagas that have ended."""

    def __init__(self, runner: "Runner") -> None:
        self._runner = runner
        self._watched: dict[str, _Watched] = {}
        self._by_key: dict[str, set[str]] = defaultdict(set)
        #: chain → (height at which it is buried there, saga).
        self._heights: dict[str, list[tuple[int, str]]] = defaultdict(list)
        #: saga that `recent` has named or that ended here → when (host ms), as long as its blocks
        #: are not buried by then.
        self._looked: dict[str, int] = {}
        #: position up to which `recent` has read the journal, None before its first time.
        self._read_to: int | None = None
        #: saga that a person ended → what has changed; replaced as a whole, for other threads.
        self._changed: dict[str, Notice] = {}

    def __len__(self) -> int:
        return len(self._watched)

    def see(self, live: "Live") -> None:
        """Watch a saga that has just ended, or was found to have ended not long ago."""
        state = live.state
        if state.state in ENDS:
            self._looked[state.saga] = self._runner.clock.now_ms()
        depths = self._depths(state) if state.state in ENDS else {}
        if not depths or state.saga in self._watched:
            return
        self._watched[state.saga] = _Watched(set(live.keys), depths, state.clocks)
        for key in live.keys:
            self._by_key[key].add(state.saga)
        for chain, height in depths.items():
            heapq.heappush(self._heights[chain], (height, state.saga))

    def recent(self) -> list[str]:
        """Return the sagas that ended so lately that their blocks may not be buried, each once."""
        journal, now_ms = self._runner.journal, self._runner.clock.now_ms()
        longest_ms = max(map(self._period_ms, self._runner.adapters), default=0)
        since_ms = now_ms - (1 + _BURIED_FINALITIES) * longest_ms
        newest = journal.last_position()
        if self._read_to is None:
            self._read_to = journal.position_at(since_ms - _DISORDER_MS)
        recent = {
            row.saga
            for row in journal.sagas_after(self._read_to)
            if row.state in ENDS and row.updated_ms >= since_ms
        }
        self._read_to = newest
        self._looked = {saga: at for saga, at in self._looked.items() if at >= since_ms}
        new = recent - self._looked.keys() - self._runner.live.keys()
        self._looked.update(dict.fromkeys(new, now_ms))
        return sorted(new)

    def clocks(self) -> list[Mapping[str, Mapping[str, int]]]:
        """Return for each watched saga where its chains were when it began."""
        return [watched.clocks for watched in self._watched.values()]

    def look_anew(self) -> None:
        """One more chain is driven here: what could not be looked at without it is named again."""
        self._looked = dict.fromkeys(self._watched, self._runner.clock.now_ms())
        self._read_to = None

    def changed(self, state: SagaState, texts: Sequence[str]) -> None:
        """Take up what chains show otherwise than when a person ended the saga; nothing: all is
        as it was.
        """
        others = {saga: notice for saga, notice in self._changed.items() if saga != state.saga}
        if texts:
            others[state.saga] = Notice(
                saga=state.saga,
                state=state.state,
                reason=f"what it ended on has changed: {'; '.join(texts)}. A person ended it, so "
                "nothing is sent for it",
                question=f"does value have to be moved by hand? See: coordinator show {state.saga}",
                until_s=0,
            )
        self._changed = others

    @property
    def unsettled(self) -> tuple[str, ...]:
        """Sagas of which something has changed: each block may bring it back."""
        return tuple(self._changed)

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What has changed of sagas that a person ended; from any thread."""
        return tuple(self._changed.values())

    def touched(self, key: str) -> tuple[str, ...]:
        """Return the ended sagas that ``key`` concerns; for a reorganisation."""
        return tuple(sorted(self._by_key.get(key, ())))

    def reached(self, chain: str, height: int) -> None:
        """The chain has been read up to ``height``: what is buried is forgotten."""
        heights = self._heights[chain]
        while heights and heights[0][0] <= height:
            buried, saga = heapq.heappop(heights)
            watched = self._watched.get(saga)
            # A saga that was opened again and ended again has an older entry, too.
            if watched is not None and watched.until.get(chain) == buried:
                del watched.until[chain]
                if not watched.until:
                    self.forget(saga)

    def forget(self, saga: str) -> None:
        """It is driven again, or buried."""
        watched = self._watched.pop(saga, None)
        for key in watched.keys if watched is not None else ():
            self._by_key[key].discard(saga)
            if not self._by_key[key]:
                del self._by_key[key]

    def _depths(self, state: SagaState) -> dict[str, int]:
        """Return chain → height at which everything of the saga is buried, where it is not yet."""
        found: dict[str, int] = {}
        for (name, _), effort in state.efforts.items():
            step = state.step(name)
            if step.chain in self._runner.adapters and effort.height:
                height = effort.height + _BURIED_FINALITIES * step.finality_blocks
                found[step.chain] = max(found.get(step.chain, 0), height)
        clocks = self._runner.now().chains
        return {
            chain: height
            for chain, height in found.items()
            if chain not in clocks or clocks[chain].height < height
        }

    def _period_ms(self, chain: str) -> int:
        terms = self._runner.adapters[chain].terms()
        blocks = [int(tier["blocks"]) for tier in terms.get("tiers", ())]
        return max([int(terms["finality_blocks"]), *blocks]) * int(terms["block_time_ms"]["slow"])
