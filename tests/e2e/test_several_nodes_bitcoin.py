"""Several bitcoinds of one chain, of which one hangs, lags, lies or has a chain of its own."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from bitcoin.core import CBlock, b2lx

from adapters.bitcoin import node as bitcoin_node
from adapters.bitcoin.transactions import ChainDataError, parse_block
from adapters.errors import Transient
from tests.e2e.bitcoin_scene import NOBODY, Scene, address, btc, scene, signer, undo_of
from tests.fault_proxy import ANY, FaultProxy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from adapters.bitcoin.devnode import BitcoinNode
    from tests.conftest import BitcoindFactory


@pytest.fixture
def play(bitcoind: BitcoindFactory, tmp_path: Path) -> Callable[..., None]:
    """Run a story with three names of one node, each a proxy."""

    def run(
        story: Callable[[Scene, list[FaultProxy]], Awaitable[None]],
        nodes: int = 3,
        **options: Any,
    ) -> None:
        node = bitcoind()
        with ExitStack() as stack:
            proxies = [stack.enter_context(FaultProxy(node.url)) for _ in range(nodes)]

            async def whole() -> None:
                urls = [proxy.url for proxy in proxies]
                async with scene(node, tmp_path, rpc=urls, **options) as stage:
                    await story(stage, proxies)

            asyncio.run(whole())

    return run


def url_of(node: BitcoinNode) -> str:
    """The node's address with its own credentials: each has another cookie."""
    return node.url.replace("//", f"//{node.cookie_path.read_text().strip()}@")


def relay(source: BitcoinNode, *targets: BitcoinNode) -> None:
    """Give the blocks of one node to others."""
    for target in targets:
        for height in range(1, source.rpc("getblockcount") + 1):
            block_hash = source.rpc("getblockhash", height)
            try:
                target.rpc("getblockheader", block_hash)
            except Exception:  # noqa: BLE001 - it has not got it
                target.rpc("submitblock", source.rpc("getblock", block_hash, 0))


class Three:
    """Three real nodes that hear of each other's blocks only when told."""

    def __init__(self, bitcoind: BitcoindFactory) -> None:
        self.nodes = [bitcoind() for _ in range(3)]
        first, *others = self.nodes
        for _ in range(3):
            first.mine(1, address("treasury"))
        first.mine(100, NOBODY)
        relay(first, *others)

    @property
    def urls(self) -> list[str]:
        return [url_of(node) for node in self.nodes]


# ---------------------------------------------------------------- chains that differ


def test_a_chain_of_its_own_with_more_work_moves_nothing_until_a_majority_has_it(
    bitcoind: BitcoindFactory, tmp_path: Path
) -> None:
    async def whole() -> None:
        three = Three(bitcoind)
        first, second, third = three.nodes
        async with scene(first, tmp_path, coins=0, blocks=0, rpc=three.urls, auth=None) as stage:
            effort = await stage.effort("transfer", amount=btc("1"), to="cold")
            await stage.send(effort)
            first.mine(3, NOBODY)
            relay(first, second)
            for _ in range(30):  # ten times the work, and nobody else has it
                third.rpc("generateblock", address("miner"), [])
            found = await stage.found(effort)
            assert found.final
            height = stage.adapter.clock().height
            assert height == first.rpc("getblockcount")
            other = [text for well, text, _ in await stage.adapter.health() if not well]
            assert other[0].startswith(f"node {url_text(third)} is on another branch")

            relay(third, first, second)
            assert (await stage.observe(effort)).found is None
            assert stage.adapter.clock().height == third.rpc("getblockcount")
            await stage.adapter.health()
            assert not stage.adapter.troubles()

    asyncio.run(whole())


def test_a_node_that_stopped_is_set_aside_and_comes_back(
    bitcoind: BitcoindFactory, tmp_path: Path
) -> None:
    async def whole() -> None:
        three = Three(bitcoind)
        first, second, third = three.nodes
        urls = [url_of(third), url_of(first), url_of(second)]
        async with scene(first, tmp_path, coins=0, blocks=0, rpc=urls, auth=None) as stage:
            first.mine(30, NOBODY)
            relay(first, second)
            effort = await stage.effort("transfer", amount=btc("1"), to="cold")
            await stage.send(effort)
            first.mine(3, NOBODY)
            relay(first, second)
            assert (await stage.found(effort)).final
            assert f"{url_text(third)} is behind" in stage.adapter.troubles()
            assert "33 blocks" in stage.adapter.troubles()
            behind = [text for well, text, _ in await stage.adapter.health() if not well]
            assert url_text(third) in behind[0]

            relay(first, third)
            await stage.adapter.health()
            assert not stage.adapter.troubles()

    asyncio.run(whole())


def test_two_nodes_that_do_not_share_a_block_make_nothing_final(
    bitcoind: BitcoindFactory, tmp_path: Path
) -> None:
    async def whole() -> None:
        three = Three(bitcoind)
        first, second, _ = three.nodes
        urls = three.urls[:2]
        async with scene(first, tmp_path, coins=0, blocks=0, rpc=urls, auth=None) as stage:
            before = stage.adapter.clock()
            effort = await stage.effort("transfer", amount=btc("1"), to="cold")
            await stage.send(effort)
            first.mine(3, NOBODY)
            second.mine(3, address("miner"))
            assert (await stage.observe(effort)).found is None
            assert stage.adapter.clock() == before

            second.rpc("invalidateblock", second.rpc("getblockhash", before.height + 1))
            relay(first, second)
            assert (await stage.found(effort)).final

    asyncio.run(whole())


def test_nodes_that_fell_back_take_nothing_back_while_one_has_the_newest_block(
    bitcoind: BitcoindFactory, tmp_path: Path
) -> None:
    async def whole() -> None:
        three = Three(bitcoind)
        first, second, third = three.nodes
        async with scene(first, tmp_path, coins=0, blocks=0, rpc=three.urls, auth=None) as stage:
            effort = await stage.effort("transfer", amount=btc("1"), to="cold")
            await stage.send(effort)
            mined, _ = first.mine(2, NOBODY)
            relay(first, second, third)
            before = await stage.found(effort)
            assert before.final
            second.rpc("invalidateblock", mined)
            third.rpc("invalidateblock", mined)
            assert await stage.found(effort) == before
            first.rpc("invalidateblock", mined)
            assert (await stage.observe(effort)).found is None

    asyncio.run(whole())


def test_while_too_few_nodes_answer_effects_are_seen_but_nothing_is_final_or_taken_back(
    play: Callable[..., None],
) -> None:
    async def story(stage: Scene, proxies: list[FaultProxy]) -> None:
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        await stage.send(effort)
        before = stage.adapter.clock()
        for proxy in proxies[1:]:
            proxy.on(ANY, "http_500", times=None)
        await stage.mine(3)
        assert not (await stage.found(effort)).final
        assert stage.adapter.clock() == before
        seen = await stage.observe(effort)
        assert seen.found is not None
        # Nothing is said to be missing, or deep enough, by blocks that only a few nodes show.
        assert seen.height == before.height < seen.found.height
        mined = seen.found.block_hash
        stage.node.rpc("invalidateblock", mined)
        for _ in range(5):
            stage.node.rpc("generateblock", address("miner"), [])
        assert (await stage.found(effort)).block_hash == mined
        for proxy in proxies:
            proxy.clear()
        async with asyncio.timeout(60):
            while (await stage.observe(effort)).found is not None:
                # Those that failed rest for a moment.
                stage.node.rpc("generateblock", address("miner"), [])

    play(story)


# ---------------------------------------------------------------- lies


def test_one_node_that_lists_coins_which_nobody_else_has_makes_none_up(
    play: Callable[..., None],
) -> None:
    def richer(scan: dict[str, Any]) -> dict[str, Any]:
        fake = {**scan["unspents"][0], "txid": "fa" * 32, "amount": 21.0}
        return {**scan, "unspents": [*scan["unspents"], fake]}

    async def story(stage: Scene, proxies: list[FaultProxy]) -> None:
        before = await stage.balance("treasury")
        proxies[0].on("scantxoutset", "forged", times=None, transform=richer)
        # A fork below all that was scanned makes the adapter list its coins anew.
        height = stage.node.rpc("getblockcount")
        stage.node.rpc("invalidateblock", stage.node.rpc("getblockhash", height))
        for _ in range(3):
            stage.node.rpc("generateblock", address("miner"), [])
        await stage.adapter.cover(height - 1)
        assert proxies[0].fired["scantxoutset", "forged"] == 1
        assert await stage.balance("treasury") == before

    play(story)


def test_what_one_node_says_of_coins_fees_and_policy_refuses_nothing(
    play: Callable[..., None],
) -> None:
    async def story(stage: Scene, proxies: list[FaultProxy]) -> None:
        lie = proxies[0].on
        lie("gettxout", "forged", times=None, transform=lambda _: None)
        lie(
            "testmempoolaccept", "forged", times=None,
            transform=lambda _: [{"allowed": False, "reject-reason": "because"}],
        )  # fmt: skip
        lie(
            "getmempoolinfo", "forged", times=None,
            transform=lambda info: {**info, "mempoolminfee": 1.0, "minrelaytxfee": 1.0},
        )  # fmt: skip
        lie("estimatesmartfee", "forged", times=None, transform=lambda _: {"feerate": 1.0})
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        await stage.adapter.preflight(effort.task)
        await stage.done(effort)
        fired = {method for method, _ in proxies[0].fired}
        assert fired >= {"gettxout", "testmempoolaccept", "getmempoolinfo"}
        proxies[1].on(ANY, "http_500", times=None)
        proxies[2].on(ANY, "http_500", times=None)
        another = await stage.effort("transfer", amount=btc("1"), to="cold")
        with pytest.raises(Transient, match="1 of 3 nodes"):
            await stage.adapter.preflight(another.task)

    play(story)


def test_a_depth_that_one_of_two_nodes_makes_up_is_no_majority(play: Callable[..., None]) -> None:
    async def story(stage: Scene, proxies: list[FaultProxy]) -> None:
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        await stage.send(effort)

        def shallow(told: Any) -> Any:
            return {**told, "confirmations": -1} if isinstance(told, dict) else told

        proxies[1].on("getblockheader", "forged", times=None, transform=shallow)
        await stage.mine(3)
        assert not (await stage.found(effort)).final
        proxies[1].clear()
        assert (await stage.found(effort)).final

    play(story, nodes=2)


def test_a_block_without_its_witnesses_is_not_taken_for_that_block(
    play: Callable[..., None],
) -> None:
    """Without witnesses a redeemed hold would look like a refunded one."""

    async def story(stage: Scene, proxies: list[FaultProxy]) -> None:
        effort = await stage.effort(
            "hold",
            amount=btc("0.5"),
            payee=signer("payee").public_key.hex(),
            refund_after_blocks=20,
            deliver="file",
        )
        found = await stage.done(effort)
        stripped: dict[str, str] = {}

        def strip(block: Any) -> Any:
            return stripped.setdefault(block, without_witnesses(block))

        proxies[0].on("getblock", "forged", times=None, transform=strip)
        await stage.redeem(effort, found)
        await stage.mine(3)
        confirm = undo_of(effort, found, "confirm")
        seen = await stage.found(confirm)
        assert seen.final
        assert proxies[0].fired["getblock", "forged"]
        for raw, bare in stripped.items():
            name = b2lx(CBlock.deserialize(bytes.fromhex(raw)).GetHash())
            parse_block(bytes.fromhex(raw), name)
            with pytest.raises(ChainDataError, match="are not that block"):
                parse_block(bytes.fromhex(bare), name)

    play(story)


def without_witnesses(raw: str) -> str:
    block = CBlock.deserialize(bytes.fromhex(raw))
    return bytes(block.serialize({"include_witness": False})).hex()


def url_text(node: BitcoinNode) -> str:
    return node.url.rstrip("/")


# ---------------------------------------------------------------- rest


def test_a_node_that_asks_for_a_pause_gets_it_and_the_others_are_asked(
    play: Callable[..., None],
) -> None:
    async def story(stage: Scene, proxies: list[FaultProxy]) -> None:
        proxies[0].on(ANY, "http_429", times=None)
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        await stage.done(effort)
        asked = sum(proxies[0].calls.values()) - proxies[0].calls["sendrawtransaction"]
        for _ in range(20):
            await stage.observe(effort)
        again = sum(proxies[0].calls.values()) - proxies[0].calls["sendrawtransaction"]
        assert again - asked <= 1
        assert "asks for a pause of 1 s" in stage.adapter.troubles()

    play(story)


def test_a_node_that_hangs_holds_up_nobody(play: Callable[..., None]) -> None:
    async def story(stage: Scene, proxies: list[FaultProxy]) -> None:
        proxies[2].on(ANY, "hang", times=None)
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        async with asyncio.timeout(8):  # its own patience is ten seconds
            await stage.done(effort)

    play(story)


def test_a_scan_is_asked_how_far_it_is_while_it_runs(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real node answers that beside the scan; one that does not get on is given up by it."""
    monkeypatch.setattr(bitcoin_node, "_SCAN_LOOK_S", 0.0)

    async def story(stage: Scene, proxies: list[FaultProxy]) -> None:
        assert proxies[0].calls["scantxoutset"] > 1
        assert await stage.balance("treasury") == 3 * 50 * 10**8

    play(story, nodes=1)
