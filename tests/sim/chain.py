"""A simulated chain: blocks, mempool, reorganisations; deterministic, no threads, no clock."""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

from msgspec import Struct

from tests.sim.disturbance import Disturbance, Node
from tests.sim.ledger import OPENING, Coin, Ledger, Receipt
from tests.sim.mempool import Mempool
from tests.sim.tx import Tx, decode, encode

__all__ = ["FATES", "Block", "Fate", "Received", "SimChain", "SimClock"]

#: What becomes of the transactions of a block that is replaced.
Fate = Literal["wait", "lost", "again"]
FATES: Final[tuple[Fate, ...]] = ("wait", "lost", "again")


@dataclass(slots=True)
class SimClock:
    """Host time; whoever owns the simulation moves it."""

    now_ms: int = 1_700_000_000_000


class Block(Struct):
    height: int
    hash: str
    parent: str
    time_s: int
    receipts: list[Receipt]
    base_fee: int = 0


class Received(Struct, frozen=True):
    """Bytes that reached the chain's door; ``stamp`` is what the world knew at that moment."""

    tx: Tx
    raw: bytes
    stamp: Any


class SimChain:
    """One chain.

    Args:
        kind: ``nonce`` (accounts, a contract with operation ids) or ``coins`` (outputs, scripts).
        ours: accounts whose keys are ours; on a ``nonce`` chain they operate the contract too.
        confirmations: blocks, its own included, after which a transaction is final.
        instant: mine a block for each transaction as soon as it arrives.
    """

    def __init__(
        self,
        name: str,
        clock: SimClock,
        *,
        kind: str,
        native: str,
        ours: tuple[str, ...],
        confirmations: int = 1,
        instant: bool = True,
    ) -> None:
        self.name = name
        self.kind = kind
        self.native = native
        self.ours = ours
        self.confirmations = confirmations
        self.instant = instant
        #: what the configuration would say of evidence: required, wanted or none.
        self.proof = "wanted"
        self.trouble = Disturbance()
        #: what passes so many blocks by is replaced by something dearer; 0: it waits.
        self.bump_blocks = 0
        #: kinds of disturbances that had an effect, and how often.
        self.fired: Counter[str] = Counter()
        #: what an adapter may ask; one that is honest, unless a world says otherwise.
        self.nodes = [Node()]
        self.ledger = Ledger(kind, native, frozenset(ours))
        self.mempool = Mempool(self)
        self.received: list[Received] = []
        #: every block read or taken back, in order, for followers: (block, is removed).
        self.feed: list[tuple[Block, bool]] = []
        self.listeners: list[Callable[[], None]] = []
        #: what to note beside bytes that arrive; the world sets it.
        self.stamp: Callable[[], Any] = int
        self._clock = clock
        self._salt = 0
        self._ticks = 0
        self._genesis: Ledger | None = None
        self._payees: set[str] = set()
        self._known_preimages: dict[str, str] = {}
        genesis = hashlib.sha256(f"genesis {name}".encode()).hexdigest()
        self.blocks = [Block(0, genesis, "", clock.now_ms // 1000, [])]

    # ------------------------------------------------------------ setting up

    def fund(self, account: str, asset: str, amount: int, coins: int = 1) -> None:
        """Give ``account`` money (as ``coins`` equal outputs on a ``coins`` chain)."""
        self.ledger.move("bank", account, asset, amount)
        if self.kind == "coins":
            height = 1 - self.confirmations
            for _ in range(coins):
                self._salt += 1
                coin = Coin(account, amount // coins, height)
                self.ledger.add_coin(_first_outpoint(self.name, self._salt), coin)

    def grant(self, source: str, target: str, asset: str, amount: int) -> None:
        """Move money in the next block as nobody's plan says, on a ``nonce`` chain."""
        self._salt += 1
        args = {"from": source, "to": target, "asset": asset, "amount": amount}
        sender = f"faucet {self._salt}"
        self.mempool.admit(decode(encode(self.name, sender, 0, (), 0, "grant", args)[1]))

    def add_payee(self, account: str) -> None:
        """Let an outsider redeem holds for it as soon as it learns their preimage."""
        self._payees.add(account)

    # ------------------------------------------------------------ reading

    @property
    def tip(self) -> Block:
        return self.blocks[-1]

    def is_final(self, height: int) -> bool:
        return self.tip.height - height + 1 >= self.confirmations

    def time_s(self) -> int:
        """Time that a block mined now would carry."""
        return max(self.tip.time_s, self._clock.now_ms // 1000 + self.trouble.skew_s)

    # ------------------------------------------------------------ sending

    def submit(self, tx_id: str, raw: bytes) -> tuple[str, tuple[str, str, int] | None]:
        """Take bytes in. Returns (refusal, missing funds); an empty refusal means accepted."""
        tx = decode(raw)
        if tx.tx_id != tx_id:
            raise ValueError("these bytes are not that transaction")
        self.received.append(Received(tx, raw, self.stamp()))
        if tx.tx_id in self.mempool:
            return "", None
        refusal, fund = self.mempool.refusal(tx)
        if refusal:
            return refusal, fund
        if self.instant and not self.mempool and self._minable(tx):
            self._append([tx])
            return "", None
        self.mempool.admit(tx)
        if self.instant:
            while self.mempool.ready():
                self.mine()
        return "", None

    def _minable(self, tx: Tx) -> bool:
        """Whether a block could take ``tx`` right now, alone."""
        in_turn = tx.nonce < 0 or tx.nonce == self.ledger.nonces[tx.sender]
        return in_turn and tx.op not in self.trouble.stuck and self.mempool.affords(tx)

    # ------------------------------------------------------------ mining

    def tick(self) -> None:
        """A second has passed: a block, unless the chain halts or is slow."""
        self._ticks += 1
        if self.trouble.halted:
            self.fired["halted"] += 1
        elif self._ticks % self.trouble.slow:
            self.fired["slow block"] += 1
        else:
            self.mine()

    def mine(self, blocks: int = 1) -> None:
        """Append blocks; the first takes everything in the mempool that can go in."""
        for _ in range(blocks):
            self._append(self.mempool.ready())

    def _append(self, txs: list[Tx]) -> None:
        parent = self.tip
        height, time_s = parent.height + 1, self.time_s()
        if time_s != self._clock.now_ms // 1000:
            self.fired["skewed"] += 1
        ids = " ".join([tx.tx_id for tx in txs])
        text = f"{self.name} {height} {parent.hash} {self._salt} {ids}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        block = Block(height, digest, parent.hash, time_s, [], self.trouble.base_fee)
        if self._genesis is None:
            self._genesis = self.ledger.copy()
        for tx in txs:
            for waiting in (tx, *self.mempool.rivals(tx)):
                self.mempool.pop(waiting.tx_id, None)
            block.receipts += self._included(self._disturbed(tx), block)
        self._publish(block)

    def _included(self, tx: Tx, block: Block) -> list[Receipt]:
        """Put one transaction into ``block``; empty when a block can not hold it."""
        refusal = self.ledger.refusal(tx, block.height, block.time_s)
        if self.kind == "coins" and refusal:
            return []
        if not refusal and tx.op in self.trouble.paused | self.trouble.reverting:
            refusal = "paused"
        return [
            self.ledger.apply(tx, refusal, block.height, block.hash, block.time_s, block.base_fee)
        ]

    def _disturbed(self, tx: Tx) -> Tx:
        """Another wallet with our keys may spend the same claim first (a self-spend, free)."""
        if tx.op not in self.trouble.stolen or self._is_payees(tx):
            return tx
        _, raw = encode(
            self.name, tx.sender, tx.nonce, tx.inputs, 0, "self", {"by": "another wallet"}
        )
        return decode(raw)

    def _is_payees(self, tx: Tx) -> bool:
        return tx.sender in self._payees

    def _publish(self, block: Block) -> None:
        self.blocks.append(block)
        self.feed.append((block, False))
        for listener in self.listeners:
            listener()
        if self._known_preimages:
            self._redeem()

    # ------------------------------------------------------------ reorganisations

    def reorg(self, depth: int, fate: Fate = "wait") -> None:
        """Replace the last ``depth`` blocks by empty ones; what was in them waits in the mempool,
        is lost, or is in the first of the new blocks again: nobody may ever see it gone."""
        depth = min(depth, len(self.blocks) - 1)
        if depth == 0 or self._genesis is None:
            return
        self.fired["reorganised" if depth < self.confirmations else "finality broken"] += 1
        gone = self.blocks[-depth:]
        del self.blocks[-depth:]
        self._salt += 1
        self.ledger = self._genesis.copy()
        for block in self.blocks[1:]:
            block.receipts = [
                self.ledger.apply(
                    r.tx, r.reason, block.height, block.hash, block.time_s, block.base_fee
                )
                for r in block.receipts
            ]
        for block in reversed(gone):
            self.feed.append((block, True))
        taken = [receipt.tx for block in gone for receipt in block.receipts]
        self._append(taken if fate == "again" else [])
        for _ in range(depth - 1):
            self._append([])
        if fate == "wait":
            for tx in taken:
                self.mempool[tx.tx_id] = tx

    def consume(self, account: str) -> None:
        """Somebody else uses our key: the account's next nonce, or its first coin, is consumed by
        a transaction that no plan knows, in the place of whatever waits for a block."""
        nonce, inputs = -1, tuple(self.ledger.wallets[account])[:1]
        if self.kind == "nonce":
            nonce, inputs = self.ledger.nonces[account], ()
        self.fired["stranger"] += 1
        args = {"by": "a stranger"}
        self.mempool.admit(decode(encode(self.name, account, nonce, inputs, 0, "self", args)[1]))

    def evict(self) -> None:
        """Let the pool forget everything that waits."""
        self.fired["evicted"] += len(self.mempool)
        self.mempool.clear()

    def calm(self) -> None:
        """Nothing is wrong with the chain or its nodes any more; only its clock stays as it is."""
        self.trouble = Disturbance(skew_s=self.trouble.skew_s)
        for node in self.nodes:
            node.lag, node.lies, node.hangs, node.mute = 0, "", False, False

    def replace(self, op: str) -> None:
        """Take the newest block that holds an ``op`` back; our other wallet spends its claim."""
        self.trouble.stolen.add(op)
        depth = next(
            self.tip.height - block.height + 1
            for block in reversed(self.blocks)
            if any(receipt.tx.op == op for receipt in block.receipts)
        )
        self.reorg(depth)
        self.mine()

    # ------------------------------------------------------------ the payee

    def learn(self, preimage: str) -> None:
        """Tell the payees a preimage (hex); they redeem what it opens, now and later."""
        self._known_preimages[hashlib.sha256(bytes.fromhex(preimage)).hexdigest()] = preimage
        self._redeem()

    def _redeem(self) -> None:
        for raw in self._redeems():
            tx = decode(raw)
            if tx.tx_id not in self.mempool and not self.mempool.refusal(tx)[0]:
                self.mempool.admit(tx)
                if self.instant:
                    self.mine()

    def _redeems(self) -> list[bytes]:
        found, fee = [], max(1, self.trouble.base_fee, self.trouble.relay_fee)
        if self.kind == "coins":
            for outpoint, coin in self.ledger.coins.items():
                preimage = self._known_preimages.get(coin.hashlock) if coin.hashlock else None
                if preimage and coin.owner in self._payees:
                    args = {"preimage": preimage, "to": coin.owner}
                    raw = encode(self.name, coin.owner, -1, [outpoint], fee, "redeem", args)[1]
                    found.append(raw)
            return found
        for op_id, op in self.ledger.ops.items():
            preimage = self._known_preimages.get(op.hashlock) if op.hashlock else None
            if preimage and op.status == "open" and op.target in self._payees:
                nonce = self.ledger.nonces[op.target]
                args = {"op_id": op_id, "preimage": preimage}
                found.append(encode(self.name, op.target, nonce, (), fee, "redeem", args)[1])
        return found

    def simulate(self, tx: Tx) -> str:
        """Tell why ``tx`` would fail on today's state (what a node's call would say)."""
        refusal = self.ledger.refusal(tx, self.tip.height + 1, self.time_s())
        if not refusal and tx.op in self.trouble.paused:
            refusal = f"{tx.op} is paused" if tx.op in OPENING else f"{tx.op} is refused"
        return refusal


@lru_cache(maxsize=1 << 12)
def _first_outpoint(chain: str, number: int) -> str:
    """Name a coin that was there before the first block."""
    return f"{hashlib.sha256(f'{chain} coin {number}'.encode()).hexdigest()}:0"
