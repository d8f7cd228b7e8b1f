"""What one EVM node says of blocks (see `adapters.statement`)."""

from collections.abc import Sequence
from typing import Any

from adapters.errors import Transient, WrongChain
from adapters.evm.settings import EvmSettings
from adapters.rpc import JsonRpc, RpcError
from adapters.statement import BlockAsked, BlockSeen, NodeAsked
from adapters.tables import Table

__all__ = ["chain_of", "look", "node_at", "trust_entry"]


def chain_of(table: Table) -> tuple[str, tuple[NodeAsked, ...]]:
    """Return the CAIP-2 name of a ``[chain.NAME]`` and its nodes."""
    settings = EvmSettings.read(table)
    finality = settings.finality
    nodes = tuple(
        NodeAsked(url, finality.confirmations, finality.tag, settings.timeout_ms / 1000)
        for url in settings.rpc
    )
    return f"eip155:{settings.chain_id}", nodes


def node_at(url: str, confirmations: int | None) -> NodeAsked:
    """Return a node by its address alone; without a depth its tag ``finalized`` decides."""
    return NodeAsked(url, confirmations, "finalized" if confirmations is None else None)


def trust_entry(_node: NodeAsked) -> dict[str, Any]:
    """Return a chain's entry of a trust file that believes nothing yet."""
    schemes = ["evm.receipt/v1", "evm.storage/v1", "evm.ancestor/v1"]
    return {"schemes": schemes, "blocks": {}, "needed": 1, "statements": []}


async def look(node: NodeAsked, chain: str, blocks: Sequence[BlockAsked]) -> tuple[BlockSeen, ...]:
    """Ask one node for blocks of the chain with this CAIP-2 name.

    Raises:
        WrongChain: it serves another chain.
        Transient: it does not answer, or not with blocks.
    """
    rpc = JsonRpc(node.url, node.timeout_s, node.headers)
    try:
        final = await _final_height(rpc, node, chain)
        answers = await rpc.batch(
            [("eth_getBlockByNumber", (hex(block.height), False)) for block in blocks]
        )
        return tuple(
            _seen(rpc.label, block, answer, final)
            for block, answer in zip(blocks, answers, strict=True)
        )
    except RpcError as error:
        raise Transient(f"{rpc.label} refuses: {error}") from error
    finally:
        await rpc.close()


async def _final_height(rpc: JsonRpc, node: NodeAsked, chain: str) -> int:
    """Return the highest final height, after checking that the node serves ``chain``."""
    chain_id, newest = await rpc.batch(
        [("eth_chainId", ()), ("eth_getBlockByNumber", (node.tag or "latest", False))]
    )
    try:
        if f"eip155:{int(chain_id, 16)}" != chain:
            raise WrongChain(f"{rpc.label} serves eip155:{int(chain_id, 16)}, not {chain}")
        if isinstance(newest, RpcError) or newest is None:
            raise Transient(f"{rpc.label} names no block as {node.tag or 'latest'}")
        height = int(newest["number"], 16)
    except (TypeError, KeyError, ValueError):
        raise Transient(f"{rpc.label} tells neither its chain nor its newest block") from None
    return height if node.confirmations is None else height - node.confirmations + 1


def _seen(label: str, block: BlockAsked, answer: Any, final: int) -> BlockSeen:
    if isinstance(answer, RpcError) or answer is None:
        return BlockSeen(block.hash, block.height, "absent", "it has no block there")
    try:
        found = str(answer["hash"]).lower().removeprefix("0x")
    except (TypeError, KeyError):
        raise Transient(f"{label} gave something that is no block") from None
    if found != block.hash:
        return BlockSeen(block.hash, block.height, "other", f"it has 0x{found} there")
    if block.height > final:
        return BlockSeen(block.hash, block.height, "waiting", f"final up to {final}")
    return BlockSeen(block.hash, block.height, "final")
