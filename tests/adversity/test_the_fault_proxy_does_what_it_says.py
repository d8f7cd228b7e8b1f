from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from adapters.devnode import rpc
from adapters.errors import Ambiguous, Transient
from adapters.rpc import JsonRpc, RpcError
from tests.fault_proxy import ANY, WAYS, FaultProxy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from adapters.bitcoin.devnode import BitcoinNode
    from adapters.evm.devnode import AnvilNode
    from tests.conftest import AnvilFactory, BitcoindFactory

_HEIGHT = "eth_blockNumber"
_CHAIN_ID = "eth_chainId"


@pytest.fixture(scope="module")
def node(module_anvil: AnvilFactory) -> AnvilNode:
    return module_anvil()


@pytest.fixture
def proxy(node: AnvilNode) -> Iterator[FaultProxy]:
    with FaultProxy(node.url) as proxy:
        yield proxy


def ask(
    proxy: FaultProxy, talk: Callable[[JsonRpc], Awaitable[Any]], timeout_s: float = 10.0
) -> Any:
    """Let a client of the product talk to it."""

    async def once() -> Any:
        client = JsonRpc(proxy.url, timeout_s=timeout_s)
        try:
            return await talk(client)
        finally:
            await client.close()

    return asyncio.run(once())


def test_without_faults_it_passes_everything_on(proxy: FaultProxy, node: AnvilNode) -> None:
    assert ask(proxy, lambda client: client.call(_CHAIN_ID)) == node.rpc(_CHAIN_ID)
    assert ask(proxy, lambda client: client.batch([(_CHAIN_ID, ()), ("eth_foo", ())]))[0] == (
        node.rpc(_CHAIN_ID)
    )
    assert proxy.calls == {_CHAIN_ID: 2, "eth_foo": 1}
    assert not proxy.fired


@pytest.mark.parametrize(
    ("way", "arrived"),
    [
        ("lost_reply", 1), ("truncated", 1), ("wrong_id", 1),
        ("hang", 0), ("http_500", 0), ("http_503", 0), ("http_429", 0),
    ],
)  # fmt: skip
def test_a_request_is_spoilt_before_or_after_the_node_has_it(
    proxy: FaultProxy, node: AnvilNode, way: str, arrived: int
) -> None:
    before = int(node.rpc(_HEIGHT), 16)
    proxy.on("anvil_mine", way)

    # What hangs lasts as long as the client waits.
    timeout_s = 0.3 if way == "hang" else 10.0
    with pytest.raises(Ambiguous):
        ask(proxy, lambda client: client.send("anvil_mine", ["0x1"]), timeout_s)

    assert int(node.rpc(_HEIGHT), 16) - before == arrived
    assert proxy.fired == {("anvil_mine", way): 1}
    ask(proxy, lambda client: client.send("anvil_mine", ["0x1"]))
    assert proxy.fired.total() == 1


def test_an_error_replaces_one_call_of_a_batch(proxy: FaultProxy, node: AnvilNode) -> None:
    before = int(node.rpc(_HEIGHT), 16)
    proxy.on("anvil_mine", "error")

    answers = ask(
        proxy, lambda client: client.batch([("anvil_mine", ["0x1"]), (_CHAIN_ID, ())])
    )  # fmt: skip

    assert isinstance(answers[0], RpcError)
    assert answers[1] == node.rpc(_CHAIN_ID)
    assert int(node.rpc(_HEIGHT), 16) == before
    with FaultProxy(node.url) as another:
        another.on(_CHAIN_ID, "error")
        with pytest.raises(RpcError):
            ask(another, lambda client: client.call(_CHAIN_ID))


def test_a_fault_hits_the_nth_call_so_many_times(proxy: FaultProxy) -> None:
    proxy.on(_CHAIN_ID, "error", nth=2, times=2)

    async def five(client: JsonRpc) -> list[bool]:
        answers = [await client.batch([(_HEIGHT, ()), (_CHAIN_ID, ())]) for _ in range(5)]
        return [isinstance(answer[1], RpcError) for answer in answers]

    assert ask(proxy, five) == [False, True, True, False, False]


def test_a_forged_answer_is_what_the_transform_says(proxy: FaultProxy, node: AnvilNode) -> None:
    proxy.on(_HEIGHT, "forged", times=None, transform=lambda height: hex(int(height, 16) + 7))

    forged = ask(proxy, lambda client: client.call(_HEIGHT))

    assert int(forged, 16) == int(node.rpc(_HEIGHT), 16) + 7


def test_a_stale_answer_is_the_former_one_and_waits_until_there_is_one(
    proxy: FaultProxy, node: AnvilNode
) -> None:
    proxy.on(_HEIGHT, "stale")

    async def watched(client: JsonRpc) -> list[int]:
        heights = []
        for _ in range(4):
            heights.append(int(await client.call(_HEIGHT), 16))
            node.mine()
        return heights

    heights = ask(proxy, watched)

    first = heights[0]
    assert heights == [first, first, first + 2, first + 3]
    assert proxy.fired == {(_HEIGHT, "stale"): 1}


def test_a_frozen_node_stays_at_the_moment_at_which_the_fault_was_set(
    proxy: FaultProxy, node: AnvilNode
) -> None:
    first = ask(proxy, lambda client: client.call(_HEIGHT))
    proxy.on(ANY, "frozen", times=None)
    node.mine()

    assert ask(proxy, lambda client: client.call(_HEIGHT)) == first
    proxy.clear()
    assert int(ask(proxy, lambda client: client.call(_HEIGHT)), 16) == int(first, 16) + 1


def test_clear_lets_a_hanging_call_end(proxy: FaultProxy) -> None:
    proxy.on(_CHAIN_ID, "hang", times=None)
    ended = threading.Event()

    def call() -> None:
        with pytest.raises(rpc.NodeUnreachable):
            rpc.call(proxy.url, _CHAIN_ID)
        ended.set()

    thread = threading.Thread(target=call)
    thread.start()
    while not proxy.fired:
        assert not ended.wait(0.01)
    proxy.clear()
    thread.join(30)
    assert ended.is_set()


@pytest.mark.parametrize(("way", "arrived"), [("kill", 0), ("kill_after", 1)])
def test_something_is_run_before_or_after_the_node_has_the_call(
    proxy: FaultProxy, node: AnvilNode, way: str, arrived: int
) -> None:
    before = int(node.rpc(_HEIGHT), 16)
    seen: list[int] = []
    proxy.on("anvil_mine", way, run=lambda: seen.append(int(node.rpc(_HEIGHT), 16) - before))

    with pytest.raises(Ambiguous):
        ask(proxy, lambda client: client.send("anvil_mine", ["0x1"]))

    assert seen == [arrived]


def test_a_node_that_is_gone_is_gone_behind_the_proxy(proxy: FaultProxy) -> None:
    proxy.upstream = "http://127.0.0.1:1"

    with pytest.raises(Transient):
        ask(proxy, lambda client: client.call(_CHAIN_ID))


def test_credentials_and_amounts_reach_the_other_side_unchanged(
    module_bitcoind: BitcoindFactory,
) -> None:
    node: BitcoinNode = module_bitcoind()
    credentials = node.cookie_path.read_text(encoding="ascii")
    with FaultProxy(node.url) as proxy:
        proxy.on("getblockcount", "forged", transform=lambda count: count + 1)
        info = rpc.call(proxy.url, "getmempoolinfo", credentials=credentials)

        assert info == node.rpc("getmempoolinfo")
        assert rpc.call(proxy.url, "getblockcount", credentials=credentials) == 1
        with pytest.raises(rpc.NodeUnreachable, match="401"):
            rpc.call(proxy.url, "getblockcount")


def test_unknown_ways_and_senseless_arguments_are_refused(proxy: FaultProxy) -> None:
    with pytest.raises(ValueError, match="no such way"):
        proxy.on(_CHAIN_ID, "gone")
    for way in WAYS:
        with pytest.raises(ValueError, match="others take none"):
            proxy.on(_CHAIN_ID, way, transform=str, run=lambda: None)
