"""The first line of a report: how the saga stands or ended, in words that need no others."""

from dataclasses import dataclass

from coordinator.report.words import cause_words
from coordinator.saga import SagaState

__all__ = ["Verdict", "verdict_of"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The first line of the page.

    Attributes:
        kind: ``committed``, ``rolled_back``, ``closed_by_operator``, ``stuck`` or ``open``.
        word: for people, in capitals; ``sentence``: what it means for the value.
        cause: why the saga was decided as it was.
    """

    kind: str
    word: str
    sentence: str
    cause: str


def verdict_of(state: SagaState, undone: int) -> Verdict:
    """Return the verdict of a saga that took ``undone`` effects back."""
    cause = cause_words(state)
    if state.state == "committed":
        count = len(state.steps)
        return Verdict("committed", "COMMITTED", f"All {count} steps stand, for good.", cause)
    if state.state == "rolled_back":
        return Verdict("rolled_back", "ROLLED BACK", _taken_back(undone), cause)
    if state.state == "closed_by_operator":
        sentence = (
            "Persons ended this saga: not everything was done or taken back. See open items and "
            "operator acts."
        )
        return Verdict("closed_by_operator", "CLOSED BY OPERATOR", sentence, cause)
    word = {"running": "RUNNING", "confirming": "CONFIRMING", "undoing": "ROLLING BACK"}
    words = [word[state.state]]
    words += ["STUCK"] if state.stuck is not None else []
    words += ["PAUSED"] if state.paused else []
    sentence = {
        "running": "Not decided: every step may still be done, or every effect taken back.",
        "confirming": "Decided to commit: from here it only goes forward.",
        "undoing": "Decided to roll back: what has happened is being taken back.",
    }[state.state]
    kind = "stuck" if state.stuck is not None else "open"
    return Verdict(kind, ", ".join(words), sentence, cause)


def _taken_back(undone: int) -> str:
    if not undone:
        return "Nothing of this plan stands: no effect had happened."
    if undone == 1:
        return "Nothing of this plan stands: its one effect was taken back."
    return f"Nothing of this plan stands: {undone} effects were taken back, the last one first."
