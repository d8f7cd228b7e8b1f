"""Does this evidence show this step's outcome? The binding of EVM proofs to a step of a plan.

It is the statement that the adapter makes when it looks at the chain, made again from proofs
alone: an effect counts if it is bound to the step by its operation id, or by a transaction that
consumes the step's claim; an equal event elsewhere is another payment.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proofs import evm_ancestor, evm_inclusion, evm_storage, fields
from proofs.caip2 import caip2
from proofs.errors import Refused
from proofs.evm_ancestor import verify_ancestor
from proofs.evm_header import Header
from proofs.evm_inclusion import InclusionFacts, verify_receipt
from proofs.evm_storage import StorageFacts, verify_storage
from proofs.step import (
    ANCESTOR,
    BLOCK,
    CHAIN,
    CLAIM,
    DIRECTION,
    EFFECT,
    FORM,
    KINDS,
    STATE,
    TX,
    BlockRef,
    StepContext,
    StepEvidence,
)
from proofs.step_evm_action import effect_of
from proofs.step_evm_effects import Effect, OperationEffect, absent

__all__ = ["BlockRef", "StepContext", "StepEvidence", "check_step"]

_HASH: Final = re.compile(r"0x[0-9a-f]{64}")
_OUTCOMES: Final = frozenset({"done", "not_done"})
#: The kinds of evidence, in the order in which a record names them.
_RECEIPT: Final = (evm_inclusion.KIND,)
_STATE: Final = (*_RECEIPT, evm_storage.KIND)
_ALL: Final = (*_STATE, evm_ancestor.KIND)

_UNUSED, _OPEN, _RELEASED, _REFUNDED, _CANCELLED = range(5)
_WORDS: Final = ("unused", "open", "released", "refunded", "cancelled")
#: Statuses that fit an effect that was made, its storage being looked at then or later.
_FITS: Final[Mapping[str, frozenset[int]]] = {
    "forward": frozenset({_OPEN, _RELEASED, _REFUNDED}),
    "confirm": frozenset({_RELEASED}),
    "undo": frozenset({_REFUNDED}),
}
#: Events that leave no room for an effect: the operation went elsewhere, for good.
_ELSEWHERE: Final[Mapping[str, frozenset[int]]] = {
    "forward": frozenset({_CANCELLED}),
    "confirm": frozenset({_REFUNDED, _CANCELLED}),
    "undo": frozenset({_RELEASED, _CANCELLED}),
}


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a ``proved`` record says; hashes are 32 bytes."""

    tx: bytes
    block: bytes
    height: int
    done: bool
    kinds: tuple[str, ...]


def check_step(
    step: Any,
    terms: Any,
    direction: str,
    op_id: str,
    saga_id32: str,
    context: StepContext,
    record: Any,
    proofs: Sequence[Any],
) -> StepEvidence:
    """Check that proofs show the outcome that a record tells of a step, and nothing else.

    Args:
        step: object as the plan's lock file has it; only its ``action`` is read.
        terms: object, what the lock file fixes of the step's chain.
        direction: ``forward``, ``confirm`` or ``undo``.
        op_id, saga_id32: 64 hex digits.
        record: object, the ``proved`` record's data: ``tx``, ``block``, ``height``, ``outcome``
            and ``evidence`` are read.
        proofs: the forms that ``evidence`` names, in its order.

    Raises:
        Refused: they do not. The checks are those of proofs/README.md; no other error is raised.
    """
    action = step.get("action") if isinstance(step, Mapping) else None
    if not isinstance(action, Mapping):
        raise Refused(FORM, "a step without its action")
    if direction not in ("forward", "confirm", "undo"):
        raise Refused(DIRECTION, "a direction that no step has")
    outcome = _outcome(record)
    effect = effect_of(action, direction, op_id, saga_id32, context)
    _check_kinds(effect, outcome, proofs)
    chain = caip2(terms)
    receipt = verify_receipt(proofs[0])
    _check_place(receipt, outcome, chain)
    if outcome.done:
        shown = _check_done(effect, context, receipt)
    else:
        shown = _check_not_done(effect, direction, context, receipt)
    text = f"{shown}, in block {receipt.header.height}"
    if len(proofs) == 1 or not isinstance(effect, OperationEffect):
        return StepEvidence((_ref(receipt.header),), text, None)
    storage = verify_storage(proofs[1])
    if outcome.done:
        _check_state(effect, storage, fits=_FITS[direction])
    else:
        _check_unmade(effect, direction, storage)
    blocks = _check_blocks(chain, receipt.header, storage, proofs[2:])
    word = _WORDS[storage.status]
    where = "there" if len(blocks) == 1 and not proofs[2:] else f"in block {storage.header.height}"
    return StepEvidence(blocks, f"{text}; its state {where}: {word}", word)


def _outcome(record: Any) -> _Outcome:
    if not isinstance(record, Mapping):
        raise Refused(FORM, "no record")
    names = []
    for key in ("tx", "block"):
        value = record.get(key)
        if not isinstance(value, str) or not _HASH.fullmatch(value):
            raise Refused(FORM, f"'{key}' of the record is no hash")
        names.append(bytes.fromhex(value[2:]))
    kinds = []
    for entry in fields.items(FORM, record.get("evidence"), most=len(_ALL)):
        kind = entry.get("kind") if isinstance(entry, Mapping) else None
        kinds.append(kind if isinstance(kind, str) else "")
    done = fields.choice(FORM, record.get("outcome"), _OUTCOMES) == "done"
    height = fields.integer(FORM, record.get("height"))
    return _Outcome(names[0], names[1], height, done, tuple(kinds))


def _check_kinds(effect: Effect, outcome: _Outcome, proofs: Any) -> None:
    if not isinstance(proofs, (list, tuple)) or len(proofs) != len(outcome.kinds):
        raise Refused(KINDS, "another number of proofs than the record names")
    given = tuple(proof.get("kind") if isinstance(proof, Mapping) else None for proof in proofs)
    if given != outcome.kinds:
        raise Refused(KINDS, "proofs of other kinds than the record names")
    allowed = (_RECEIPT, _STATE, _ALL) if isinstance(effect, OperationEffect) else (_RECEIPT,)
    if given not in allowed:
        raise Refused(KINDS, "a step of this action is not shown by proofs of these kinds")


def _check_place(receipt: InclusionFacts, outcome: _Outcome, chain: str) -> None:
    if receipt.chain != chain:
        raise Refused(CHAIN, f"the transaction is on {receipt.chain}, the step on {chain}")
    if receipt.tx_hash != outcome.tx:
        raise Refused(TX, f"the proof is of transaction {receipt.tx_hash.hex()}")
    if receipt.header.hash != outcome.block:
        raise Refused(BLOCK, f"the proof is of block {receipt.header.hash.hex()}")
    if receipt.header.height != outcome.height:
        raise Refused(BLOCK, f"the block's height is {receipt.header.height}")


def _check_claim(effect: Effect, context: StepContext, receipt: InclusionFacts) -> None:
    """Check that the transaction consumes what the step's attempts do."""
    if receipt.sender != effect.payer:
        raise Refused(CLAIM, f"0x{receipt.sender.hex()} sent it, which does not pay for this step")
    if context.claims is None:
        return
    sender = f"0x{receipt.sender.hex()}"
    for claim in context.claims:
        if isinstance(claim, (list, tuple)) and len(claim) == 2 and isinstance(claim[0], str):
            account, nonce = claim
            if account.lower() == sender and nonce == receipt.nonce:
                return
    raise Refused(CLAIM, f"nonce {receipt.nonce} of {sender} is no claim of this effort")


def _check_done(effect: Effect, context: StepContext, receipt: InclusionFacts) -> str:
    missing = absent(effect, receipt)
    if missing is not None:
        raise Refused(EFFECT, missing)
    if not isinstance(effect, OperationEffect):
        _check_claim(effect, context, receipt)
    return effect.text


def _check_not_done(
    effect: Effect, direction: str, context: StepContext, receipt: InclusionFacts
) -> str:
    """Check that a transaction leaves no room for the effect; return how, for people."""
    if absent(effect, receipt) is None:
        raise Refused(EFFECT, "the transaction carries the effect that the record denies")
    if receipt.succeeded and isinstance(effect, OperationEffect):
        elsewhere = _elsewhere(effect, direction, receipt)
        if elsewhere is not None:
            return elsewhere
    _check_claim(effect, context, receipt)
    if not receipt.succeeded:
        return "reverted"
    if (receipt.to, receipt.value_wei, receipt.data) == (receipt.sender, 0, b""):
        return "burnt: its nonce went to a payment of nothing to oneself"
    return "its nonce went to a transaction without the effect"


def _elsewhere(effect: OperationEffect, direction: str, receipt: InclusionFacts) -> str | None:
    """Tell whether the transaction took the operation where the effect can not follow."""
    wanted = effect.event
    found = None
    for event in receipt.operations:
        if (event.contract, event.group, event.op_id) != (
            wanted.contract,
            wanted.group,
            wanted.op_id,
        ):
            continue
        foreign = event.params_hash != wanted.params_hash
        if event.status in _FITS[direction] and not (direction == "forward" and foreign):
            raise Refused(EFFECT, "the operation has an event that follows only on the effect")
        if event.status in _ELSEWHERE[direction]:
            found = f"the operation was {_WORDS[event.status]}"
        elif direction == "forward" and event.status == _OPEN:
            found = "the operation id was opened with other terms"
    return found


def _check_state(effect: OperationEffect, storage: StorageFacts, *, fits: frozenset[int]) -> None:
    """Check that storage is the operation's, with its terms, in one of these statuses."""
    _check_subject(effect, storage)
    if storage.status not in fits:
        raise Refused(STATE, f"the operation is {_WORDS[storage.status]} in storage")
    if storage.kind != effect.terms.kind or storage.terms not in {None, effect.terms}:
        raise Refused(STATE, "the operation has other terms in storage")


def _check_unmade(effect: OperationEffect, direction: str, storage: StorageFacts) -> None:
    """Check that storage does not hold the effect which the outcome denies."""
    _check_subject(effect, storage)
    if storage.status not in _FITS[direction]:
        return
    foreign = storage.terms is not None and storage.terms != effect.terms
    if direction == "forward" and foreign:
        return
    raise Refused(STATE, f"the operation is {_WORDS[storage.status]} in storage")


def _check_subject(effect: OperationEffect, storage: StorageFacts) -> None:
    wanted = effect.event
    if storage.contract != wanted.contract:
        raise Refused(STATE, f"the storage is that of 0x{storage.contract.hex()}")
    if (storage.group, storage.op_id) != (wanted.group, wanted.op_id):
        raise Refused(STATE, "the storage is that of another operation")
    if storage.code_hash != effect.code_hash:
        raise Refused(STATE, "the contract has not the code that the plan pins")


def _check_blocks(
    chain: str, receipt: Header, storage: StorageFacts, more: Sequence[Any]
) -> tuple[BlockRef, ...]:
    """Check how the two blocks hang together; return those that have to be trusted."""
    if storage.chain != chain:
        raise Refused(CHAIN, f"the storage is on {storage.chain}, the step on {chain}")
    header = storage.header
    if header.hash == receipt.hash:
        if more:
            raise Refused(KINDS, "a block is no ancestor of itself")
        return (_ref(receipt),)
    if header.height <= receipt.height:
        raise Refused(STATE, f"the state is that of block {header.height}, before the effect")
    if not more:
        return _ref(receipt), _ref(header)
    ancestor = verify_ancestor(more[0])
    if ancestor.chain != chain:
        raise Refused(CHAIN, f"the ancestor is on {ancestor.chain}, the step on {chain}")
    if ancestor.header.hash != header.hash:
        raise Refused(ANCESTOR, "the ancestor is one of another block than the storage's")
    if (ancestor.height, ancestor.hash) != (receipt.height, receipt.hash):
        raise Refused(ANCESTOR, "another block is the ancestor than the receipt's")
    return (_ref(header),)


def _ref(header: Header) -> BlockRef:
    return BlockRef(header.hash.hex(), header.height, header.time_s)
