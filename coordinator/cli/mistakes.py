"""Mistakes of the call itself: wrong arguments, and verdicts that lack a person."""

from coordinator.cli import exits
from coordinator.errors import CoordinatorError

__all__ = ["ApprovalMissing", "WrongUsage"]


class WrongUsage(CoordinatorError):
    """The arguments must be written otherwise; nothing was done."""

    exit_code = exits.USAGE


class ApprovalMissing(CoordinatorError):
    """A verdict needs another person; nothing was recorded."""

    exit_code = exits.UNAPPROVED
