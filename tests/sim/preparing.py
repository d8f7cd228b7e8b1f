"""Building the simulated chains' transactions: which call, whose claim, at what fee."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.base import Attempt, Claim, ClaimBook, Prepared, Purpose, Task
from adapters.errors import Rejected
from tests.sim.chain import SimChain
from tests.sim.tx import Tx, encode

__all__ = [
    "BURN_CAP",
    "CALLS",
    "FORWARD_CAP",
    "call_of",
    "check",
    "choose_coins",
    "fill",
    "opening_args",
    "prepare",
]

FEE: Final = 10
#: A burn may pay this; a forward at most a burn's cap ÷ 1.1, so that a burn can always win.
BURN_CAP: Final = 1_100
FORWARD_CAP: Final = 1_000
#: (action, direction) → the call that makes its effect
CALLS: Final = {
    ("transfer", "forward"): "transfer",
    ("transfer", "confirm"): "transfer",
    ("transfer", "undo"): "transfer",
    ("pay", "forward"): "transfer",
    ("lock", "forward"): "lock",
    ("lock", "confirm"): "release",
    ("lock", "undo"): "refund",
    ("hold", "forward"): "hold",
    ("hold", "confirm"): "redeem",
    ("hold", "undo"): "refund",
    ("mint", "forward"): "mint",
    ("mint", "confirm"): "credit",
    ("mint", "undo"): "cancel",
}
_KEPT_WHEN_SWEEPING: Final = frozenset({"to", "preimage"})


def call_of(task: Task) -> tuple[str, Mapping[str, Any]]:
    """Return the call that makes the task's effect, and its arguments."""
    action = task.action
    op = CALLS[action["kind"], task.direction]
    if op == "transfer":
        target = action["from"] if task.direction == "undo" else action["to"]
        return op, {"to": target, "asset": action["asset"], "amount": int(action["amount"])}
    if task.direction == "forward":
        expiry = next(iter(task.expiry.values())) if task.expiry else 0
        return op, opening_args(action, task.op_id, task.deadline_s, task.hashlock, expiry)
    if op == "redeem":
        if task.preimage is None:
            raise Rejected("a redeem needs the preimage, which is not out yet", code="policy")
        return op, {"op_id": task.op_id, "preimage": task.preimage}
    return op, {"op_id": task.op_id}


def opening_args(
    action: Mapping[str, Any], op_id: str, deadline_s: int, hashlock: str | None, expiry: int
) -> dict[str, Any]:
    """Return the arguments of a call that opens an operation (or of the same on coins)."""
    args: dict[str, Any] = {
        "op_id": op_id,
        "asset": action["asset"],
        "amount": int(action["amount"]),
        "to": action["to"],
        "deadline": deadline_s,
    }
    if action["kind"] == "hold":
        args |= {"hashlock": hashlock, "expiry": expiry}
    return args


def check(chain: SimChain, action: Mapping[str, Any], op: str, args: Mapping[str, Any]) -> None:
    """Raise `Rejected` when the forward call would fail on today's state."""
    sender = action["from"]
    if chain.kind == "coins":
        total = sum(coin.amount for coin in chain.ledger.wallets[sender].values())
        missing = int(action["amount"]) + FEE - total
        if missing > 0:
            raise _unfunded("too few coins", sender, chain, missing)
        if op in chain.trouble.paused:
            raise Rejected(f"{op} is refused by policy", code="policy")
        return
    missing = FEE - chain.ledger.balances[sender, chain.native]
    if missing > 0:
        raise _unfunded("no money for gas", sender, chain, missing)
    nonce = chain.ledger.nonces[sender]
    refusal = chain.simulate(Tx("", chain.name, sender, nonce, (), FEE, op, args))
    if refusal:
        raise Rejected(refusal)


def prepare(
    chain: SimChain, task: Task, purpose: Purpose, book: ClaimBook, former: Sequence[Attempt]
) -> Prepared:
    """Claim, build and "sign"; see `Adapter.prepare`."""
    own = [
        attempt
        for attempt in former
        if attempt.facts["gen"] == task.generation
        and (attempt.purpose == "tombstone") == (purpose == "tombstone")
    ]
    cap = (FORWARD_CAP if purpose == "effect" else BURN_CAP) * task.cap_pct // 100
    fee, tip = _price(chain, own, cap)
    op, args = _call(task, purpose)
    claim = own[-1].claim if own else None
    if chain.kind == "coins":
        sender = _sender(task)
        claim = claim or _coins(chain, task, sender, fee, book)
        nonce = -1
        if task.direction != "forward" and task.forward:
            op = "sweep" if op == "transfer" else op
            args = {key: args[key] for key in args if key in _KEPT_WHEN_SWEEPING}
    else:
        claim = claim or _nonce(chain, task, purpose, fee, book)
        sender, nonce = claim[0]
    inputs = [outpoint for outpoint, _ in claim] if nonce < 0 else ()
    tx_id, raw = encode(chain.name, sender, nonce, inputs, fee, op, args, tip)
    facts: dict[str, Any] = {"gen": task.generation}
    if nonce < 0:
        facts["outpoint"] = f"{tx_id}:0"
    elif purpose == "effect" and (task.action["kind"], task.direction) == ("transfer", "forward"):
        facts["brings"] = [task.action["to"], task.action["asset"], task.action["amount"]]
    fees = {"fee": str(fee), "tip": str(tip), "cap": str(cap)}
    return Prepared(tx_id, raw, claim, chain.tip.height, fees, facts)


def fill(chain: SimChain, resource: str, value: int, former: Sequence[Attempt]) -> Prepared:
    """Build a self-spend for one nonce; see `Adapter.fill`."""
    fee, tip = _price(chain, former, BURN_CAP)
    missing = fee - chain.ledger.balances[resource, chain.native]
    if missing > 0:
        raise _unfunded("no money for gas", resource, chain, missing)
    tx_id, raw = encode(chain.name, resource, value, (), fee, "self", {}, tip)
    fees = {"fee": str(fee), "tip": str(tip), "cap": str(BURN_CAP)}
    return Prepared(tx_id, raw, ((resource, value),), chain.tip.height, fees, {"gen": 1})


def _price(chain: SimChain, former: Sequence[Attempt], cap: int) -> tuple[int, int]:
    """Return (fee, tip): room for the base fee to double, and by the pool's replacement rules more
    than any of ``former``; never above ``cap``.
    """
    base = chain.trouble.base_fee
    fee, tip = max(FEE, 2 * base + FEE if chain.kind == "nonce" else base), FEE
    fee = max(fee, chain.trouble.relay_fee)
    if base > cap:
        raise Rejected(f"a block costs {base} now, the cap is {cap}", code="policy")
    fee = min(fee, cap)
    for attempt in former:
        fee = max(fee, int(attempt.fee["fee"]) * 11 // 10 + 1)
        tip = max(tip, int(attempt.fee["tip"]) * 11 // 10 + 1)
    if fee > cap:
        raise Rejected(f"fee {fee} is above the cap {cap}", code="policy")
    return (fee, tip) if chain.kind == "nonce" else (fee, fee)


def _call(task: Task, purpose: Purpose) -> tuple[str, Mapping[str, Any]]:
    if purpose == "burn":
        return "self", {}
    if purpose == "tombstone":
        return "tombstone", {"op_id": task.op_id}
    return call_of(task)


def _sender(task: Task) -> str:
    action = task.action
    back = action["kind"] == "transfer" and task.direction == "undo"
    return str(action["to"] if back else action["from"])


def _nonce(
    chain: SimChain, task: Task, purpose: Purpose, fee: int, book: ClaimBook
) -> tuple[Claim, ...]:
    """Take the next nonce of whoever sends this."""
    sender = _sender(task)
    balances = chain.ledger.balances
    if purpose == "tombstone":
        # Not behind the forward's own open nonce: it would wait for what it is to end.
        others = [account for account in chain.ours if account != sender]
        funded = (a for a in (*others, sender) if balances[a, chain.native] >= fee)
        sender = next(funded, sender)
    missing = fee - balances[sender, chain.native]
    if missing > 0:
        raise _unfunded("no money for gas", sender, chain, missing)
    return ((sender, book.take_next(sender, chain.ledger.nonces[sender])),)


def _coins(
    chain: SimChain, task: Task, sender: str, fee: int, book: ClaimBook
) -> tuple[Claim, ...]:
    """Take the output that this effect must spend, or own final coins, oldest first."""
    if task.direction != "forward" and task.forward:
        parent = task.forward["outpoint"]
        if task.generation > 1 and task.cites and "outpoint" in task.cites:
            parent = task.cites["outpoint"]
        book.take(parent)
        return ((parent, 0),)
    if task.coins and task.generation == 1:
        wallet = chain.ledger.wallets[sender]
        there = (o in wallet and chain.is_final(wallet[o].height) for o in task.coins)
        if not all(there) or not all(book.take(outpoint) for outpoint in task.coins):
            raise Rejected("a reserved coin is gone; nothing was sent", code="unfunded")
        return tuple((outpoint, 0) for outpoint in task.coins)
    need = int(task.action["amount"]) + fee
    return tuple((outpoint, 0) for outpoint in _free_coins(chain, sender, need, book))


def choose_coins(chain: SimChain, action: Mapping[str, Any], book: ClaimBook) -> tuple[str, ...]:
    """Take coins that pay the forward effect at its highest fee; see `Adapter.choose_coins`."""
    if chain.kind != "coins":
        return ()
    return _free_coins(chain, action["from"], int(action["amount"]) + FORWARD_CAP, book)


def _free_coins(chain: SimChain, sender: str, need: int, book: ClaimBook) -> tuple[str, ...]:
    total, chosen = 0, []
    for outpoint, coin in chain.ledger.wallets[sender].items():
        if not chain.is_final(coin.height) or book.taken(outpoint):
            continue
        chosen.append(outpoint)
        total += coin.amount
        if total >= need:
            for picked in chosen:
                book.take(picked)
            return tuple(chosen)
    raise _unfunded("too few free coins", sender, chain, need - total)


def _unfunded(reason: str, account: str, chain: SimChain, missing: int) -> Rejected:
    return Rejected(reason, code="unfunded", fund=(account, chain.native, missing))
