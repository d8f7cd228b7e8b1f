"""Whether a journal is the latest that this machine has seen (DESIGN.md R12)."""

from collections.abc import Sequence
from pathlib import Path

from coordinator.errors import JournalError, JournalOld
from coordinator.journal.reading import JournalReader
from coordinator.journal.recoveries import superseded, under_way
from coordinator.journal.witness import Mark, Witness

__all__ = ["confirm_latest", "doubt", "require_elsewhere"]


def confirm_latest(reader: JournalReader, witness: Path, *, recovering: bool = False) -> Mark:
    """Check that the journal contains everything the second place has witnessed.

    Returns the furthest mark.

    Args:
        recovering: a recovery goes on, which alone may write to a journal that is in one.

    Raises:
        JournalError: it does not, or the second place is missing, damaged or of another journal.
    """
    # Marks first: a live writer moves on in between, and the journal is always ahead of them.
    marks = Witness.read(witness)
    begun = under_way(reader)
    if begun is not None and not recovering:
        raise JournalOld(
            f"the journal {reader.path} is being recovered since record {begun.seq} of "
            f"{begun.stream}, and that has not come to its end. Nothing was sent. Go on with: "
            "coordinator recover --execute"
        )
    reason = doubt(reader, marks)
    if reason is not None:
        former = superseded(witness, reader)
        if former is not None:
            raise JournalOld(f"{former} Nothing was sent and nothing is sent from this file.")
        raise JournalOld(
            f"{reason} ({witness}). Nothing was sent and nothing is sent: what the missing "
            "records did on the chains is unknown to this journal. Put the latest journal "
            "back; if there is none, see README.md, 'A lost or old journal': coordinator recover"
        )
    return marks[-1]


def doubt(reader: JournalReader, marks: Sequence[Mark]) -> str | None:
    """Return what speaks against the journal being the latest, None if nothing does."""
    for mark in reversed(marks):
        if mark.journal_id != reader.journal_id:
            return (
                f"the second place witnesses journal {mark.journal_id}, but {reader.path} is "
                f"journal {reader.journal_id}"
            )
        if mark.position == 0:
            continue
        record = reader.record_at(mark.position)
        if record is None:
            return (
                f"the journal {reader.path} is older than what this machine has witnessed: it ends "
                f"at position {reader.last_position()}, position {mark.position} was reached "
                "(a backup restored?)"
            )
        if record.hash != mark.hash:
            return (
                f"the journal {reader.path} is not the one this machine has witnessed: position "
                f"{mark.position} holds record {record.seq} of {record.stream} with another hash "
                "(a backup restored and written to?)"
            )
    return None


def require_elsewhere(journal: Path, witness: Path) -> None:
    """Demand that what loses the one does not take the other with it.

    Raises:
        JournalError: both lie in the same folder.
    """
    if journal.resolve().parent == witness.resolve().parent:
        raise JournalError(
            f"the second place {witness} lies in the journal's own folder, so a restored folder "
            "would bring both back. Nothing was sent. Put it elsewhere, best on another disk."
        )
