"""Do enough nodes agree that a transaction is final where one of them showed it?"""

from collections import OrderedDict
from typing import Any, Final

from adapters.errors import Transient
from adapters.evm.blocks import read_header
from adapters.evm.nodes import Nodes
from adapters.evm.settings import Finality
from adapters.rpc import RpcError

__all__ = ["Quorum"]

_REMEMBERED_MAX: Final = 10_000


class Quorum:
    """Asks all nodes about transactions that one of them calls final.

    Nodes that are away count as not agreeing. With a single node there is nothing to ask.
    """

    def __init__(self, nodes: Nodes, finality: Finality) -> None:
        self._nodes = nodes
        self._finality = finality
        self._agreed: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def agrees(self, tx_id: str, block_hash: str, height: int) -> bool:
        """Tell whether a majority has this transaction in this block, and the block as final.

        What was agreed once is remembered by the block's hash: another block asks anew.
        """
        key = (tx_id, block_hash)
        if len(self._nodes) == 1 or key in self._agreed:
            return True
        calls: list[tuple[str, Any]] = [
            ("eth_getBlockByNumber", (hex(height), False)),
            ("eth_getTransactionReceipt", (tx_id,)),
            ("eth_getBlockByNumber", ("latest", False)),
        ]
        if self._finality.tag is not None:
            calls.append(("eth_getBlockByNumber", (self._finality.tag, False)))
        answers = await self._nodes.votes(calls)
        receipts = [
            _essence(answer[1]) for answer in answers if self._confirms(answer, block_hash, height)
        ]
        best = max((receipts.count(receipt) for receipt in receipts), default=0)
        if best < self._nodes.majority:
            return False
        self._agreed[key] = None
        if len(self._agreed) > _REMEMBERED_MAX:
            self._agreed.popitem(last=False)
        return True

    def _confirms(self, answer: list[Any], block_hash: str, height: int) -> bool:
        if any(item is None or isinstance(item, RpcError) for item in answer[:3]):
            return False
        block, receipt, latest, *tagged = answer
        try:
            in_block = str(receipt["blockHash"]).lower() == block_hash
            same = read_header(block).hash == block_hash
            tag = read_header(tagged[0]).height if tagged and isinstance(tagged[0], dict) else None
            final = height <= self._finality.height(read_header(latest).height, tag)
        except (Transient, KeyError, TypeError):
            return False
        return in_block and same and final


def _essence(receipt: Any) -> tuple[Any, ...]:
    """Return what nodes must agree on: success and every log."""
    logs = receipt.get("logs") or ()
    shown = tuple((log.get("address"), tuple(log.get("topics")), log.get("data")) for log in logs)
    return receipt.get("status"), shown
