"""What a step declares to do, as outputs; the same for building it and for recognising it."""

from collections.abc import Mapping
from typing import Any

from adapters.base import Task
from adapters.bitcoin.fees import fee_at, payment_vsize, refund_vsize
from adapters.bitcoin.script import HoldScript
from adapters.bitcoin.transactions import Tx, TxOutput

__all__ = [
    "declared_outputs",
    "find_outputs",
    "hold_of",
    "returns_to_source",
    "spends_hold",
    "undo_fee_cap_sat",
]


def hold_of(task: Task) -> HoldScript:
    """Return the escrow that the task's hold opens."""
    assert task.hashlock is not None
    assert task.expiry is not None
    return HoldScript(
        hashlock=bytes.fromhex(task.hashlock),
        payee=bytes.fromhex(task.action["payee"]),
        locktime=int(task.expiry["height"]),
        payer=bytes.fromhex(task.action["payer_key"]),
    )


def declared_outputs(task: Task) -> tuple[TxOutput, ...]:
    """Return the outputs that make the effect; none for a consolidation, which takes all."""
    action = task.action
    kind = action["kind"]
    if kind == "consolidate":
        return ()
    amount_sat = int(action["amount"])
    if kind == "hold":
        return (TxOutput(amount_sat, hold_of(task).output_script()),)
    output = TxOutput(amount_sat, bytes.fromhex(action["script"]))
    return (output,) * int(action.get("count", 1))


def spends_hold(task: Task) -> bool:
    """Tell whether the effect is a spend of a hold: its redemption or its refund."""
    return task.action["kind"] == "hold" and task.direction != "forward"


def returns_to_source(task: Task) -> bool:
    """Tell whether the effect is the return of a transfer."""
    return task.action["kind"] == "transfer" and task.direction == "undo"


def undo_fee_cap_sat(action: Mapping[str, Any]) -> int:
    """Return the most that taking the step back may cost; it comes out of the returned value."""
    vsize = refund_vsize() if action["kind"] == "hold" else payment_vsize(1, [22])
    return fee_at(int(action["fee"]["max_sat_vb"]) * 1000, vsize)


def find_outputs(task: Task, tx: Tx) -> int | None:
    """Return the index of the (first) output by which ``tx`` carries the declared effect.

    For returns any value counts that is short of the amount by no more than the undo's fee cap.
    """
    if returns_to_source(task):
        source = bytes.fromhex(task.action["source_script"])
        least_sat = int(task.action["amount"]) - undo_fee_cap_sat(task.action)
        return next(
            (
                index
                for index, output in enumerate(tx.outputs)
                if output.script == source and output.value_sat >= least_sat
            ),
            None,
        )
    declared = declared_outputs(task)
    if not declared:
        source = bytes.fromhex(task.action["source_script"])
        return 0 if all(output.script == source for output in tx.outputs) else None
    if list(tx.outputs).count(declared[0]) < len(declared):
        return None
    return tx.outputs.index(declared[0])
