"""What counts as an effect on an EVM chain, as values that a block can be compared with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from msgspec import Struct

from adapters.base import Task
from adapters.evm.abi import Event, hash_of, word
from adapters.evm.blocks import Landed, Operation
from adapters.evm.values import with_saga

__all__ = [
    "APPROVAL",
    "OPERATION_STATE",
    "TRANSFER",
    "Effect",
    "EventMatch",
    "OperationEffect",
    "OperationKind",
    "OperationStatus",
    "TransactionEffect",
    "params_hash",
    "refund_after_s",
]

TRANSFER: Final = Event(
    "Transfer(address,address,uint256)", ("address", "address", "uint256"), (True, True, False)
)
APPROVAL: Final = Event(
    "Approval(address,address,uint256)", ("address", "address", "uint256"), (True, True, False)
)
#: What ``operation`` of our contracts returns: status first, the hash of the terms last.
OPERATION_STATE: Final = (
    "uint8", "uint8", "address", "uint256", "address", "address", "bytes32", "uint256", "bytes32",
)  # fmt: skip


class OperationStatus:
    """Status of an operation id (contracts/operations.vy)."""

    OPEN: Final = 1
    RELEASED: Final = 2
    REFUNDED: Final = 3
    CANCELLED: Final = 4


class OperationKind:
    """Kind of an operation (contracts/operations.vy)."""

    LOCK: Final = 1
    HOLD: Final = 2
    MINT: Final = 3


@dataclass(frozen=True, slots=True)
class EventMatch:
    """An event that a contract must emit, with the values of some of its parameters."""

    contract: str
    event: Event
    where: Mapping[int, Any]

    def in_logs(self, landed: Landed) -> bool:
        """Tell whether a transaction emitted it."""
        for log in landed.logs:
            if log.address != self.contract:
                continue
            values = self.event.values(log.topics, log.data)
            if values is not None and all(values[at] == want for at, want in self.where.items()):
                return True
        return False

    @classmethod
    def of(cls, contract: str, declared: Mapping[str, Any], saga_id32: str) -> "EventMatch":
        """Read a declared event back from an action."""
        event = Event(declared["signature"], tuple(declared["types"]), tuple(declared["indexed"]))
        where = {int(at): with_saga(want, saga_id32) for at, want in declared["where"].items()}
        return cls(contract, event, where)


class TransactionEffect(Struct, frozen=True):
    """An effect that only a transaction which consumes the claim can carry.

    ``event`` None: the call itself, with its data, value and success, is the effect; so it is for
    coins, and for an undo that declares no event.
    """

    to: str
    value_wei: int
    data: str | None
    event: EventMatch | None

    def carried_by(self, landed: Landed) -> bool:
        """Tell whether a transaction carries the effect."""
        if not landed.succeeded:
            return False
        if self.event is not None:
            return self.event.in_logs(landed)
        return (
            landed.to == self.to
            and landed.value_wei == self.value_wei
            and (self.data is None or landed.data == self.data)
        )


@dataclass(frozen=True, slots=True)
class OperationEffect:
    """A change of an operation's status, whoever caused it; all terms are compared."""

    contract: str
    group: str
    op_id: str
    status: int
    kind: int
    asset: str
    amount: int
    params_hash: str

    def concerns(self, operation: Operation) -> bool:
        """Tell whether an event is of this operation (in whatever status)."""
        return (
            operation.contract == self.contract
            and operation.group == self.group
            and operation.op_id == self.op_id
        )

    def shown_by(self, operation: Operation) -> bool:
        """Tell whether an event is this effect."""
        return (
            self.concerns(operation)
            and operation.status == self.status
            and operation.kind == self.kind
            and operation.asset == self.asset
            and operation.amount == self.amount
            and operation.params_hash == self.params_hash
        )


Effect = TransactionEffect | OperationEffect


def params_hash(
    kind: int, asset: str, amount: int, beneficiary: str, hashlock: str, refund_after_s: int
) -> str:
    """Return the hash of an operation's terms as `operations.vy` computes it, 64 hex digits."""
    words = (
        word(kind), word(asset), word(amount), word(beneficiary),
        bytes.fromhex(hashlock), word(refund_after_s),
    )  # fmt: skip
    return hash_of(b"".join(words)).hex()


def refund_after_s(task: Task) -> int:
    """Return the time from which a hold can be refunded, Unix seconds; 0 for other operations."""
    return int(task.expiry["time"]) if task.expiry is not None else 0
