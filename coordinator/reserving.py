"""What a saga sets aside with its first record: amounts of accounts, and the coins of its payment.

Only the journal makes either of them exclusive; what is read here may be old by then, and the
journal refuses what does not fit any more.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.base import Adapter
from adapters.errors import AdapterError, Rejected
from coordinator.claims import Claims
from coordinator.errors import PreflightError
from coordinator.journal.base import Journal

__all__ = ["amounts_of", "coins_of"]


async def amounts_of(adapters: Mapping[str, Adapter], lock: Mapping[str, Any]) -> list[list[str]]:
    """Sum what the steps set aside, per account and asset, with what each account has now.

    Returns:
        Rows [chain, account, asset, amount, available], base units as decimal strings.

    Raises:
        PreflightError: an account's balance can not be read.
    """

    async def row(chain: str, account: str, asset: str, amount: str) -> list[str]:
        try:
            available = await adapters[chain].balance(account, asset)
        except AdapterError as error:
            raise PreflightError(
                f"{chain}: the balance of {account} can not be read: {error}. Nothing was sent."
            ) from error
        return [chain, account, asset, amount, str(available)]

    import asyncio  # whoever only reads the journal imports this module, too

    return list(await asyncio.gather(*(row(*what) for what in _sums(lock["steps"]))))


def _sums(steps: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Return (chain, account, asset, amount of all steps), sorted."""
    sums: dict[tuple[str, str, str], int] = {}
    for step in steps:
        chain = step["chain"]
        for account, asset, amount in step["reserve"]:
            where = (chain, account, asset)
            sums[where] = sums.get(where, 0) + int(amount)
    return sorted([(*where, str(amount)) for where, amount in sums.items()])


async def coins_of(
    journal: Journal, adapters: Mapping[str, Adapter], lock: Mapping[str, Any]
) -> list[list[str]]:
    """Choose the coins that the plan's pivot will spend, so that nothing else can take them.

    The plan's earlier steps on that chain must find enough coins beside them.

    Returns:
        Rows [step, chain, outpoint]; none without a pivot, or where its chain has no coins.

    Raises:
        PreflightError: there are not enough coins, or the chain is away.
    """
    steps = lock["steps"]
    at = next((n for n, step in enumerate(steps) if step["class"] == "pivot"), None)
    if at is None or adapters[steps[at]["chain"]].sequences():
        return []
    pivot, chain = steps[at], steps[at]["chain"]
    wanting = [pivot, *(step for step in steps[:at] if step["chain"] == chain)]
    chosen = await _choose(adapters[chain], Claims(journal, chain), wanting)
    return [[pivot["id"], chain, outpoint] for outpoint in chosen]


async def _choose(
    adapter: Adapter, book: Claims, wanting: list[Mapping[str, Any]]
) -> tuple[str, ...]:
    """Take coins for every step; return those of the first and give all of them back."""
    found: list[tuple[str, ...]] = []
    with book.scope() as scope:
        for step in wanting:
            try:
                found.append(await adapter.choose_coins(step["action"], scope))
            except Rejected as error:
                beside = f", beside those of {wanting[0]['id']}" if found else ""
                raise PreflightError(
                    f"{adapter.chain}: there are no coins for step {step['id']}{beside}: {error}. "
                    "Nothing was sent. Split or add coins, or wait for an open saga to end."
                ) from error
            except AdapterError as error:
                raise PreflightError(
                    f"{adapter.chain}: coins for step {step['id']} can not be chosen: {error}. "
                    "Nothing was sent."
                ) from error
    return found[0]
