"""What holds sagas back from outside: pauses of operators (R11), and accounts that stand still for
what nobody can explain (R12). Read together, so that who shows a saga decides as its driver does.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from coordinator.journal.base import Record, Streams
from coordinator.journal.derive import OPERATOR_STREAM
from coordinator.journal.pauses import NO_PAUSES, Pauses, fold_pauses
from coordinator.operator_stream import Unexplained, fold_operator
from coordinator.pause_view import letting_go, pause_of
from coordinator.saga import Now, SagaState, Wait
from coordinator.saga.holding import payer_of
from coordinator.unexplained import accepting, halt_words

__all__ = [
    "NOTHING_HELD",
    "HeldBack",
    "halted_view",
    "held_back",
    "held_back_in",
    "ways_on",
]


class HeldBack(Struct, frozen=True):
    """What stands now.

    Attributes:
        pauses: of chains, signers and everything.
        standing: (chain, account) → the transactions for which it stands still.
    """

    pauses: Pauses = NO_PAUSES
    standing: Mapping[tuple[str, str], Sequence[Unexplained]] = {}

    def now(self, now_ms: int) -> Now:
        """Return what decides at ``now_ms``, as far as the journal alone knows it."""
        return Now(now_ms, {}, self.pauses, halt_words(self.standing))


NOTHING_HELD = HeldBack()


def held_back(operator: Iterable[Record]) -> HeldBack:
    """Return what the records of the stream ``operator`` hold back."""
    records = list(operator)
    return HeldBack(fold_pauses(records), fold_operator(records).halted)


def held_back_in(journal: Streams) -> HeldBack:
    """Return what stands in a journal now."""
    return held_back(journal.read(OPERATOR_STREAM))


def halted_view(held: HeldBack) -> list[dict[str, Any]]:
    """Return the accounts that stand still as JSON: why, and what lets them move again."""
    return [
        {
            "chain": chain,
            "account": account,
            "txs": [item.tx for item in items],
            "command": accepting(items[0].tx),
        }
        for (chain, account), items in held.standing.items()
    ]


def ways_on(state: SagaState, waits: Iterable[Wait], held: HeldBack) -> list[str]:
    """Return the commands that let a saga go on which is held back, each once."""
    ways = [letting_go(pause) for pause in pause_of(state, held.pauses)]
    for wait in waits:
        if wait.held and wait.step is not None and wait.direction is not None:
            step = state.step(wait.step)
            payer = payer_of(state, step, wait.direction)
            items = held.standing.get((step.chain, payer or ""), ())
            ways += [f"look at {item.tx}, then: {accepting(item.tx)}" for item in items]
    return list(dict.fromkeys(ways))
