"""A survey of a Bitcoin chain: what our keys signed, what our holds came to, what paid us."""

from collections.abc import Mapping, Sequence
from typing import Final

from adapters.base import Attempt, Claim, Prepared, Task
from adapters.bitcoin.chain import Spender, signed_by
from adapters.bitcoin.coins import CoinPool
from adapters.bitcoin.effects import hold_of, returns_to_source, spends_hold
from adapters.bitcoin.nodes import Nodes
from adapters.bitcoin.outcome import Sight, judge, outpoints_of
from adapters.bitcoin.script import ScriptError, parse_hold, spending_path
from adapters.bitcoin.transactions import Block, Tx, TxInput
from adapters.errors import Transient
from adapters.survey import Movement, Survey

__all__ = ["BitcoinSurveyor"]

#: Blocks that miners date ahead, and a median that lags behind: hours that a search leaves.
_SKEW_S: Final = 3 * 3600


class BitcoinSurveyor:
    """Implements `adapters.survey.Surveyor`.

    Args:
        own: own address by output script.
        keys: own address by public key.
        pool: our coins, kept in step with the chain by the adapter's follower.
        confirmations: depth at which a block is final.
    """

    def __init__(
        self,
        nodes: Nodes,
        own: Mapping[bytes, str],
        keys: Mapping[bytes, str],
        pool: CoinPool,
        confirmations: int,
    ) -> None:
        self._nodes = nodes
        self._own = own
        self._keys = keys
        self._pool = pool
        self._confirmations = confirmations
        #: output script of a hold → its name.
        self._scripts: dict[bytes, str] = {}
        #: what `survey` found, by transaction, with the value of each input where it is known.
        self._seen: dict[str, tuple[Tx, tuple[int | None, ...]]] = {}

    async def height_at(self, time_s: int) -> int:
        """Search by halves; header times rise only roughly, so some hours are left."""
        low, high = 0, (await self._nodes.tip()).height
        while low < high:
            middle = (low + high + 1) // 2
            if (await self._block(middle)).time_s < time_s - _SKEW_S:
                low = middle
            else:
                high = middle - 1
        return low

    async def survey(self, since: int) -> Survey:
        """Read every block from the newest down to ``since``.

        Each is named by the one above it, so whoever gives it can not lead astray; nothing is final
        while too few nodes share the newest.
        """
        self._seen = {}
        newest = await self._nodes.newest()
        top, name = newest.head.height, newest.head.hash
        blocks: list[list[Movement]] = []
        for height in range(top, max(since, 0) - 1, -1):
            block = await self._nodes.block(name)
            name = block.parent
            final = newest.agreed and top - height + 1 >= self._confirmations
            blocks.append(await self._movements(block, height, final=final))
        return Survey(since, top, tuple(found for each in reversed(blocks) for found in each))

    async def _movements(self, block: Block, height: int, *, final: bool) -> list[Movement]:
        found = []
        for tx in block.txs:
            texts, names = self._texts(tx), self._names(tx)
            if texts or names:
                found.append(await self._movement(tx, block, height, final, texts, names))
        return found

    def _texts(self, tx: Tx) -> tuple[str, ...]:
        """Say what a transaction does to us; nothing if it does not concern us."""
        texts = []
        for item in tx.inputs:
            if (address := self._signer(item)) is not None:
                texts.append(f"spends {item.outpoint} of {address}")
            elif self._redeems(item):
                texts.append(f"redeems our hold {item.outpoint}")
        paid = [
            f"pays {output.value_sat} sat to our {self._own[output.script]}"
            for output in tx.outputs
            if output.script in self._own
        ]
        if texts:
            paid += [
                f"pays {output.value_sat} sat to script {output.script.hex()}"
                for output in tx.outputs
                if output.script not in self._own
            ]
        return (*texts, *paid)

    def _signer(self, item: TxInput) -> str | None:
        """Return the address of ours that signed an input."""
        return self._keys.get(signed_by(item))

    def _redeems(self, item: TxInput) -> bool:
        witness = item.witness
        return spending_path(witness) == "redeem" and self._payer(witness[-1]) is not None

    def _payer(self, script: bytes) -> str | None:
        """Return the address of ours that a hold's script refunds to."""
        try:
            return self._keys.get(parse_hold(script).payer)
        except ScriptError:
            return None

    def _names(self, tx: Tx) -> frozenset[str]:
        spent = {_spent(item.outpoint) for item in tx.inputs if self._concerns(item)}
        made = {self._scripts[o.script] for o in tx.outputs if o.script in self._scripts}
        return frozenset(spent | made)

    def _concerns(self, item: TxInput) -> bool:
        return self._signer(item) is not None or self._redeems(item)

    async def _movement(
        self, tx: Tx, block: Block, height: int, final: bool, texts: tuple[str, ...],  # noqa: FBT001
        names: frozenset[str],
    ) -> Movement:  # fmt: skip
        raw, values = await self._nodes.mined(tx.tx_id, block.hash)
        self._seen[tx.tx_id] = (tx, values or (None,) * len(tx.inputs))
        signed = {item.outpoint: self._signer(item) for item in tx.inputs}
        return Movement(
            tx_id=tx.tx_id,
            raw=raw,
            block_hash=block.hash,
            height=height,
            time_s=block.time_s,
            final=final,
            claim=tuple((outpoint, 0) for outpoint, address in signed.items() if address),
            accounts=tuple(dict.fromkeys(address for address in signed.values() if address)),
            names=names,
            texts=texts,
        )

    async def waiting(self) -> Sequence[Claim]:
        """Return our coins that a transaction in a node's pool spends."""
        coins = [coin for address in self._own.values() for coin in self._pool.coins(address, 1)]
        return [
            (coin.outpoint, 0)
            for coin in coins
            if not await self._nodes.holdings.unspent(coin.outpoint)
        ]

    def name_of(self, task: Task) -> str | None:
        """Return the script of a hold, or the outpoint that this effect and no other spends."""
        if task.direction == "forward":
            if task.action["kind"] == "hold":
                script = hold_of(task).output_script()
                return self._scripts.setdefault(script, f"script:{script.hex()}")
            return _spent(task.coins[0]) if task.coins else None
        if task.forward is None or not (spends_hold(task) or returns_to_source(task)):
            return None
        return _spent(str(task.forward["outpoint"]))

    def adopted(self, task: Task, movement: Movement) -> Prepared | None:
        """Return the attempt, if the transaction carries the effect."""
        tx, values = self._seen[movement.tx_id]
        if returns_to_source(task) and task.generation == 1 and not _spends_transfer(task, tx):
            return None  # another payment
        inputs = [
            [item.outpoint, str(value), address]
            for item, value in zip(tx.inputs, values, strict=True)
            if (address := self._signer(item)) is not None and value is not None
        ]
        known = [value for value in values if value is not None]
        paid_sat = sum(output.value_sat for output in tx.outputs)
        fee_sat = max(0, sum(known) - paid_sat) if len(known) == len(values) else 0
        fee = {
            "fee_sat": str(fee_sat), "vsize": tx.vsize,
            "rate_sat_kvb": fee_sat * 1000 // tx.vsize, "cap_sat": str(fee_sat),
        }  # fmt: skip
        since = movement.height - 1
        attempt = Attempt(
            tx.tx_id, "effect", movement.claim, since, fee,
            {"inputs": inputs, "parents": {}}, task.generation,
        )  # fmt: skip
        found = judge(task, (attempt,), self._sight(task, attempt, movement)).found
        if found is None or (not movement.claim and task.direction != "confirm"):
            return None
        told = ("outpoint", "value_sat", "witness_script", "locktime", "hashlock")
        facts = dict(attempt.facts) | {k: found.facts[k] for k in told if k in found.facts}
        return Prepared(tx.tx_id, movement.raw, movement.claim, since, fee, facts)

    def _sight(self, task: Task, attempt: Attempt, movement: Movement) -> Sight:
        tx = self._seen[movement.tx_id][0]
        spender = Spender(tx, movement.block_hash, movement.height, movement.time_s)
        return Sight(
            height=movement.height,
            spenders={
                outpoint: spender if tx.spends(outpoint) is not None else None
                for outpoint in outpoints_of(task, (attempt,))
            },
            final=lambda _height: movement.final,
            own=self._own,
        )

    async def _block(self, height: int) -> Block:
        block_hash = await self._nodes.block_hash(height)
        if block_hash is None:
            raise Transient("the chain was reorganised while it was read")
        return await self._nodes.block(block_hash)


def _spends_transfer(task: Task, tx: Tx) -> bool:
    """Tell whether a return spends the output of the transfer that it takes back."""
    return task.forward is not None and tx.spends(str(task.forward["outpoint"])) is not None


def _spent(outpoint: str) -> str:
    return f"spent:{outpoint}"
