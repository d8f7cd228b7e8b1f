"""The way back of an effect on an EVM chain: calldata, and commands of ``cast`` (Foundry)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.base import Task
from adapters.evm.actions import OPERATIONS, Call, call_of
from adapters.evm.effects import OperationStatus
from adapters.recipe import Recipe, StoredUndo

__all__ = ["undo_recipe"]

_LEFT: Final = "operation(address,bytes32)(uint8)"
_NODE: Final = (
    "$NODE is the address of a node of this chain, $KEYSTORE the file of the key named above: a "
    "Web3 Secret Storage file (version 3), whose passphrase cast asks for."
)


def undo_recipe(
    task: Task, terms: Mapping[str, Any], stored: Sequence[StoredUndo], *, certain: bool
) -> Recipe:
    """Return the calldata that takes a forward effect back; see `adapters.recipe.Recipes`.

    Raises:
        Rejected: the action has no way back, or lacks what it needs.
    """
    call, action = call_of(task), task.action
    bound = action["kind"] in OPERATIONS
    chain_id = int(terms["chain_id"])
    # The newest pays the most; bytes stand in a file of their own, never on a screen.
    signed = {f"{task.step}-signed.hex": f"0x{item.raw.hex()}\n".encode() for item in stored[-1:]}
    opens = None
    if action["kind"] == "hold" and task.expiry is not None:
        opens = {"time": int(task.expiry["time"])}
    transaction = {
        "chain_id": chain_id,
        "from": call.sender,
        "to": call.to,
        "value": str(call.value_wei),
        "data": f"0x{call.data.hex()}",
        "gas": str(call.gas),
    }
    return Recipe(
        where=_where(task),
        who=_who(task, call),
        key=call.sender,
        opens=opens,
        transaction=transaction,
        send=(
            *(f"cast publish --rpc-url $NODE $(cat {name})" for name in signed),
            _cast_send(call, chain_id),
        ),
        look=_look(task, certain=certain),
        notes=_notes(task, call, bound=bound, stored=stored),
        tools=signed,
    )


def _where(task: Task) -> str:
    action = task.action
    if action["kind"] in OPERATIONS:
        return (
            f"operation 0x{task.op_id} of group {action['group']} in contract "
            f"{action['contract']}: {action['amount']} base units of {action['asset']}"
        )
    if action["kind"] == "transfer":
        return f"{action['amount']} base units of {action['asset']} at {action['to']}, ours"
    if action["kind"] == "approve":
        return f"an allowance of {action['amount']} for {action['spender']} on {action['token']}"
    return f"what {action['function']} did in {action['contract']}"


def _who(task: Task, call: Call) -> tuple[str, ...]:
    action = task.action
    if action["kind"] not in OPERATIONS:
        return (f"{call.sender} alone",)
    back = "the address that paid it in" if action["kind"] != "mint" else "nobody: it is unissued"
    who = [f"any account of group {action['group']}, {call.sender} among them: it goes to {back}"]
    if action["kind"] == "hold":
        who.append(f"{action['to']}, with the preimage of the hold, at any time")
    return tuple(who)


def _cast_send(call: Call, chain_id: int) -> str:
    value = f" --value {call.value_wei}" if call.value_wei else ""
    data = f" 0x{call.data.hex()}" if call.data else ""
    return (
        f"cast send --rpc-url $NODE --chain {chain_id} --from {call.sender} --keystore $KEYSTORE"
        f"{value} --gas-limit {call.gas} {call.to}{data}"
    )


def _look(task: Task, *, certain: bool) -> tuple[str, ...]:
    action = task.action
    commands = []
    if action["kind"] in OPERATIONS:
        commands.append(
            f"cast call --rpc-url $NODE {action['contract']} '{_LEFT}' {action['group']} "
            f"0x{task.op_id}"
        )
    if not certain and task.forward is not None:
        commands.append(f"cast receipt --rpc-url $NODE {task.forward['tx']}")
    return tuple(commands)


def _notes(task: Task, call: Call, *, bound: bool, stored: Sequence[StoredUndo]) -> tuple[str, ...]:
    notes = [_NODE]
    if stored:
        notes.append(
            f"{stored[-1].tx_id} is signed and may have been sent: send it first and wait. Sent "
            "twice it still counts once."
        )
    if bound:
        status = OperationStatus
        notes.append(
            f"The contract's status of the operation: {status.OPEN} open (this is needed), "
            f"{status.RELEASED} released or redeemed (VOID: it was committed), "
            f"{status.REFUNDED} refunded already, 0 nothing was ever opened."
        )
        notes.append("The contract lets it happen once: a second call changes nothing.")
        notes.append(
            f"Nothing can open the operation after chain time {task.deadline_s} (the deadline)."
        )
        return tuple(notes)
    notes.append(
        f"Only its nonce makes this unique: once it was sent by hand from {call.sender}, the "
        "coordinator must not drive this saga again before it knows the transaction."
    )
    return tuple(notes)
