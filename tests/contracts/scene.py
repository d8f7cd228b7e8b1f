"""The vault and the token as a plan finds them: deployed, funded, with a sender group of two."""

import hashlib
from dataclasses import dataclass, replace

from eth_abi.abi import encode
from eth_typing import ChecksumAddress
from hexbytes import HexBytes
from web3 import Web3
from web3.contract import Contract
from web3.types import TxReceipt

from tests.contracts.chain import Chain

__all__ = [
    "AMOUNT",
    "CANCELLED",
    "HASHLOCK",
    "HOLD",
    "LOCK",
    "MINT",
    "NO_HASH",
    "OPEN",
    "OP_ID",
    "PREIMAGE",
    "REFUNDED",
    "RELEASED",
    "UNUSED",
    "Scene",
    "operation_events",
    "params_hash",
]

UNUSED, OPEN, RELEASED, REFUNDED, CANCELLED = range(5)
LOCK, HOLD, MINT = 1, 2, 3

OP_ID = bytes(range(32))
AMOUNT = 100 * 10**18
PREIMAGE = b"\x07" * 32
HASHLOCK = hashlib.sha256(PREIMAGE).digest()
NO_HASH = bytes(32)
_SUPPLY = 10_000 * 10**18


@dataclass(frozen=True, slots=True)
class Scene:
    """Contracts and the accounts around them.

    Attributes:
        vault, token: deployed by `owner`; the group of `leader` is a minter.
        leader, member: one sender group; both hold tokens that the vault may take.
        stranger: holds tokens that the vault may take, in no group but its own.
        payee: beneficiary of everything; holds nothing.
        deadline: of forward calls, Unix seconds.
        refund_after: of holds, Unix seconds.
    """

    chain: Chain
    vault: Contract
    token: Contract
    owner: ChecksumAddress
    leader: ChecksumAddress
    member: ChecksumAddress
    stranger: ChecksumAddress
    payee: ChecksumAddress
    deadline: int
    refund_after: int

    @classmethod
    def set(cls, chain: Chain) -> "Scene":
        """Deploy, fund and join."""
        owner, leader, member, stranger, payee = chain.accounts[:5]
        vault = chain.deploy("Vault", sender=owner)
        token = chain.deploy("Token", "Alz", "ALZ", 18, _SUPPLY, sender=owner)
        for contract in (vault, token):
            chain.send(contract.functions.admit(member), leader)
            chain.send(contract.functions.join(leader), member)
        for account in (leader, member, stranger):
            chain.send(token.functions.transfer(account, 10 * AMOUNT), owner)
            chain.send(token.functions.approve(vault.address, 10 * AMOUNT), account)
        chain.send(token.functions.set_minter(leader, True), owner)
        return cls(chain, vault, token, owner, leader, member, stranger, payee, 0, 0).again()

    def again(self) -> "Scene":
        """The same with times that lie before us: a deadline, and later the time of refunds."""
        deadline = self.chain.now() + 10_000
        return replace(self, deadline=deadline, refund_after=deadline + 10_000)

    def balance(self, account: str) -> int:
        """Base units of the token."""
        balance: int = self.token.functions.balanceOf(account).call()
        return balance

    def status(self, contract: Contract, group: str | None = None, op_id: bytes = OP_ID) -> int:
        """Status of an operation, of the leader's group unless told otherwise."""
        status: int = contract.functions.operation(group or self.leader, op_id).call()[0]
        return status


def params_hash(
    kind: int,
    asset: str,
    amount: int,
    beneficiary: str,
    hashlock: bytes = NO_HASH,
    refund_after: int = 0,
) -> bytes:
    """What the documentation says the contracts compute, computed here on its own."""
    types = ["uint8", "address", "uint256", "address", "bytes32", "uint256"]
    terms = [kind, asset, amount, beneficiary, hashlock, refund_after]
    return bytes(Web3.keccak(encode(types, terms)))


def operation_events(
    contract: Contract, receipt: TxReceipt
) -> list[tuple[str, bytes, int, int, str, int, bytes]]:
    """The `Operation` events of a transaction, read from the raw log by the documented types."""
    topic = Web3.keccak(text="Operation(address,bytes32,uint8,uint8,address,uint256,bytes32)")
    event = contract.events.Operation()
    found = []
    for log in receipt["logs"]:
        if log["address"] != contract.address or log["topics"][0] != HexBytes(topic):
            continue
        args = event.process_log(log)["args"]
        names = ("group", "op_id", "status", "kind", "asset", "amount", "params_hash")
        found.append(tuple(args[name] for name in names))
    return found
