"""What a person may do to a running development network: mine, reorganise, pause the token."""

from collections.abc import Callable
from typing import Any, Final

from adapters.devnode.rpc import NodeRefused, NodeUnreachable
from adapters.evm import contracts
from coordinator.devnet.ledger import evm_address
from coordinator.devnet.network import CHAIN_IDS, Devnet, miner_address
from coordinator.errors import PreflightError

__all__ = [
    "height",
    "mine",
    "mine_until",
    "pause_token",
    "reorganise",
    "set_balance",
    "unpause_token",
]

_TOKEN: Final = contracts.load("Token")
#: More blocks in one call would keep the node from answering anybody else.
_BATCH: Final = 200


def height(devnet: Devnet, chain: str) -> int:
    """Return the height of the newest block of ``chain``.

    Raises:
        PreflightError: no such chain, or its node does not answer.
    """
    if chain in CHAIN_IDS:
        return int(_ask(devnet, chain, "eth_blockNumber"), 16)
    return int(_ask(devnet, chain, "getblockcount"))


def mine(devnet: Devnet, chain: str, blocks: int) -> int:
    """Mine ``blocks`` on ``chain`` now and return its new height.

    Raises:
        PreflightError: no such chain, or its node does not answer.
    """
    while blocks > 0:
        batch = min(blocks, _BATCH)
        if chain in CHAIN_IDS:
            _ask(devnet, chain, "anvil_mine", hex(batch))
        else:
            _ask(devnet, chain, "generatetoaddress", batch, miner_address())
        blocks -= batch
    return height(devnet, chain)


def mine_until(devnet: Devnet, chain: str, wanted: int) -> int:
    """Mine until ``chain`` has the height ``wanted``; return how many blocks that took."""
    missing = max(0, wanted - height(devnet, chain))
    mine(devnet, chain, missing)
    return missing


def reorganise(devnet: Devnet, chain: str, depth: int) -> tuple[int, int]:
    """Replace the last ``depth`` blocks; return the height before and after.

    EVM: the new blocks are empty and what was in the old ones is gone from the node (anvil does not
    put it back into its pool). Bitcoin: it returns to the mempool, and the other branch, one block
    longer, may hold it again.

    Raises:
        PreflightError: no such chain, not that many blocks, or its node does not answer.
    """
    before = height(devnet, chain)
    if not 0 < depth <= before:
        raise PreflightError(f"{chain} has {before} blocks: {depth} of them can not be replaced")
    if chain in CHAIN_IDS:
        _ask(devnet, chain, "anvil_reorg", depth, [])
    else:
        first = _ask(devnet, chain, "getblockhash", before - depth + 1)
        _ask(devnet, chain, "invalidateblock", first)
        _ask(devnet, chain, "generatetoaddress", depth + 1, miner_address())
    return before, height(devnet, chain)


def pause_token(devnet: Devnet, chain: str) -> None:
    """Let the token's owner stop new mints on ``chain``; in a block when this returns.

    Raises:
        PreflightError: the node does not answer or refuses.
    """
    _as_owner(devnet, chain, "pause()")


def unpause_token(devnet: Devnet, chain: str) -> None:
    """Let mints begin again; in a block when this returns.

    Raises:
        PreflightError: the node does not answer or refuses.
    """
    _as_owner(devnet, chain, "unpause()")


def set_balance(devnet: Devnet, chain: str, name: str, wei: int) -> int:
    """Give an identity this much of an EVM chain's native coin; return what it had.

    Raises:
        PreflightError: the node does not answer or refuses.
    """
    address = evm_address(name)
    had = int(_ask(devnet, chain, "eth_getBalance", address, "latest"), 16)
    _ask(devnet, chain, "anvil_setBalance", address, hex(wei))
    return had


def _as_owner(devnet: Devnet, chain: str, signature: str) -> None:
    place = devnet.contracts[chain]
    transaction = {
        "from": place["owner"],
        "to": place["token"],
        "data": _TOKEN.method_identifiers[signature],
    }
    tx_hash = _ask(devnet, chain, "eth_sendTransaction", transaction)
    receipt = _ask(devnet, chain, "eth_getTransactionReceipt", tx_hash)
    if receipt is None:
        mine(devnet, chain, 1)
        receipt = _ask(devnet, chain, "eth_getTransactionReceipt", tx_hash)
    if receipt is None or receipt["status"] != "0x1":
        raise PreflightError(f"{chain}: {signature} of the token failed: {receipt}")


def _ask(devnet: Devnet, chain: str, method: str, *params: object) -> Any:
    if chain not in devnet.urls:
        names = ", ".join(devnet.urls)
        raise PreflightError(f"the development network has no chain {chain!r}; it has {names}")
    return _explained(lambda: devnet.rpc(chain, method, *params))


def _explained(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (NodeRefused, NodeUnreachable) as error:
        raise PreflightError(
            f"{error}. Start the development network anew: coordinator devnet reset"
        ) from error
