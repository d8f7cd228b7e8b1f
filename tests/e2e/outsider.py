"""Transactions that somebody makes outside the coordinator, with keys that act for us elsewhere."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from adapters.bitcoin.address import script_of_key
from adapters.bitcoin.signing import LocalBitcoinSigner
from adapters.bitcoin.transactions import Draft, Spend, TxOutput
from adapters.evm.signing import Eip1559, LocalEvmSigner
from coordinator.devnet.identities import secret_of
from coordinator.devnet.network import CHAIN_IDS, miner_address
from tests.e2e.trouble import at_once, p2wpkh_witness

if TYPE_CHECKING:
    from tests.e2e.trouble import World

_GWEI = 10**9


def uses_key(world: World, chain: str, name: str) -> str:
    """Send something with a key of ours that the coordinator does not know of; in a block at once.

    Returns its hash; it pays nothing to its own account.
    """
    signer = LocalEvmSigner(secret_of(name))
    nonce = int(world.devnet.rpc(chain, "eth_getTransactionCount", signer.address, "pending"), 16)
    unsigned = Eip1559(
        chain_id=CHAIN_IDS[chain],
        nonce=nonce,
        max_priority_fee_wei=2 * _GWEI,
        max_fee_wei=500 * _GWEI,
        gas=21_000,
        to=signer.address,
        value_wei=0,
        data=b"",
    )
    raw = at_once(signer.sign(unsigned))
    return str(world.devnet.rpc(chain, "eth_sendRawTransaction", f"0x{raw.hex()}"))


def repeats_call(world: World, chain: str, call: dict[str, Any], name: str) -> str:
    """Send what ``call`` (a transaction of a pool) does from another account; return its hash.

    It pays more than what waits, so the next block has it first.
    """
    signer = LocalEvmSigner(secret_of(name))
    nonce = int(world.devnet.rpc(chain, "eth_getTransactionCount", signer.address, "latest"), 16)
    unsigned = Eip1559(
        chain_id=CHAIN_IDS[chain],
        nonce=nonce,
        max_priority_fee_wei=2 * _GWEI,
        max_fee_wei=500 * _GWEI,
        gas=int(call["gas"], 16),
        to=call["to"],
        value_wei=int(call["value"], 16),
        data=bytes.fromhex(call["input"].removeprefix("0x")),
    )
    raw = asyncio.run(signer.sign(unsigned))
    return str(world.devnet.rpc(chain, "eth_sendRawTransaction", f"0x{raw.hex()}"))


def pays_instead(world: World, pending: str, source: str, *, extra_fee_sat: int) -> str:
    """Mine another transaction with the coins and the payment of ``pending``; return its id.

    Only its change, the last output, is smaller: the wallet of the same key paid a higher fee.
    """
    shape = world.devnet.rpc("bitcoin", "getrawtransaction", pending, 1)
    signer = LocalBitcoinSigner(secret_of(source))
    # BIP-143: what a P2WPKH input signs is the script of the same key's hash, spelt out.
    code = b"\x76\xa9" + script_of_key(signer.public_key)[1:] + b"\x88\xac"
    spends = []
    for item in shape["vin"]:
        parent = world.devnet.rpc("bitcoin", "getrawtransaction", item["txid"], 1)
        value_sat = _sat(parent["vout"][item["vout"]]["value"])
        spends.append(
            Spend(
                f"{item['txid']}:{item['vout']}", value_sat, code, source,
                partial(p2wpkh_witness, signer.public_key),
            )
        )  # fmt: skip
    *paid, change = (
        TxOutput(_sat(out["value"]), bytes.fromhex(out["scriptPubKey"]["hex"]))
        for out in shape["vout"]
    )
    smaller = TxOutput(change.value_sat - extra_fee_sat, change.script)
    raw = asyncio.run(Draft(tuple(spends), (*paid, smaller)).sign({source: signer}))
    block = world.devnet.rpc("bitcoin", "generateblock", miner_address(), [raw.hex()])
    found = world.devnet.rpc("bitcoin", "getblock", block["hash"])["tx"]
    return str(found[1])


def _sat(coins: float) -> int:
    """Eight places survive a float exactly in text."""
    return int(Decimal(f"{coins:.8f}").scaleb(8))
