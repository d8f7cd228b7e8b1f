"""Transactions that our own keys sign and no journal knows, in the place of ours."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from adapters.evm.abi import hash_of
from adapters.evm.signing import Eip1559, LocalEvmSigner
from coordinator.devnet.control import height
from coordinator.devnet.identities import FUNDED_EVM, secret_of
from coordinator.devnet.ledger import evm_address
from coordinator.devnet.network import CHAIN_IDS
from tests.e2e.trouble import World

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coordinator.devnet.network import Devnet

__all__ = ["takes_its_place"]

_PRICE_WEI = 20 * 10**9


def takes_its_place(devnet: Devnet, intent: Mapping[str, Any]) -> str:
    """Take the newest block with ``intent``'s transaction back, and let another one that consumes
    the same nonce or coin into the block in its place; return that one's id.
    """
    resource, value = intent["claim"][0]
    if intent["chain"] == "bitcoin":
        return _on_bitcoin(devnet, intent, resource)
    return _on_evm(devnet, intent["chain"], intent["tx"], resource, int(value))


def _on_bitcoin(devnet: Devnet, intent: Mapping[str, Any], outpoint: str) -> str:
    ask, world = devnet.rpc, World(devnet)
    world.stop_bitcoin()
    block = ask("bitcoin", "getrawtransaction", intent["tx"], 1)["blockhash"]
    ask("bitcoin", "invalidateblock", block)
    # From the treasury to the treasury: only the fee is gone.
    world.spend("treasury_btc", [outpoint], "treasury_btc", fee_sat=5_000)
    top = ask("bitcoin", "getbestblockhash")
    world.start_bitcoin()
    return str(ask("bitcoin", "getblock", top, 1)["tx"][1])


def _on_evm(devnet: Devnet, chain: str, tx: str, account: str, nonce: int) -> str:
    found = devnet.rpc(chain, "eth_getTransactionReceipt", tx)
    depth = height(devnet, chain) - int(found["blockNumber"], 16) + 1
    name = next(name for name in FUNDED_EVM if evm_address(name) == account)
    unsigned = Eip1559(
        chain_id=CHAIN_IDS[chain],
        nonce=nonce,
        max_priority_fee_wei=_PRICE_WEI,
        max_fee_wei=_PRICE_WEI,
        gas=21_000,
        to=account,
        value_wei=0,
        data=b"",
    )
    raw = asyncio.run(LocalEvmSigner(secret_of(name)).sign(unsigned))
    devnet.rpc(chain, "anvil_reorg", depth, [[f"0x{raw.hex()}", 0]])
    return f"0x{hash_of(raw).hex()}"
