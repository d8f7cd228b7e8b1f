"""Bounds on what a node may answer when evidence is made; the rest is tested on real nodes."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from adapters.errors import Transient
from adapters.evm import proving
from adapters.rpc import RpcError
from proofs.errors import ProofUnavailable

NAME = "0x" + "11" * 32


class Answers:
    """Gives these results by method, and keeps how many calls came in one request."""

    def __init__(self, **results: Any) -> None:
        self._results = results
        self.requests: list[int] = []

    async def __call__(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        self.requests.append(len(calls))
        return [self._results[method] for method, _ in calls]


def whole(fields: Any, receipts: Any, ask: Answers | None = None) -> Any:
    return asyncio.run(proving._whole(ask or Answers(), NAME, fields, receipts))


def block(count: int, **entry: Any) -> dict[str, Any]:
    return {"hash": NAME, "transactions": [{"hash": f"0x{at}", **entry} for at in range(count)]}


def test_a_block_of_more_transactions_than_any_has_is_not_asked_about_further() -> None:
    ask = Answers()
    with pytest.raises(ProofUnavailable, match="malformed_answer: a block of 50001"):
        whole(block(50_001), RpcError(-32601, "unknown"), ask)
    assert ask.requests == []
    with pytest.raises(ProofUnavailable, match="malformed_answer: no list"):
        whole(block(1), [{}] * 50_001)


def test_receipts_are_asked_for_in_requests_of_bounded_size() -> None:
    ask = Answers(eth_getTransactionReceipt={"blockHash": NAME})
    found = whole(block(250), RpcError(-32601, "unknown"), ask)
    assert ask.requests == [100, 100, 50]
    assert len(found.receipts) == 250


@pytest.mark.parametrize("missing", [None, RpcError(-32000, "gone")])
def test_a_receipt_that_is_not_told_may_be_told_later(missing: Any) -> None:
    with pytest.raises(Transient, match="every receipt"):
        whole(block(1), None, Answers(eth_getTransactionReceipt=missing))


@pytest.mark.parametrize("fields", [None, RpcError(-32000, "gone")])
def test_a_block_that_is_not_told_may_be_told_later(fields: Any) -> None:
    with pytest.raises(Transient, match="does not show block"):
        whole(fields, [])


@pytest.mark.parametrize(
    "fields",
    [7, "x", [], {}, {"hash": NAME}, {"hash": NAME, "transactions": [7]},
     {"hash": NAME, "transactions": 7}, {"hash": NAME, "transactions": [{}]}],
)  # fmt: skip
def test_what_is_no_block_is_malformed(fields: Any) -> None:
    with pytest.raises(ProofUnavailable, match="malformed_answer"):
        whole(fields, [])


@pytest.mark.parametrize("receipts", [7, "x", {}, [7], [None]])
def test_what_are_no_receipts_is_malformed(receipts: Any) -> None:
    with pytest.raises(ProofUnavailable, match="malformed_answer"):
        whole(block(1), receipts)


@pytest.mark.parametrize(
    ("text", "raw"), [("0x0102", b"\1\2"), ("0x012", None), (7, None), (None, None), ("01", None)]
)
def test_raw_bytes_are_taken_where_the_node_tells_them(text: Any, raw: bytes | None) -> None:
    told = Answers(eth_getRawTransactionByHash=text)
    found = whole(block(2, type="0x7e"), [{"blockHash": NAME}] * 2, told)
    assert found.raw == ({} if raw is None else {0: raw, 1: raw})
    assert whole(block(2, type="0x2"), [{"blockHash": NAME}] * 2).raw == {}


def test_a_proof_that_is_too_large_to_be_read_is_none() -> None:
    with pytest.raises(ProofUnavailable, match="not_provable"):
        proving._encoded({"kind": "evm.receipt/v1", "header": "00" * (1 << 19)})
