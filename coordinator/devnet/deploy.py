"""Contracts and balances on a fresh anvil. All calls are instant: interval mining starts later."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.evm import contracts
from adapters.evm.abi import encode
from adapters.evm.devnode import AnvilNode
from adapters.evm.signing import LocalEvmSigner
from coordinator.devnet.identities import FUNDED_EVM, secret_of

__all__ = ["COIN", "Deployed", "address_of", "deploy", "send_as", "start_mining"]

COIN: Final = 10**18
_TREASURY_ALZ: Final = 10_000 * COIN
_NATIVE_WEI: Final = 1_000 * COIN
_UNLIMITED: Final = 2**256 - 1


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
        send_as(node, owner, token, "transfer(address,uint256)", (treasury, _TREASURY_ALZ))
    send_as(node, owner, token, "set_minter(address,bool)", (treasury, True))
    send_as(node, treasury, token, "approve(address,uint256)", (vault, _UNLIMITED))
    for contract in (vault, token):
        send_as(node, treasury, contract, "admit(address)", (rescue,))
        send_as(node, rescue, contract, "join(address)", (treasury,))
    genesis: str = node.rpc("eth_getBlockByNumber", "0x0", False)["hash"]
    return Deployed(owner, vault, token, genesis)


def start_mining(node: AnvilNode, block_time_s: int) -> None:
    """Let a block come every ``block_time_s`` seconds; 0 keeps a block per transaction."""
    if block_time_s:
        node.rpc("evm_setAutomine", False)
        node.rpc("evm_setIntervalMining", block_time_s)


def send_as(
    node: AnvilNode, sender: str, to: str, signature: str, values: Sequence[Any]
) -> dict[str, Any]:
    """Call a contract as any account (anvil impersonates it) and return the receipt.

    Raises:
        RuntimeError: the call reverted.
    """
    node.rpc("anvil_impersonateAccount", sender)
    types = tuple(signature[signature.index("(") + 1 : -1].split(","))
    types = types if types != ("",) else ()
    data = encode(signature, types, values)
    try:
        return _receipt(node, {"from": sender, "to": to, "data": "0x" + data.hex()})
    finally:
        node.rpc("anvil_stopImpersonatingAccount", sender)


def _create(node: AnvilNode, owner: str, code: bytes) -> str:
    receipt = _receipt(node, {"from": owner, "data": "0x" + code.hex()})
    from eth_utils.address import to_checksum_address  # noqa: PLC0415 - loads slowly

    return str(to_checksum_address(receipt["contractAddress"]))


def _receipt(node: AnvilNode, transaction: dict[str, str]) -> dict[str, Any]:
    tx_hash = node.rpc("eth_sendTransaction", transaction)
    receipt: dict[str, Any] | None = node.rpc("eth_getTransactionReceipt", tx_hash)
    if receipt is None:
        node.mine()
        receipt = node.rpc("eth_getTransactionReceipt", tx_hash)
    if receipt is None or receipt["status"] != "0x1":
        raise RuntimeError(f"development set-up transaction {tx_hash} failed: {receipt}")
    return receipt
