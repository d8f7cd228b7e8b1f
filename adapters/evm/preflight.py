"""Would a call work on the newest state? Simulated with its real gas limit, reasons decoded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.errors import Rejected, Transient
from adapters.evm.abi import decode, encode, hash_of, revert_reason
from adapters.evm.actions import Call
from adapters.evm.answers import EXECUTION
from adapters.evm.blocks import Landed
from adapters.evm.effects import OPERATION_STATE
from adapters.evm.nodes import Nodes
from adapters.evm.values import AbiError, checksum
from adapters.rpc import RpcError

__all__ = ["OwnGround", "check", "estimate", "refusal", "replayed_reason"]

_STATUS_WORDS: Final = {1: "open", 2: "released", 3: "refunded", 4: "cancelled"}


@dataclass(frozen=True, slots=True)
class OwnGround:
    """What must hold in a contract of ours: the sender's group, and that its id is unused."""

    contract: str
    sender: str
    group: str
    op_id: str

    def calls(self) -> list[tuple[str, Any]]:
        """Return the reads that tell."""
        group = encode("group_of(address)", ("address",), (self.sender,))
        values = (self.group, self.op_id)
        used = encode("operation(address,bytes32)", ("address", "bytes32"), values)
        return [
            ("eth_call", ({"to": self.contract, "data": f"0x{data.hex()}"}, "latest"))
            for data in (group, used)
        ]


async def check(
    nodes: Nodes,
    call: Call,
    *,
    max_fee_wei: int,
    native: str,
    code: Mapping[str, str],
    abi: Sequence[Mapping[str, Any]] = (),
    ground: OwnGround | None = None,
    returns_bool: bool = False,
) -> None:
    """Refuse a call that would fail on the newest state; one request.

    Args:
        max_fee_wei: price per gas at which the sender must be able to pay for all of its gas.
        native: name of the asset that fees are paid in.
        code: code hash that each of these contracts must still have.
        abi: for errors that the contract declares.
        ground: for calls of our own contracts.
        returns_bool: an ERC-20 call: False means refused, no data at all means success.

    Raises:
        Rejected: it would fail, and why; ``code="unfunded"`` where money of the sender is missing.
        Transient: no node could tell.
    """
    calls: list[tuple[str, Any]] = [
        ("eth_getBalance", (call.sender, "latest")),
        ("eth_call", (call.json(), "latest")),
    ]
    calls += [("eth_getCode", (address, "latest")) for address in code]
    if ground is not None:
        calls += ground.calls()
    balance, result, *rest = await nodes.batch(calls)
    _check_code(code, rest[: len(code)])
    _check_funds(call, max_fee_wei, native, _healthy(balance))
    if ground is not None:
        _check_ground(ground, [_healthy(answer) for answer in rest[-2:]])
    if isinstance(result, RpcError) and not result.data:  # it may be trouble of the node
        (result,) = await nodes.batch(calls[1:2])
    if isinstance(result, RpcError):
        raise Rejected(refusal(result, abi))
    if returns_bool and result != "0x" and int(result, 16) == 0:
        raise Rejected("the token refuses: its call would return false")


async def estimate(nodes: Nodes, call: Call) -> int | None:
    """Return the gas that the call needs on today's state, None where it would fail."""
    wanted = {key: value for key, value in call.json().items() if key != "gas"}
    try:
        return int(await nodes.call("eth_estimateGas", [wanted]), 16)
    except RpcError as error:
        if error.code not in EXECUTION:
            raise Transient(f"a node can not estimate gas: {error}") from error
        return None


async def replayed_reason(
    nodes: Nodes, landed: Landed, abi: Sequence[Mapping[str, Any]]
) -> str | None:
    """Return why a transaction reverted, from the state before its block; None if it can not tell.

    Other transactions of its block may have mattered, so this is for people only.
    """
    call = {
        "from": landed.account,
        "to": landed.to,
        "value": hex(landed.value_wei),
        "data": landed.data,
        "gas": hex(landed.gas),
    }
    try:
        await nodes.call("eth_call", [call, hex(landed.header.height - 1)])
    except RpcError as error:
        # Nodes that keep no old states answer with an error of the same code and no data.
        return refusal(error, abi) if error.code in EXECUTION and error.data else None
    except Transient:
        return None
    return None


def refusal(error: RpcError, abi: Sequence[Mapping[str, Any]]) -> str:
    """Return what the simulation said, decoded.

    Raises:
        Transient: the node had trouble of its own and says nothing about the call.
    """
    if error.code not in EXECUTION:
        raise Transient(f"a node can not simulate: {error}")
    data = error.data.get("data") if isinstance(error.data, dict) else error.data
    if isinstance(data, str) and data.startswith("0x") and len(data) > 2:
        try:
            return revert_reason(bytes.fromhex(data[2:]), abi)
        except ValueError:
            pass
    return error.message.removeprefix("execution reverted: ") or "reverted without a reason"


def _healthy(answer: Any) -> Any:
    if isinstance(answer, RpcError):
        raise Transient(f"a node can not read state: {answer}")
    return answer


def _check_code(code: Mapping[str, str], answers: Sequence[Any]) -> None:
    for (address, wanted), answer in zip(code.items(), answers, strict=True):
        found = bytes.fromhex(str(_healthy(answer)).removeprefix("0x"))
        if not found:
            raise Rejected(f"{address} has no code on this chain")
        if f"0x{hash_of(found).hex()}" != wanted:
            raise Rejected(
                f"the code of {address} has changed: its hash is 0x{hash_of(found).hex()}, "
                f"the plan fixed {wanted}"
            )


def _check_funds(call: Call, max_fee_wei: int, native: str, balance: str) -> None:
    needed = call.value_wei + call.gas * max_fee_wei
    missing = needed - int(balance, 16)
    if missing > 0:
        raise Rejected(
            f"{call.sender} lacks {missing} base units of {native} for value and gas",
            code="unfunded",
            fund=(call.sender, native, missing),
        )


def _check_ground(ground: OwnGround, answers: Sequence[str]) -> None:
    try:
        group_data, used_data = (bytes.fromhex(answer.removeprefix("0x")) for answer in answers)
        group = checksum(decode(("address",), group_data)[0])
        status = decode(OPERATION_STATE, used_data)[0]
    except (AbiError, ValueError):
        raise Rejected("the contract does not answer like one of ours") from None
    if group != ground.group:
        # Its operation would be opened where nobody looks for it.
        raise Rejected(f"{ground.sender} is in group {group} now, the plan fixed {ground.group}")
    if status != 0:
        word = _STATUS_WORDS.get(status, str(status))
        raise Rejected(f"the operation id of this step is {word} on the chain already")
