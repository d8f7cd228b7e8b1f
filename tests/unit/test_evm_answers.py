"""What counts as trouble of a node in its answers, and what is the chain's own word."""

from typing import Any

import pytest

from adapters.errors import Transient
from adapters.evm.answers import require_answer
from adapters.evm.values import quantity
from adapters.rpc import RpcError

HEADER = {"number": "0x1", "hash": "0x02", "parentHash": "0x01", "timestamp": "0x5"}


def held(method: str, answer: Any, *params: Any) -> None:
    require_answer("http://x:1", method, params, answer)


@pytest.mark.parametrize("answer", ["0x0", "0x00", "0xFf", "0x" + "f" * 64])
def test_a_quantity_is_a_number_of_at_most_256_bits(answer: str) -> None:
    assert quantity(answer) == int(answer, 16)
    for method in ("eth_getBalance", "eth_getTransactionCount", "eth_estimateGas", "eth_chainId"):
        held(method, answer)


@pytest.mark.parametrize(
    "answer",
    [None, 5, True, "", "0x", "5", "-0x5", "0x-5", " 0x5", "0x_5", "0x5\n", "0x" + "f" * 65],
    ids=repr,
)
def test_what_is_no_quantity_is_trouble_of_the_node(answer: Any) -> None:
    with pytest.raises(Transient, match="http://x:1 does not answer eth_getTransactionCount"):
        held("eth_getTransactionCount", answer)


@pytest.mark.parametrize("method", ["eth_call", "eth_getCode"])
def test_data_is_whole_bytes(method: str) -> None:
    for good in ("0x", "0x00", "0xAbCd"):
        held(method, good)
    for bad in (None, 7, "", "0x0", "0xzz", "00", "0x0 ", ["0x"]):
        with pytest.raises(Transient, match="is no data"):
            held(method, bad)


def test_the_newest_block_is_one() -> None:
    held("eth_getBlockByNumber", HEADER, "latest", False)
    held("eth_getBlockByNumber", None, "0x5", False)
    held("eth_getBlockByNumber", RpcError(-32000, "unknown block"), "finalized", False)
    answers: list[Any] = [None, [], {**HEADER, "number": "-0x1"}, RpcError(-32000, "no")]
    for bad in answers:
        with pytest.raises(Transient):
            held("eth_getBlockByNumber", bad, "latest", False)


def test_a_refused_simulation_is_the_chains_word_unless_its_code_says_otherwise() -> None:
    for code in (3, -32000, -32003, -32015, -32603):
        held("eth_call", RpcError(code, "execution reverted"))
    held("eth_estimateGas", RpcError(-32521, "reverted", "0x08c379a0"))
    with pytest.raises(Transient, match="can not read state: no"):
        held("eth_call", RpcError(-32601, "no"))
    with pytest.raises(Transient, match="can not read state: no"):
        held("eth_getBalance", RpcError(-32000, "no"))
