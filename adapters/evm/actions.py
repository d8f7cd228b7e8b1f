"""The actions: for each kind and direction, the call that makes the effect, and the effect itself.

Everything here is a pure function of the task. ``action`` is the JSON that `resolve` fixed in the
plan's lock file; this table is its meaning:

- all: ``kind``, ``account`` (pays and signs forward), ``after_pivot``, ``gas`` (limits by
  direction, ``burn``, ``tombstone``), ``caps``, ``tip``, ``code`` (code hash by address)
- ``transfer``, ``pay``: ``asset``, ``token`` (None: coins), ``amount``, ``to``
- ``approve``: ``asset``, ``token``, ``amount``, ``spender``
- ``call``: ``contract``, ``function``, ``types``, ``args``, ``value``, ``event``; ``undo`` with
  the same keys, its ``event`` may be None
- ``lock``, ``hold``, ``mint``: ``contract``, ``group``, ``asset``, ``token``, ``amount``, ``to``
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from adapters.base import Direction, Task
from adapters.errors import Rejected
from adapters.evm.abi import encode, hash_of
from adapters.evm.effects import (
    APPROVAL,
    TRANSFER,
    Effect,
    EventMatch,
    OperationEffect,
    OperationKind,
    OperationStatus,
    TransactionEffect,
    params_hash,
    refund_after_s,
)
from adapters.evm.values import with_saga

__all__ = [
    "COIN",
    "OPERATIONS",
    "Call",
    "brought_in",
    "call_of",
    "effect_of",
    "payer_of",
    "tombstone_of",
    "trial_task",
]

#: Stands for the chain's own coin in our contracts.
COIN: Final = "0x0000000000000000000000000000000000000000"
#: Actions that are keyed by an operation id in a contract of ours.
OPERATIONS: Final = {
    "lock": OperationKind.LOCK,
    "hold": OperationKind.HOLD,
    "mint": OperationKind.MINT,
}
_STATUS: Final = {
    "forward": OperationStatus.OPEN,
    "confirm": OperationStatus.RELEASED,
    "undo": OperationStatus.REFUNDED,
}
_NO_HASH: Final = "00" * 32


class Call(Struct, frozen=True):
    """What a transaction does, before it has a nonce and a price."""

    sender: str
    to: str
    value_wei: int
    data: bytes
    gas: int

    def json(self) -> dict[str, str]:
        """Return the call as ``eth_call`` and ``eth_estimateGas`` take it, its gas included."""
        return {
            "from": self.sender,
            "to": self.to,
            "value": hex(self.value_wei),
            "data": f"0x{self.data.hex()}",
            "gas": hex(self.gas),
        }


def call_of(task: Task) -> Call:
    """Return the call that makes the task's effect.

    Raises:
        Rejected: this direction has no call of ours (a payee redeems), or lacks what it needs.
    """
    return _CALLS[task.action["kind"]](task)


def effect_of(task: Task) -> Effect:
    """Return what counts as the task's effect."""
    if task.action["kind"] in OPERATIONS:
        return _operation_effect(task)
    call = call_of(task)
    event = _EVENTS[task.action["kind"]](task, call)
    # Coins to a contract are what the value is, whatever data came along.
    data = None if task.action["kind"] in ("transfer", "pay") else f"0x{call.data.hex()}"
    return TransactionEffect(call.to, call.value_wei, data, event)


def payer_of(task: Task) -> str:
    """Return the account that signs and pays for the task's effect and for its burn."""
    action = task.action
    return str(action["to"] if _undoes(task) and action["kind"] == "transfer" else
               action["account"])  # fmt: skip


def brought_in(task: Task) -> dict[str, list[str]]:
    """Return what an intent says of value that its undo needs in another account of ours."""
    action = task.action
    if action["kind"] != "transfer" or task.direction != "forward":
        return {}
    return {"brings": [action["to"], action["asset"], action["amount"]]}


def tombstone_of(task: Task, sender: str) -> Call:
    """Return the call that cancels the task's operation id."""
    data = encode("cancel(bytes32)", ("bytes32",), (task.op_id,))
    return Call(sender, task.action["contract"], 0, data, int(task.action["gas"]["tombstone"]))


def trial_task(action: Mapping[str, Any]) -> Task:
    """Return a task that no saga has, to try an action on today's state."""
    # Far enough that no clock of a chain is past it; the real deadline counts from the start.
    far_s = 2**40
    return Task(
        saga="trial",
        step="trial",
        direction="confirm" if action["after_pivot"] else "forward",
        generation=1,
        action=action,
        op_id=hash_of(b"trial operation").hex(),
        saga_id32=hash_of(b"trial saga").hex(),
        deadline_s=far_s,
        expiry={"time": far_s + 1},
        hashlock=_NO_HASH,
    )


def _direction(task: Task) -> Direction:
    """Return the direction in the action's own terms: after a pivot, confirm is its forward."""
    return "forward" if task.action.get("after_pivot") else task.direction


def _undoes(task: Task) -> bool:
    return _direction(task) == "undo"


def _gas(task: Task) -> int:
    return int(task.action["gas"][_direction(task)])


# ------------------------------------------------------------------------------------- transfers


def _transfer(task: Task) -> Call:
    action = task.action
    sender, to = action["account"], action["to"]
    if _undoes(task):
        sender, to = to, sender
    amount = int(action["amount"])
    if action["token"] is None:
        return Call(sender, to, amount, b"", _gas(task))
    data = encode("transfer(address,uint256)", ("address", "uint256"), (to, amount))
    return Call(sender, action["token"], 0, data, _gas(task))


def _transfer_event(task: Task, call: Call) -> EventMatch | None:
    action = task.action
    if action["token"] is None:
        return None
    to = action["account"] if _undoes(task) else action["to"]
    where = {0: call.sender, 1: to, 2: action["amount"]}
    return EventMatch(action["token"], TRANSFER, where)


# ------------------------------------------------------------------------------------ allowances


def _approve(task: Task) -> Call:
    action = task.action
    values = (action["spender"], _allowance(task))
    data = encode("approve(address,uint256)", ("address", "uint256"), values)
    return Call(action["account"], action["token"], 0, data, _gas(task))


def _approve_event(task: Task, call: Call) -> EventMatch:
    where = {0: call.sender, 1: task.action["spender"], 2: str(_allowance(task))}
    return EventMatch(task.action["token"], APPROVAL, where)


def _allowance(task: Task) -> int:
    if not _undoes(task):
        return int(task.action["amount"])
    former = (task.forward or {}).get("former_allowance")
    if former is None:
        raise Rejected("the former allowance is not known: no forward attempt of this step exists")
    return int(former)


# ------------------------------------------------------------------------------------ any contract


def _declared(task: Task) -> Mapping[str, Any]:
    action = task.action
    declared: Mapping[str, Any] = action["undo"] if _undoes(task) else action
    return declared


def _call(task: Task) -> Call:
    declared = _declared(task)
    values = with_saga(list(declared["args"]), task.saga_id32)
    data = encode(declared["function"], declared["types"], values)
    action = task.action
    return Call(action["account"], action["contract"], int(declared["value"]), data, _gas(task))


def _call_event(task: Task, call: Call) -> EventMatch | None:
    event = _declared(task)["event"]
    return None if event is None else EventMatch.of(call.to, event, task.saga_id32)


# -------------------------------------------------------------------------------- our own contracts


def _operation_effect(task: Task) -> OperationEffect:
    action = task.action
    kind = OPERATIONS[action["kind"]]
    asset = action["token"] or COIN
    amount = int(action["amount"])
    hashlock, refund_s = _NO_HASH, 0
    if action["kind"] == "hold":
        hashlock, refund_s = _hashlock(task), refund_after_s(task)
    return OperationEffect(
        contract=action["contract"],
        group=action["group"],
        op_id=task.op_id,
        status=_STATUS[task.direction],
        kind=kind,
        asset=asset,
        amount=amount,
        params_hash=params_hash(kind, asset, amount, action["to"], hashlock, refund_s),
    )


def _hashlock(task: Task) -> str:
    if task.hashlock is None or task.expiry is None:
        raise Rejected("a hold needs its hashlock and its expiry; nothing was sent")
    return task.hashlock


def _escrow(task: Task) -> Call:
    """Build lock, hold, and what ends them, in the vault."""
    action = task.action
    if task.direction != "forward":
        return _settle(task)
    token = action["token"] or COIN
    amount = int(action["amount"])
    value_wei = amount if action["token"] is None else 0
    if action["kind"] == "lock":
        signature = "lock(bytes32,address,uint256,address,uint256)"
        types: tuple[str, ...] = ("bytes32", "address", "uint256", "address", "uint256")
        values: tuple[Any, ...] = (task.op_id, token, amount, action["to"], task.deadline_s)
    else:
        signature = "hold(bytes32,address,uint256,address,bytes32,uint256,uint256)"
        types = ("bytes32", "address", "uint256", "address", "bytes32", "uint256", "uint256")
        values = (
            task.op_id, token, amount, action["to"],
            _hashlock(task), refund_after_s(task), task.deadline_s,
        )  # fmt: skip
    return Call(
        action["account"], action["contract"], value_wei, encode(signature, types, values),
        _gas(task),
    )  # fmt: skip


def _mint(task: Task) -> Call:
    """Build mint, credit and cancel in the token."""
    action = task.action
    if task.direction != "forward":
        return _settle(task)
    types = ("bytes32", "address", "uint256", "uint256")
    values = (task.op_id, action["to"], int(action["amount"]), task.deadline_s)
    data = encode("mint(bytes32,address,uint256,uint256)", types, values)
    return Call(action["account"], action["contract"], 0, data, _gas(task))


def _settle(task: Task) -> Call:
    """Build the confirm or undo of an operation."""
    action = task.action
    if action["kind"] == "hold" and task.direction == "confirm":
        if task.preimage is None:
            raise Rejected("the payee redeems this hold; we have nothing to send for it")
        types = ("address", "bytes32", "bytes32")
        values: tuple[str, ...] = (action["group"], task.op_id, task.preimage)
        data = encode("redeem(address,bytes32,bytes32)", types, values)
    else:
        name = _SETTLE[action["kind"], task.direction]
        data = encode(f"{name}(bytes32)", ("bytes32",), (task.op_id,))
    return Call(action["account"], action["contract"], 0, data, _gas(task))


_SETTLE: Final = {
    ("lock", "confirm"): "release",
    ("lock", "undo"): "refund",
    ("hold", "undo"): "refund",
    ("mint", "confirm"): "credit",
    ("mint", "undo"): "cancel",
}
_CALLS: Final[Mapping[str, Callable[[Task], Call]]] = {
    "transfer": _transfer,
    "pay": _transfer,
    "approve": _approve,
    "call": _call,
    "lock": _escrow,
    "hold": _escrow,
    "mint": _mint,
}
_EVENTS: Final[Mapping[str, Callable[[Task, Call], EventMatch | None]]] = {
    "transfer": _transfer_event,
    "pay": _transfer_event,
    "approve": _approve_event,
    "call": _call_event,
}
