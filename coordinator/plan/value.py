"""Where value is on every path, what fees may cost, and whether our accounts can carry both.

The ledger here is double-entry arithmetic over the moves that adapters declare: success applies
all of them, a rollback applies those of the done steps and then their reverse, newest first.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from adapters.assets import format_amount
from coordinator.plan.findings import Finding

__all__ = [
    "GONE",
    "Balances",
    "Ledger",
    "check_value",
    "fees_of",
    "net_on_rollback",
    "net_on_success",
    "pivot_index",
    "reservations",
    "rollback_paths",
]

_Lock = Mapping[str, Any]
_Step = Mapping[str, Any]
#: (asset, holder) → change in base units; zero entries are dropped.
Ledger = dict[tuple[str, str], int]
#: (chain, account, asset) → base units that are free now.
Balances = Mapping[tuple[str, str, str], int]

#: Holders from which nothing comes back by our doing.
GONE: Final = frozenset({"outside", "destroyed"})
#: Holders that are no account: value appears in, or disappears into, the world around the plan.
_WORLD: Final = frozenset({"outside", "issued", "destroyed"})
_BOUND: Final = frozenset({"escrow", "pending"})


def pivot_index(lock: _Lock) -> int:
    """Return the index of the pivot; the number of steps when there is none."""
    classes = [step["class"] for step in lock["steps"]]
    return classes.index("pivot") if "pivot" in classes else len(classes)


def _apply(ledger: Ledger, step: _Step, chain: str, sign: int) -> None:
    for move in step["moves"]:
        amount = sign * int(move["amount"])
        for holder, change in ((move["source"], -amount), (move["target"], amount)):
            # Words of the world are one for all chains; an address or escrow belongs to its chain.
            place = holder if holder in _WORLD else f"{chain}:{holder}"
            total = ledger.get((move["asset"], place), 0) + change
            ledger[move["asset"], place] = total
            if total == 0:
                del ledger[move["asset"], place]


def net_on_success(lock: _Lock) -> Ledger:
    """Return what has changed when every forward effect is there, before confirms."""
    ledger: Ledger = {}
    for step in lock["steps"]:
        _apply(ledger, step, step["chain"], 1)
    return ledger


def rollback_paths(lock: _Lock) -> list[tuple[int, ...]]:
    """Return for each way to roll back the indices of the steps that took effect.

    Every prefix that ends before the pivot: the next step failed for good, or the newest one came
    late, after the rollback was decided.
    """
    return [tuple(range(done)) for done in range(pivot_index(lock) + 1)]


def net_on_rollback(lock: _Lock, path: Sequence[int]) -> Ledger:
    """Return what remains changed after the steps of ``path`` took effect and were undone."""
    ledger: Ledger = {}
    for index in path:
        _apply(ledger, lock["steps"][index], lock["steps"][index]["chain"], 1)
    for index in reversed(path):
        step = lock["steps"][index]
        if step["undo"]:
            _apply(ledger, step, step["chain"], -1)
    return ledger


def fees_of(step: _Step, directions: Sequence[str]) -> int:
    """Return the summed caps of ``step`` for these directions, in base units of its fee asset."""
    return sum(int(step["fees"].get(direction, "0")) for direction in directions)


def reservations(lock: _Lock) -> dict[tuple[str, str, str], int]:
    """Return what is set aside before the first effect: (chain, account, asset) → base units."""
    sums: dict[tuple[str, str, str], int] = defaultdict(int)
    for step in lock["steps"]:
        for account, asset, amount in step["reserve"]:
            sums[step["chain"], account, asset] += int(amount)
    return dict(sums)


def check_value(lock: _Lock, balances: Balances | None = None) -> Iterator[Finding]:
    """Yield findings of conservation, fees, reservations and, where given, balances."""
    for step in lock["steps"]:
        yield from _check_moves(step)
        yield from _check_fees(step)
    for path in rollback_paths(lock):
        for (asset, holder), change in net_on_rollback(lock, path).items():
            at = lock["steps"][path[-1]]["id"]
            yield Finding(
                "E22", "plan", f"a rollback after {at!r} leaves {holder} with "
                f"{_amount(lock, asset, change)}; it must leave nothing changed"
            )  # fmt: skip
    yield from _check_issue(lock)
    yield from _check_set_aside(lock)
    if balances is not None:
        yield from _check_balances(lock, balances)


def _check_moves(step: _Step) -> Iterator[Finding]:
    where = f"step {step['id']!r}"
    for move in step["moves"]:
        if int(move["amount"]) == 0 or int(move["amount"]) >= 2**256:
            yield Finding("E22", where, f"moves {move['amount']} {move['asset']}: out of range")
        if move["source"] == move["target"]:
            yield Finding("E22", where, f"moves {move['asset']} from a holder to itself")
        if step["undo"] and move["target"] in GONE:
            yield Finding(
                "E22", where, f"sends {move['asset']} {move['target']}, from where no undo of ours "
                "brings it back",
                "pay last, as the pivot, or hold it in an escrow",
            )  # fmt: skip


def _check_fees(step: _Step) -> Iterator[Finding]:
    """Every effect that we may have to send needs a cap and somebody who pays it."""
    needed = {
        "forward": step["class"] != "retriable",
        # A payee who redeems with a delivered preimage pays for that himself.
        "confirm": step["confirm"] and step["deliver"] in {None, "calldata"},
        "undo": step["undo"],
        "burn": "burn" in step["kill"],
    }
    for direction, sends in needed.items():
        if sends and not (direction in step["fees"] and direction in step["payers"]):
            yield Finding(
                "E16", f"step {step['id']!r}", f"has no fee cap or no payer for its {direction}"
            )


def _check_issue(lock: _Lock) -> Iterator[Finding]:
    """Warn when more is issued of an asset than the plan binds or destroys of it elsewhere."""
    issued: dict[str, int] = defaultdict(int)
    covered: dict[str, int] = defaultdict(int)
    for step in lock["steps"]:
        for move in step["moves"]:
            if move["source"] == "issued":
                issued[move["asset"]] += int(move["amount"])
            elif move["target"] in {*_BOUND, "destroyed"}:
                covered[move["asset"]] += int(move["amount"])
    for asset, amount in sorted(issued.items()):
        if amount > covered[asset]:
            yield Finding(
                "W37", "plan", f"issues {_amount(lock, asset, amount)} while "
                f"{_amount(lock, asset, covered[asset])} are locked or destroyed"
            )  # fmt: skip


def _check_set_aside(lock: _Lock) -> Iterator[Finding]:
    """Warn when what a payer may have to pay exceeds what is set aside for him beside the value."""
    caps: dict[tuple[str, str, str], int] = defaultdict(int)
    aside: dict[tuple[str, str, str], int] = defaultdict(int, reservations(lock))
    for step in lock["steps"]:
        for payer, fee in _payments(step):
            caps[step["chain"], payer, step["fee_asset"]] += fee
        for move in step["moves"]:
            aside[step["chain"], move["source"], move["asset"]] -= int(move["amount"])
    for (chain, payer, asset), cap in sorted(caps.items()):
        missing = cap - max(aside[chain, payer, asset], 0)
        if missing > 0:
            yield Finding(
                "W36", f"chain {chain!r}", f"{payer} may have to pay fees of "
                f"{_amount(lock, asset, cap)}; {_amount(lock, asset, missing)} are not set aside"
            )  # fmt: skip


def _payments(step: _Step) -> Iterator[tuple[str, int]]:
    """Yield who pays how much at worst: one of forward and burn lands, then undo or confirm."""
    payers = step["payers"]
    first = max(("forward", "burn"), key=lambda direction: fees_of(step, (direction,)))
    # An undo that spends the forward's own output takes its fee from there.
    back = ("confirm",) if step["unique_by"] == "parent" else ("undo", "confirm")
    then = max(back, key=lambda direction: fees_of(step, (direction,)))
    for direction in (first, then):
        if direction in payers:
            yield payers[direction], fees_of(step, (direction,))


def _check_balances(lock: _Lock, balances: Balances) -> Iterator[Finding]:
    for (chain, account, asset), amount in sorted(reservations(lock).items()):
        free = balances.get((chain, account, asset), 0)
        if free < amount:
            yield Finding(
                "E18", f"chain {chain!r}", f"{account} has {_amount(lock, asset, free)} free, the "
                f"plan sets {_amount(lock, asset, amount)} aside",
                f"fund {account} with {_amount(lock, asset, amount - free)}",
            )  # fmt: skip


def _amount(lock: _Lock, asset: str, amount: int) -> str:
    return f"{format_amount(amount, lock['assets'].get(asset, 0))} {asset}"
