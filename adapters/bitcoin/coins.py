"""The coin pool: confirmed outputs of our own addresses, and which of them a transaction takes.

The pool comes from one ``scantxoutset`` and then from the blocks that the follower reads. It knows
nothing of other sagas: what is claimed or reserved is asked of the claim book for each coin.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final

from adapters.bitcoin.transactions import Tx

__all__ = ["COINBASE_MATURITY", "Coin", "CoinPool", "Selection", "select"]

#: A coinbase output may be spent in the hundredth block after its own (consensus rule).
COINBASE_MATURITY: Final = 100
#: A reorganisation deeper than this is answered by a new scan.
_REMEMBERED_BLOCKS: Final = 2016


@dataclass(frozen=True, slots=True)
class Coin:
    """A confirmed unspent output of ours.

    ``parents`` is what the transaction that made it spends, where its block was read here.
    """

    outpoint: str
    value_sat: int
    address: str
    height: int
    coinbase: bool = False
    parents: tuple[str, ...] | None = field(default=None, compare=False)


class CoinPool:
    """Confirmed unspent outputs by address.

    Args:
        addresses: own address by output script.
    """

    def __init__(self, addresses: Mapping[bytes, str]) -> None:
        self._addresses = addresses
        self._coins: dict[str, Coin] = {}
        #: what each block from the scan on changed, so that it can be taken back.
        self._changes: dict[int, tuple[list[Coin], list[str]]] = {}
        self._height = -1
        #: answers of `coins` as of the newest block.
        self._listed: dict[tuple[str, int], tuple[Coin, ...]] = {}

    @property
    def height(self) -> int:
        """The block as of which the pool is."""
        return self._height

    def reset(self, height: int, coins: Iterable[Coin]) -> None:
        """Start anew from a scan as of ``height``."""
        self._coins = {coin.outpoint: coin for coin in coins}
        self._changes = {}
        self._at(height)

    def connect(self, height: int, txs: Iterable[Tx]) -> frozenset[str]:
        """Apply the next block; return the addresses it concerns."""
        spent: list[Coin] = []
        made: list[str] = []
        touched: set[str] = set()
        for tx in txs:
            parents = tuple(item.outpoint for item in tx.inputs)
            for item in tx.inputs:
                coin = self._coins.pop(item.outpoint, None)
                if coin is not None:
                    spent.append(coin)
                    touched.add(coin.address)
            for index, output in enumerate(tx.outputs):
                address = self._addresses.get(output.script)
                if address is not None:
                    outpoint = f"{tx.tx_id}:{index}"
                    coinbase = tx.inputs[0].outpoint.startswith("0" * 64)
                    coin = Coin(outpoint, output.value_sat, address, height, coinbase, parents)
                    self._coins[outpoint] = coin
                    made.append(outpoint)
                    touched.add(address)
        self._changes[height] = (spent, made)
        self._changes.pop(height - _REMEMBERED_BLOCKS, None)
        self._at(height)
        return frozenset(touched)

    def _at(self, height: int) -> None:
        self._height = height
        self._listed.clear()

    def __contains__(self, outpoint: str) -> bool:
        return outpoint in self._coins

    def __len__(self) -> int:
        return len(self._coins)

    def knows(self, height: int) -> bool:
        """Tell whether the block at ``height`` can be taken back; otherwise scan again."""
        return height in self._changes

    def disconnect(self, height: int) -> frozenset[str]:
        """Take the block at ``height``, the newest, back; return the addresses it concerns."""
        spent, made = self._changes.pop(height)
        touched = {coin.address for coin in spent}
        # A coin made and spent in this block is in both lists, so bring back first, then remove.
        self._coins.update({coin.outpoint: coin for coin in spent})
        for outpoint in made:
            touched.add(self._coins.pop(outpoint).address)
        self._at(height - 1)
        return frozenset(touched)

    def balance(self, address: str) -> int:
        """Return the confirmed satoshi of ``address``, immature coinbase outputs left out."""
        return sum(coin.value_sat for coin in self.coins(address, confirmations=1))

    def coins(self, address: str, confirmations: int) -> tuple[Coin, ...]:
        """Return the spendable coins of ``address`` with at least that many confirmations, the
        smallest first.
        """
        listed = self._listed.get((address, confirmations))
        if listed is None:
            found = [
                coin
                for coin in self._coins.values()
                if coin.address == address
                and self._height - coin.height + 1
                >= (max(confirmations, COINBASE_MATURITY) if coin.coinbase else confirmations)
            ]
            listed = self._listed[address, confirmations] = tuple(sorted(found, key=_size))
        return listed


@dataclass(frozen=True, slots=True)
class Selection:
    """Coins for a transaction, its fee, and its change (0: no change output)."""

    coins: tuple[Coin, ...]
    fee_sat: int
    change_sat: int


def select(
    coins: Collection[Coin],
    target_sat: int,
    *,
    fee_sat: Callable[[int, bool], int],
    dust_sat: int,
    max_inputs: int,
    must: Sequence[Coin] = (),
    is_free: Callable[[Coin], bool] = lambda _coin: True,
) -> Selection | None:
    """Choose coins that pay ``target_sat`` and their own fee; None if they do not suffice.

    The same coins give the same choice on every machine: the smallest single coin that suffices,
    else the largest coins first. Change that would be dust goes into the fee.

    Args:
        fee_sat: fee by number of inputs and whether there is change.
        dust_sat: least value of a change output.
        must: coins that are spent in any case, before others.
        is_free: tells whether one of ``coins`` may be taken; asked of those that matter only.
    """
    rest = sorted(coins, key=_size)
    # A coin that is no more than the target leaves nothing for its fee.
    for coin in () if must else rest[bisect_right(rest, target_sat, key=_value) :]:
        if is_free(coin) and (chosen := _settle((coin,), target_sat, fee_sat, dust_sat)):
            return chosen
    largest = [coin for coin in reversed(rest) if is_free(coin)]
    for count in range(len(largest) + 1):
        taken = (*must, *largest[:count])
        if len(taken) > max_inputs:
            return None
        if taken and (chosen := _settle(taken, target_sat, fee_sat, dust_sat)):
            return chosen
    return None


_size: Final = attrgetter("value_sat", "outpoint")
_value: Final = attrgetter("value_sat")


def _settle(
    coins: tuple[Coin, ...],
    target_sat: int,
    fee_sat: Callable[[int, bool], int],
    dust_sat: int,
) -> Selection | None:
    total = sum(coin.value_sat for coin in coins)
    with_change = fee_sat(len(coins), True)
    change = total - target_sat - with_change
    if change >= dust_sat:
        return Selection(coins, with_change, change)
    if total - target_sat >= fee_sat(len(coins), False):
        return Selection(coins, total - target_sat, 0)
    return None
