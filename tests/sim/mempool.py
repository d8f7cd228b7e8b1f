"""What waits for a block: who gets in, who replaces whom, who is put out, who is next.

The rules are those that wallets meet. On accounts (geth): a nonce that is not used up, money for
the dearest case, a replacement at least a tenth dearer in both EIP-1559 fields. On coins (BIP 125
and Bitcoin Core): spendable inputs, a replacement that pays more than all it replaces together by
the incremental relay fee. On both: a minimum fee, and a full pool puts its cheapest out.
"""

from typing import TYPE_CHECKING, Final

from tests.sim.tx import Tx

if TYPE_CHECKING:
    from tests.sim.chain import SimChain

__all__ = ["BUMP_PERCENT", "INCREMENTAL_FEE", "RELAY_FEE", "Mempool"]

#: A replacement on accounts must pay this much more (per cent) in each field.
BUMP_PERCENT: Final = 10
#: What relaying a replacement on coins adds to the fees of all that it replaces.
INCREMENTAL_FEE: Final = 1
#: No pool takes anything that pays less.
RELAY_FEE: Final = 1

#: What an account lacks: (address, asset, base units).
Lack = tuple[str, str, int]


class Mempool(dict[str, Tx]):
    """Transactions by their ids; as the miner of one chain sees them."""

    def __init__(self, chain: "SimChain") -> None:
        super().__init__()
        self._chain = chain
        #: transaction id → the oldest one that it replaced, which some miner may still have.
        self._former: dict[str, Tx] = {}

    def refusal(self, tx: Tx) -> tuple[str, Lack | None]:
        """Return why the door is closed to ``tx`` (empty: it is open), and what its payer lacks."""
        chain = self._chain
        if tx.chain != chain.name:
            return "wrong chain id", None
        if tx.tx_id in chain.ledger.receipts:
            return "already in a block", None
        if tx.fee < max(RELAY_FEE, chain.trouble.relay_fee):
            chain.fired["below relay fee"] += 1
            return "min relay fee not met", None
        if chain.kind == "coins":
            spent = chain.ledger.refusal(tx, chain.tip.height + 1, chain.time_s())
            return spent or self._underpriced(tx), None
        if tx.nonce < chain.ledger.nonces[tx.sender]:
            return "nonce too low", None
        native = tx.args.get("asset") == chain.native and tx.op in {"transfer", "lock", "hold"}
        need = tx.fee + (tx.args["amount"] if native else 0)
        missing = need - chain.ledger.balances[tx.sender, chain.native]
        if missing > 0:
            return "insufficient funds", (tx.sender, chain.native, missing)
        return self._underpriced(tx), None

    def _underpriced(self, tx: Tx) -> str:
        """Hold a replacement against what it would replace."""
        rivals = self.rivals(tx)
        if not rivals:
            return ""
        refusal = self._too_cheap(tx, rivals)
        self._chain.fired["replacement underpriced"] += bool(refusal)
        return refusal

    def _too_cheap(self, tx: Tx, rivals: list[Tx]) -> str:
        if self._chain.kind == "coins":
            paid = sum(rival.fee for rival in rivals)
            return "" if tx.fee >= paid + INCREMENTAL_FEE else "insufficient fee, rejecting"
        (rival,) = rivals
        percent = 100 + BUMP_PERCENT
        dearer = tx.fee * 100 >= rival.fee * percent and tx.tip * 100 >= rival.tip * percent
        return "" if dearer else "replacement transaction underpriced"

    def rivals(self, tx: Tx) -> list[Tx]:
        """Return what waits and consumes the same."""
        if not self:
            return []
        claims = set(tx.claims)
        return [other for other in self.values() if claims.intersection(other.claims)]

    def admit(self, tx: Tx) -> None:
        """Take ``tx`` in, in the place of its rivals; a pool that is full puts its cheapest out."""
        for rival in self.rivals(tx):
            self._chain.fired["replaced"] += 1
            self._former[tx.tx_id] = self._former.get(rival.tx_id, rival)
            del self[rival.tx_id]
        self[tx.tx_id] = tx
        room = self._chain.trouble.room
        while room is not None and len(self) > room:
            self._chain.fired["put out of a full pool"] += 1
            del self[min(reversed(self.values()), key=lambda waiting: waiting.fee).tx_id]

    def ready(self) -> list[Tx]:
        """Return what the next block can hold, in order."""
        if not self:
            return []
        chain, ready = self._chain, []
        nonces: dict[str, int] = {}
        pool = self.values()
        for tx in sorted(pool, key=lambda tx: tx.nonce) if len(pool) > 1 else pool:
            if tx.op in chain.trouble.stuck:
                continue
            former = self._former.get(tx.tx_id) if chain.trouble.old_wins else None
            wins = former if former is not None and self.affords(former) else tx
            if not self.affords(wins):
                chain.fired["below base fee"] += 1
                continue
            if chain.kind == "nonce":
                expected = nonces.get(tx.sender, chain.ledger.nonces[tx.sender])
                if tx.nonce != expected:
                    continue
                if chain.ledger.balances[tx.sender, chain.native] < tx.fee:
                    continue
                nonces[tx.sender] = expected + 1
            chain.fired["older one wins"] += wins is not tx
            ready.append(wins)
        return ready

    def affords(self, tx: Tx) -> bool:
        """Whether ``tx`` pays what a block costs now; a scenario's own transactions are free."""
        return tx.fee >= self._chain.trouble.base_fee or tx.op == "grant" or "by" in tx.args
