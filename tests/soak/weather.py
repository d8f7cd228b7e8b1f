"""Faults at random on every call to a node, at a rate, from a seed."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Final

from tests.fault_proxy import ANY, WAYS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fault_proxy import FaultProxy

__all__ = ["Weather"]

#: What a network and a busy node do. A forged answer of an only node is believed by right, and what
#: kills a process is another test.
_WAYS: Final = sorted(WAYS - {"forged", "frozen", "kill", "kill_after"})
#: So many faults are set ahead.
_AHEAD: Final = 20


class Weather:
    """Keeps each proxy supplied with faults to come.

    Args:
        rate: the share of calls that go wrong, for example 0.03.
    """

    def __init__(self, proxies: Mapping[str, FaultProxy], seed: int, rate: float) -> None:
        self._proxies = proxies
        self._rng = random.Random(seed)
        self._rate = rate
        self._calls = dict.fromkeys(proxies, 0)

    def blow(self) -> None:
        """Set the next faults where those before have come; to be called again and again."""
        for chain, proxy in self._proxies.items():
            # Those of the ways that wait for another answer may be late; the next ones are not.
            if self._calls[chain] and proxy.calls.total() < self._calls[chain]:
                continue
            proxy.clear()  # it looks at every fault that was ever set, at every call
            ahead = 0
            for _ in range(_AHEAD):
                ahead += self._gap()
                proxy.on(ANY, self._rng.choice(_WAYS), nth=ahead)
            self._calls[chain] = proxy.calls.total() + ahead

    def clear(self) -> None:
        """No faults from now on."""
        for proxy in self._proxies.values():
            proxy.clear()

    def hang_up(self, *, each: bool) -> None:
        """Let ``each`` answer end its connection, or none again."""
        for proxy in self._proxies.values():
            proxy.hangs_up = each

    @property
    def calls(self) -> int:
        """How often a node was called."""
        return sum(proxy.calls.total() for proxy in self._proxies.values())

    @property
    def fired(self) -> Counter[tuple[str, str]]:
        """(method, way) → faults that took effect."""
        return sum((proxy.fired for proxy in self._proxies.values()), Counter())

    def _gap(self) -> int:
        """Calls until the next one that goes wrong: geometric, so that each has the same chance."""
        gap = 1
        while self._rng.random() >= self._rate:
            gap += 1
        return gap
