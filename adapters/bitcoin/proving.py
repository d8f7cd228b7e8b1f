"""Evidence of final outcomes: an SPV proof from what one node answers, checked as a stranger would.

The header run begins at the transaction's own block and is as long as finality asks, so the same
outcome always gives the same bytes. Witnesses are shown where a hold was spent, because only they
tell a redemption from a refund; the preimage in one is in a block by then.

Each node is tried for itself: a proof is never pieced together from answers of two.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from adapters.base import Proof, Settled, Task
from adapters.bitcoin.effects import spends_hold, undo_fee_cap_sat
from adapters.bitcoin.node import Node
from adapters.bitcoin.nodes import Nodes
from adapters.errors import Transient, WrongChain
from adapters.rpc import RpcError
from proofs import canonical
from proofs.bitcoin import KIND, build_spv
from proofs.bitcoin_headers import NETWORKS, Policy, parse_header
from proofs.bitcoin_merkle import MAX_DEPTH
from proofs.bitcoin_tx import parse_tx, shown
from proofs.caip2 import caip2
from proofs.errors import ProofError, ProofUnavailable, Refused
from proofs.step_bitcoin import BitcoinContext, check_step

__all__ = ["Prover"]

_MALFORMED: Final = "malformed_answer"
_NOT_PROVABLE: Final = "not_provable"
_MOST_TXS: Final = 1 << MAX_DEPTH


@dataclass(frozen=True, slots=True)
class _Answers:
    """What one node said of a block: all that a proof is built from, nothing of it checked yet.

    Attributes:
        txids: of all transactions of the block.
        wtxids: the same with witnesses; None where they are left out.
        tx, coinbase, headers: raw hex.
    """

    txids: list[str]
    wtxids: list[str] | None
    tx: str
    coinbase: str
    headers: list[str]


class Prover:
    """Builds and checks evidence on one chain.

    Args:
        nodes: where blocks come from.
        terms: of the chain, as a plan fixes them.
    """

    def __init__(self, nodes: Nodes, terms: Mapping[str, Any]) -> None:
        self._nodes = nodes
        self._terms = terms

    async def prove(self, task: Task, settled: Settled) -> tuple[Proof, ...]:
        """Return the one proof of a final outcome; see `adapters.base.Adapter.prove`.

        Raises:
            ProofUnavailable: every node answered, and none with what makes a proof.
            Transient: a node did not answer, or its chain has another block there now.
        """
        away: Exception | None = None
        none: ProofUnavailable | None = None
        for node in self._nodes.in_turn():
            try:
                answers = await self._ask(node, task, settled)
                return (await asyncio.to_thread(self._built, answers, task, settled),)
            except ProofUnavailable as unavailable:
                none = none or unavailable
            except (Transient, WrongChain, RpcError) as trouble:
                away = away or trouble
        if away is not None:
            raise Transient(f"no proof of {settled.tx_id} yet: {away}") from away
        assert none is not None
        raise none

    # ------------------------------------------------------------ asking

    async def _ask(self, node: Node, task: Task, settled: Settled) -> _Answers:
        headers = asyncio.create_task(self._headers(node, settled))
        try:
            txids = await node.ask(_txids, "getblock", settled.block_hash, 1)
            if settled.tx_id not in txids[1:]:
                raise ProofUnavailable(
                    "not_in_block", f"{node.label} lists no {settled.tx_id} in {settled.block_hash}"
                )
            tx, coinbase = await asyncio.gather(
                *(
                    node.ask(_text, "getrawtransaction", txid, False, settled.block_hash)
                    for txid in (settled.tx_id, txids[0])
                )
            )
            wtxids = None
            if _shows_witness(task, tx):
                wtxids = await node.ask(_wtxids, "getblock", settled.block_hash, 2)
            return _Answers(txids, wtxids, tx, coinbase, await headers)
        finally:
            headers.cancel()
            await asyncio.gather(headers, return_exceptions=True)

    async def _headers(self, node: Node, settled: Settled) -> list[str]:
        """Return the headers from the block on, each the one that its name promises."""
        heights = range(settled.height, settled.height + int(self._terms["finality_blocks"]))
        names = await asyncio.gather(
            *(node.ask(_text, "getblockhash", height) for height in heights)
        )
        if names[0] != settled.block_hash:
            raise Transient(f"{node.label} has another block at height {settled.height} now")
        texts = await asyncio.gather(
            *(node.ask(_text, "getblockheader", name, False) for name in names)
        )
        try:
            headers = [parse_header(bytes.fromhex(text)) for text in texts]
        except (Refused, ValueError) as error:
            raise ProofUnavailable(_MALFORMED, f"{node.label}: {error}") from None
        if [shown(header.hash) for header in headers] != names:
            raise ProofUnavailable("header_mismatch", f"{node.label}: a header has another hash")
        if any(newer.previous != older.hash for older, newer in pairwise(headers)):
            raise Transient(f"the chain of {node.label} changed while it was read")
        return list(texts)

    # ------------------------------------------------------------ building

    def _built(self, answers: _Answers, task: Task, settled: Settled) -> Proof:
        """Build the proof, and check its bytes as a verifier that knows the block alone."""
        chain = caip2(self._terms)
        if chain not in NETWORKS:
            raise ProofUnavailable(_NOT_PROVABLE, f"no rules of headers are known of {chain}")
        form = build_spv(
            chain=chain,
            txids=answers.txids,
            tx=answers.tx,
            coinbase=answers.coinbase,
            headers=answers.headers,
            at=0,
            wtxids=answers.wtxids,
        )
        policy = Policy(
            chain=chain,
            network=NETWORKS[chain],
            min_work=0,
            confirmations=int(self._terms["finality_blocks"]),
            anchors={settled.block_hash: settled.height},
        )
        try:
            body = canonical.encode(form)
            check_step(
                _step(task), self._terms, task.direction, task.op_id, task.saga_id32,
                _context(task, settled), _record(task, settled), [canonical.parse(body)], policy,
            )  # fmt: skip
        except ProofError as refused:
            raise ProofUnavailable(_NOT_PROVABLE, str(refused)) from None
        return Proof(KIND, body)


def _shows_witness(task: Task, raw: str) -> bool:
    """Tell whether the transaction spends the step's hold."""
    if not spends_hold(task) or task.forward is None:
        return False
    try:
        tx = parse_tx(bytes.fromhex(raw))
    except (Refused, ValueError) as error:
        raise ProofUnavailable(_MALFORMED, str(error)) from None
    spends = {f"{spent.outpoint.txid}:{spent.outpoint.n}" for spent in tx.inputs}
    return task.forward["outpoint"] in spends


def _step(task: Task) -> dict[str, Any]:
    """Return what a plan's lock holds of the step, as far as evidence is bound to it."""
    undo = {"undo": str(undo_fee_cap_sat(task.action))} if task.direction == "undo" else {}
    return {"id": task.step, "action": task.action, "fees": undo}


def _record(task: Task, settled: Settled) -> dict[str, Any]:
    return {
        "step": task.step,
        "dir": task.direction,
        "gen": task.generation,
        "tx": settled.tx_id,
        "block": settled.block_hash,
        "height": settled.height,
        "outcome": "done" if settled.done else "not_done",
    }


def _context(task: Task, settled: Settled) -> BitcoinContext:
    """Return what was observed of the claim; a verifier takes it from the intents instead."""
    claims = set(settled.facts.get("claim", ()))
    parents = {}
    if "conflict" in settled.facts:
        claimed, shared = settled.facts["conflict"]
        claims.add(claimed)
        parents[claimed] = [shared]
    return BitcoinContext(
        expiry=task.expiry,
        forward=task.forward,
        hashlock=task.hashlock,
        claims=frozenset(claims),
        parents=parents,
        facts=settled.facts,
        cap_pct=task.cap_pct,
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _txids(block: Any) -> list[str]:
    txids = [_text(txid) for txid in block["tx"]]
    if not 1 < len(txids) <= _MOST_TXS:
        raise ValueError(f"{len(txids)} transactions in a block")
    return txids


def _wtxids(block: Any) -> list[str]:
    return [_text(tx["hash"]) for tx in block["tx"]]
