"""Accounts that stand still until a person has looked at what nobody can explain (R12)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from coordinator.errors import PreflightError
from coordinator.journal.base import Record
from coordinator.journal.derive import OPERATOR_STREAM
from coordinator.recovery.operator import Unexplained, fold_operator

__all__ = ["halted", "require_moving"]


class _Streams(Protocol):
    """The part of a journal that this needs."""

    def read(self, stream: str, after: int = 0) -> list[Record]:
        """Return the records of ``stream`` with seq > ``after``."""


def halted(journal: _Streams) -> dict[tuple[str, str], list[Unexplained]]:
    """Return (chain, account) → the transactions for which it stands still."""
    return fold_operator(journal.read(OPERATOR_STREAM)).halted


def require_moving(journal: _Streams, reservations: Iterable[Sequence[Any]]) -> None:
    """Refuse to start what takes anything from an account that stands still.

    Args:
        reservations: rows that begin with chain and account, as a ``started`` record has them.

    Raises:
        PreflightError: naming the account and the transactions.
    """
    standing: Mapping[tuple[str, str], list[Unexplained]] = halted(journal)
    for chain, account, *_ in reservations if standing else ():
        if (chain, account) in standing:
            txs = [item.tx for item in standing[chain, account]]
            more = f" and {len(txs) - 1} more" if len(txs) > 1 else ""
            raise PreflightError(
                f"{account} on {chain} stands still: it signed {txs[0]}{more}, which no record "
                "explains. Nothing was sent. Look at it (coordinator recover), then: coordinator "
                f'recover --accept "{txs[0]}" --by NAME --reason TEXT'
            )
