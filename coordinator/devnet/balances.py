"""Balances as people read them: what a run changed, and that a rollback left nothing behind."""

from collections.abc import Mapping
from typing import Final

from coordinator.cli.output import columns
from coordinator.devnet.ledger import NATIVE, Line, decimal, difference

__all__ = ["ValueLost", "change_lines", "equal_lines"]

_PEOPLE: Final = {
    "treasury_evm": "treasury", "treasury_btc": "treasury", "settlement_btc": "settlement",
    "payee_btc": "payee", "rescue_evm": "rescue",
}  # fmt: skip
#: What the reference plan would have moved.
_AT_STAKE: Final = frozenset(
    Line(chain, "ALZ", holder)
    for chain, holders in {
        "polygon": ("treasury_evm", "vault", "reserve"),
        "ethereum": ("pending", "receiver", "supply"),
    }.items()
    for holder in holders
)
#: Whose native coins are shown beside it.
_PAYERS: Final = frozenset({"treasury_evm", "treasury_btc", "payee_btc"})


class ValueLost(Exception):
    """Something else than the listed fees is missing, or something is there that was not."""


def change_lines(before: Mapping[Line, int], after: Mapping[Line, int]) -> list[str]:
    """Return every balance that is another one now."""
    rows = [
        (line.chain, _name(line), decimal(line.asset, before[line]), "→",
         decimal(line.asset, after[line]))
        for line in sorted(difference(before, after))
    ]  # fmt: skip
    return ["Read from the nodes:", *columns(rows, indent="  ")]


def equal_lines(
    before: Mapping[Line, int], after: Mapping[Line, int], fees: Mapping[str, int]
) -> list[str]:
    """Return what was at stake before and after a rollback; the last line draws the sum.

    Args:
        fees: what the saga says it paid, base units by asset.

    Raises:
        ValueLost: the chains say otherwise.
    """
    lost: dict[str, int] = {}
    for line, amount in difference(before, after).items():
        if line.asset != NATIVE[line.chain]:
            raise ValueLost(f"{_name(line)} on {line.chain} has {decimal(line.asset, amount)} more")
        lost[line.asset] = lost.get(line.asset, 0) - amount
    listed = {asset: fee for asset, fee in fees.items() if fee}
    if lost != listed:
        raise ValueLost(f"the chains miss {_sums(lost)}, the saga lists fees of {_sums(listed)}")
    shown = [line for line in sorted(before) if line in _AT_STAKE]
    shown += [
        line for line in sorted(before)
        if line.asset == NATIVE[line.chain] and line.holder in _PAYERS
    ]  # fmt: skip
    rows = [
        (line.chain, _name(line), decimal(line.asset, before[line]), "=",
         _with_fee(line, before[line], after[line]))
        for line in shown
    ]  # fmt: skip
    return [
        "Read from the nodes, before and after:",
        *columns(rows, indent="  "),
        f"Every chain is as it was, but for the fees that the saga lists: {_sums(listed)}",
    ]


def _name(line: Line) -> str:
    return _PEOPLE.get(line.holder, line.holder)


def _with_fee(line: Line, before: int, after: int) -> str:
    """Return the amount of now, and what is missing to that of before."""
    now = decimal(line.asset, after)
    return now if before == after else f"{now} + fees {decimal(line.asset, before - after)}"


def _sums(amounts: Mapping[str, int]) -> str:
    parts = [decimal(asset, amount) for asset, amount in sorted(amounts.items())]
    return ", ".join(parts) or "nothing"
