"""State of a simulated chain: balances, nonces or coins, and the contract's operation table.

Everything is a posting (source, target, asset, amount), so the sum per asset is always zero and a
checker can add the postings up again by itself. Holders that are not accounts: ``issued``,
``escrow`` (locks and holds), ``pending`` (mints not yet credited), ``fees``, ``bank`` (faucet).
"""

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field

from msgspec import Struct

from tests.sim.tx import Tx

__all__ = ["Coin", "Effect", "Ledger", "Operation", "Receipt"]

#: Calls that open an operation id; pausing stops only these.
OPENING = frozenset({"lock", "hold", "mint"})
#: op → (kind of operation it ends, its status afterwards)
CLOSING = {
    "release": ("lock", "released"),
    "redeem": ("hold", "released"),
    "credit": ("mint", "released"),
    "refund": (None, "refunded"),
    "cancel": ("mint", "refunded"),
}


class Effect(Struct):
    """What a successful transaction did. ``ref``: operation id, or the outpoint created/spent."""

    kind: str
    ref: str
    source: str
    target: str
    asset: str
    amount: int


class Receipt(Struct):
    """A transaction in a block, and the fee that it ``paid``; without effects when it reverted."""

    tx: Tx
    ok: bool
    reason: str
    height: int
    block_hash: str
    time_s: int
    effects: tuple[Effect, ...]
    paid: int = 0


@dataclass(slots=True)
class Operation:
    """One row of the contract's table; ``status``: open, released, refunded, cancelled."""

    kind: str
    status: str
    asset: str = ""
    amount: int = 0
    owner: str = ""
    target: str = ""
    hashlock: str = ""
    expiry: int = 0


class Coin(Struct, frozen=True):
    """An unspent output. With ``hashlock``: an escrow for ``owner`` (with the preimage), which
    ``refunder`` may take back in blocks above height ``expiry``."""

    owner: str
    amount: int
    height: int
    hashlock: str = ""
    refunder: str = ""
    expiry: int = 0


@dataclass(slots=True)
class Ledger:
    """The state after some blocks; `refusal` is a pure check, `apply` makes the change."""

    kind: str
    native: str
    operators: frozenset[str]
    balances: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    nonces: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    coins: dict[str, Coin] = field(default_factory=dict)
    wallets: defaultdict[str, dict[str, Coin]] = field(default_factory=lambda: defaultdict(dict))
    ops: dict[str, Operation] = field(default_factory=dict)
    #: (operation id, op) → the receipt that did it; ``tombstone`` for a cancelled unused id.
    events: dict[tuple[str, str], Receipt] = field(default_factory=dict)
    #: claim → the receipt that consumed it
    consumed: dict[tuple[str, int], Receipt] = field(default_factory=dict)
    receipts: dict[str, Receipt] = field(default_factory=dict)

    def copy(self) -> "Ledger":
        """Return an independent copy of balances and coins (taken before the first block)."""
        other = Ledger(self.kind, self.native, self.operators)
        other.balances.update(self.balances)
        other.coins.update(self.coins)
        for owner, wallet in self.wallets.items():
            other.wallets[owner].update(wallet)
        return other

    def move(self, source: str, target: str, asset: str, amount: int) -> None:
        """Post ``amount`` from ``source`` to ``target``."""
        self.balances[source, asset] -= amount
        self.balances[target, asset] += amount

    def add_coin(self, outpoint: str, coin: Coin) -> None:
        """Create an output."""
        self.coins[outpoint] = coin
        if not coin.hashlock:
            self.wallets[coin.owner][outpoint] = coin

    def refusal(self, tx: Tx, height: int, time_s: int) -> str:
        """Return why ``tx`` would revert in a block of this height and time; empty if it works."""
        if self.kind == "coins":
            return self._coin_refusal(tx, height)
        if tx.op in {"self", "grant"}:
            return ""
        args = tx.args
        if tx.op == "transfer":
            return self._short(tx, args["asset"], args["amount"])
        op = self.ops.get(args["op_id"])
        if tx.op in OPENING:
            if op is not None:
                return f"operation id is {op.status}"
            if tx.sender not in self.operators:
                return "not an operator"
            if time_s > args["deadline"]:
                return "deadline has passed"
            return "" if tx.op == "mint" else self._short(tx, args["asset"], args["amount"])
        return self._closing_refusal(tx, op, time_s)

    def _short(self, tx: Tx, asset: str, amount: int) -> str:
        need = amount + (tx.fee if asset == self.native else 0)
        return "" if self.balances[tx.sender, asset] >= need else f"too little {asset}"

    def _closing_refusal(self, tx: Tx, op: Operation | None, time_s: int) -> str:
        if tx.op == "tombstone":
            if tx.sender not in self.operators:
                return "not an operator"
            return "" if op is None else f"operation id is {op.status}"
        kind, _ = CLOSING[tx.op]
        if op is None or op.status != "open" or (kind or op.kind) != op.kind:
            return f"operation is {op.status if op else 'unknown'}"
        if tx.op == "redeem":
            fits = hashlib.sha256(bytes.fromhex(tx.args["preimage"])).hexdigest() == op.hashlock
            return "" if fits else "wrong preimage"
        if tx.sender not in self.operators:
            return "not an operator"
        if tx.op == "refund" and op.kind == "hold" and time_s < op.expiry:
            return "too early to refund"
        return ""

    def _coin_refusal(self, tx: Tx, height: int) -> str:
        total = 0
        for outpoint in tx.inputs:
            coin = self.coins.get(outpoint)
            if coin is None:
                return f"input {outpoint} is missing or spent"
            if not coin.hashlock:
                if coin.owner != tx.sender:
                    return "wrong key"
            elif tx.op == "redeem":
                image = hashlib.sha256(bytes.fromhex(tx.args["preimage"])).hexdigest()
                if image != coin.hashlock or coin.owner != tx.sender:
                    return "wrong preimage or key"
            elif tx.sender != coin.refunder or height <= coin.expiry:
                return "too early to refund"
            total += coin.amount
        need = tx.fee + (tx.args["amount"] if tx.op in {"transfer", "hold"} else 1)
        return "" if total >= need else "inputs are worth too little"

    def apply(
        self, tx: Tx, refusal: str, height: int, block_hash: str, time_s: int, base_fee: int = 0
    ) -> Receipt:
        """Put ``tx`` into a block: consume its claims, charge its fee, and do it if not refused."""
        receipt = Receipt(tx, not refusal, refusal, height, block_hash, time_s, (), tx.fee)
        if self.kind == "coins":
            receipt.effects = self._spend(tx, height)
        else:
            self.nonces[tx.sender] = tx.nonce + 1
            receipt.paid = min(tx.fee, base_fee + tx.tip)
            self.move(tx.sender, "fees", self.native, receipt.paid)
            if receipt.ok:
                receipt.effects = self._execute(tx, receipt)
        for claim in tx.claims:
            self.consumed[claim] = receipt
        self.receipts[tx.tx_id] = receipt
        return receipt

    def _execute(self, tx: Tx, receipt: Receipt) -> tuple[Effect, ...]:
        args = tx.args
        if tx.op == "self":
            return (Effect("self", "", tx.sender, tx.sender, self.native, 0),)
        if tx.op in {"transfer", "grant"}:
            source = args.get("from", tx.sender)
            effect = Effect(tx.op, "", source, args["to"], args["asset"], args["amount"])
        else:
            effect = self._operate(tx, args["op_id"])
            self.events[args["op_id"], tx.op] = receipt
        self.move(effect.source, effect.target, effect.asset, effect.amount)
        return (effect,)

    def _operate(self, tx: Tx, op_id: str) -> Effect:
        args, name = tx.args, tx.op
        if name == "tombstone":
            self.ops[op_id] = Operation("", "cancelled")
            return Effect("tombstone", op_id, tx.sender, tx.sender, self.native, 0)
        if name in OPENING:
            asset, amount = args["asset"], args["amount"]
            self.ops[op_id] = Operation(
                name,
                "open",
                asset,
                amount,
                tx.sender,
                args["to"],
                args.get("hashlock", ""),
                args.get("expiry", 0),
            )
            if name == "mint":
                return Effect("mint", op_id, "issued", "pending", asset, amount)
            return Effect(name, op_id, tx.sender, "escrow", asset, amount)
        op = self.ops[op_id]
        op.status = CLOSING[name][1]
        source = "pending" if op.kind == "mint" else "escrow"
        back = "issued" if op.kind == "mint" else op.owner
        target = op.target if op.status == "released" else back
        return Effect(name, op_id, source, target, op.asset, op.amount)

    def _spend(self, tx: Tx, height: int) -> tuple[Effect, ...]:
        spent = [self.coins.pop(outpoint) for outpoint in tx.inputs]
        total = sum(coin.amount for coin in spent)
        for outpoint, coin in zip(tx.inputs, spent, strict=True):
            self.wallets[coin.owner].pop(outpoint, None)
            if coin.hashlock:
                self.move("escrow", tx.sender, self.native, coin.amount)
        self.move(tx.sender, "fees", self.native, tx.fee)
        first = f"{tx.tx_id}:0"
        if tx.op in {"transfer", "hold"}:
            amount, target = tx.args["amount"], tx.args["to"]
            change = total - amount - tx.fee
            if change:
                self.add_coin(f"{tx.tx_id}:1", Coin(tx.sender, change, height))
        else:
            amount, target = total - tx.fee, tx.args.get("to", tx.sender)
        if tx.op == "hold":
            self.add_coin(
                first,
                Coin(target, amount, height, tx.args["hashlock"], tx.sender, tx.args["expiry"]),
            )
            target = "escrow"
        else:
            self.add_coin(first, Coin(target, amount, height))
        self.move(tx.sender, target, self.native, amount)
        kind = tx.op if tx.op != "sweep" else "transfer"
        source = "escrow" if tx.op in {"redeem", "refund"} else tx.sender
        ref = tx.inputs[0] if tx.op in {"redeem", "refund"} else first
        return (Effect(kind, ref, source, target, self.native, amount),)
