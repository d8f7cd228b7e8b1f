"""Proofs of one transaction in a block of 1,000 (and 200): built without RPC, verified, sized."""

import time
from collections.abc import Callable
from typing import Any

from proofs import canonical
from proofs.evm_effects import OperationEvent
from proofs.evm_inclusion import verify_receipt
from proofs.evm_storage import LAYOUTS, build_storage, operation_slots, verify_storage
from tests.bench.figures import Figure, Options
from tests.unit.evm_block_scene import (
    CHAIN,
    EVENT,
    GROUP,
    OP_ID,
    VAULT,
    Made,
    account_state,
    made_block,
    receipt_fields,
    signed,
)

__all__ = ["proofs_evm"]


def proofs_evm(options: Options) -> list[Figure]:
    """Proof of one transaction of a block: built from a node's answers, then verified."""
    return [*_inclusion(options, 1000, 500.0), *_inclusion(options, 200, None), _state(options)]


def _inclusion(options: Options, count: int, most_build_ms: float | None) -> list[Figure]:
    block, index = _block(count), count // 2
    proof = block.proof(index)
    built = [_ms(lambda: block.proof(index)) for _ in range(options.rounds(5, 2))]
    checked = [_ms(lambda: verify_receipt(proof)) for _ in range(options.rounds(200, 50))]
    nodes = len(proof["receipt"]) + len(proof["transaction"])
    facts = {"bytes of canonical JSON": len(canonical.encode(proof)), "nodes": nodes}
    name = f"block of {count}"
    return [
        Figure(f"receipt proof built, {name}", "ms", built, most=most_build_ms),
        Figure(f"receipt proof verified, {name}", "ms", checked, most=1.0, facts=facts),
    ]


def _block(count: int) -> Made:
    # One signature serves for all but one: signing is no part of what is measured. Each emits one
    # to four events, as in a busy block.
    first = signed(1)
    other = OperationEvent(VAULT, GROUP, OP_ID[::-1], 2, 1, VAULT, 7, OP_ID)
    transactions = [{**first, "nonce": hex(n)} for n in range(count)]
    transactions[count // 2] = signed(5)
    receipts = [
        receipt_fields(each, [EVENT if n == count // 2 else other] * (1 + n % 4))
        for n, each in enumerate(transactions)
    ]
    return made_block(transactions, receipts)


def _state(options: Options) -> Figure:
    layout = next(iter(LAYOUTS.values()))
    slot = operation_slots(layout, GROUP, OP_ID, terms=False)[0]
    words = {slot: 0x0101, **{bytes(28) + n.to_bytes(4, "big"): n for n in range(1, 2000)}}
    block, answer = account_state(VAULT, next(iter(LAYOUTS)), words)
    proof: dict[str, Any] = build_storage(CHAIN, block, answer([slot]), GROUP, OP_ID)
    checked = [_ms(lambda: verify_storage(proof)) for _ in range(options.rounds(200, 50))]
    facts = {"bytes of canonical JSON": len(canonical.encode(proof))}
    return Figure("storage proof verified, 2,000 words", "ms", checked, most=1.0, facts=facts)


def _ms(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000
