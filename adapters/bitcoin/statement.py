"""What one bitcoind says of blocks (see `adapters.statement`)."""

from collections.abc import Sequence
from typing import Any, Final

from adapters.bitcoin.node import Node
from adapters.bitcoin.settings import BitcoinSettings
from adapters.errors import Transient, WrongChain
from adapters.rpc import JsonRpc, RpcError
from adapters.statement import BlockAsked, BlockSeen, NodeAsked
from adapters.tables import Table

__all__ = ["chain_of", "look", "node_at", "trust_entry"]

_NOT_FOUND: Final = -5
#: What the world usually waits for, where nobody says otherwise.
_USUAL_CONFIRMATIONS: Final = 6


def chain_of(table: Table) -> tuple[str, tuple[NodeAsked, ...]]:
    """Return the CAIP-2 name of a ``[chain.NAME]`` and its nodes."""
    settings = BitcoinSettings.read(table)
    nodes = tuple(
        NodeAsked(
            url,
            settings.confirmations,
            timeout_s=settings.timeout_ms / 1000,
            headers=None if settings.auth is None else Node(url, settings).headers,
        )
        for url in settings.rpc
    )
    return f"bip122:{settings.genesis[:32]}", nodes


def node_at(url: str, confirmations: int | None) -> NodeAsked:
    """Return a node by its address alone; without a depth six confirmations are final."""
    return NodeAsked(url, confirmations or _USUAL_CONFIRMATIONS)


def trust_entry(node: NodeAsked) -> dict[str, Any]:
    """Return a chain's entry of a trust file that believes nothing yet."""
    return {
        "schemes": ["btc.spv/v1"],
        "min_work": "0",
        "confirmations": node.confirmations,
        "anchors": {},
        "needed": 1,
        "statements": [],
    }


async def look(node: NodeAsked, chain: str, blocks: Sequence[BlockAsked]) -> tuple[BlockSeen, ...]:
    """Ask one node for blocks of the chain with this CAIP-2 name.

    Raises:
        WrongChain: it serves another chain.
        Transient: it does not answer, or not with blocks.
    """
    rpc = JsonRpc(node.url, node.timeout_s, node.headers)
    try:
        genesis = await rpc.call("getblockhash", [0])
        if f"bip122:{str(genesis)[:32]}" != chain:
            raise WrongChain(f"{rpc.label} serves bip122:{str(genesis)[:32]}, not {chain}")
        return tuple([await _seen(rpc, node, block) for block in blocks])
    except RpcError as error:
        raise Transient(f"{rpc.label} refuses: {error}") from error
    finally:
        await rpc.close()


async def _seen(rpc: JsonRpc, node: NodeAsked, block: BlockAsked) -> BlockSeen:
    try:
        header: Any = await rpc.call("getblockheader", [block.hash])
    except RpcError as error:
        if error.code != _NOT_FOUND:
            raise
        return BlockSeen(block.hash, block.height, "absent", "it does not know this block")
    try:
        height, depth = int(header["height"]), int(header["confirmations"])
    except (ArithmeticError, LookupError, TypeError, ValueError):
        raise Transient(f"{rpc.label} gave something that is no header") from None
    if depth < 0 or height != block.height:
        where = "beside its chain" if depth < 0 else f"at height {height}"
        return BlockSeen(block.hash, block.height, "other", f"it has this block {where}")
    needed = node.confirmations or 1
    if depth < needed:
        return BlockSeen(block.hash, block.height, "waiting", f"{depth} of {needed} confirmations")
    return BlockSeen(block.hash, block.height, "final")
