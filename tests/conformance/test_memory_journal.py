"""The journal that simulations use keeps the promises of the real one."""

import time

import pytest

from coordinator.journal.base import Journal
from tests.conformance import test_journal as suite
from tests.sim.memory_journal import MemoryJournal, MemoryStore

# The same tests and fixtures, on the place below.
globals().update(
    {name: value for name, value in vars(suite).items() if name.startswith(("test_", "journal"))}
)


class MemoryPlace:
    def __init__(self) -> None:
        self._store = MemoryStore()

    def open(self) -> Journal:
        return MemoryJournal(self._store, lambda: time.time_ns() // 1_000_000)


@pytest.fixture
def place() -> MemoryPlace:
    return MemoryPlace()
