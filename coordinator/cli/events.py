"""One line of text for one record, as logs and pipes want it."""

from coordinator.cli.text import clock
from coordinator.journal.base import Record
from coordinator.views import timeline

__all__ = ["event_line"]


def event_line(record: Record) -> str:
    """Return ``08:00:00Z 01K7Q3 intent lock forward … seq=2``."""
    saga = record.stream.removeprefix("saga:")[:12]
    return f"{clock(record.at_ms)} {saga} {timeline(record)} seq={record.seq}"
