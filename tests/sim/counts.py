"""Which faults fired, by kind: what a test asserts, and what it tells the report."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from tests.reliability.notes import broken_rules, note, story
from tests.sim.world import NotLive, World

__all__ = ["Counts"]


class Counts:
    """Sums over many worlds."""

    def __init__(self, family: str) -> None:
        self._family = family
        self.clear()

    def clear(self) -> None:
        """Begin at nothing."""
        self.fired: Counter[str] = Counter()
        self.worlds = self.sagas = 0

    def add(self, world: World) -> None:
        """Count what happened in one world."""
        self.worlds += 1
        self.sagas += world.sagas
        self.fired.update(f"{point.split()[0]}/{way}" for point, way in world.faults.fired)
        self.fired.update(world.fired)
        for chain in world.chains.values():
            self.fired.update({kind: times for kind, times in chain.fired.items() if times})

    @contextmanager
    def judging(self) -> Iterator[None]:
        """A world is run and checked in the ``with``: if it is wrong, tell the report by which
        rules, and of those before it that were not; what it raises goes on.
        """
        try:
            yield
        except (Exception, asyncio.CancelledError) as error:
            rules = sorted(_rules(error))
            fired, runs = sum(self.fired.values()), self.sagas + 1
            said = story(error)
            note("sim", self._family, fired=fired, bad=1, runs=runs, rules=rules, said=said)
            raise

    def tell(self, wanted: Collection[str] = ()) -> None:
        """Tell the report of worlds that ended well (`judging` tells of others); afterwards every
        kind of ``wanted`` must have fired.

        Raises:
            AssertionError: one never did, so the test shows nothing of it.
        """
        note("sim", self._family, fired=sum(self.fired.values()), bad=0, runs=self.sagas)
        for kind, times in sorted(self.fired.items()):
            note("sim", f"{self._family}: {kind}", fired=times, bad=0, runs=self.worlds)
        missing = sorted(set(wanted) - self.fired.keys())
        assert not missing, f"never fired in {self.worlds} worlds: {missing}"


def _rules(error: BaseException) -> set[str]:
    """Return the rules that a world broke; Hypothesis may raise several failures as one."""
    if isinstance(error, BaseExceptionGroup):
        return {rule for each in error.exceptions for rule in _rules(each)}
    return {"I3"} if isinstance(error, NotLive) else set(broken_rules([str(error)]))
