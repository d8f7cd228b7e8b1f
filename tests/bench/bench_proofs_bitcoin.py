"""What an SPV proof of one transaction of a large block costs, without a node."""

import json
import time
from typing import Any

from proofs.bitcoin import build_spv, verify_spv
from tests.bench.figures import Figure, Options
from tests.unit.bitcoin_blocks import Block, block_of, classic, coinbase

__all__ = ["spv"]

_TRANSACTIONS = 1000
_CONFIRMATIONS = 7


def spv(options: Options) -> list[Figure]:
    """SPV proof of one transaction of a 1,000-transaction block under seven headers."""
    raws = [classic(b"\x16" * 107, n=n, value=10_000 + n) for n in range(_TRANSACTIONS - 1)]
    block = block_of([coinbase(100), *raws], confirmations=_CONFIRMATIONS)
    rounds = options.rounds(200, 20)
    policy = block.policy()
    given = _answers(block)
    built, verified = [], []
    proof = {}
    for n in range(rounds):
        index = 1 + n * 37 % (_TRANSACTIONS - 1)
        start = time.perf_counter()
        proof = build_spv(**given | {"tx": block.txs[index].raw.hex()})
        built.append(1000 * (time.perf_counter() - start))
        start = time.perf_counter()
        verify_spv(proof, policy)
        verified.append(1000 * (time.perf_counter() - start))
    size = len(json.dumps(proof, separators=(",", ":")))
    return [
        Figure("spv proof built from a node's answers", "ms", built, most=500),
        Figure("spv proof verified", "ms", verified, most=1, facts={"bytes of JSON": size}),
    ]


def _answers(block: Block) -> dict[str, Any]:
    return {
        "chain": block.chain,
        "txids": block.txids,
        "coinbase": block.txs[0].raw.hex(),
        "headers": [header.hex() for header in block.headers],
        "at": 0,
    }
