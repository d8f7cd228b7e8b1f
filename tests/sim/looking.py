"""Looking at a simulated chain: is the effect there, and what became of the attempts?"""

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from adapters.base import Attempt, Claim, Consumed, Found, Observation, Task
from tests.sim.chain import SimChain
from tests.sim.ledger import Effect, Receipt
from tests.sim.preparing import CALLS
from tests.sim.tx import Tx

__all__ = ["observe", "touches"]

#: call → other calls on the same operation that make it impossible, and the reason they give
RIVALS: Final = {
    "lock": (("tombstone", "tombstone"),),
    "hold": (("tombstone", "tombstone"),),
    "mint": (("tombstone", "tombstone"),),
    "release": (("refund", "refunded"),),
    "redeem": (("refund", "refunded"),),
    "credit": (("cancel", "refunded"),),
    "refund": (("release", "redeemed"), ("redeem", "redeemed")),
    "cancel": (("credit", "redeemed"),),
}


def touches(tx: Tx) -> set[str]:
    """Return the keys of a transaction: its claims, and its operation id."""
    if tx.nonce >= 0:
        keys = {f"{tx.sender}/{tx.nonce}"}
    else:
        keys = {f"{outpoint}/0" for outpoint in tx.inputs}
    if "op_id" in tx.args:
        keys.add(tx.args["op_id"])
    return keys


def observe(
    chain: SimChain, task: Task, attempts: Sequence[Attempt], upto: int | None = None
) -> Observation:
    """Look for the effect first, whoever caused it; see `Adapter.observe`.

    Args:
        upto: what a node shows that is behind: no block above this height.
    """
    seen = _look(chain, task, attempts)
    if upto is None or upto >= chain.tip.height:
        return seen
    told = seen.found or seen.consumed
    if told is None or told.height > upto:
        return Observation(upto)
    final = upto - told.height + 1 >= chain.confirmations
    if seen.found is not None:
        return Observation(upto, found=replace(seen.found, final=final))
    assert seen.consumed is not None
    return Observation(upto, consumed=replace(seen.consumed, final=final))


def _look(chain: SimChain, task: Task, attempts: Sequence[Attempt]) -> Observation:
    height = chain.tip.height
    op = CALLS[task.action["kind"], task.direction]
    if chain.kind == "nonce" and op != "transfer":
        receipt = chain.ledger.events.get((task.op_id, op))
        if receipt is not None:
            return Observation(height, found=_found(chain, receipt, attempts))
        for rival, reason in RIVALS[op]:
            killer = chain.ledger.events.get((task.op_id, rival))
            if killer is not None:
                return Observation(height, consumed=_consumed(chain, killer, reason, attempts))
    else:
        receipt = _carrier(chain, task, attempts, op)
        if receipt is not None:
            return Observation(height, found=_found(chain, receipt, attempts))
    spent = _spent(chain, task, attempts)
    if not spent:
        return Observation(height)
    last = max(spent, key=lambda receipt: receipt.height)
    return Observation(height, consumed=_consumed(chain, last, _reason(last, attempts), attempts))


def _reason(last: Receipt, attempts: Sequence[Attempt]) -> str:
    purposes = {attempt.tx_id: attempt.purpose for attempt in attempts}
    if last.tx.tx_id in purposes:
        return "burnt" if purposes[last.tx.tx_id] == "burn" else "reverted"
    return {"redeem": "redeemed", "refund": "refunded"}.get(last.tx.op, "foreign")


def _carrier(chain: SimChain, task: Task, attempts: Sequence[Attempt], op: str) -> Receipt | None:
    """The transaction that consumes a claim of this effort and carries its effect."""
    claims = _claims(attempts)
    if task.action["kind"] == "hold" and task.direction != "forward" and task.forward:
        claims.add((task.forward["outpoint"], 0))
    consumed = chain.ledger.consumed
    for receipt in [consumed[claim] for claim in claims if claim in consumed]:
        for effect in receipt.effects:
            if effect.kind == op and _is_declared(chain, task, receipt, effect):
                return receipt
    return None


def _is_declared(chain: SimChain, task: Task, receipt: Receipt, effect: Effect) -> bool:
    action = task.action
    target = action["from"] if task.direction == "undo" else action["to"]
    if chain.kind == "coins" and (task.direction == "undo" or effect.kind == "redeem"):
        # What is spent decides the amount: the whole output, less the fee.
        return bool(effect.target == target)
    if effect.amount != int(action["amount"]):
        return False
    if effect.kind == "hold":
        args = receipt.tx.args
        return bool(args["hashlock"] == task.hashlock and args["to"] == target)
    return (effect.target, effect.asset) == (target, action["asset"])


def _claims(attempts: Sequence[Attempt]) -> set[Claim]:
    return {c for a in attempts if a.purpose != "tombstone" for c in a.claim}


def _spent(chain: SimChain, task: Task, attempts: Sequence[Attempt]) -> list[Receipt]:
    """What consumed the claims, or nothing while one attempt could still land.

    On coins one spent input is enough: an attempt needs all of its inputs.
    """
    groups = [attempt.claim for attempt in attempts if attempt.purpose != "tombstone"]
    if not groups and chain.kind == "coins" and task.direction != "forward" and task.forward:
        groups = [((task.forward["outpoint"], 0),)]
    receipts = []
    for group in groups:
        hit = [chain.ledger.consumed[claim] for claim in group if claim in chain.ledger.consumed]
        if not hit:
            return []
        receipts.append(hit[0])
    return receipts


def _found(chain: SimChain, receipt: Receipt, attempts: Sequence[Attempt]) -> Found:
    return Found(
        receipt.tx.tx_id,
        receipt.block_hash,
        receipt.height,
        chain.is_final(receipt.height),
        _facts(chain, receipt, attempts),
    )


def _consumed(
    chain: SimChain, receipt: Receipt, reason: str, attempts: Sequence[Attempt]
) -> Consumed:
    facts = _facts(chain, receipt, attempts)
    if receipt.reason:
        facts["detail"] = receipt.reason
    consumed = chain.ledger.consumed
    still_open = any(
        c not in consumed for a in attempts if a.purpose != "tombstone" for c in a.claim
    )
    return Consumed(
        receipt.tx.tx_id,
        receipt.block_hash,
        receipt.height,
        chain.is_final(receipt.height),
        reason,
        facts,
        still_open,
    )


def _facts(chain: SimChain, receipt: Receipt, attempts: Sequence[Attempt]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "fee": str(_fee(chain, receipt, attempts)),
        "time": receipt.time_s,
    }
    if chain.kind == "coins":
        facts["outpoint"] = f"{receipt.tx.tx_id}:0"
    return facts


def _fee(chain: SimChain, receipt: Receipt, attempts: Sequence[Attempt]) -> int:
    """Paid by us: the decisive transaction, and other attempts of its generation that landed."""
    if len(attempts) == 1 and attempts[0].tx_id == receipt.tx.tx_id:
        return receipt.paid
    mine = next((a for a in attempts if a.tx_id == receipt.tx.tx_id), None)
    generation = max((a.facts["gen"] for a in attempts), default=1)
    total = 0
    if mine is not None:
        generation, total = mine.facts["gen"], receipt.paid
    for attempt in attempts:
        landed = chain.ledger.receipts.get(attempt.tx_id)
        if landed is None or landed is receipt or attempt.facts["gen"] != generation:
            continue
        total += landed.paid
    return total
