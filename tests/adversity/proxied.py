"""The ground of `tests.crash` with a fault proxy in front of each of its nodes."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from tests.crash.ground import Ground, named
from tests.fault_proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from coordinator.devnet.network import DevnetOptions
    from tests.crash.ends import End
    from tests.crash.ground import Run
    from tests.crash.life import Life

__all__ = ["START", "Call", "Proxied"]

#: The point of a call that comes before any point of the trail: the adapters open, the plan is
#: resolved, checked and simulated.
START = "start"
#: A node that hangs costs this much; every answer here takes a few milliseconds.
TIMEOUT_MS = 1000

#: Point of the saga's way that was passed last, chain, method.
Call = tuple[str, str, str]


@dataclass
class Proxied(Ground):
    """A network whose coordinators reach every node through a proxy; the judge and the world do
    not.

    Attributes:
        proxies: by chain.
    """

    proxies: dict[str, FaultProxy] = field(default_factory=dict)
    _watched: Life | None = None
    _calls: list[Call] = field(default_factory=list)

    @classmethod
    @contextmanager
    def open(cls, folder: Path, options: DevnetOptions | None = None) -> Iterator[Self]:
        """Start the network and its proxies; all end with the ``with``."""
        with super().open(folder, options) as ground, ExitStack() as ends:
            for chain, url in ground.devnet.urls.items():
                watch = ground._watch(chain)
                ground.proxies[chain] = ends.enter_context(FaultProxy(url, watch=watch))
            yield ground

    def clear(self) -> None:
        """The nodes are well from now on."""
        for proxy in self.proxies.values():
            proxy.clear()

    def forget(self) -> None:
        """No later answer is one of before: what accounts did then, no later journal explains."""
        for proxy in self.proxies.values():
            proxy.forget()

    def fired(self) -> int:
        """How many faults took effect so far."""
        return sum(proxy.fired.total() for proxy in self.proxies.values())

    @contextmanager
    def watching(self, run: Run) -> Iterator[list[Call]]:
        """Collect the calls of a run's newest life, in their order."""
        self._calls = []
        self._watched = run.lives[-1]
        try:
            yield self._calls
        finally:
            self._watched = None

    def _watch(self, chain: str) -> Callable[[str], None]:
        """Return what is told each method that a node is asked for."""

        def came(method: str) -> None:
            if self._watched is not None:
                self._calls.append((_newest_point(self._watched), chain, method))

        return came

    def _configure(self, folder: Path, end: End) -> Path:
        config = super()._configure(folder, end)
        text = config.read_text(encoding="utf-8")
        for chain, url in self.devnet.urls.items():
            old = f'rpc = ["{url}"]'
            assert text.count(old) == 1, f"{old} is {text.count(old)} times in chains.toml"
            text = text.replace(
                old, f'rpc = ["{self.proxies[chain].url}"]\ntimeout_ms = {TIMEOUT_MS}'
            )
        config.write_text(text, encoding="utf-8")
        return config


def _newest_point(life: Life) -> str:
    passed = (line for line in reversed(life.passed()) if not line.startswith("lost"))
    return next((name for line in passed if (name := named(line))), START)
