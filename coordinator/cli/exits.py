"""Exit codes, the contract with scripts; the table for people is in this folder's README."""

from typing import Final

from coordinator.saga import SagaState
from coordinator.saga.table import ENDS

__all__ = [
    "BUG",
    "CONFIG",
    "DETACHED",
    "DISK",
    "DONE",
    "ELAPSED",
    "IRREVERSIBLE",
    "KEYS",
    "PREFLIGHT",
    "ROLLED_BACK",
    "STUCK",
    "UNAPPROVED",
    "UNDECIDED",
    "UNVERIFIED",
    "USAGE",
    "of_saga",
]

DONE: Final = 0
BUG: Final = 1
USAGE: Final = 2
CONFIG: Final = 3
UNAPPROVED: Final = 4
KEYS: Final = 5
PREFLIGHT: Final = 6
ROLLED_BACK: Final = 10
IRREVERSIBLE: Final = 11
STUCK: Final = 20
ELAPSED: Final = 21
DISK: Final = 30
UNVERIFIED: Final = 40
UNDECIDED: Final = 41
DETACHED: Final = 130

#: A saga that a person closed did not end as planned: whoever runs the script must look.
_ENDED: Final = {"committed": DONE, "rolled_back": ROLLED_BACK, "closed_by_operator": STUCK}


def of_saga(state: SagaState) -> int:
    """Return the code of a saga as it is now: its end, stuck, or still running."""
    if state.state in ENDS:
        return _ENDED[state.state]
    return STUCK if state.stuck is not None else ELAPSED
