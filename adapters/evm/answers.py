"""What a node's answer to a method has to look like before anybody reads it.

A node that answers with something else has failed, like one that does not answer: the next one is
asked. Forms are those of the Ethereum JSON-RPC specification; answers that are whole objects are
judged where they are read, but for the newest block, which every node has.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from adapters.errors import Transient
from adapters.evm.blocks import read_header
from adapters.evm.values import quantity
from adapters.rpc import RpcError

__all__ = ["EXECUTION", "require_answer"]

#: Codes that nodes use when the call itself fails (3: reverted, with its data; -32000: Geth's
#: general one; -32003: transaction rejected; -32015: OpenEthereum's heirs; -32603: anvil, out of
#: gas). The last ones may be trouble of the node too.
EXECUTION: Final = frozenset({3, -32000, -32003, -32015, -32603})
#: What a node that has a chain can always tell of its newest block.
_STATE: Final = frozenset({"eth_getBalance", "eth_getCode", "eth_getTransactionCount"})
#: What a node may refuse for reasons that are the call's own.
_SIMULATED: Final = frozenset({"eth_call", "eth_estimateGas"})
_QUANTITIES: Final = frozenset(
    {"eth_chainId", "eth_estimateGas", "eth_getBalance", "eth_getTransactionCount"}
)
_DATA: Final = frozenset({"eth_call", "eth_getCode"})
_BYTES: Final = re.compile(r"0x[0-9a-fA-F]*")


def require_answer(node: str, method: str, params: Sequence[Any], answer: Any) -> None:
    """Hold an answer, or an `RpcError` in its place, against the form of its method.

    Args:
        node: its name in messages.

    Raises:
        Transient: the node has trouble: it refuses what no healthy node refuses, or answers with
            something else than the method returns.
    """
    if isinstance(answer, RpcError):
        if _is_trouble(method, params, answer):
            raise Transient(f"{node} can not read state: {answer.message} ({answer.code})")
        return
    try:
        if method in _QUANTITIES:
            quantity(answer)
        elif method in _DATA:
            _require_bytes(answer)
        elif _is_newest(method, params):
            read_header(answer)
    except (ValueError, Transient) as error:
        raise Transient(f"{node} does not answer {method}: {error}") from None


def _require_bytes(answer: Any) -> None:
    if not isinstance(answer, str) or len(answer) % 2 or _BYTES.fullmatch(answer) is None:
        raise ValueError(f"{str(answer)[:80]!r} is no data")


def _is_trouble(method: str, params: Sequence[Any], refused: RpcError) -> bool:
    if method in _SIMULATED:
        return refused.code not in EXECUTION and not refused.data
    return method in _STATE or _is_newest(method, params)


def _is_newest(method: str, params: Sequence[Any]) -> bool:
    return method == "eth_getBlockByNumber" and params[0] == "latest"
