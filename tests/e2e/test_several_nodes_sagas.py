"""Whole sagas over three names of each chain, the first of which lies as well as it can."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from coordinator.health import Finding, chain_findings
from tests.e2e.network import config_for, coordinator, settled
from tests.fault_proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from coordinator.devnet.network import Devnet
    from tests.e2e.network import Cues

_NAMES = 3


def failed(receipt: Any) -> Any:
    return receipt and {**receipt, "status": "0x0", "logs": []}


def days_later(block: Any) -> Any:
    return block and {**block, "timestamp": hex(int(block["timestamp"], 16) + 10 * 86_400)}


#: What the first node of a chain answers instead of the truth, by kind of chain and method.
EVM_LIES: dict[str, Callable[[Any], Any]] = {
    "eth_getTransactionReceipt": failed,
    "eth_getTransactionCount": lambda count: hex(int(count, 16) + 1000),
    "eth_getBalance": lambda _: "0x0",
    "eth_getBlockByNumber": days_later,
}
BITCOIN_LIES: dict[str, Callable[[Any], Any]] = {
    "gettxout": lambda _: None,
    "testmempoolaccept": lambda _: [{"allowed": False, "reject-reason": "because"}],
    "getmempoolinfo": lambda info: {**info, "mempoolminfee": 1.0},
    "getblockchaininfo": lambda info: {**info, "blocks": info["blocks"] + 500},
}


@pytest.fixture
def liars(devnet: Devnet) -> Iterator[tuple[dict[str, str], dict[str, FaultProxy]]]:
    """Three names for each chain: the changes to chains.toml, and each first node."""
    with ExitStack() as stack:
        changes, first = {}, {}
        for chain, url in devnet.urls.items():
            names = [stack.enter_context(FaultProxy(url)) for _ in range(_NAMES)]
            listed = ", ".join(f'"{name.url}"' for name in names)
            changes[f'rpc = ["{url}"]'] = f"rpc = [{listed}]"
            first[chain] = names[0]
        yield changes, first


def test_a_saga_commits_although_the_first_node_of_each_chain_lies(
    devnet: Devnet,
    tmp_path: Path,
    liars: tuple[dict[str, str], dict[str, FaultProxy]],
) -> None:
    changes, first = liars
    settled(devnet)

    async def story() -> str:
        async with coordinator(devnet, tmp_path, changes) as ours:
            node = first["bitcoin"]
            lies = dict(BITCOIN_LIES)
            # Fees are asked for at most four times a second, and a node with a tip of its own is
            # set aside: this lie begins before anything asks, and that one when it was told.
            tip = lies.pop("getblockchaininfo")
            fees = lies.pop("getmempoolinfo")
            node.on("getmempoolinfo", "forged", times=None, transform=fees)
            saga = await ours.accept("hold")
            for method, lie in lies.items():
                node.on(method, "forged", times=None, transform=lie)
            for chain in ("polygon", "ethereum"):
                for method, lie in EVM_LIES.items():
                    first[chain].on(method, "forged", times=None, transform=lie)

            def lie_about_the_tip() -> None:
                node.on("getblockchaininfo", "forged", times=None, transform=tip)

            cues: Cues = {("intent", "hold", "forward"): lie_about_the_tip}
            state = await ours.drive(saga, cues, timeout_s=60)
            for chain in ("polygon", "ethereum"):
                trouble = ours.adapters[chain].node_troubles()  # type: ignore[attr-defined]
                assert set(trouble) == {first[chain].url}, (chain, trouble)
            return state.state

    assert asyncio.run(story()) == "committed"
    fired = {method for node in first.values() for method, _ in node.fired}
    assert fired == {*EVM_LIES, *BITCOIN_LIES}


def test_the_doctor_names_each_node_and_how_it_stands(devnet: Devnet, tmp_path: Path) -> None:
    url, dead = devnet.urls["polygon"], "http://127.0.0.1:9/nobody/shall-see-this"
    changes = {
        f'rpc = ["{url}"]': f'rpc = ["{url}", "{url.replace("127.0.0.1", "localhost")}", "{dead}"]'
    }
    config = config_for(devnet, tmp_path, changes)

    async def look() -> list[Finding]:
        return [finding async for finding in chain_findings(config)]

    found = [finding for finding in asyncio.run(look()) if finding.text.startswith("polygon: node")]
    assert [finding.ok for finding in found] == [True, True, False]
    assert found[0].text.startswith(f"polygon: node {url} is well; at height ")
    away = found[2]
    assert away.text.startswith("polygon: node http://127.0.0.1:9 is away; rests ")
    assert "is not reachable" in away.text
    assert "look at this node" in away.hint
    assert away.code
    assert "nobody" not in away.text
