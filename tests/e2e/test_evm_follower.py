"""The EVM adapter when the chain or a node does not keep still: reorganisations, outages, liars."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as restated

from adapters.base import Attempt, BlockEvent, Task
from adapters.errors import Transient, WrongChain
from adapters.evm import follower
from tests.conftest import AnvilFactory
from tests.e2e.evm_scene import Deployment, EvmScene, evm_scene, play

_LOCK = {"vault": "Vault", "amount": {"asset": "ALZ", "value": "100"}}


async def locked(scene: EvmScene) -> tuple[Task, Attempt, bytes]:
    """A lock in a block."""
    task = scene.task(await scene.resolve("lock", _LOCK))
    scene.adapter.keys(task, [])
    prepared, attempt = await scene.attempt(task)
    await scene.send(prepared)
    await scene.found(task, [attempt])
    return task, attempt, prepared.raw


def test_a_transaction_that_is_reorganised_away_disappears_and_can_be_sent_again(
    stage: Deployment,
) -> None:
    async def body(scene: EvmScene) -> None:
        task, attempt, raw = await locked(scene)
        before = await scene.found(task, [attempt])
        scene.node.mine(3)
        keys = scene.adapter.keys(task, [attempt])
        scene.events.clear()
        scene.rpc("anvil_reorg", 4, [])
        seen = await scene.until(task, [attempt], lambda seen: seen.found is None)
        assert seen.consumed is None
        told = [event for event in scene.events if event.reorganised]
        assert keys <= frozenset().union(*(event.touched for event in told))
        assert (await scene.adapter.submit(attempt.tx_id, raw)).accepted
        after = await scene.found(task, [attempt])
        assert after.tx_id == before.tx_id
        assert after.block_hash != before.block_hash

    play(stage, body)


def test_a_transaction_that_is_replaced_by_a_reorganisation_is_consumed(
    stage: Deployment,
) -> None:
    async def body(scene: EvmScene) -> None:
        task = scene.task(await scene.resolve("lock", _LOCK))
        prepared, attempt = await scene.attempt(task)
        burn, burnt = await scene.attempt(task, "burn", [attempt])
        await scene.send(prepared)
        await scene.found(task, [attempt, burnt])
        scene.rpc("anvil_reorg", 1, [[f"0x{burn.raw.hex()}", 0]])
        assert (await scene.consumed(task, [attempt, burnt])).reason == "burnt"

    play(stage, body)


async def lands_below(scene: EvmScene) -> tuple[Task, Attempt, int]:
    """A lock that was prepared three blocks above the one in which it lands; with that height."""
    scene.node.mine(6)
    task = scene.task(await scene.resolve("lock", _LOCK))
    await at_height(scene, int(scene.rpc("eth_blockNumber"), 16))
    prepared, attempt = await scene.attempt(task)
    head = int(scene.rpc("eth_blockNumber"), 16)
    assert prepared.since == head
    # Blocks head - 3 … head are other ones now; the second of them has the transaction.
    scene.rpc("anvil_reorg", 4, [[f"0x{prepared.raw.hex()}", 1]])
    scene.node.mine(1)
    return task, attempt, head - 2


async def at_height(scene: EvmScene, height: int) -> None:
    async with asyncio.timeout(60):
        while scene.adapter.clock().height < height:
            scene.changed.clear()
            await scene.changed.wait()


def test_an_effect_below_the_block_at_which_it_was_prepared_is_found(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        task, attempt, height = await lands_below(scene)
        found = await scene.until(task, [attempt], lambda seen: seen.found)
        assert found.found is not None
        assert found.found.height == height

    play(stage, body, finality={"confirmations": 5})


def test_an_effect_below_the_block_at_which_it_was_prepared_is_found_after_a_restart(
    stage: Deployment,
) -> None:
    async def body(scene: EvmScene) -> None:
        task, attempt, height = await lands_below(scene)
        again = stage.adapter(finality={"confirmations": 5})
        try:
            await again.open()
            await again.cover(attempt.since)
            seen = await again.observe(task, [attempt])
            assert seen.found is not None
            assert seen.found.height == height
            # Looking again does not read further and further down.
            low = again._follower.index.low
            await again.observe(task, [attempt])
            await again.observe(task, [])
            assert again._follower.index.low == low
        finally:
            await again.close()

    play(stage, body, finality={"confirmations": 5})


def test_what_no_saga_needs_is_forgotten_and_read_again_by_whoever_asks(
    stage: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "_HEADERS_MIN", 32)

    async def body(scene: EvmScene) -> None:
        task, attempt, _ = await locked(scene)
        before = await scene.found(task, [attempt])
        index = scene.adapter._follower.index
        keys = scene.adapter.keys(task, [attempt])

        async def later(blocks: int) -> None:
            head = scene.adapter.clock().height + blocks
            scene.node.mine(blocks)
            await at_height(scene, head)

        low = index.low
        await later(75)
        assert index.low == low, "nobody has said that it may go"
        scene.adapter.keep_from(before.height)
        await later(75)
        assert low <= index.low <= before.height, "a saga that is open began there"
        scene.adapter.keep_from(scene.adapter.clock().height)
        await scene.adapter.observe(task, [attempt])
        await later(38)
        assert index.low <= before.height, "it was needed a moment ago"
        await later(200)
        assert index.low > before.height
        assert not keys & index._asked.keys()

        seen = await scene.adapter.observe(task, [attempt])
        assert seen.found is not None
        assert (seen.found.block_hash, seen.found.final) == (before.block_hash, True)
        assert index.low <= before.height

        # An effort that has sent nothing yet looks from its forward effect on, and no further.
        await later(200)
        assert index.low > before.height
        undo = restated(task, direction="undo", forward={**before.facts, "height": before.height})
        await scene.adapter.observe(undo, [])
        assert index.low <= before.height

    play(stage, body)


def test_blocks_that_a_chain_loses_are_taken_back(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        snapshot = scene.rpc("evm_snapshot")
        task, attempt, _ = await locked(scene)
        assert scene.rpc("evm_revert", snapshot)
        await scene.until(task, [attempt], lambda seen: seen.found is None)
        assert scene.events[-1].reorganised

    play(stage, body, block_time_ms={"fast": 100, "slow": 100})


def test_a_transaction_that_the_pool_dropped_stays_unknown_until_sent_again(
    stage: Deployment,
) -> None:
    async def body(scene: EvmScene) -> None:
        task = scene.task(await scene.resolve("lock", _LOCK))
        scene.rpc("evm_setAutomine", False)
        prepared, attempt = await scene.attempt(task)
        await scene.send(prepared)
        scene.rpc("anvil_dropTransaction", prepared.tx_id)
        height = scene.adapter.clock().height
        scene.node.mine(2)
        seen = await scene.until(task, [attempt], lambda seen: seen.height >= height + 2)
        assert (seen.found, seen.consumed) == (None, None)
        assert (await scene.send(prepared)).accepted
        scene.node.mine()
        assert (await scene.found(task, [attempt])).tx_id == prepared.tx_id

    play(stage, body)


def test_an_effect_is_final_after_its_confirmations_and_its_keys_are_told_again(
    stage: Deployment,
) -> None:
    async def body(scene: EvmScene) -> None:
        task = scene.task(await scene.resolve("lock", _LOCK))
        prepared, attempt = await scene.attempt(task)
        await scene.send(prepared)
        seen = await scene.until(task, [attempt], lambda seen: seen.found)
        assert seen.found is not None
        assert not seen.found.final
        scene.node.mine(1)
        low = seen.height
        seen = await scene.until(task, [attempt], lambda seen: seen.height > low)
        assert seen.found is not None
        assert not seen.found.final
        scene.events.clear()
        scene.node.mine(1)
        await scene.found(task, [attempt])
        assert scene.adapter.keys(task, [attempt]) <= scene.events[-1].touched

    play(stage, body, finality={"confirmations": 3})


def test_with_a_tag_the_node_says_what_is_final(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        task, attempt, _ = await stuck_until_found(scene)
        seen = await scene.adapter.observe(task, [attempt])
        assert seen.found is not None
        assert not seen.found.final
        scene.node.mine(2)  # this node calls everything two blocks below the head final
        await scene.found(task, [attempt])

    play(stage, body, finality={"tag": "finalized"})


async def stuck_until_found(scene: EvmScene) -> tuple[Task, Attempt, bytes]:
    task = scene.task(await scene.resolve("lock", _LOCK))
    prepared, attempt = await scene.attempt(task)
    await scene.send(prepared)
    await scene.until(task, [attempt], lambda seen: seen.found)
    return task, attempt, prepared.raw


def test_another_process_sees_what_happened_before_it_started(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        task, attempt, _ = await locked(scene)
        scene.node.mine(50)
        fresh = stage.adapter()
        await fresh.open()
        try:
            seen = await fresh.observe(task, [attempt])
            assert seen.found is not None
            undo = restated(task, direction="undo", forward=seen.found.facts)
            assert (await fresh.observe(undo, [])).found is None
        finally:
            await fresh.close()

    play(stage, body)


def test_a_follower_that_starts_far_behind_reads_every_block_once(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        since = scene.adapter.clock().height
        task, attempt, _ = await locked(scene)
        scene.node.mine(150)
        fresh = stage.adapter()
        await fresh.open()
        try:
            fresh.keys(task, [attempt])
            async for event in fresh.follow(since):
                assert fresh.keys(task, [attempt]) <= event.touched
                assert event.clock.height >= since + 151
                break
        finally:
            await fresh.close()

    play(stage, body)


def test_a_closed_adapter_ends_its_follower(stage: Deployment) -> None:
    async def whole() -> None:
        adapter = stage.adapter()
        await adapter.open()
        events = adapter.follow(adapter.clock().height)
        await anext(events)
        following = asyncio.create_task(_rest(events))
        await adapter.close()
        await adapter.close()
        async with asyncio.timeout(60):
            await following

    asyncio.run(whole())


async def _rest(events: AsyncIterator[BlockEvent]) -> list[BlockEvent]:
    return [event async for event in events]


def test_a_hang_of_the_node_is_outlived(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        task = scene.task(await scene.resolve("lock", _LOCK))
        prepared, attempt = await scene.attempt(task)
        scene.node.suspend()
        try:
            said = await scene.send(prepared)
            assert (said.accepted, said.fund) == (False, None)
        finally:
            scene.node.resume()
        await scene.send(prepared)
        assert (await scene.found(task, [attempt])).tx_id == prepared.tx_id

    play(stage, body, timeout_ms=300)


def test_a_node_that_comes_back_with_another_chain_ends_the_follower(
    anvil: AnvilFactory,
) -> None:
    async def whole(stage: Deployment) -> None:
        async with evm_scene(stage) as scene:
            scene.node.restart()
            async with asyncio.timeout(20):
                while scene.failure is None:
                    scene.changed.clear()
                    await scene.changed.wait()
            assert isinstance(scene.failure, WrongChain)
            with pytest.raises(WrongChain):
                await scene.adapter.balance(scene.account("treasury"), "POL")

    stage = Deployment.on(anvil(genesis_time_s=1_700_000_000))
    try:
        # The same genesis again would be the same chain, only shorter.
        stage.node.options = replace(stage.node.options, genesis_time_s=1_700_000_001)
        asyncio.run(whole(stage))
    finally:
        stage.close()


@pytest.mark.parametrize(
    "changes", [{"chain_id": 31338}, {"genesis": f"0x{'11' * 32}"}], ids=["chain id", "genesis"]
)
def test_a_wrong_chain_is_refused_at_once(stage: Deployment, changes: dict[str, Any]) -> None:
    async def whole() -> None:
        adapter = stage.adapter(**changes)
        try:
            with pytest.raises(WrongChain, match="nothing was sent"):
                await adapter.open()
        finally:
            await adapter.close()

    asyncio.run(whole())


def test_an_unreachable_node_is_named_without_its_secrets() -> None:
    async def whole() -> None:
        adapter = _lonely("http://user:hunter2@127.0.0.1:9/key")
        try:
            with pytest.raises(Transient) as refused:
                await adapter.open()
        finally:
            await adapter.close()
        assert "127.0.0.1:9" in str(refused.value)
        assert "hunter2" not in str(refused.value)
        assert "key" not in str(refused.value)

    asyncio.run(whole())


def _lonely(url: str) -> Any:
    from adapters.assets import AssetFacts
    from adapters.evm.adapter import EvmAdapter
    from adapters.evm.settings import EvmSettings
    from adapters.tables import Table
    from tests.e2e.evm_scene import chain_table, signers

    settings = EvmSettings.read(Table("chain.polygon", chain_table([url])))
    assets = {"POL": AssetFacts("POL", 18, None, native=True)}
    return EvmAdapter("polygon", settings, signers(), assets)


# ---------------------------------------------------------------- several nodes


def _with_dead_node(stage: Deployment, dead: int) -> dict[str, Any]:
    urls = [stage.node.url, *(f"http://127.0.0.1:{9 + at}" for at in range(dead))]
    return {"rpc": urls}


def test_one_of_two_nodes_is_no_majority(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        task, attempt, _ = await locked(scene)
        half = stage.adapter(**_with_dead_node(stage, 1))
        try:
            await half.open()
            seen = await half.observe(task, [attempt])
            assert seen.found is not None
            assert not seen.found.final
            scene.serial += 1
            another = scene.task(await scene.resolve("lock", _LOCK))
            with pytest.raises(Transient, match="1 of 2 nodes of polygon tell the nonce"):
                await half.prepare(another, "effect", scene.book, [])
        finally:
            await half.close()

    play(stage, body)


def test_two_of_three_nodes_are_a_majority_and_the_dead_one_is_passed_over(
    stage: Deployment,
) -> None:
    async def body(scene: EvmScene) -> None:
        task, attempt, _ = await locked(scene)
        found = await scene.found(task, [attempt])
        assert found.tx_id == attempt.tx_id

    # The same node under two names, and a dead one that is asked first.
    port = stage.node.url.rpartition(":")[2]
    play(stage, body, rpc=["http://127.0.0.1:9", stage.node.url, f"http://localhost:{port}"])


def test_every_node_is_told(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        task = scene.task(await scene.resolve("lock", _LOCK))
        scene.rpc("evm_setAutomine", False)
        prepared, _ = await scene.attempt(task)
        said = await scene.send(prepared)
        assert said.accepted
        # The second name is the same node, which has the bytes already.
        assert "already" in said.hint

    port = stage.node.url.rpartition(":")[2]
    play(stage, body, rpc=[stage.node.url, f"http://localhost:{port}"])
