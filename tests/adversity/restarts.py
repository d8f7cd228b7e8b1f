"""Nodes of a network that end and begin again, with what they knew or without it."""

from __future__ import annotations

import gzip
import shutil
from typing import TYPE_CHECKING

from adapters.bitcoin.devnode import BitcoinNode, BitcoinOptions
from adapters.devnode.process import ProcessIdentity
from adapters.evm.devnode import AnvilNode, AnvilOptions
from coordinator.devnet.network import CHAIN_IDS

if TYPE_CHECKING:
    from contextlib import ExitStack

    from coordinator.devnet.network import Devnet

__all__ = ["restart", "restart_empty"]


def restart(devnet: Devnet, chain: str, ends: ExitStack) -> None:
    """End a node in good order and start it again at its address: it has its blocks and its state,
    and an empty pool.
    """
    if chain == "bitcoin":
        _end(devnet, chain)
        _start_bitcoin(devnet, ends)
        return
    state = devnet.folder / f"{chain}-state.json"
    state.write_bytes(gzip.decompress(bytes.fromhex(devnet.rpc(chain, "anvil_dumpState")[2:])))
    _end(devnet, chain)
    options = AnvilOptions(chain_id=CHAIN_IDS[chain], port=_port(devnet, chain), state_path=state)
    ends.callback(AnvilNode.start(devnet.folder / f"{chain}-again", options).kill)


def restart_empty(devnet: Devnet, chain: str, ends: ExitStack) -> None:
    """End a node and start one at its address that has lost everything.

    An EVM chain begins with another genesis then; that of regtest is always the same.
    """
    if chain == "bitcoin":
        _end(devnet, chain)
        shutil.rmtree(devnet.folder / "bitcoin" / "regtest")
        _start_bitcoin(devnet, ends)
        return
    genesis = devnet.rpc(chain, "eth_getBlockByNumber", "0x0", False)
    _end(devnet, chain)
    options = AnvilOptions(
        chain_id=CHAIN_IDS[chain],
        port=_port(devnet, chain),
        # By the clock, an anvil that starts in the same second would have the same genesis.
        genesis_time_s=int(genesis["timestamp"], 16) - 1,
    )
    ends.callback(AnvilNode.start(devnet.folder / f"{chain}-empty", options).kill)


def _end(devnet: Devnet, chain: str) -> None:
    ProcessIdentity(**devnet.processes[chain]).end()


def _start_bitcoin(devnet: Devnet, ends: ExitStack) -> None:
    options = BitcoinOptions(rpc_port=_port(devnet, "bitcoin"), extra=("-persistmempool=0",))
    ends.callback(BitcoinNode.start(devnet.folder / "bitcoin", options).kill)


def _port(devnet: Devnet, chain: str) -> int:
    return int(devnet.urls[chain].rpartition(":")[2])
