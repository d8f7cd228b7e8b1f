"""Memory and descriptors of a process, from /proc, over time."""

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
    fds: int


@dataclass(slots=True)
class Meter:
    """Samples of one process.

    A node's hang or a saga more moves both numbers from one second to the next, so a third and the
    end are windows of a tenth of the whole: the median of the memory, and the least descriptors,
    which a leak raises and a passing connection does not.
    """

    pid: int
    samples: list[_Sample] = field(default_factory=list)

    def take(self, at: float) -> None:
        """Take a sample; ``at`` is the share of the run that is over, 0 to 1."""
        folder = Path("/proc", str(self.pid))
        pages = int((folder / "statm").read_text().split()[1])
        fds = sum(1 for _ in (folder / "fd").iterdir())
        self.samples.append(_Sample(at, pages * _PAGE_MB, fds))

    def around(self, at: float) -> tuple[float, int]:
        """Return memory (MB) and descriptors in the tenth of the run that ends at ``at``."""
        window = [item for item in self.samples if at - 0.1 <= item.at <= at]
        if not window:
            raise ValueError(f"nothing was measured around {at:.0%} of the run")
        median = statistics.median(item.rss_mb for item in window)
        return round(median, 1), min(item.fds for item in window)
