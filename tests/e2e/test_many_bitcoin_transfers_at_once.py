"""Many transfers at once: none stands in the way of another, and each asks nodes little."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from adapters.base import Attempt
from adapters.bitcoin.fees import FeeDesk, FeeTerms
from adapters.bitcoin.nodes import Nodes
from adapters.bitcoin.settings import BitcoinSettings
from adapters.errors import Transient
from adapters.tables import Table
from tests.e2e.bitcoin_scene import (
    Book,
    Effort,
    Scene,
    adapter_on,
    btc,
    scene,
    settings_table,
)
from tests.fault_proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.conftest import BitcoindFactory

MANY = 40


class Counted(Book):
    """Claims that count how often somebody came too late."""

    refused = 0

    def take(self, resource: str, value: int = 0) -> bool:
        taken = super().take(resource, value)
        self.refused += not taken
        return taken


@pytest.fixture
def play(bitcoind: BitcoindFactory, tmp_path: Path) -> Callable[..., None]:
    """Run a story with one node behind a proxy."""

    def run(story: Callable[[Scene, FaultProxy], Awaitable[None]], coins: int = 3) -> None:
        node = bitcoind()
        with FaultProxy(node.url) as proxy:

            async def whole() -> None:
                async with scene(node, tmp_path, rpc=[proxy.url], coins=coins) as stage:
                    await story(stage, proxy)

            asyncio.run(whole())

    return run


async def split(stage: Scene, count: int) -> None:
    """Make ``count`` final coins of 0.2 BTC."""
    await stage.done(await stage.effort("split", amount=btc("0.2"), count=count))
    await stage.mine(2)


async def begin(stage: Scene) -> Effort:
    """Do what the coordinator does for one forward step: try, prepare, send."""
    effort = await stage.effort("transfer", amount=btc("0.1"), to="cold")
    await stage.adapter.preflight(effort.task)
    await stage.send(effort)
    return effort


async def looked_at(proxy: FaultProxy, act: Callable[[], Awaitable[object]]) -> Counter[str]:
    """Return how often which method was asked of the node while ``act`` ran."""
    before = Counter(proxy.calls)
    await act()
    return Counter(proxy.calls) - before


def test_a_coin_that_goes_while_it_is_tried_refuses_nothing(
    play: Callable[..., None], tmp_path: Path
) -> None:
    async def story(stage: Scene, proxy: FaultProxy) -> None:
        other = adapter_on(stage.node, tmp_path)  # knows nothing of what is tried here
        await other.open()
        try:
            thief = await stage.effort("transfer", amount=btc("1"), to="cold")
            taken = await other.prepare(thief.task, "effect", Book(), ())
        finally:
            await other.close()

        def spend(answer: object) -> object:
            if taken.tx_id not in stage.node.rpc("getrawmempool"):
                stage.node.rpc("sendrawtransaction", taken.raw.hex())
            return answer

        proxy.on("gettxout", "forged", transform=spend)
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        await stage.adapter.preflight(effort.task)
        assert stage.node.rpc("getrawmempool") == [taken.tx_id]
        assert proxy.calls["testmempoolaccept"] == 2
        sent = await stage.send(effort)
        assert sent.claim != taken.claim

    play(story)


def test_transfers_that_begin_together_take_a_coin_each_and_ask_little(
    play: Callable[..., None],
) -> None:
    async def story(stage: Scene, proxy: FaultProxy) -> None:
        await split(stage, MANY)
        book = stage.book = Counted()
        efforts: list[Effort] = []

        async def all_of_them() -> None:
            efforts.extend(await asyncio.gather(*(begin(stage) for _ in range(MANY))))

        asked = await looked_at(proxy, all_of_them)
        claims = [claim for effort in efforts for claim, _ in effort.attempts[0].claim]
        assert len(set(claims)) == MANY
        assert book.refused == 0  # nobody chooses again because another was faster
        assert len(stage.node.rpc("getrawmempool")) == MANY
        assert asked["testmempoolaccept"] == MANY
        assert asked["sendrawtransaction"] == MANY
        # One for the trial, one for the claim; the odd one where two tried the same coin.
        assert asked["gettxout"] <= 3 * MANY
        assert asked["getrawtransaction"] == 0  # blocks that were read tell of a coin's parent

    play(story)


def test_a_process_that_begins_reads_each_block_once_however_many_wait_for_it(
    play: Callable[..., None], tmp_path: Path
) -> None:
    async def story(stage: Scene, proxy: FaultProxy) -> None:
        await split(stage, MANY)
        efforts = [await begin(stage) for _ in range(MANY)]
        await stage.mine(3)
        later = adapter_on(stage.node, tmp_path, rpc=[proxy.url])

        async def observe(effort: Effort) -> str:
            attempts: list[Attempt] = effort.attempts
            await later.cover(attempts[0].since)
            seen = await later.observe(effort.task, attempts)
            assert seen.found is not None
            return seen.found.tx_id

        async def take_up() -> None:
            await later.open()
            found = await asyncio.gather(*map(observe, efforts))
            assert found == [effort.attempts[0].tx_id for effort in efforts]

        try:
            asked = await looked_at(proxy, take_up)
        finally:
            await later.close()
        blocks = stage.adapter.clock().height - (efforts[0].attempts[0].since - 2) + 1
        assert asked["getblock"] == blocks
        assert asked["getblockchaininfo"] <= 8

    play(story)


def test_fees_are_asked_for_once_by_all_who_need_them_within_a_moment(
    play: Callable[..., None],
) -> None:
    async def story(stage: Scene, proxy: FaultProxy) -> None:
        resolved = await stage.resolve("transfer", amount=btc("0.1"), to="cold")
        terms, now_s = FeeTerms.of(resolved.action), 100.0
        table = settings_table(stage.node, rpc=[proxy.url])
        settings = BitcoinSettings.read(Table("chain.bitcoin", table))
        nodes = Nodes(settings)
        desk = FeeDesk(nodes, settings.fee, lambda: now_s)

        async def ask() -> None:
            await asyncio.gather(*(desk.rate_sat_kvb(terms) for _ in range(10)))

        try:
            proxy.on("getmempoolinfo", "http_500", times=None)
            with pytest.raises(Transient):
                await ask()
            proxy.clear()
            asked = await looked_at(proxy, ask)  # what failed is no answer
            assert (asked["estimatesmartfee"], asked["getmempoolinfo"]) == (1, 1)
            now_s += 0.2
            assert (await looked_at(proxy, ask)).total() == 0
            now_s += 0.2
            assert (await looked_at(proxy, ask))["estimatesmartfee"] == 1
        finally:
            await nodes.close()

    play(story)
