"""What we keep of a block: transactions of our accounts and operations of our contracts.

`read_block` turns a node's answers into these values and refuses answers that contradict each
other, so that nothing else here needs to know what a node looks like.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from msgspec import Struct

from adapters.base import Signed
from adapters.errors import Transient
from adapters.evm.abi import Event
from adapters.evm.commitment import require_committed, require_header
from adapters.evm.transactions import SignedHere, verified_sender
from adapters.evm.values import checksum, quantity
from proofs.errors import ProofError
from proofs.evm_inclusion import CommittedBlock
from proofs.evm_receipts import CommitmentRule

__all__ = [
    "OPERATION",
    "Block",
    "Header",
    "Landed",
    "Log",
    "Operation",
    "landed_text",
    "nonce_key",
    "operation_key",
    "read_block",
    "read_header",
    "receipt_shows",
    "signed_of",
]

#: See contracts/operations.vy.
OPERATION: Final = Event(
    "Operation(address,bytes32,uint8,uint8,address,uint256,bytes32)",
    ("address", "bytes32", "uint8", "uint8", "address", "uint256", "bytes32"),
    (True, True, True, False, False, False, False),
)
_OPERATION_TOPIC: Final = OPERATION.topic


class Header(Struct, frozen=True):
    """A block's place in the chain. ``base_fee_wei`` is 0 where the chain has none."""

    height: int
    hash: str
    parent: str
    time_s: int
    base_fee_wei: int


class Log(Struct, frozen=True):
    """One log; ``address`` checksummed, topics and data as 0x-prefixed lower-case hex."""

    address: str
    topics: tuple[str, ...]
    data: str


class Landed(Struct, frozen=True):
    """A transaction of one of our accounts in a block, hashed and its sender recovered here."""

    tx_id: str
    account: str
    nonce: int
    to: str | None
    value_wei: int
    data: str
    succeeded: bool
    gas: int
    gas_used: int
    fee_wei: int
    logs: tuple[Log, ...]
    header: Header


@dataclass(frozen=True, slots=True)
class Operation:
    """An `Operation` event of one of our contracts, whoever caused it.

    ``fee_wei`` is what its transaction cost us: 0 when a stranger sent it.
    """

    contract: str
    group: str
    op_id: str
    status: int
    kind: int
    asset: str
    amount: int
    params_hash: str
    tx_id: str
    fee_wei: int
    header: Header


@dataclass(frozen=True, slots=True)
class Block:
    """A block, reduced to what concerns us.

    Attributes:
        committed: where something in it does, what its header was found to commit to.
    """

    header: Header
    landed: tuple[Landed, ...]
    operations: tuple[Operation, ...]
    committed: CommittedBlock | None = None


def signed_of(block: Block) -> list[Signed]:
    """Return what our accounts signed in a block, whoever holds their keys."""
    header = block.header
    return [
        Signed(
            landed.tx_id,
            header.hash,
            header.height,
            header.time_s,
            ((landed.account, landed.nonce),),
            (landed.account,),
            (landed_text(landed),),
        )
        for landed in block.landed
    ]


def landed_text(landed: Landed) -> str:
    """Return a transaction of ours in words."""
    end = "" if landed.succeeded else ", reverted"
    value = f", {landed.value_wei} wei" if landed.value_wei else ""
    return (
        f"nonce {landed.nonce} of {landed.account} to {landed.to or 'a new contract'}{value}{end}"
    )


def nonce_key(account: str, nonce: int) -> str:
    """Return the name of a claim of ours in `BlockEvent.touched`."""
    return f"nonce:{account}:{nonce}"


def operation_key(contract: str, op_id: str) -> str:
    """Return the name of an operation id (64 hex digits) in `BlockEvent.touched`."""
    return f"op:{contract}:{op_id}"


def read_header(answer: Any) -> Header:
    """Return the header in a node's ``eth_getBlockBy…`` answer.

    Raises:
        Transient: the answer is no block.
    """
    try:
        return Header(
            height=quantity(answer["number"]),
            hash=answer["hash"].lower(),
            parent=answer["parentHash"].lower(),
            time_s=quantity(answer["timestamp"]),
            base_fee_wei=quantity(answer.get("baseFeePerGas") or "0x0"),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Transient("a node answered with something that is no block") from None


def read_block(
    block: Any,
    receipts: Any,
    accounts: Collection[str],
    contracts: Collection[str],
    rule: CommitmentRule | None = None,
    here: SignedHere | None = None,
) -> Block:
    """Return a block from its full transactions and its receipts.

    Args:
        accounts, contracts: checksummed addresses that concern us.
        rule: what the chain's headers commit to; None where that is not known to be checkable.
            With it, what a block says of ours counts only as far as its header commits to it.
        here: what this process signed; its senders need not be worked out.

    Raises:
        Transient: block and receipts do not belong together (it was replaced between the two
            answers), a transaction of ours is not what its hash says, or the header commits to
            something else.
    """
    header = read_header(block)
    try:
        found = _read(header, block["transactions"], receipts, accounts, contracts, here)
        if rule is not None and (found.landed or found.operations):
            found = replace(found, committed=require_committed(block, receipts, rule))
        elif rule is not None:
            require_header(block)
    except ProofError as error:
        raise Transient(
            f"a node's block {header.height} is not what its hash commits to ({error}); nothing of "
            'it was believed. If this chain makes its hashes otherwise, set proof = "wanted"'
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Transient(
            f"a node's block {header.height} contradicts itself ({type(error).__name__}: {error})"
        ) from None
    return found


def _read(
    header: Header,
    transactions: Sequence[Mapping[str, Any]],
    receipts: Sequence[Mapping[str, Any]],
    accounts: Collection[str],
    contracts: Collection[str],
    here: SignedHere | None,
) -> Block:
    # Some chains list receipts of system transactions that the block itself does not have.
    by_hash = {receipt["transactionHash"]: receipt for receipt in receipts}
    lower_accounts = {account.lower() for account in accounts}
    lower_contracts = {contract.lower() for contract in contracts}
    landed: list[Landed] = []
    operations: list[Operation] = []
    for transaction in transactions:
        receipt = by_hash[transaction["hash"]]
        if receipt["blockHash"].lower() != header.hash:
            raise ValueError("a receipt of another block")
        ours = transaction["from"].lower() in lower_accounts
        if ours:
            account = verified_sender(transaction, here)
            landed.append(_landed(header, transaction, receipt, account))
        fee_wei = landed[-1].fee_wei if ours else 0
        operations += (
            found
            for log in receipt["logs"]
            if log["address"].lower() in lower_contracts
            and (found := _operation(header, transaction["hash"], fee_wei, log)) is not None
        )
    return Block(header, tuple(landed), tuple(operations))


def _landed(
    header: Header, transaction: Mapping[str, Any], receipt: Mapping[str, Any], account: str
) -> Landed:
    if account != checksum(transaction["from"]):
        raise ValueError("a transaction by another account than the node says")
    to = transaction["to"]
    gas_used = quantity(receipt["gasUsed"])
    price = quantity(receipt.get("effectiveGasPrice") or transaction["gasPrice"])
    # Rollups of the OP family charge the cost of their data apart from gas.
    data_fee = quantity(receipt.get("l1Fee") or "0x0")
    return Landed(
        tx_id=transaction["hash"],
        account=account,
        nonce=int(transaction["nonce"], 16),
        to=None if to is None else checksum(to),
        value_wei=int(transaction["value"], 16),
        data=transaction["input"].lower(),
        succeeded=int(receipt["status"], 16) == 1,
        gas=int(transaction["gas"], 16),
        gas_used=gas_used,
        fee_wei=gas_used * price + data_fee,
        logs=tuple(_log(log) for log in receipt["logs"]),
        header=header,
    )


def _log(log: Mapping[str, Any]) -> Log:
    topics = tuple(topic.lower() for topic in log["topics"])
    return Log(checksum(log["address"]), topics, log["data"].lower())


def _operation(
    header: Header, tx_id: str, fee_wei: int, raw: Mapping[str, Any]
) -> Operation | None:
    if not raw["topics"] or raw["topics"][0].lower() != _OPERATION_TOPIC:
        return None
    log = _log(raw)
    values = OPERATION.values(log.topics, log.data)
    if values is None:
        return None
    group, op_id, status, kind, asset, amount, params_hash = values
    return Operation(
        contract=log.address,
        group=group,
        op_id=op_id[2:],
        status=int(status),
        kind=int(kind),
        asset=asset,
        amount=int(amount),
        params_hash=params_hash[2:],
        tx_id=tx_id,
        fee_wei=fee_wei,
        header=header,
    )


def receipt_shows(
    receipt: Mapping[str, Any], header: Header, landed: Landed | None, operation: Operation | None
) -> bool:
    """Tell whether a receipt is in this block and shows just what was read there of a transaction.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is no receipt.
    """
    if receipt["blockHash"].lower() != header.hash:
        return False
    if landed is not None:
        logs = tuple(_log(log) for log in receipt["logs"])
        told = (int(receipt["status"], 16) == 1, int(receipt["gasUsed"], 16), logs)
        if told != (landed.succeeded, landed.gas_used, landed.logs):
            return False
    return operation is None or any(
        checksum(log["address"]) == operation.contract
        and _operation(header, operation.tx_id, operation.fee_wei, log) == operation
        for log in receipt["logs"]
    )
