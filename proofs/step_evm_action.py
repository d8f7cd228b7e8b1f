"""The action of a plan's step on an EVM chain, read to the effect that it declares.

The action is the JSON that a plan's lock file fixes; nothing of it is believed before it is read.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from proofs import evm_abi
from proofs.errors import Refused
from proofs.evm_effects import OperationEvent, OperationTerms, word
from proofs.step import DIRECTION, FORM, StepContext
from proofs.step_evm_effects import Effect, EventMatch, OperationEffect, TransactionEffect

__all__ = ["SAGA_ID32", "effect_of"]

#: The one name that a lock file keeps: 32 bytes that stand for the saga.
SAGA_ID32: Final = "@saga.id32"

_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")
_WORD: Final = re.compile(r"(?:0x)?([0-9a-fA-F]{64})")
_AMOUNT: Final = re.compile(r"0|[1-9][0-9]{0,77}")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_TIME_LIMIT: Final = 2**64
_PARAMETERS: Final = ("address", "address", "uint256")
_COIN: Final = bytes(20)

#: Kinds and statuses of operations.vy.
_OPERATIONS: Final[Mapping[str, int]] = {"lock": 1, "hold": 2, "mint": 3}
_STATUS: Final[Mapping[str, int]] = {"forward": 1, "confirm": 2, "undo": 3}


def effect_of(
    action: Mapping[str, Any], direction: str, op_id: str, saga_id32: str, context: StepContext
) -> Effect:
    """Return what a step declares in a direction.

    Raises:
        Refused: ``step-form`` (no action as plans fix them) or ``step-direction`` (this action has
            no effect in that direction).
    """
    kind = action.get("kind")
    after_pivot = action.get("after_pivot")
    if not isinstance(kind, str) or type(after_pivot) is not bool:
        raise Refused(FORM, "an action without its kind, or without its place in the plan")
    if kind in _OPERATIONS:
        if after_pivot:
            raise Refused(DIRECTION, f"a {kind} has no effect in this direction")
        return _operation(action, kind, direction, _hex32(op_id), context)
    make = _TRANSACTIONS.get(kind)
    if make is None:
        raise Refused(FORM, "an action that EVM chains do not have")
    undo = direction == "undo"
    undoable = kind in {"transfer", "approve"} or (
        kind == "call" and action.get("undo") is not None
    )
    # After the pivot a step has an empty forward: its confirm does what others do at once.
    makes = "confirm" if after_pivot else "forward"
    if direction != makes and not (undo and undoable and not after_pivot):
        raise Refused(DIRECTION, f"a {kind} has no effect in this direction")
    return make(_Reading(action, "0x" + _hex32(saga_id32).hex(), context, undo))


# ------------------------------------------------------------------- our own contracts


def _operation(
    action: Mapping[str, Any], kind: str, direction: str, op_id: bytes, context: StepContext
) -> OperationEffect:
    contract = _address(action, "contract")
    hashlock, refund_after_s = bytes(32), 0
    if kind == "hold":
        hashlock = _hex32(context.hashlock)
        time_s = context.expiry.get("time") if isinstance(context.expiry, Mapping) else None
        if type(time_s) is not int or not 0 <= time_s < _TIME_LIMIT:
            raise Refused(FORM, "a hold without the time from which it can be refunded")
        refund_after_s = time_s
    terms = OperationTerms(
        kind=_OPERATIONS[kind],
        asset=_COIN if action.get("token") is None else _address(action, "token"),
        amount=_amount(action.get("amount")),
        beneficiary=_address(action, "to"),
        hashlock=hashlock,
        refund_after_s=refund_after_s,
    )
    event = OperationEvent(
        contract=contract,
        group=_address(action, "group"),
        op_id=op_id,
        status=_STATUS[direction],
        kind=terms.kind,
        asset=terms.asset,
        amount=terms.amount,
        params_hash=terms.hash,
    )
    code = action.get("code")
    pinned = code.get(action["contract"]) if isinstance(code, Mapping) else None
    return OperationEffect(
        payer=_address(action, "account"),
        event=event,
        terms=terms,
        code_hash=None if pinned is None else _hex32(pinned),
        text=f"{_SETTLED[kind, direction]} {_units(action, terms.amount)} in operation "
        f"{op_id.hex()[:16]} of 0x{contract.hex()}",
    )


_SETTLED: Final[Mapping[tuple[str, str], str]] = {
    ("lock", "forward"): "locked",
    ("lock", "confirm"): "released",
    ("lock", "undo"): "refunded",
    ("hold", "forward"): "held",
    ("hold", "confirm"): "redeemed",
    ("hold", "undo"): "refunded",
    ("mint", "forward"): "minted, pending,",
    ("mint", "confirm"): "credited",
    ("mint", "undo"): "cancelled",
}


# ------------------------------------------------------------------- transactions of ours


@dataclass(frozen=True, slots=True)
class _Reading:
    """An action while its effect is read; ``saga`` is 0x and 64 hex digits."""

    action: Mapping[str, Any]
    saga: str
    context: StepContext
    undo: bool


def _transfer(read: _Reading) -> TransactionEffect:
    action = read.action
    source, target = _address(action, "account"), _address(action, "to")
    if read.undo:
        source, target = target, source
    amount = _amount(action.get("amount"))
    text = f"moved {_units(action, amount)} from 0x{source.hex()} to 0x{target.hex()}"
    if action.get("token") is None:
        return TransactionEffect(source, target, amount, None, None, text)
    token = _address(action, "token")
    event = _erc20(token, b"Transfer", source, target, amount)
    return TransactionEffect(source, token, 0, None, event, text)


def _approve(read: _Reading) -> TransactionEffect:
    action = read.action
    owner, spender = _address(action, "account"), _address(action, "spender")
    token = _address(action, "token")
    amount = _amount(action.get("amount"))
    if read.undo:
        forward = read.context.forward
        former = forward.get("former_allowance") if isinstance(forward, Mapping) else None
        amount = _amount(former)
    text = f"allowed 0x{spender.hex()} to take {_units(action, amount)} of 0x{owner.hex()}"
    event = _erc20(token, b"Approval", owner, spender, amount)
    return TransactionEffect(owner, token, 0, None, event, text)


def _call(read: _Reading) -> TransactionEffect:
    action = read.action
    declared = action["undo"] if read.undo else action
    if not isinstance(declared, Mapping):
        raise Refused(FORM, "the undo of a call is another call")
    contract = _address(action, "contract")
    values = _with_saga(declared.get("args"), read.saga)
    function = declared.get("function")
    data = evm_abi.call_data(function, declared.get("types", ()), values)
    value_wei = _amount(declared.get("value"))
    event = declared.get("event")
    match = None if event is None else _declared_event(contract, event, read.saga)
    text = f"called {str(function)[:80]} of 0x{contract.hex()}"
    return TransactionEffect(_address(action, "account"), contract, value_wei, data, match, text)


_TRANSACTIONS: Final[Mapping[str, Callable[[_Reading], TransactionEffect]]] = {
    "transfer": _transfer,
    "pay": _transfer,
    "approve": _approve,
    "call": _call,
}


def _erc20(token: bytes, name: bytes, first: bytes, second: bytes, amount: int) -> EventMatch:
    signature = f"{name.decode()}({','.join(_PARAMETERS)})"
    topics = (evm_abi.topic_of(signature, _PARAMETERS), word(first), word(second))
    return EventMatch(token, topics, (evm_abi.shape_of("uint256"),), ((0, str(amount)),))


def _declared_event(contract: bytes, event: Any, saga: str) -> EventMatch:
    """Return a plan's declared event; ``where`` holds values by the place of their parameter."""
    types, indexed, where = (
        (event.get("types"), event.get("indexed"), event.get("where"))
        if isinstance(event, Mapping)
        else (None, None, None)
    )
    if not isinstance(types, (list, tuple)) or not isinstance(indexed, (list, tuple)):
        raise Refused(FORM, "a declared event without its types")
    if len(types) != len(indexed) or any(type(flag) is not bool for flag in indexed):
        raise Refused(FORM, "a declared event that does not say which parameters are topics")
    places = {str(at) for at in range(len(types))}
    if not isinstance(where, Mapping) or not places >= where.keys():
        raise Refused(FORM, "a declared event with values of parameters that it has not")
    topics: list[bytes | None] = [evm_abi.topic_of(event.get("signature"), types)]
    shapes: list[evm_abi.Shape] = []
    words: list[tuple[int, Any]] = []
    for at, (text, is_topic) in enumerate(zip(types, indexed, strict=True)):
        named = str(at) in where
        wanted = _with_saga(where[str(at)], saga) if named else None
        if is_topic:
            topics.append(_topic(text, wanted) if named else None)
            continue
        if named:
            evm_abi.encode([text], [wanted])
            words.append((len(shapes), wanted))
        shapes.append(evm_abi.shape_of(text))
    return EventMatch(contract, tuple(topics), tuple(shapes), tuple(words))


def _topic(text: str, wanted: Any) -> bytes:
    shape = evm_abi.shape_of(text)
    if shape.parts or shape.dynamic:
        raise Refused(FORM, "a log has only the hash of a parameter of variable length")
    return evm_abi.encode([text], [wanted])


def _with_saga(value: Any, saga: str, depth: int = 0) -> Any:
    """Return a value with the saga's bytes in place of their name."""
    if isinstance(value, (list, tuple)):
        if depth > 16:
            raise Refused(FORM, "values that are nested too deep")
        return [_with_saga(item, saga, depth + 1) for item in value]
    return saga if value == SAGA_ID32 else value


# ------------------------------------------------------------------- strict reading


def _address(action: Mapping[str, Any], key: str) -> bytes:
    value = action.get(key)
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise Refused(FORM, f"'{key}' of the action is no address")
    return bytes.fromhex(value[2:])


def _amount(value: Any) -> int:
    if not isinstance(value, str) or not _AMOUNT.fullmatch(value) or int(value) >= 2**256:
        raise Refused(FORM, "an amount is a decimal text of at most 256 bits")
    return int(value)


def _hex32(value: Any) -> bytes:
    match = _WORD.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Refused(FORM, "32 bytes belong here as hex")
    return bytes.fromhex(match[1])


def _units(action: Mapping[str, Any], amount: int) -> str:
    """Return an amount for people; the asset's name only if it is printable ASCII."""
    name = action.get("asset")
    named = isinstance(name, str) and _NAME.fullmatch(name)
    return f"{amount} base units of {name if named else '?'}"
