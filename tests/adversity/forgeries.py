"""What a lying node says instead: for each method that a saga uses, a likely and harmful lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["FORGERIES"]

_NOBODYS_HASH: Final = "ee" * 32


def _other_hash(block: Any) -> Any:
    """A block that is not what its hash says; nothing becomes something."""
    if block is None:
        return {}
    return {**block, "hash": "0x" + _NOBODYS_HASH}


def _reverted(receipts: Any) -> Any:
    """Every transaction of the block failed and left no trace."""
    return [{**receipt, "status": "0x0", "logs": []} for receipt in receipts or ()]


def _one_more(quantity: Any) -> Any:
    return hex(int(quantity, 16) + 1)


def _short_proof(proof: Any) -> Any:
    return {**proof, "accountProof": proof["accountProof"][:-1]}


def _flipped(answer: Any) -> Any:
    """Other bytes: one digit of the hex differs, in the middle."""
    if isinstance(answer, dict):
        return {**answer, "hex": _flipped(answer["hex"])}
    middle = len(answer) // 2
    digit = "0" if answer[middle] != "0" else "1"
    return answer[:middle] + digit + answer[middle + 1 :]


def _deeper(header: Any) -> Any:
    return {**header, "confirmations": 1000} if isinstance(header, dict) else _flipped(header)


def _dear(info: Any) -> Any:
    return {**info, "mempoolminfee": 0.5}


def _high_estimate(answer: Any) -> Any:
    return {"feerate": 0.5, "blocks": answer.get("blocks", 2)}


def _unwanted(answers: Any) -> Any:
    return [
        {"txid": answer["txid"], "allowed": False, "reject-reason": "because"} for answer in answers
    ]


#: method → what becomes of its result.
FORGERIES: Final[Mapping[str, Callable[[Any], Any]]] = {
    "eth_blockNumber": _one_more,
    "eth_call": lambda _: "0x",
    "eth_chainId": _one_more,
    "eth_estimateGas": lambda _: "0x1",
    "eth_feeHistory": lambda history: {**history, "baseFeePerGas": ["0xffffffffffff"]},
    "eth_getBalance": lambda _: "0x0",
    "eth_getBlockByHash": _other_hash,
    "eth_getBlockByNumber": _other_hash,
    "eth_getBlockReceipts": _reverted,
    "eth_getCode": lambda _: "0x",
    "eth_getLogs": lambda _: [],
    "eth_getProof": _short_proof,
    "eth_getTransactionByHash": lambda _: None,
    "eth_getTransactionCount": _one_more,
    "eth_getTransactionReceipt": lambda receipt: receipt and {**receipt, "status": "0x0"},
    "eth_sendRawTransaction": lambda _: "0x" + _NOBODYS_HASH,
    "estimatesmartfee": _high_estimate,
    "getbestblockhash": lambda _: _NOBODYS_HASH,
    "getblock": _flipped,
    "getblockchaininfo": lambda info: {**info, "chain": "main"},
    "getblockhash": lambda _: _NOBODYS_HASH,
    "getblockheader": _deeper,
    "getmempoolinfo": _dear,
    "getrawtransaction": _flipped,
    "gettxout": lambda _: None,
    "scantxoutset": lambda found: {**found, "unspents": []},
    "sendrawtransaction": lambda _: _NOBODYS_HASH,
    "testmempoolaccept": _unwanted,
}
