"""Our coins as inputs: which ones an effect takes, and how each is spent (P2WPKH, BIP-141)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.base import ClaimBook, Task
from adapters.bitcoin.address import dust_sat, script_of_key
from adapters.bitcoin.coins import Coin, CoinPool, Selection, select
from adapters.bitcoin.nodes import Nodes
from adapters.bitcoin.signing import BitcoinSigner
from adapters.bitcoin.transactions import Spend
from adapters.errors import Rejected

__all__ = ["OpenBook", "Wallet"]

#: Script code of a P2WPKH input: DUP HASH160 <20 bytes> EQUALVERIFY CHECKSIG (BIP-143).
_CODE_HEAD: Final = b"\x76\xa9\x14"
_CODE_TAIL: Final = b"\x88\xac"
#: A parent of more inputs than this is not watched: an intent is no place for long lists.
_PARENT_INPUTS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Wallet:
    """The coins of all own addresses.

    Attributes:
        signers: own signer by address.
        confirmations: how deep a coin has to lie before it is spent.
    """

    nodes: Nodes
    pool: CoinPool
    signers: Mapping[str, BitcoinSigner]
    confirmations: int

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
        while True:
            free = [
                coin
                for coin in self.final_coins(account)
                if coin.outpoint not in gone
                and (coin.outpoint in mine or not book.taken(coin.outpoint))
            ]
            chosen = select(
                free, target_sat, fee_sat=fee_sat, dust_sat=dust_sat(self.script(account)),
                max_inputs=int(task.action["max_inputs"]), must=must,
            )  # fmt: skip
            if chosen is None:
                raise self._short(task, account, target_sat + fee_sat(1, True), free)
            fresh = {coin.outpoint for coin in chosen.coins if coin not in must} - mine
            lost = {outpoint for outpoint in fresh if not await self.nodes.unspent(outpoint)}
            lost |= {outpoint for outpoint in fresh - lost if not book.take(outpoint)}
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
            there = outpoint in final and await self.nodes.unspent(outpoint)
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
            if await self.nodes.unspent(outpoint) and book.take(outpoint):
                return (Coin(outpoint, int(value_sat), address, 0),)
        if task.action["kind"] in {"transfer", "hold"} and task.direction != "confirm":
            raise Rejected(
                "what killed the former attempt has no unspent output of ours, so a new one could "
                "count twice; nothing was sent, a verdict is needed",
                code="policy",
            )
        return ()

    def final_coins(self, account: str) -> list[Coin]:
        """Return the coins of an own address that may be inputs."""
        return self.pool.coins(account, self.confirmations)

    async def parents(self, coins: Sequence[Coin]) -> dict[str, list[str]]:
        """Return for each coin what its parent spends: should that be spent otherwise, it is gone.

        Reading the parent also proves value and script of the coin by their hash.
        """
        parents = {}
        for coin in coins:
            tx_id, _, index = coin.outpoint.partition(":")
            tx = await self.nodes.transaction(tx_id, coin.height) if coin.height else None
            if tx is None:
                continue  # a successor of the former generation, or just reorganised
            output = tx.outputs[int(index)]
            if (output.value_sat, output.script) != (coin.value_sat, self.script(coin.address)):
                raise Rejected(f"the node lied about coin {coin.outpoint}; nothing was sent")
            if not coin.coinbase and len(tx.inputs) <= _PARENT_INPUTS_MAX:
                parents[coin.outpoint] = [item.outpoint for item in tx.inputs]
        return parents

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


class OpenBook:
    """A claim book in which everything is free: a trial claims nothing."""

    def take_next(self, resource: str, floor: int) -> int:
        """Return ``floor``."""
        del resource
        return floor

    def take(self, resource: str, value: int = 0) -> bool:
        """Return True."""
        del resource, value
        return True

    def taken(self, resource: str, value: int = 0) -> bool:
        """Return False."""
        del resource, value
        return False
