"""Effects on an EVM chain: what our contracts say in their events, and what binds one to a step.

The layouts are those of adapters/evm/contracts: the event `Operation` and the words that the Vault
and the Token keep for an operation id. Numbers are in base units, times are Unix seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from proofs.errors import Refused
from proofs.evm_receipts import Log
from proofs.keccak import keccak256

__all__ = [
    "CALL",
    "EVENT",
    "OPERATION",
    "OPERATION_TOPIC",
    "STATUS",
    "OperationEvent",
    "OperationTerms",
    "operations_in",
    "require_event",
    "require_operation",
    "require_success",
    "word",
]

#: Names of the checks that bind a proven transaction to the effect of a step.
STATUS: Final = "evm-status"
OPERATION: Final = "evm-operation"
EVENT: Final = "evm-event"
CALL: Final = "evm-call"

#: Topic 0 of the event that every change of an operation's status emits, once.
OPERATION_TOPIC: Final = keccak256(
    b"Operation(address,bytes32,uint8,uint8,address,uint256,bytes32)"
)
_ADDRESS_PAD: Final = bytes(12)
_BYTE_PAD: Final = bytes(31)


@dataclass(frozen=True, slots=True)
class OperationTerms:
    """What an operation does; ``asset`` is 20 zero bytes for the native coin.

    ``kind`` is 1 for a lock, 2 for a hold, 3 for a mint.
    """

    kind: int
    asset: bytes
    amount: int
    beneficiary: bytes
    hashlock: bytes
    refund_after_s: int

    @property
    def hash(self) -> bytes:
        """The ``params_hash`` of the event, as operations.vy computes it."""
        return keccak256(
            word(self.kind)
            + word(self.asset)
            + word(self.amount)
            + word(self.beneficiary)
            + self.hashlock
            + word(self.refund_after_s)
        )


@dataclass(frozen=True, slots=True)
class OperationEvent:
    """A change of an operation's status, as a contract of ours reported it.

    Attributes:
        contract, group, asset: 20 bytes.
        op_id, params_hash: 32 bytes.
        status: 1 open, 2 released, 3 refunded, 4 cancelled (the tombstone).
        kind: as in `OperationTerms`; 0 in a tombstone, which has no terms.
    """

    contract: bytes
    group: bytes
    op_id: bytes
    status: int
    kind: int
    asset: bytes
    amount: int
    params_hash: bytes


def word(value: int | bytes) -> bytes:
    """Return an integer or an address as one 32-byte word of the contract ABI."""
    return value.rjust(32, b"\0") if isinstance(value, bytes) else value.to_bytes(32, "big")


def operations_in(logs: Sequence[Log]) -> tuple[OperationEvent, ...]:
    """Return the operation events among logs, whichever contract emitted them, in their order."""
    return tuple(event for log in logs if (event := _operation(log)) is not None)


def require_success(succeeded: bool) -> None:  # noqa: FBT001 - a fact of a receipt, not a switch
    """Check that a transaction took effect.

    Raises:
        Refused: ``evm-status``: it reverted.
    """
    if not succeeded:
        raise Refused(STATUS, "the transaction reverted, so it had no effect")


def require_operation(events: Sequence[OperationEvent], wanted: OperationEvent) -> None:
    """Check that ``wanted`` is one of the events, every value equal.

    Raises:
        Refused: ``evm-operation``, saying what is there instead.
    """
    if wanted in events:
        return
    same_id = [
        event
        for event in events
        if (event.contract, event.group, event.op_id)
        == (wanted.contract, wanted.group, wanted.op_id)
    ]
    if not same_id:
        raise Refused(OPERATION, "the transaction has no event of this operation id")
    names = ("status", "kind", "asset", "amount", "params_hash")
    other = [name for name in names if getattr(same_id[-1], name) != getattr(wanted, name)]
    raise Refused(OPERATION, f"the operation's event differs in {', '.join(other)}")


def require_event(
    logs: Sequence[Log],
    contract: bytes,
    topics: Sequence[bytes | None],
    words: Mapping[int, bytes],
) -> None:
    """Check that ``contract`` emitted an event with these values.

    Args:
        topics: all of its topics, None for a value that does not matter.
        words: 32-byte words of its data, by their position.

    Raises:
        Refused: ``evm-event``: no log has them all.
    """
    for log in logs:
        if log.address != contract or len(log.topics) != len(topics):
            continue
        if any(
            want is not None and want != have for want, have in zip(topics, log.topics, strict=True)
        ):
            continue
        if all(log.data[32 * at : 32 * at + 32] == want for at, want in words.items()):
            return
    raise Refused(EVENT, "the transaction did not emit the declared event")


def _operation(log: Log) -> OperationEvent | None:
    if len(log.topics) != 4 or log.topics[0] != OPERATION_TOPIC or len(log.data) != 128:
        return None
    _, group, op_id, status = log.topics
    kind, asset, amount, params_hash = (log.data[at : at + 32] for at in range(0, 128, 32))
    addresses = group[:12] + asset[:12]
    if addresses != 2 * _ADDRESS_PAD or status[:31] + kind[:31] != 2 * _BYTE_PAD:
        return None
    return OperationEvent(
        contract=log.address,
        group=group[12:],
        op_id=op_id,
        status=status[31],
        kind=kind[31],
        asset=asset[12:],
        amount=int.from_bytes(amount, "big"),
        params_hash=params_hash,
    )
