"""Evidence of a final outcome: what nodes are asked for it, and how it is built and verified.

Nodes are only sources of bytes here. What they say is put together, hashed up to the header that
the journal names, and verified with the checks of a stranger before anybody sees it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from adapters.base import Proof, Settled, Task
from adapters.errors import AdapterError, Transient
from adapters.evm.actions import OPERATIONS
from adapters.evm.kept import Kept
from adapters.evm.nodes import Ask, Nodes
from adapters.evm.settings import EvmSettings
from adapters.rpc import RpcError
from proofs import canonical
from proofs.errors import ProofUnavailable, Refused
from proofs.evm_ancestor import HISTORY_ADDRESS, HISTORY_WINDOW, ancestor_slots, build_ancestor
from proofs.evm_inclusion import committed_block
from proofs.evm_receipts import commitment_rule
from proofs.evm_storage import LAYOUTS, build_storage, operation_slots
from proofs.step import StepContext
from proofs.step_evm import check_step

__all__ = ["Prover"]

#: No block of a public chain lists so many transactions.
_ENTRIES_MAX: Final = 50_000
#: Calls in one request, where each transaction is asked for by itself.
_SPAN: Final = 100
#: Types of transactions whose bytes follow from their fields (see `proofs.evm_transactions`).
_KNOWN_TYPES: Final = frozenset({"0x0", "0x1", "0x2", "0x3", "0x4"})
#: Canonical JSON beyond this is read by nobody.
_PROOF_BYTES_MAX: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _Operation:
    """Where the state of a step's operation is kept."""

    contract: str
    group: bytes
    op_id: bytes
    slots: list[str]


@dataclass(frozen=True, slots=True)
class _Block:
    """A whole block as a node tells it, with the raw bytes of types that only it knows."""

    fields: Mapping[str, Any]
    receipts: Sequence[Mapping[str, Any]]
    raw: Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class _State:
    """The state of an operation at ``block``, and the history kept there; None: not told."""

    block: Mapping[str, Any]
    storage: Mapping[str, Any]
    history: Mapping[str, Any] | None = None


class Prover:
    """Makes evidence of outcomes on one chain.

    Args:
        final_height: the highest final block, as of the newest look.
        kept: blocks by hash that were read a moment ago.
    """

    def __init__(
        self,
        nodes: Nodes,
        settings: EvmSettings,
        final_height: Callable[[], int],
        kept: Callable[[str], Kept | None],
    ) -> None:
        self._nodes = nodes
        self._chain_id = settings.chain_id
        self._required = settings.proof == "required"
        self._final_height = final_height
        self._kept = kept

    async def prove(self, task: Task, settled: Settled) -> tuple[Proof, ...]:
        """Return verified evidence; see `adapters.base.Adapter.prove`.

        What the follower was told of the block serves first. Where one node's answers make none,
        each other node is asked before that is the result.

        Raises:
            ProofUnavailable: no node's answers make a proof.
            Transient: a node is away, or the block is not (any more) what nodes show, and no other
                node's answers make a proof.
        """
        kept = await self._still_there(settled)
        if kept is not None:
            with suppress(ProofUnavailable, Transient):
                return await self._proved(self._nodes.apart, task, settled, kept)
        try:
            return await self._proved(self._nodes.apart, task, settled)
        except (ProofUnavailable, Transient):
            for ask in self._nodes.alone() if len(self._nodes) > 1 else ():
                try:
                    return await self._proved(ask, task, settled)
                except (ProofUnavailable, AdapterError, RpcError):
                    continue
            raise

    async def _still_there(self, settled: Settled) -> Kept | None:
        """Return the block as it was read a moment ago, if it still is the chain's."""
        kept = self._kept(settled.block_hash)
        if kept is None:
            return None
        (now,) = await self._nodes.batch([("eth_getBlockByNumber", (hex(settled.height), False))])
        there = isinstance(now, Mapping) and str(now.get("hash")).lower() == settled.block_hash
        return kept if there else None

    async def _proved(
        self, ask: Ask, task: Task, settled: Settled, kept: Kept | None = None
    ) -> tuple[Proof, ...]:
        operation = _operation_of(task, settled)
        calls: list[tuple[str, Any]] = []
        if kept is None:
            calls.append(("eth_getBlockByHash", (settled.block_hash, True)))
            calls.append(("eth_getBlockReceipts", (settled.block_hash,)))
        if operation is not None:
            calls.append(_state_call(operation, settled.height))
        answers = await ask(calls) if calls else []
        block: _Block | Kept = kept or await _whole(ask, settled.block_hash, *answers[:2])
        state: _State | None = None
        if operation is not None:
            if _told(answers[-1]):
                state = _State(block.fields, answers[-1])
            else:
                state = await self._later_state(ask, operation, settled.height)
            if state is None and self._required:
                lack = f"no node proves the state of {operation.contract} at a final block"
                raise ProofUnavailable("state_unavailable", lack)
        chain = f"eip155:{self._chain_id}"
        if isinstance(block, Kept):  # what takes long was done when it was read
            return _built(chain, task, settled, block, operation, state)
        return await asyncio.to_thread(_built, chain, task, settled, block, operation, state)

    async def _later_state(self, ask: Ask, operation: _Operation, height: int) -> _State | None:
        """Ask for the state at the newest final block: nodes drop the state of old ones.

        None where the node shows no state at all; the receipt then speaks alone, unless the chain
        requires proof.
        """
        final = self._final_height()
        if final <= height:
            return None
        calls: list[tuple[str, Any]] = [
            ("eth_getBlockByNumber", (hex(final), False)),
            _state_call(operation, final),
        ]
        if final - height <= HISTORY_WINDOW:
            slots = [f"0x{slot.hex()}" for slot in ancestor_slots(height)]
            calls.append(("eth_getProof", (f"0x{HISTORY_ADDRESS.hex()}", slots, hex(final))))
        block, storage, *history = await ask(calls)
        if not _told(block) or not _told(storage):
            return None
        told = history[0] if history and _told(history[0]) else None
        return _State(block, storage, told)


def _operation_of(task: Task, settled: Settled) -> _Operation | None:
    """Return the operation whose state can be proven, if the step has one in a known contract."""
    action = task.action
    if action["kind"] not in OPERATIONS:
        return None
    pinned = str(action["code"].get(action["contract"], "")).removeprefix("0x")
    layout = LAYOUTS.get(bytes.fromhex(pinned))
    if layout is None:
        return None
    group, op_id = bytes.fromhex(action["group"][2:]), bytes.fromhex(task.op_id)
    # Where an id was opened by another with terms of his own, only the terms can show it.
    terms = task.direction == "forward" and not settled.done
    slots = operation_slots(layout, group, op_id, terms=terms)
    return _Operation(action["contract"], group, op_id, [f"0x{slot.hex()}" for slot in slots])


def _state_call(operation: _Operation, height: int) -> tuple[str, Any]:
    return ("eth_getProof", (operation.contract, operation.slots, hex(height)))


def _told(answer: Any) -> bool:
    return answer is not None and not isinstance(answer, RpcError)


# ------------------------------------------------------------------------------- a whole block


async def _whole(ask: Ask, block_hash: str, fields: Any, receipts: Any) -> _Block:
    """Return a block with all of its receipts, asking for what is missing.

    Raises:
        Transient: the block is not there, or is another one.
        ProofUnavailable: ``malformed_answer``.
    """
    if not _told(fields):
        raise Transient(f"the node does not show block {block_hash}")
    try:
        found, names = (
            str(fields["hash"]).lower(),
            [entry["hash"] for entry in fields["transactions"]],
        )
        types = [str(entry.get("type") or "0x0").lower() for entry in fields["transactions"]]
    except (TypeError, KeyError, AttributeError):
        raise ProofUnavailable("malformed_answer", "a block without its transactions") from None
    if found != block_hash:
        raise Transient(f"the node answers with block {found[:80]} instead of {block_hash}")
    if len(names) > _ENTRIES_MAX:
        raise ProofUnavailable("malformed_answer", f"a block of {len(names)} transactions")
    if not _told(receipts):
        receipts = await _each(ask, "eth_getTransactionReceipt", names)
        if not all(map(_told, receipts)):
            raise Transient(f"the node does not show every receipt of block {block_hash}")
    if not isinstance(receipts, list) or len(receipts) > _ENTRIES_MAX:
        raise ProofUnavailable("malformed_answer", "no list of receipts")
    if not all(isinstance(receipt, dict) for receipt in receipts):
        raise ProofUnavailable("malformed_answer", "a receipt that is none")
    if any(str(receipt.get("blockHash")).lower() != block_hash for receipt in receipts):
        raise Transient(f"the node shows receipts of another block than {block_hash}")
    unknown = [at for at, kind in enumerate(types) if kind not in _KNOWN_TYPES]
    texts = await _each(ask, "eth_getRawTransactionByHash", [names[at] for at in unknown])
    return _Block(fields, receipts, _raw(dict(zip(unknown, texts, strict=True))))


async def _each(ask: Ask, method: str, names: Sequence[str]) -> list[Any]:
    answers: list[Any] = []
    for start in range(0, len(names), _SPAN):
        answers += await ask([(method, (name,)) for name in names[start : start + _SPAN]])
    return answers


def _raw(texts: Mapping[int, Any]) -> dict[int, bytes]:
    """Return the bytes that the node told; what it did not is missed by `build_receipt`."""
    found = {}
    for at, text in texts.items():
        if isinstance(text, str) and text.startswith("0x"):
            try:
                found[at] = bytes.fromhex(text[2:])
            except ValueError:
                continue
    return found


# ------------------------------------------------- in a thread where it takes longer: no waiting


def _built(
    chain: str,
    task: Task,
    settled: Settled,
    block: _Block | Kept,
    operation: _Operation | None,
    state: _State | None,
) -> tuple[Proof, ...]:
    """Return evidence built from answers, verified against the journal and bound to the step.

    Raises:
        ProofUnavailable: the answers make none.
    """
    chain_id = int(chain.partition(":")[2])
    tx_hash = bytes.fromhex(settled.tx_id.removeprefix("0x"))
    if isinstance(block, Kept):
        committed = block.committed
    else:
        rule = commitment_rule(chain_id)
        committed = committed_block(block.fields, block.receipts, rule, block.raw)
    forms = [committed.form(chain, tx_hash)]  # verified below, with all the rest
    if operation is not None and state is not None:
        forms += _state_forms(chain, settled.height, operation, state)
    proofs = tuple(Proof(form["kind"], _encoded(form)) for form in forms)
    record = {
        "tx": settled.tx_id,
        "block": settled.block_hash,
        "height": settled.height,
        "outcome": "done" if settled.done else "not_done",
        "evidence": [{"kind": proof.kind} for proof in proofs],
    }
    context = StepContext(task.deadline_s, task.expiry, task.forward, task.hashlock)
    try:
        check_step(
            {"action": task.action},
            {"kind": "evm", "chain_id": chain_id},
            task.direction,
            task.op_id,
            task.saga_id32,
            context,
            record,
            # As a stranger reads them: from the bytes.
            [canonical.parse(proof.body) for proof in proofs],
        )
    except Refused as refused:
        raise ProofUnavailable("not_provable", str(refused)) from None
    return proofs


def _state_forms(
    chain: str, height: int, operation: _Operation, state: _State
) -> list[dict[str, Any]]:
    storage = build_storage(chain, state.block, state.storage, operation.group, operation.op_id)
    forms = [storage]
    if state.history is not None:
        try:
            forms.append(build_ancestor(chain, state.block, state.history, height))
        except ProofUnavailable:
            # The chain keeps no history (EIP-2935): both blocks have to be trusted then.
            return forms
    return forms


def _encoded(form: Mapping[str, Any]) -> bytes:
    body = canonical.encode(dict(form))
    if len(body) > _PROOF_BYTES_MAX:
        raise ProofUnavailable("not_provable", f"a proof of {len(body)} bytes is too large")
    return body
