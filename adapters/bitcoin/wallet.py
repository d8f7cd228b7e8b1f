"""Our coins as inputs: which ones an effect takes, and how each is spent (P2WPKH, BIP-141)."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from adapters.base import ClaimBook, Task
from adapters.bitcoin.address import dust_sat, script_of_key
from adapters.bitcoin.coins import Coin, CoinPool, Selection, select
from adapters.bitcoin.nodes import Nodes
from adapters.bitcoin.signing import BitcoinSigner
from adapters.bitcoin.transactions import Spend, Tx, TxOutput
from adapters.errors import Rejected

__all__ = ["TrialBook", "Wallet"]

#: Script code of a P2WPKH input: DUP HASH160 <20 bytes> EQUALVERIFY CHECKSIG (BIP-143).
_CODE_HEAD: Final = b"\x76\xa9\x14"
_CODE_TAIL: Final = b"\x88\xac"
#: A parent of more inputs than this is not watched: an intent is no place for long lists.
_PARENT_INPUTS_MAX: Final = 64
#: Parents that were read are kept: many coins come from one split.
_PARENTS_KEPT: Final = 256
#: Coins beyond those of the pool that may be remembered as spoken for.
_SPOKEN_KEPT: Final = 1024


@dataclass(frozen=True, slots=True)
class Wallet:
    """The coins of all own addresses.

    Attributes:
        signers: own signer by address.
        confirmations: how deep a coin has to lie before it is spent.
        spoken: coins that this process tries or has signed for. A hint by which others are tried
            first, no more: only a claim book says what is spoken for.
    """

    nodes: Nodes
    pool: CoinPool
    signers: Mapping[str, BitcoinSigner]
    confirmations: int
    spoken: set[str] = field(default_factory=set)
    _parents: dict[str, Tx] = field(default_factory=dict)

    async def choose(
        self,
        task: Task,
        book: ClaimBook,
        account: str,
        target_sat: int,
        fee_sat: Callable[[int, bool], int],
        must: Sequence[Coin] = (),
    ) -> Selection:
        """Take final, unclaimed coins that nothing spends, not even an unmined transaction."""
        gone = {coin.outpoint for coin in must}
        mine: set[str] = set()

        def is_free(coin: Coin) -> bool:
            outpoint = coin.outpoint
            return outpoint not in gone and (outpoint in mine or not book.taken(outpoint))

        while True:
            coins = self.final_coins(account)
            chosen = select(
                coins, target_sat, fee_sat=fee_sat, dust_sat=dust_sat(self.script(account)),
                max_inputs=int(task.action["max_inputs"]), must=must, is_free=is_free,
            )  # fmt: skip
            if chosen is None:
                free = [coin for coin in coins if is_free(coin)]
                raise self._short(task, account, target_sat + fee_sat(1, True), free)
            fresh = {coin.outpoint for coin in chosen.coins if coin not in must} - mine
            # Taken before anybody is asked: else all who choose meanwhile choose the same coin.
            lost = {outpoint for outpoint in fresh if not book.take(outpoint)}
            lost |= {
                outpoint
                for outpoint in fresh - lost
                if not await self.nodes.holdings.unspent(outpoint)
            }
            mine |= fresh - lost
            gone |= lost
            if not lost:
                return chosen

    async def reserved(
        self,
        task: Task,
        book: ClaimBook,
        account: str,
        target_sat: int,
        fee_sat: Callable[[int, bool], int],
    ) -> Selection:
        """Take exactly the coins that the saga's first record reserved for this effect.

        Raises:
            Rejected: one of them is gone, or they do not suffice; others are not taken instead.
        """
        final = {coin.outpoint: coin for coin in self.final_coins(account)}
        for outpoint in task.coins:
            there = outpoint in final and await self.nodes.holdings.unspent(outpoint)
            if not (there and book.take(outpoint)):
                raise Rejected(
                    f"coin {outpoint}, reserved for this payment since the saga started, is spent "
                    "elsewhere or no longer final; no other is taken instead and nothing was sent",
                    code="unfunded",
                )
        coins = tuple(final[outpoint] for outpoint in task.coins)
        chosen = select(
            (), target_sat, fee_sat=fee_sat, dust_sat=dust_sat(self.script(account)),
            max_inputs=len(coins), must=coins,
        )  # fmt: skip
        if chosen is None:
            raise Rejected(
                f"the coins reserved for this payment hold {sum(c.value_sat for c in coins)} "
                f"satoshi, {target_sat + fee_sat(len(coins), False)} are needed; no others are "
                "taken beside them and nothing was sent",
                code="unfunded",
            )
        return chosen

    async def successors(self, task: Task, book: ClaimBook) -> tuple[Coin, ...]:
        """Take an output of what killed the former generation, so that it can not return beside.

        Where there is none, effects that wait for k finalities (``unique_by`` "claim") may use
        other coins; a transfer, its undo and a hold may not.
        """
        for outpoint, value_sat, address in (task.cites or {}).get("outpoints", ()):
            if await self.nodes.holdings.unspent(outpoint) and book.take(outpoint):
                return (Coin(outpoint, int(value_sat), address, 0),)
        if task.action["kind"] in {"transfer", "hold"} and task.direction != "confirm":
            raise Rejected(
                "what killed the former attempt has no unspent output of ours, so a new one could "
                "count twice; nothing was sent, a verdict is needed",
                code="policy",
            )
        return ()

    def final_coins(self, account: str) -> tuple[Coin, ...]:
        """Return the coins of an own address that may be inputs, the smallest first."""
        return self.pool.coins(account, self.confirmations)

    async def parents(self, coins: Sequence[Coin]) -> dict[str, list[str]]:
        """Return for each coin what its parent spends: should that be spent otherwise, it is gone.

        Reading the parent also proves value and script of the coin by their hash.
        """
        parents = {}
        for coin in coins:
            spent = await self._spent_by_parent(coin)
            if spent is not None and not coin.coinbase and len(spent) <= _PARENT_INPUTS_MAX:
                parents[coin.outpoint] = list(spent)
        return parents

    async def _spent_by_parent(self, coin: Coin) -> tuple[str, ...] | None:
        """Return what a coin's parent spends; None for a successor of the former generation, or
        where the chain was just reorganised.
        """
        if coin.parents is not None:
            return coin.parents  # it came out of a block that was read and hashed here
        tx_id, _, index = coin.outpoint.partition(":")
        tx = self._parents.get(tx_id)
        if tx is None:
            tx = await self.nodes.transaction(tx_id, coin.height) if coin.height else None
            if tx is None:
                return None
            while len(self._parents) >= _PARENTS_KEPT:
                del self._parents[next(iter(self._parents))]
            self._parents[tx_id] = tx
        output = tx.outputs[int(index)] if int(index) < len(tx.outputs) else None
        if output != TxOutput(coin.value_sat, self.script(coin.address)):
            raise Rejected(f"the node lied about coin {coin.outpoint}; nothing was sent")
        return tuple(item.outpoint for item in tx.inputs)

    def speak_for(self, coins: Sequence[str]) -> None:
        """Remember that these coins are signed for, and no longer those that have left the pool."""
        if len(self.spoken) > len(self.pool) + _SPOKEN_KEPT:
            self.spoken.intersection_update([coin for coin in self.spoken if coin in self.pool])
        self.spoken.update(coins)

    def spends(self, coins: Sequence[Coin]) -> tuple[Spend, ...]:
        """Return coins as inputs to be signed."""
        return tuple(self._spend(coin) for coin in coins)

    def facts(self, coins: Sequence[Coin], parents: Mapping[str, Any]) -> dict[str, Any]:
        """Return what an intent keeps of its inputs: ``inputs`` and ``parents``."""
        return {
            "inputs": [[coin.outpoint, str(coin.value_sat), coin.address] for coin in coins],
            "parents": dict(parents),
        }

    def script(self, address: str) -> bytes:
        """Return the output script of an own address."""
        return script_of_key(self.signers[address].public_key)

    def _short(self, task: Task, account: str, needed_sat: int, free: Sequence[Coin]) -> Rejected:
        """Say what is missing: money, finality, or coins that are few and large enough."""
        usable = sum(coin.value_sat for coin in free)
        confirmed = self.pool.balance(account)
        asset = str(task.action["asset"])
        if usable >= needed_sat:
            return Rejected(
                f"{account} has {usable} satoshi in {len(free)} free coins, but no "
                f"{task.action['max_inputs']} of them make {needed_sat}; nothing was sent. "
                "Consolidate first.",
                code="policy",
            )
        return Rejected(
            f"{account} has {usable} satoshi in final coins that no other effect claims "
            f"({confirmed} confirmed in all), {needed_sat} are needed; nothing was sent",
            code="unfunded",
            fund=(account, asset, needed_sat - usable),
        )

    def _spend(self, coin: Coin) -> Spend:
        key = self.signers[coin.address].public_key
        code = _CODE_HEAD + script_of_key(key)[2:] + _CODE_TAIL
        return Spend(coin.outpoint, coin.value_sat, code, coin.address, lambda sig: (sig, key))


class TrialBook:
    """A claim book for a trial, which claims nothing: all is free but what is known to be gone and
    what others speak for; what it takes is spoken for from then on.
    """

    def __init__(self, gone: Collection[str], spoken: set[str]) -> None:
        self._gone = gone
        self._spoken = spoken

    def take_next(self, resource: str, floor: int) -> int:
        """Return ``floor``."""
        del resource
        return floor

    def take(self, resource: str, value: int = 0) -> bool:
        """Speak for a coin; False where that is done already, or the coin is gone."""
        if self.taken(resource, value):
            return False
        self._spoken.add(resource)
        return True

    def taken(self, resource: str, value: int = 0) -> bool:
        """Tell whether a coin is gone or spoken for."""
        del value
        return resource in self._gone or resource in self._spoken
