"""The last look before a signature: the bytes to be signed against the saga's first record.

Asked before any signer is, a keystore's key included. The bytes are read again from scratch, and
what they should be is worked out by the reader of evidence (`proofs.evm_abi`) and not by the code
that built them, so one mistake does not pass twice. A forward effect, the pivot included, may in
addition cost no more than its cap; whatever takes back, confirms or ends something is held to its
bytes only, because no limit may ever stand in its way (R11).
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from msgspec.structs import replace as changed

from adapters.base import Task
from adapters.errors import Rejected
from adapters.evm.fees import caps_of
from adapters.evm.signing import Eip1559, read_payload
from proofs import evm_abi
from proofs.errors import ProofError

__all__ = ["require_burn", "require_effect", "require_expressible", "require_tombstone"]

_COIN: Final = "0x" + "00" * 20
_LOCK: Final = ("bytes32", "address", "uint256", "address", "uint256")
_HOLD: Final = ("bytes32", "address", "uint256", "address", "bytes32", "uint256", "uint256")
_MINT: Final = ("bytes32", "address", "uint256", "uint256")
#: What settles an operation, by kind and direction; a hold is redeemed with more.
_SETTLE: Final[Mapping[tuple[str, str], str]] = {
    ("lock", "confirm"): "release",
    ("lock", "undo"): "refund",
    ("hold", "undo"): "refund",
    ("mint", "confirm"): "credit",
    ("mint", "undo"): "cancel",
}

#: sender, destination, value in wei, data
_Call = tuple[str, str, int, bytes]


def require_effect(task: Task, payload: bytes, sender: str, chain_id: int) -> None:
    """Hold what is to be signed to the effect that the task's step declares in its direction.

    Args:
        payload: the very bytes that will be hashed and signed.
        sender: the account whose key is asked.
        chain_id: of the configured chain; the plan's has to be the same.

    Raises:
        Rejected: they differ (``code="mismatch"``), with the first difference.
    """
    tx = _read(payload, task, chain_id)
    try:
        account, to, value_wei, data = _declared(task)
    except (ProofError, KeyError, TypeError, ValueError) as error:
        raise _mismatch(task, f"the step's action can not be read: {error}") from None
    if sender.lower() != account:
        raise _mismatch(task, f"the payer is {sender}, the plan's is {account}")
    if tx.to != to:
        raise _mismatch(task, f"the destination is {tx.to}, the plan's is {to}")
    if tx.value_wei != value_wei:
        raise _mismatch(task, f"the value is {tx.value_wei} wei, the plan's is {value_wei}")
    if tx.data != data:
        raise _mismatch(task, _data_difference(tx.data, data))
    if task.direction == "forward":
        _require_within_caps(tx, task)


def require_expressible(task: Task) -> None:
    """Refuse at plan time what could not be compared later: its undo would never be signed.

    Raises:
        Rejected: a type or value that only the builder of calls knows.
    """
    for direction in ("forward", "undo"):
        if direction == "undo" and task.action.get("undo") is None:
            continue
        try:
            _declared(changed(task, direction=direction))
        except (ProofError, KeyError, TypeError, ValueError) as error:
            raise Rejected(
                f"the {direction} can not be held against the plan before it is signed: {error}"
            ) from None


def require_tombstone(task: Task, payload: bytes, sender: str, chain_id: int) -> None:
    """Hold what is to be signed to the cancellation of the task's operation id.

    Any ``sender`` of the contract's group may make it; which group he is in, the contract knows.

    Raises:
        Rejected: it is anything else (``code="mismatch"``).
    """
    del sender
    tx = _read(payload, task, chain_id)
    cancels = _calldata("cancel", ("bytes32",), (f"0x{task.op_id}",))
    if (tx.to, tx.value_wei, tx.data) != (task.action["contract"].lower(), 0, cancels):
        raise _mismatch(task, f"a tombstone cancels operation {task.op_id} and does nothing else")


def require_burn(task: Task | None, payload: bytes, sender: str, chain_id: int) -> None:
    """Hold what is to be signed to a payment of nothing to oneself.

    Args:
        task: whose claim is burnt; None for a nonce that no saga claimed.

    Raises:
        Rejected: it moves or calls anything (``code="mismatch"``).
    """
    tx = _read(payload, task, chain_id)
    if (tx.to, tx.value_wei, tx.data) != (sender.lower(), 0, b""):
        raise _mismatch(task, f"a burn pays nothing, from {sender} to itself")


def _read(payload: bytes, task: Task | None, chain_id: int) -> Eip1559:
    try:
        tx = read_payload(payload)
    except ValueError as error:
        raise _mismatch(task, str(error)) from None
    planned = chain_id if task is None or task.terms is None else task.terms.get("chain_id")
    if not tx.chain_id == chain_id == planned:
        raise _mismatch(task, f"chain id {tx.chain_id}, configured {chain_id}, planned {planned}")
    return tx


def _require_within_caps(tx: Eip1559, task: Task) -> None:
    caps, gas = caps_of(task, "effect"), int(task.action["gas"]["forward"])
    if tx.max_fee_wei > caps.max_fee_wei or tx.max_priority_fee_wei > caps.tip_wei:
        raise _mismatch(
            task,
            f"it may cost {tx.max_fee_wei} wei per gas with a tip of {tx.max_priority_fee_wei}; "
            f"the caps are {caps.max_fee_wei} and {caps.tip_wei}",
        )
    if tx.gas > gas:
        raise _mismatch(task, f"its gas limit is {tx.gas}, the plan's is {gas}")


# ------------------------------------------------------------ what the plan says


def _declared(task: Task) -> _Call:
    """Return the call that the first record's action means, addresses in lower case."""
    action = task.action
    # After the pivot a step has an empty forward: its confirm does what others do at once.
    undoes = task.direction == "undo" and not action["after_pivot"]
    account, to, value_wei, data = _READERS[action["kind"]](task, undoes)
    return str(account).lower(), str(to).lower(), value_wei, data


def _transfer(task: Task, undoes: bool) -> _Call:  # noqa: FBT001 - a row of the table below
    action = task.action
    source, target = action["account"], action["to"]
    if undoes:
        source, target = target, source
    if action["token"] is None:
        return source, target, int(action["amount"]), b""
    data = _calldata("transfer", ("address", "uint256"), (target, action["amount"]))
    return source, action["token"], 0, data


def _approve(task: Task, undoes: bool) -> _Call:  # noqa: FBT001
    action = task.action
    amount = (task.forward or {})["former_allowance"] if undoes else action["amount"]
    data = _calldata("approve", ("address", "uint256"), (action["spender"], amount))
    return action["account"], action["token"], 0, data


def _call(task: Task, undoes: bool) -> _Call:  # noqa: FBT001
    action = task.action
    declared = action["undo"] if undoes else action
    name, _, _ = str(declared["function"]).partition("(")
    values = _named(list(declared["args"]), task.saga_id32)
    data = _calldata(name, declared["types"], values)
    if declared["function"] != f"{name}({','.join(declared['types'])})":
        raise ValueError("the function's name and its types do not fit")
    return action["account"], action["contract"], int(declared["value"]), data


def _operation(task: Task, _undoes: bool) -> _Call:  # noqa: FBT001
    """Return the call of our own contracts that is keyed by the operation id."""
    action, op_id = task.action, f"0x{task.op_id}"
    account, contract, kind = action["account"], action["contract"], action["kind"]
    if task.direction != "forward":
        return account, contract, 0, _settling(task, op_id)
    deadline, amount = str(task.deadline_s), action["amount"]
    asset, to = action["token"] or _COIN, action["to"]
    value_wei = int(amount) if action["token"] is None and kind != "mint" else 0
    if kind == "mint":
        data = _calldata("mint", _MINT, (op_id, to, amount, deadline))
    elif kind == "lock":
        data = _calldata("lock", _LOCK, (op_id, asset, amount, to, deadline))
    else:
        expiry, hashlock = (task.expiry or {})["time"], f"0x{task.hashlock}"
        values = (op_id, asset, amount, to, hashlock, str(expiry), deadline)
        data = _calldata("hold", _HOLD, values)
    return account, contract, value_wei, data


def _settling(task: Task, op_id: str) -> bytes:
    action = task.action
    if (action["kind"], task.direction) == ("hold", "confirm"):
        types = ("address", "bytes32", "bytes32")
        return _calldata("redeem", types, (action["group"], op_id, f"0x{task.preimage}"))
    return _calldata(_SETTLE[action["kind"], task.direction], ("bytes32",), (op_id,))


_READERS: Final = {
    "transfer": _transfer,
    "pay": _transfer,
    "approve": _approve,
    "call": _call,
    "lock": _operation,
    "hold": _operation,
    "mint": _operation,
}


def _named(value: Any, saga_id32: str) -> Any:
    """Return a value with the saga's bytes in place of their name."""
    if isinstance(value, list):
        return [_named(item, saga_id32) for item in value]
    return f"0x{saga_id32}" if value == "@saga.id32" else value


def _calldata(name: str, types: Sequence[str], values: Sequence[Any]) -> bytes:
    return _selector(name, tuple(types)) + evm_abi.encode(types, list(values))


@lru_cache(maxsize=256)
def _selector(name: str, types: tuple[str, ...]) -> bytes:
    return evm_abi.topic_of(f"{name}({','.join(types)})", types)[:4]


# ------------------------------------------------------------ what a person is told


def _data_difference(found: bytes, wanted: bytes) -> str:
    """Say where calldata differs, without repeating it: it may hold a preimage."""
    if found[:4] != wanted[:4]:
        return f"it calls function 0x{found[:4].hex()}, the plan's is 0x{wanted[:4].hex()}"
    if len(found) != len(wanted):
        return f"its data has {len(found)} bytes, the plan's has {len(wanted)}"
    at = next(n for n in range(4, len(wanted)) if found[n] != wanted[n])
    return f"parameter word {(at - 4) // 32} of its call is not the plan's"


def _mismatch(task: Task | None, what: str) -> Rejected:
    where = "a self-spend" if task is None else f"the {task.direction} of step {task.step}"
    return Rejected(
        f"{where} is not what the saga's first record says: {what}. Nothing was signed and nothing "
        "was sent. This is no condition of a chain: either this program is wrong or its memory or "
        "journal was changed; stop it, run coordinator journal check, and report it.",
        code="mismatch",
    )
