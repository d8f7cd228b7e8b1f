"""A survey of an EVM chain: what our accounts signed, and operations of their groups."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from adapters.base import Claim, Prepared, Task
from adapters.errors import Transient, WrongChain
from adapters.evm.abi import decode, encode
from adapters.evm.actions import OPERATIONS, brought_in, effect_of
from adapters.evm.attempts import WINDOW_FACTOR
from adapters.evm.blocks import (
    Block,
    Landed,
    Operation,
    landed_text,
    operation_key,
    read_header,
)
from adapters.evm.commitment import rule_of
from adapters.evm.effects import OperationEffect, OperationKind, OperationStatus
from adapters.evm.fees import Price
from adapters.evm.nodes import Nodes
from adapters.evm.reader import BlockReader
from adapters.evm.settings import EvmSettings
from adapters.evm.values import AbiError, checksum
from adapters.retry import reading
from adapters.rpc import RpcError
from adapters.survey import Movement, Survey
from proofs.errors import ProofError
from proofs.evm_transactions import encode_transaction, read_transaction

__all__ = ["EvmSurveyor"]

_STATUS: Final = {
    OperationStatus.OPEN: "opened",
    OperationStatus.RELEASED: "released",
    OperationStatus.REFUNDED: "refunded",
    OperationStatus.CANCELLED: "cancelled",
}
_KIND: Final = {
    OperationKind.LOCK: "lock",
    OperationKind.HOLD: "hold",
    OperationKind.MINT: "mint",
}


@dataclass(slots=True)
class _Seen:
    """What one transaction did that concerns us."""

    landed: Landed | None = None
    operations: list[Operation] = field(default_factory=list)


class EvmSurveyor:
    """Implements `adapters.survey.Surveyor`.

    Args:
        accounts: ours, checksummed.
        contracts: ours with operation ids; those that tasks name are added.
    """

    def __init__(
        self,
        nodes: Nodes,
        settings: EvmSettings,
        accounts: Collection[str],
        contracts: Collection[str],
    ) -> None:
        self._nodes = nodes
        self._settings = settings
        self._accounts = tuple(accounts)
        self._contracts = set(contracts)
        #: what `survey` found, by transaction.
        self._seen: dict[str, _Seen] = {}

    async def height_at(self, time_s: int) -> int:
        """Search by halves; a chain's times only rise. What is found at one node counts once a
        majority shows a block there that is as old: whatever is above it would not be read.
        """
        trouble: Transient | WrongChain | None = None
        for seat in self._nodes.roster.ranked():
            with self._nodes.roster.alone(seat):
                try:
                    height = await self._height_at(time_s)
                except (Transient, WrongChain) as error:
                    trouble = trouble or error
                    continue
            if height == 0 or await self._is_older(height, time_s):
                return height
            trouble = trouble or Transient(
                f"{seat.standing.label} shows block {height} as older than a majority does"
            )
        assert trouble is not None
        raise trouble

    async def _is_older(self, height: int, time_s: int) -> bool:
        def judge(answers: list[Any]) -> bool:
            return read_header(_result(answers[0])).time_s < time_s

        return await self._nodes.alike([_block_call(hex(height))], judge)

    async def _height_at(self, time_s: int) -> int:
        low, high = 0, (await self._header("latest")).height
        while low < high:
            middle = (low + high + 1) // 2
            if (await self._header(hex(middle))).time_s < time_s:
                low = middle
            else:
                high = middle - 1
        return low

    async def survey(self, since: int) -> Survey:
        """Read every block from ``since`` to the newest, as a majority of the nodes shows it.

        Raises:
            Transient: no majority shares the newest block, or shows the same in one of the blocks.
        """
        tag = self._settings.finality.tag
        rule = rule_of(self._settings)
        reader = BlockReader(self._nodes, tag, self._accounts, self._contracts, rule)
        return await reading(partial(self._survey, reader, since))

    async def _survey(self, reader: BlockReader, since: int) -> Survey:
        newest = await reader.newest(patient=True)
        head = newest.head
        if not newest.agreed:
            raise Transient(
                f"{self._nodes.majority} of {len(self._nodes)} nodes have to share the newest "
                f"block before anything is concluded from it; {self._nodes.roster.troubles()}"
            )
        final = self._settings.finality.height(head.height, newest.tagged)
        groups = await self._groups()
        self._seen, order = {}, []
        low, below = since, ""
        while low <= head.height:
            high = min(head.height, low + reader.span - 1)
            blocks = await self._shown(reader, low, high)
            if below and blocks[0].header.parent != below:
                raise Transient("the chain was reorganised while it was read")
            for block in blocks:
                order += self._take(block, groups)
            low, below = high + 1, blocks[-1].header.hash
        if below and below != head.hash:
            raise Transient("the chain was reorganised while it was read")
        movements = [await self._movement(tx_id, final) for tx_id in dict.fromkeys(order)]
        return Survey(since, head.height, tuple(movements))

    async def _shown(self, reader: BlockReader, low: int, high: int) -> list[Block]:
        """Return blocks as a majority of all nodes shows them, asking one after the other: what a
        single one leaves out would never be looked for again.
        """
        told: list[list[Block]] = []
        troubles: list[str] = []
        for seat in self._nodes.roster.ranked():
            try:
                blocks = await reader.blocks(low, high, [seat])
            except Transient as error:
                troubles.append(str(error))
                continue
            told.append(blocks)
            if told.count(blocks) >= self._nodes.majority:
                return blocks
        told_by = f"{len(told)} of {len(self._nodes)} nodes show the blocks {low} to {high}"
        raise Transient("; ".join([f"{told_by}, and no majority the same in them", *troubles]))

    def _take(self, block: Block, groups: Mapping[str, Collection[str]]) -> list[str]:
        for landed in block.landed:
            self._seen.setdefault(landed.tx_id, _Seen()).landed = landed
        found = [landed.tx_id for landed in block.landed]
        for operation in block.operations:
            ours = operation.tx_id in self._seen
            if ours or operation.group in groups.get(operation.contract, ()):
                self._seen.setdefault(operation.tx_id, _Seen()).operations.append(operation)
                found.append(operation.tx_id)
        return found

    async def _groups(self) -> dict[str, set[str]]:
        """Return, for each contract, the groups that our accounts act for, as a majority says."""
        pairs = [(contract, account) for contract in self._contracts for account in self._accounts]
        calls = [
            (
                "eth_call",
                (
                    {
                        "to": contract,
                        "data": "0x" + encode("group_of(address)", ("address",), (account,)).hex(),
                    },
                    "latest",
                ),
            )
            for contract, account in pairs
        ]
        if not calls:
            return {}
        answers = await self._nodes.alike(calls, lambda told: [_result(each) for each in told])
        groups: dict[str, set[str]] = {}
        for (contract, _account), answer in zip(pairs, answers, strict=True):
            try:
                (group,) = decode(("address",), bytes.fromhex(str(answer).removeprefix("0x")))
            except (AbiError, ValueError):
                continue  # a contract of another make, or none
            groups.setdefault(contract, set()).add(checksum(group))
        return groups

    async def _movement(self, tx_id: str, final_height: int) -> Movement:
        seen = self._seen[tx_id]
        landed = seen.landed
        header = landed.header if landed is not None else seen.operations[0].header
        texts = [_operation_text(operation) for operation in seen.operations]
        if landed is not None:
            texts.insert(0, landed_text(landed))
        return Movement(
            tx_id=tx_id,
            raw=await self._raw(tx_id),
            block_hash=header.hash,
            height=header.height,
            time_s=header.time_s,
            final=header.height <= final_height,
            claim=() if landed is None else ((landed.account, landed.nonce),),
            accounts=() if landed is None else (landed.account,),
            names=frozenset(operation_key(o.contract, o.op_id) for o in seen.operations),
            texts=tuple(texts),
        )

    async def _raw(self, tx_id: str) -> bytes:
        """Return a transaction's bytes, which have to hash to its name."""
        fields = await self._read("eth_getTransactionByHash", (tx_id,))
        try:
            raw = encode_transaction(fields)
            if f"0x{read_transaction(raw).hash.hex()}" != tx_id:
                raise Transient(f"a node gave another transaction than {tx_id}")
        except (ProofError, TypeError, KeyError, AttributeError) as error:
            raise Transient(f"a node gave no transaction {tx_id}: {error}") from None
        return raw

    async def waiting(self) -> Sequence[Claim]:
        """Return the nonces that a node's pool has taken, beyond those in blocks; of each account
        no more than are ever on their way at once.
        """
        found: list[Claim] = []
        for account in self._accounts:
            mined = await self._nodes.unused_nonce(account)
            answer = await self._read("eth_getTransactionCount", (account, "pending"))
            pooled = min(int(answer, 16), mined + WINDOW_FACTOR * self._settings.window)
            found += [(account, nonce) for nonce in range(mined, pooled)]
        return found

    def name_of(self, task: Task) -> str | None:
        """Return the operation id's name; transfers, approvals and calls have none."""
        if task.action["kind"] not in OPERATIONS:
            return None
        self._contracts.add(task.action["contract"])
        return operation_key(task.action["contract"], task.op_id)

    def adopted(self, task: Task, movement: Movement) -> Prepared | None:
        """Return the attempt, if the transaction carries the effect."""
        seen, effect = self._seen[movement.tx_id], effect_of(task)
        landed = seen.landed
        if isinstance(effect, OperationEffect):
            if not any(effect.shown_by(operation) for operation in seen.operations):
                return None
        elif task.action["kind"] == "approve" or landed is None or not effect.carried_by(landed):
            # What was allowed before an approval is known to its lost intent alone.
            return None
        fee: dict[str, Any] = {"gas": "0", "cost": "0", "max_fee": "0", "tip": "0"}
        if landed is not None:
            wei = -(-landed.fee_wei // max(landed.gas_used, 1))
            fee = {**Price(wei, wei).json(), "gas": str(landed.gas), "cost": str(landed.fee_wei)}
        facts = {"gen": task.generation, **brought_in(task)}
        since = movement.height - 1
        return Prepared(movement.tx_id, movement.raw, movement.claim, since, fee, facts)

    async def _header(self, at: str) -> Any:
        return read_header(await self._read(*_block_call(at)))

    async def _read(self, method: str, params: Sequence[Any]) -> Any:
        try:
            return await self._nodes.call(method, params)
        except RpcError as error:
            raise Transient(f"a node can not be asked for {method}: {error}") from error


def _block_call(at: str) -> tuple[str, Any]:
    return "eth_getBlockByNumber", (at, False)


def _result(answer: Any) -> Any:
    if isinstance(answer, RpcError):
        raise Transient(f"a node refused to answer: {answer}")
    return answer


def _operation_text(operation: Operation) -> str:
    kind, status = _KIND.get(operation.kind, "?"), _STATUS.get(operation.status, "?")
    return (
        f"{kind} {status}: {operation.amount} base units of {operation.asset}, operation "
        f"{operation.op_id} of contract {operation.contract}"
    )
