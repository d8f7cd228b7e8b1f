"""Contracts and balances on a fresh anvil. All calls are instant: interval mining starts later."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.evm import contracts
from adapters.evm.abi import encode
from adapters.evm.devnode import AnvilNode
from adapters.evm.signing import Eip1559, LocalEvmSigner
from coordinator.devnet.identities import FUNDED_EVM, secret_of

__all__ = ["COIN", "Deployed", "address_of", "deploy", "send_as", "start_mining"]

COIN: Final = 10**18
_TREASURY_ALZ: Final = 100_000 * COIN
_NATIVE_WEI: Final = 1_000 * COIN
_UNLIMITED: Final = 2**256 - 1
_GAS: Final = 300_000


@dataclass(frozen=True, slots=True)
class Deployed:
    """Where a chain's contracts are and who owns them."""

    owner: str
    vault: str
    token: str
    genesis: str


def address_of(name: str) -> str:
    """Return the checksummed address of a devnet identity."""
    return LocalEvmSigner(secret_of(name)).address


def deploy(node: AnvilNode, *, supply: int) -> Deployed:
    """Deploy vault and token, fund the signers and give them their rights.

    Args:
        supply: base units of ALZ that exist on this chain from the start; the treasury gets its
            share of them.
    """
    owner: str = node.rpc("eth_accounts")[0]
    vault = _create(node, owner, contracts.load("Vault").bytecode)
    arguments = encode(
        "constructor(string,string,uint8,uint256)",
        ("string", "string", "uint8", "uint256"),
        ("Alizarin", "ALZ", 18, supply),
    )[4:]
    token = _create(node, owner, contracts.load("Token").bytecode + arguments)
    treasury, rescue = (address_of(name) for name in FUNDED_EVM)
    for address in (treasury, rescue):
        node.rpc("anvil_setBalance", address, hex(_NATIVE_WEI))
    if supply:
        _as_owner(node, owner, token, "transfer(address,uint256)", (treasury, _TREASURY_ALZ))
    _as_owner(node, owner, token, "set_minter(address,bool)", (treasury, True))
    send_as(node, "treasury_evm", token, "approve(address,uint256)", (vault, _UNLIMITED))
    for contract in (vault, token):
        send_as(node, "treasury_evm", contract, "admit(address)", (rescue,))
        send_as(node, "rescue_evm", contract, "join(address)", (treasury,))
    for address in (treasury, rescue):  # what the set-up cost is nobody's business
        node.rpc("anvil_setBalance", address, hex(_NATIVE_WEI))
    genesis: str = node.rpc("eth_getBlockByNumber", "0x0", False)["hash"]
    return Deployed(owner, vault, token, genesis)


def start_mining(node: AnvilNode, block_time_s: int) -> None:
    """Let a block come every ``block_time_s`` seconds; 0 keeps a block per transaction."""
    if block_time_s:
        node.rpc("evm_setAutomine", False)
        node.rpc("evm_setIntervalMining", block_time_s)


def send_as(
    node: AnvilNode, name: str, to: str, signature: str, values: Sequence[Any]
) -> dict[str, Any]:
    """Call a contract as one of the devnet's identities and return the receipt.

    The transaction has the identity's own signature: one that anvil makes up for an account that
    it impersonates could not be verified by whoever reads the block.

    Raises:
        RuntimeError: the call reverted.
    """
    signer = LocalEvmSigner(secret_of(name))
    price_wei = 2 * int(node.rpc("eth_gasPrice"), 16)
    unsigned = Eip1559(
        chain_id=int(node.rpc("eth_chainId"), 16),
        nonce=int(node.rpc("eth_getTransactionCount", signer.address, "latest"), 16),
        max_priority_fee_wei=price_wei,
        max_fee_wei=price_wei,
        gas=_GAS,
        to=to,
        value_wei=0,
        data=_call_data(signature, values),
    )
    raw = asyncio.run(signer.sign(unsigned))
    return _receipt(node, node.rpc("eth_sendRawTransaction", "0x" + raw.hex()))


def _as_owner(node: AnvilNode, owner: str, to: str, signature: str, values: Sequence[Any]) -> None:
    """Call a contract as anvil's own first account, whose key it has."""
    data = "0x" + _call_data(signature, values).hex()
    _receipt(node, node.rpc("eth_sendTransaction", {"from": owner, "to": to, "data": data}))


def _call_data(signature: str, values: Sequence[Any]) -> bytes:
    types = tuple(signature[signature.index("(") + 1 : -1].split(","))
    return encode(signature, types if types != ("",) else (), values)


def _create(node: AnvilNode, owner: str, code: bytes) -> str:
    receipt = _receipt(
        node, node.rpc("eth_sendTransaction", {"from": owner, "data": "0x" + code.hex()})
    )
    from eth_utils.address import to_checksum_address

    return str(to_checksum_address(receipt["contractAddress"]))


def _receipt(node: AnvilNode, tx_hash: str) -> dict[str, Any]:
    receipt: dict[str, Any] | None = node.rpc("eth_getTransactionReceipt", tx_hash)
    if receipt is None:
        node.mine()
        receipt = node.rpc("eth_getTransactionReceipt", tx_hash)
    if receipt is None or receipt["status"] != "0x1":
        raise RuntimeError(f"development set-up transaction {tx_hash} failed: {receipt}")
    return receipt
