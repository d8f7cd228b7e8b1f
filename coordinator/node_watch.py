"""Tells a person of nodes that stay away, lag, or show what a majority contradicts.

While a majority is well nothing stops, so nobody would notice how thin the ice has become; without
one nothing becomes final, and the alarm should name the node and not only the saga that waits.
"""

from collections.abc import Callable, Mapping
from typing import Final, Protocol, runtime_checkable

from coordinator.alarm import Notice

__all__ = ["Attended", "NodeWatch"]

#: Nodes restart and hiccup; what is over by then concerns nobody.
_PATIENCE_S: Final = 60


@runtime_checkable
class Attended(Protocol):
    """An adapter that can say how its nodes stand; plain reads, from any thread."""

    def node_troubles(self) -> Mapping[str, str]:
        """Return the nodes that are not well (scheme, host and port), each with one word for it."""

    def is_agreed(self) -> bool:
        """Tell whether a majority of the nodes is well, so that effects can become final."""


class NodeWatch:
    """Remembers since when each node has been in trouble.

    Args:
        now_s: host time, Unix seconds.
    """

    def __init__(self, adapters: Mapping[str, object], now_s: Callable[[], int]) -> None:
        self._adapters = adapters
        self._now_s = now_s
        #: (chain, node) → until when it should have ended by itself, whatever its word is by turns.
        self._until: dict[tuple[str, str], int] = {}

    def watch(self, chain: str, adapter: object) -> None:
        """Look at one more chain from now on; plain, for a reader in another thread."""
        self._adapters = {**self._adapters, chain: adapter}

    def notices(self) -> tuple[Notice, ...]:
        """Return one notice for each node in trouble; it is one trouble while its words change."""
        until: dict[tuple[str, str], int] = {}
        found = []
        for chain, adapter in self._adapters.items():
            if not isinstance(adapter, Attended):
                continue
            agreed = adapter.is_agreed()
            stands = "" if agreed else "; nothing becomes final without a majority"
            for node, word in adapter.node_troubles().items():
                key = (chain, node)
                until[key] = self._until.get(key, self._now_s() + _PATIENCE_S)
                found.append(
                    Notice(
                        saga=f"chain:{chain}",
                        state="waiting",
                        reason=f"{chain}: node {node} is {word}{stands}",
                        question="is that node up, synced and ours? See: coordinator doctor",
                        until_s=until[key],
                        about=f"{node} {'' if agreed else 'and no majority'}",
                    )
                )
        self._until = until
        return tuple(found)
