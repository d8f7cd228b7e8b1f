"""What the chain says about an effort, from the transactions that spend its outpoints. Pure.

An effect counts only in a transaction that consumes this effort's claim (or its hold): an equal
output elsewhere is another payment.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.base import Attempt, Consumed, Found, Observation, Task
from adapters.bitcoin.chain import Spender
from adapters.bitcoin.effects import find_outputs, hold_of, spends_hold
from adapters.bitcoin.script import preimage_of, spending_path
from adapters.bitcoin.transactions import Tx

__all__ = ["Sight", "judge", "outpoints_of"]


@dataclass(frozen=True, slots=True)
class Sight:
    """The follower's view as far as an effort needs it.

    Attributes:
        height: of the newest block read.
        spenders: for each outpoint of `outpoints_of` the transaction that spends it, if any.
        final: tells whether a block at a height is deep enough.
        own: own address by output script.
    """

    height: int
    spenders: Mapping[str, Spender | None]
    final: Callable[[int], bool]
    own: Mapping[bytes, str]


def outpoints_of(task: Task, attempts: Sequence[Attempt]) -> frozenset[str]:
    """Return every outpoint whose spending says something about the effort."""
    outpoints = {resource for attempt in attempts for resource, _ in attempt.claim}
    if spends_hold(task) and task.forward is not None:
        outpoints.add(str(task.forward["outpoint"]))
    for attempt in attempts:
        for inputs in attempt.facts.get("parents", {}).values():
            outpoints.update(inputs)
    return frozenset(outpoints)


def judge(task: Task, attempts: Sequence[Attempt], sight: Sight) -> Observation:
    """Return the observation of an effort."""
    if spends_hold(task):
        return _judge_hold(task, attempts, sight)
    spending = _spending({r for attempt in attempts for r, _ in attempt.claim}, sight)
    for spender in spending:
        index = find_outputs(task, spender.tx)
        if index is not None:
            return Observation(sight.height, found=_found(task, attempts, spender, index, sight))
    current = {resource for resource, _ in attempts[-1].claim} if attempts else set()
    for spender in _spending(current, sight):
        burnt = any(a.tx_id == spender.tx.tx_id and a.purpose == "burn" for a in attempts)
        reason, detail = (
            ("burnt", "our own burn took its coins")
            if burnt
            else ("foreign", f"transaction {spender.tx.tx_id} took its coins without the effect")
        )
        return _consumed(attempts, spender, reason, detail, sight)
    return _parent_conflict(attempts, sight)


def _judge_hold(task: Task, attempts: Sequence[Attempt], sight: Sight) -> Observation:
    if task.forward is None:
        return Observation(sight.height)
    outpoint = str(task.forward["outpoint"])
    spender = sight.spenders.get(outpoint)
    if spender is None:
        return _parent_conflict(attempts, sight)
    spent = spender.tx.spends(outpoint)
    assert spent is not None
    path = spending_path(spent.witness)
    if task.direction == "confirm":
        if preimage_of(spent.witness, hold_of(task).hashlock) is not None:
            found = _found(task, attempts, spender, 0, sight, {"preimage_seen": True})
            return Observation(sight.height, found=found)
        return _consumed(attempts, spender, "refunded", "the hold was refunded", sight)
    if path == "redeem":
        return _consumed(attempts, spender, "redeemed", "the payee redeemed the hold", sight)
    ours = [n for n, output in enumerate(spender.tx.outputs) if output.script in sight.own]
    if not ours:
        detail = f"the refund {spender.tx.tx_id} pays none of our addresses"
        return _consumed(attempts, spender, "foreign", detail, sight)
    return Observation(sight.height, found=_found(task, attempts, spender, ours[0], sight))


def _spending(outpoints: set[str], sight: Sight) -> list[Spender]:
    """Return the distinct transactions that spend any of ``outpoints``, oldest first."""
    spenders = {
        spender.tx.tx_id: spender
        for outpoint in outpoints
        if (spender := sight.spenders.get(outpoint)) is not None
    }
    return sorted(spenders.values(), key=lambda spender: (spender.height, spender.tx.tx_id))


def _parent_conflict(attempts: Sequence[Attempt], sight: Sight) -> Observation:
    """Look whether a parent of the newest claim can never be mined (again)."""
    if attempts:
        for parent, inputs in attempts[-1].facts.get("parents", {}).items():
            for spender in _spending(set(inputs), sight):
                if spender.tx.tx_id != parent.partition(":")[0]:
                    detail = f"transaction {spender.tx.tx_id} conflicts with the parent of {parent}"
                    shared = next(o for o in inputs if spender.tx.spends(o) is not None)
                    return _consumed(
                        attempts, spender, "parent_conflict", detail, sight,
                        {"conflict": [parent, shared]},
                    )  # fmt: skip
    return Observation(sight.height)


def _found(
    task: Task,
    attempts: Sequence[Attempt],
    spender: Spender,
    index: int,
    sight: Sight,
    more: Mapping[str, Any] | None = None,
) -> Found:
    tx = spender.tx
    facts: dict[str, Any] = {
        "fee": str(_fee_of_ours(task, attempts, tx)),
        "time": spender.time_s,
        "outpoint": f"{tx.tx_id}:{index}",
        "value_sat": str(tx.outputs[index].value_sat),
        "claim": _claimed(attempts, tx),
    }
    if task.direction == "forward":
        # The parents of an undo: should one of these be spent otherwise, the undo can not come.
        facts["spent"] = [item.outpoint for item in tx.inputs]
    if task.action["kind"] == "hold" and task.direction == "forward":
        hold = hold_of(task)
        facts |= {
            "witness_script": hold.witness_script().hex(),
            "locktime": hold.locktime,
            "hashlock": hold.hashlock.hex(),
        }
    return Found(
        tx_id=tx.tx_id,
        block_hash=spender.block_hash,
        height=spender.height,
        final=sight.final(spender.height),
        facts=facts | dict(more or {}),
    )


def _consumed(
    attempts: Sequence[Attempt],
    spender: Spender,
    reason: str,
    detail: str,
    sight: Sight,
    more: Mapping[str, Any] | None = None,
) -> Observation:
    tx = spender.tx
    ours = next((a for a in attempts if a.tx_id == tx.tx_id), None)
    facts: dict[str, Any] = {
        "fee": "0" if ours is None else str(ours.fee["fee_sat"]),
        "time": spender.time_s,
        "detail": detail,
        "claim": _claimed(attempts[-1:], tx),
        # What a new generation may spend, so that the former one can never come back beside it.
        "outpoints": [
            [f"{tx.tx_id}:{n}", str(output.value_sat), sight.own[output.script]]
            for n, output in enumerate(tx.outputs)
            if output.script in sight.own
        ],
    }
    consumed = Consumed(
        tx_id=tx.tx_id,
        block_hash=spender.block_hash,
        height=spender.height,
        final=sight.final(spender.height),
        reason=reason,
        facts=facts | dict(more or {}),
    )
    return Observation(sight.height, consumed=consumed)


def _claimed(attempts: Sequence[Attempt], tx: Tx) -> list[str]:
    """Return what ``tx`` consumes of what the attempts claim: by this it is bound to the step."""
    claims = {resource for attempt in attempts for resource, _ in attempt.claim}
    return [item.outpoint for item in tx.inputs if item.outpoint in claims]


def _fee_of_ours(task: Task, attempts: Sequence[Attempt], tx: Tx) -> int:
    """Return what ``tx`` cost us: inputs minus outputs where every input is known to be ours."""
    known = {
        outpoint: int(value_sat)
        for attempt in attempts
        for outpoint, value_sat, _ in attempt.facts.get("inputs", ())
    }
    if task.direction == "undo" and task.forward is not None:
        known[str(task.forward["outpoint"])] = int(task.forward["value_sat"])
    if not all(item.outpoint in known for item in tx.inputs):
        return 0
    paid_sat = sum(output.value_sat for output in tx.outputs)
    return sum(known[item.outpoint] for item in tx.inputs) - paid_sat
