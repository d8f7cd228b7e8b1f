"""Every mutant there is, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.mutants.chains import CHAINS
from tests.mutants.decisions import DECISIONS
from tests.mutants.endings import ENDINGS
from tests.mutants.engines import ENGINES
from tests.mutants.evidence import EVIDENCE
from tests.mutants.gates import GATES
from tests.mutants.records import RECORDS
from tests.mutants.recovery import RECOVERY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.mutants.mutant import Mutant

__all__ = ["ASKED_FOR", "MUTANTS"]

#: Mistakes that others made, or that this protocol invites: each has to be among the mutants.
ASKED_FOR: Final = (
    "send before the journal",
    "new nonce on resume",
    "timeout is failure",
    '"never left" as not done',
    "undo in forward order",
    "undo of the failed step",
    "undo not awaited",
    "undo retried under a dead nonce",
    "generation without proof",
    "no quorum on a missing receipt",
    "commit on one node's word",
    "adopt blind",
    "release by a stranger not seen",
    "secret in a simulation",
    "unconfirmed input",
    "refund after commit",
    "close by shared balances",
    "half a batch without savepoint",
    "start on a stale backup",
    "fee below the replacement rule",
)

MUTANTS: Final[Mapping[str, Mutant]] = {
    mutant.name: mutant
    for group in (ENGINES, RECORDS, DECISIONS, ENDINGS, CHAINS, GATES, EVIDENCE, RECOVERY)
    for mutant in group
}
