"""What the blocks say about one effort. Pure: the index in, an observation out.

The effect is looked for first, whoever caused it; then what became of our attempts. Nothing here
reads a node's opinion of a transaction: silence stays silence.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from adapters.base import Attempt, Consumed, Found, Observation, Task
from adapters.evm.blocks import Header, Landed, Operation
from adapters.evm.effects import Effect, OperationEffect, OperationStatus
from adapters.evm.index import Index
from adapters.evm.quorum import Claimed

__all__ = ["claimed", "observe"]

Outcome = TypeVar("Outcome", Found, Consumed)

#: What it means for a direction that the operation went elsewhere, for good.
_ELSEWHERE = {
    ("confirm", OperationStatus.REFUNDED): "refunded",
    ("undo", OperationStatus.RELEASED): "redeemed",
    ("confirm", OperationStatus.CANCELLED): "tombstone",
    ("undo", OperationStatus.CANCELLED): "tombstone",
}


def observe(
    index: Index, task: Task, attempts: Sequence[Attempt], effect: Effect, final_height: int
) -> Observation:
    """Return what the blocks in ``index`` show of an effort.

    Args:
        attempts: all of this direction; only those of the task's generation can say "consumed".
        final_height: the highest block that counts as final.
    """
    assert index.head is not None, "nothing was read yet"
    height = index.head.height
    if isinstance(effect, OperationEffect):
        found = _operation(index, effect, final_height)
    else:
        found = _transaction(index, attempts, effect, final_height)
    if found is not None:
        return Observation(height, found=_with_fees(found, index, task, attempts, final_height))
    consumed = _claim(index, task, attempts, final_height)
    if isinstance(effect, OperationEffect) and (consumed is None or not consumed.final):
        elsewhere = _elsewhere(index, task, effect, final_height, claim_open=bool(attempts))
        consumed = elsewhere if elsewhere is not None else consumed
    if consumed is not None:
        consumed = _with_fees(consumed, index, task, attempts, final_height)
    return Observation(height, consumed=consumed)


def _with_fees(
    outcome: Outcome, index: Index, task: Task, attempts: Sequence[Attempt], final_height: int
) -> Outcome:
    """Add what other attempts of the generation cost that landed as well: a tombstone, or what it
    raced with.
    """
    if len(attempts) < 2:
        return outcome
    decisive = next((item for item in attempts if item.tx_id == outcome.tx_id), None)
    generation = task.generation if decisive is None else decisive.facts.get("gen", 1)
    ours = [item for item in attempts if item.facts.get("gen", 1) == generation]
    names = {item.tx_id for item in ours} - {outcome.tx_id}
    landed = {claim: index.landed(*claim) for item in ours for claim in item.claim}
    fee_wei = int(outcome.facts["fee"]) + sum(
        other.fee_wei
        for other in landed.values()
        if other is not None and other.tx_id in names and other.header.height <= final_height
    )
    return replace(outcome, facts={**outcome.facts, "fee": str(fee_wei)})


def _operation(index: Index, effect: OperationEffect, final_height: int) -> Found | None:
    for operation in index.operations(effect.contract, effect.op_id):
        if effect.shown_by(operation):
            header = operation.header
            facts = _facts(operation.fee_wei, header)
            final = header.height <= final_height
            return Found(operation.tx_id, header.hash, header.height, final, facts)
    return None


def _transaction(
    index: Index, attempts: Sequence[Attempt], effect: Effect, final_height: int
) -> Found | None:
    assert not isinstance(effect, OperationEffect)
    for account, nonce in _claims(attempts):
        landed = index.landed(account, nonce)
        if landed is not None and effect.carried_by(landed):
            header = landed.header
            final = header.height <= final_height
            facts = _facts(landed.fee_wei, header)
            return Found(landed.tx_id, header.hash, header.height, final, facts)
    return None


def _claim(
    index: Index, task: Task, attempts: Sequence[Attempt], final_height: int
) -> Consumed | None:
    """Tell who consumed the claim of the present generation, the effect being absent."""
    present = [item for item in attempts if item.facts.get("gen", 1) == task.generation]
    for account, nonce in _claims(present):
        landed = index.landed(account, nonce)
        if landed is None:
            continue
        reason, detail = _reason(landed, present)
        header = landed.header
        facts = _facts(landed.fee_wei, header)
        if detail:
            facts["detail"] = detail
        final = header.height <= final_height
        return Consumed(landed.tx_id, header.hash, header.height, final, reason, facts)
    return None


def _reason(landed: Landed, attempts: Sequence[Attempt]) -> tuple[str, str]:
    ours = next((item for item in attempts if item.tx_id == landed.tx_id), None)
    if ours is None:
        return "foreign", f"nonce {landed.nonce} of {landed.account} went to another transaction"
    if ours.purpose == "burn":
        return "burnt", ""
    if not landed.succeeded:
        if landed.gas_used >= landed.gas:
            return "reverted", f"out of gas: all of its {landed.gas} gas was used"
        return "reverted", ""
    return "no_effect", "the transaction succeeded without the declared effect"


def _elsewhere(
    index: Index, task: Task, effect: OperationEffect, final_height: int, *, claim_open: bool
) -> Consumed | None:
    """Tell whether the operation went where this effect can not follow."""
    operations = [
        operation
        for operation in index.operations(effect.contract, effect.op_id)
        if effect.concerns(operation)
    ]
    for operation in operations:
        reason = _elsewhere_reason(task, effect, operation)
        if reason is None:
            continue
        header = operation.header
        facts = _facts(operation.fee_wei, header)
        if reason == "foreign":
            facts["detail"] = "the operation id was opened with other terms"
        return Consumed(
            operation.tx_id, header.hash, header.height, header.height <= final_height, reason,
            facts, claim_open,
        )  # fmt: skip
    return None


def _elsewhere_reason(task: Task, effect: OperationEffect, operation: Operation) -> str | None:
    if task.direction != "forward":
        return _ELSEWHERE.get((task.direction, operation.status))
    if operation.status == OperationStatus.CANCELLED:
        return "tombstone"
    # Opened, but not with our terms: ours can never be opened under this id any more.
    same = operation.params_hash == effect.params_hash
    return None if same or operation.status != OperationStatus.OPEN else "foreign"


def _claims(attempts: Sequence[Attempt]) -> list[tuple[str, int]]:
    """Return the claims that can carry the effect, each once, the newest first.

    A tombstone has a claim of its own, which says nothing about the effect.
    """
    claims = dict.fromkeys(
        claim for item in reversed(attempts) if item.purpose != "tombstone" for claim in item.claim
    )
    return list(claims)


def _facts(fee_wei: int, header: Header) -> dict[str, Any]:
    return {"fee": str(fee_wei), "time": header.time_s}


def claimed(index: Index, effect: Effect, result: Found | Consumed) -> Claimed:
    """Return what an outcome rests on, for other nodes to confirm."""
    landed = index.landed_as(result.tx_id, result.height)
    if not isinstance(effect, OperationEffect):
        assert landed is not None, "an outcome without a transaction of ours"
        return Claimed(result.tx_id, landed.header, landed)
    wanted = effect.shown_by if isinstance(result, Found) else effect.concerns
    operations = index.operations(effect.contract, effect.op_id)
    operation = next((o for o in operations if o.tx_id == result.tx_id and wanted(o)), None)
    shown = operation or landed
    assert shown is not None, "an outcome without a transaction"
    # Where no event says what became of the operation, its effect has to be seen to be absent.
    absent = effect if operation is None else None
    return Claimed(result.tx_id, shown.header, landed, operation, absent)
