"""Memory of a process over time, and its descriptors, from /proc."""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Meter"]

_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    rss_mb: float


@dataclass(slots=True)
class Meter:
    """Samples of one process.

    A node's hang or a saga more moves the memory from one second to the next, so a third and the
    end are medians of a tenth of the whole.
    """

    pid: int
    samples: list[_Sample] = field(default_factory=list)

    def take(self, at: float) -> None:
        """Take a sample; ``at`` is the share of the run that is over, 0 to 1."""
        pages = int(Path("/proc", str(self.pid), "statm").read_text().split()[1])
        self.samples.append(_Sample(at, pages * _PAGE_MB))

    def descriptors(self) -> int:
        """Return how many descriptors are open now."""
        return sum(1 for _ in Path("/proc", str(self.pid), "fd").iterdir())

    def around(self, at: float) -> float:
        """Return the memory (MB) in the tenth of the run that ends at ``at``."""
        window = [item for item in self.samples if at - 0.1 <= item.at <= at]
        if not window:
            raise ValueError(f"nothing was measured around {at:.0%} of the run")
        return round(statistics.median(item.rss_mb for item in window), 1)
