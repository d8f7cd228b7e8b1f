"""What our keys signed and no record explains: its record, and the accounts that stand still for it
until a person has looked (R12).

A recovery finds such transactions in blocks that it surveys (`coordinator.recovery`), a running
process in those that it follows (`coordinator.strangers`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from adapters.base import Claim, Signed
from adapters.survey import Movement
from coordinator.errors import JournalError, PreflightError
from coordinator.journal.base import ClaimRow, Entry, Streams
from coordinator.journal.derive import OPERATOR_STREAM
from coordinator.operator_stream import Unexplained, fold_operator

__all__ = [
    "Claims",
    "accepting",
    "halt_words",
    "halted",
    "is_attempt",
    "require_moving",
    "unexplained_entry",
]


class Claims(Protocol):
    """The part of a journal that knows what is ours."""

    def raw(self, tx_id: str) -> bytes:
        """Return an attempt's stored bytes; `JournalError` if there are none."""

    def claim(self, chain: str, resource: str, value: int) -> ClaimRow | None:
        """Return who claimed a nonce or coin."""


def is_attempt(journal: Claims, tx_id: str) -> bool:
    """Whether a transaction is an attempt of the journal."""
    try:
        journal.raw(tx_id)
    except JournalError:
        return False
    return True


def unexplained_entry(
    journal: Claims, chain: str, seen: Movement | Signed, names: Iterable[str] = ()
) -> Entry:
    """Return the record of what nobody explains; what it consumed is never given again.

    Args:
        names: what ties it to one effect and no other.
    """
    free: list[Claim] = [c for c in seen.claim if journal.claim(chain, *c) is None]
    return Entry(
        "unexplained",
        {
            "chain": chain,
            "tx": seen.tx_id,
            "block": seen.block_hash,
            "height": seen.height,
            "time": seen.time_s,
            # As claims are told in intents, for the table of claims.
            "step": "unexplained",
            "dir": "forward",
            "claim": [[resource, value] for resource, value in free],
            "accounts": list(seen.accounts),
            "names": sorted(names),
            "texts": list(seen.texts),
        },
    )


def halted(journal: Streams) -> dict[tuple[str, str], list[Unexplained]]:
    """Return (chain, account) → the transactions for which it stands still."""
    return fold_operator(journal.read(OPERATOR_STREAM)).halted


def halt_words(
    standing: Mapping[tuple[str, str], Sequence[Unexplained]],
) -> dict[tuple[str, str], str]:
    """Return (chain, account) → why it begins nothing new, in words."""
    words = {}
    for (chain, account), items in standing.items():
        more = f" and {len(items) - 1} more" if len(items) > 1 else ""
        words[chain, account] = (
            f"{account} on {chain} signed {items[0].tx}{more}, which no record explains"
        )
    return words


def accepting(tx: str) -> str:
    """Return the command by which a person lets accounts move again after a look."""
    return f'coordinator recover --accept "{tx}" --by NAME --reason TEXT'


def require_moving(journal: Streams, reservations: Iterable[Sequence[Any]]) -> None:
    """Refuse to start what takes anything from an account that stands still.

    Args:
        reservations: rows that begin with chain and account, as a ``started`` record has them.

    Raises:
        PreflightError: naming the account and the transactions.
    """
    standing: Mapping[tuple[str, str], list[Unexplained]] = halted(journal)
    for chain, account, *_ in reservations if standing else ():
        if (chain, account) in standing:
            tx, words = standing[chain, account][0].tx, halt_words(standing)[chain, account]
            raise PreflightError(
                f"{words}: it stands still. Nothing was sent. Look at it (coordinator recover), "
                f"then: {accepting(tx)}"
            )
