"""A hand that drives contracts on a development node: deploy, send, be refused, jump in time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from eth_abi.abi import decode
from eth_typing import ChecksumAddress
from hexbytes import HexBytes
from web3 import Web3
from web3.contract import Contract
from web3.contract.contract import ContractFunction
from web3.types import RPCEndpoint, TxReceipt, Wei

from adapters.evm.contracts import FOLDER, load

__all__ = ["COIN", "TEST_CONTRACTS", "Chain"]

TEST_CONTRACTS = Path(__file__).parent
#: The zero address, which stands for the native coin.
COIN = cast("ChecksumAddress", "0x" + "00" * 20)
#: Enough for every call here, so that a refusal is never for want of gas.
_GAS = 1_000_000
#: Above any base fee of an anvil that nobody fills; given, because asking costs requests.
_GAS_PRICE_WEI = 2 * 10**9
_ERROR_SELECTOR = bytes.fromhex("08c379a0")  # Error(string)


class Chain:
    """One development node with its unlocked, funded accounts."""

    def __init__(self, url: str) -> None:
        # The library asks for the chain id with every call; cached, it asks once.
        provider = Web3.HTTPProvider(
            url, exception_retry_configuration=None, cache_allowed_requests=True
        )
        self.web3 = Web3(provider)
        self.accounts: Sequence[ChecksumAddress] = self.web3.eth.accounts

    def rpc(self, method: str, *params: object) -> Any:
        """The result of any JSON-RPC method; an error of the node fails the test."""
        answer = self.web3.provider.make_request(RPCEndpoint(method), list(params))
        assert "error" not in answer, answer
        return answer["result"]

    def deploy(self, name: str, *arguments: object, sender: ChecksumAddress) -> Contract:
        """Deploy one of our contracts or of the test contracts."""
        own = (FOLDER / f"{name}.json").exists()
        artifact = load(name) if own else load(name, TEST_CONTRACTS)
        factory = self.web3.eth.contract(abi=cast("Any", artifact.abi), bytecode=artifact.bytecode)
        sent = factory.constructor(*arguments).transact({"from": sender})
        receipt = self._receipt(sent)
        assert receipt["status"] == 1
        return factory(address=receipt["contractAddress"])

    def attempt(
        self,
        function: ContractFunction,
        sender: ChecksumAddress,
        *,
        value: int = 0,
        gas: int = _GAS,
    ) -> TxReceipt:
        """Send a call whatever becomes of it, and wait for its receipt."""
        sent = function.transact(
            {"from": sender, "value": Wei(value), "gas": gas, "gasPrice": Wei(_GAS_PRICE_WEI)}
        )
        return self._receipt(sent)

    def send(
        self, function: ContractFunction, sender: ChecksumAddress, *, value: int = 0
    ) -> TxReceipt:
        """Send a call that has to succeed."""
        receipt = self.attempt(function, sender, value=value)
        assert receipt["status"] == 1, self._reason(receipt)
        return receipt

    def refusal(
        self, function: ContractFunction, sender: ChecksumAddress, *, value: int = 0
    ) -> str:
        """Send a call that has to revert on chain, and give the reason that it reverted with."""
        receipt = self.attempt(function, sender, value=value)
        assert receipt["status"] == 0, f"{function.fn_name} succeeded"
        return self._reason(receipt)

    def now(self) -> int:
        """Timestamp of the latest block, Unix seconds."""
        return self.web3.eth.get_block("latest")["timestamp"]

    def next_block_at(self, timestamp: int) -> None:
        """Give the next block this timestamp."""
        self.rpc("evm_setNextBlockTimestamp", hex(timestamp))

    def mine_at(self, timestamp: int) -> None:
        """Mine an empty block with this timestamp."""
        self.next_block_at(timestamp)
        self.rpc("evm_mine")

    def _receipt(self, transaction_hash: HexBytes) -> TxReceipt:
        return self.web3.eth.wait_for_transaction_receipt(transaction_hash, poll_latency=0.005)

    def _reason(self, receipt: TxReceipt) -> str:
        trace = self.rpc(
            "debug_traceTransaction",
            receipt["transactionHash"].to_0x_hex(),
            {"tracer": "callTracer"},
        )
        output = bytes.fromhex(trace.get("output", "0x")[2:])
        if not output.startswith(_ERROR_SELECTOR):
            return str(trace.get("error", "")) if not output else output.hex()
        (reason,) = decode(["string"], output[len(_ERROR_SELECTOR) :])
        return str(reason)
