"""Which faults fired, by kind: what a test asserts, and what it tells the report."""

from collections import Counter
from collections.abc import Collection

from tests.reliability.notes import note
from tests.sim.world import World

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

    def tell(self, wanted: Collection[str] = ()) -> None:
        """Tell the report of worlds that ended well (one that did not is a failed test); afterwards
        every kind of ``wanted`` must have fired.

        Raises:
            AssertionError: one never did, so the test shows nothing of it.
        """
        note("sim", self._family, fired=sum(self.fired.values()), bad=0, runs=self.sagas)
        for kind, times in sorted(self.fired.items()):
            note("sim", f"{self._family}: {kind}", fired=times, bad=0, runs=self.worlds)
        missing = sorted(set(wanted) - self.fired.keys())
        assert not missing, f"never fired in {self.worlds} worlds: {missing}"
