"""Three names of one chain, of which some hang, lag or lie: what a single node can not bring about.

Each node is a proxy before the same anvil, so that the others are right by construction.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import pytest
from msgspec.structs import replace as restated

from adapters.base import Attempt, Prepared, Settled, Task
from adapters.errors import Rejected, Transient, WrongChain
from tests.e2e.evm_scene import Deployment, EvmScene, evm_scene
from tests.e2e.node_between import REFUSED, Between, Refusal, between

_LOCK = {"vault": "Vault", "amount": {"asset": "ALZ", "value": "100"}}
_PAY = {"asset": "POL", "value": "0.5"}

Edit = Callable[[str, list[Any], Any], Any]
Body = Callable[[EvmScene, list[Between]], Awaitable[None]]


def honest(_method: str, _params: list[Any], result: Any) -> Any:
    return result


@contextmanager
def read_from_the_first(names: list[Between]) -> Iterator[None]:
    """Blocks are read from the first node: with a third one away it is needed for a majority."""
    for name in names[2:]:
        name.edit = lambda *_: REFUSED
    yield
    for name in names[2:]:
        name.edit = honest


def play(stage: Deployment, body: Body, *, nodes: int = 3, **changes: Any) -> None:
    """Run ``body`` with an adapter on so many names of the stage's node."""

    async def whole() -> None:
        async with AsyncExitStack() as stack:
            names = [await stack.enter_async_context(between(stage.node.url)) for _ in range(nodes)]
            urls = [node.url for node in names]
            scene = await stack.enter_async_context(evm_scene(stage, rpc=urls, **changes))
            await body(scene, names)

    asyncio.run(whole())


async def prepared_lock(scene: EvmScene, amount: str = "100") -> tuple[Task, Attempt, Prepared]:
    params = {**_LOCK, "amount": {"asset": "ALZ", "value": amount}}
    task = scene.task(await scene.resolve("lock", params))
    scene.adapter.keys(task, [])
    prepared, attempt = await scene.attempt(task)
    return task, attempt, prepared


async def sent_lock(scene: EvmScene, amount: str = "100") -> tuple[Task, Attempt]:
    task, attempt, prepared = await prepared_lock(scene, amount)
    await scene.send(prepared)
    return task, attempt


async def clock_at(scene: EvmScene, height: int) -> None:
    """Wait until a majority has been seen to share a block at this height."""
    async with asyncio.timeout(60):
        while scene.adapter.clock().height < height:
            scene.changed.clear()
            await scene.changed.wait()


async def is_final(scene: EvmScene, task: Task, attempt: Attempt) -> bool:
    await clock_at(scene, int(scene.rpc("eth_blockNumber"), 16))
    seen = await scene.adapter.observe(task, [attempt])
    result = seen.found or seen.consumed
    return result is not None and result.final


async def never_final(scene: EvmScene, task: Task, attempts: list[Attempt]) -> None:
    """Three more blocks, each looked at: nothing may become final."""
    for _ in range(3):
        scene.changed.clear()
        scene.node.mine()
        scene.adapter.nudge()
        async with asyncio.timeout(60):
            await scene.changed.wait()
        seen = await scene.adapter.observe(task, attempts)
        assert not (seen.found and seen.found.final), seen
        assert not (seen.consumed and seen.consumed.final), seen


def in_receipts(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Edit:
    """Change each receipt that a node tells."""

    def edit(method: str, _params: list[Any], result: Any) -> Any:
        if method == "eth_getBlockReceipts" and result is not None:
            return [change(receipt) for receipt in result]
        if method == "eth_getTransactionReceipt" and result is not None:
            return change(result)
        return result

    return edit


def without(tx_id: str) -> Edit:
    """Leave a transaction out of everything that a node tells."""

    def edit(method: str, params: list[Any], result: Any) -> Any:
        if method == "eth_getTransactionReceipt" and params[0] == tx_id:
            return None
        if method == "eth_getBlockReceipts" and result is not None:
            return [receipt for receipt in result if receipt["transactionHash"] != tx_id]
        if method == "eth_getBlockByNumber" and params[1] and result is not None:
            kept = [tx for tx in result["transactions"] if tx["hash"] != tx_id]
            return {**result, "transactions": kept}
        return result

    return edit


def frozen_at(block: dict[str, Any]) -> Edit:
    """A node that has stopped at ``block`` and goes on answering."""
    top = int(block["number"], 16)

    def edit(method: str, params: list[Any], result: Any) -> Any:
        if method == "eth_getBlockByNumber" and params[0] == "latest":
            return block
        if method in ("eth_getBlockByNumber", "eth_getBlockReceipts") and params[0] != "finalized":
            return result if int(params[0], 16) <= top else None
        if method == "eth_getTransactionReceipt" and result is not None:
            return result if int(result["blockNumber"], 16) <= top else None
        return result

    return edit


def branch(height: int) -> Edit:
    """A node on a chain of its own from ``height`` on: every block there has another hash."""

    def name(text: str) -> str:
        return f"0x{'fa' * 8}{text[-48:]}"

    def edit(method: str, _params: list[Any], result: Any) -> Any:
        if method == "eth_getBlockReceipts" and result:
            own = int(result[0]["blockNumber"], 16) >= height
            return [
                {**each, "blockHash": name(each["blockHash"])} if own else each for each in result
            ]
        if method != "eth_getBlockByNumber" or result is None:
            return result
        at = int(result["number"], 16)
        if at < height:
            return result
        parent = result["parentHash"] if at == height else name(result["parentHash"])
        return {**result, "hash": name(result["hash"]), "parentHash": parent}

    return edit


# ---------------------------------------------------------------- receipts


@pytest.mark.parametrize("nodes", [2, 3], ids=["of two nodes one", "of three nodes one"])
def test_a_forged_failure_never_becomes_not_done(stage: Deployment, nodes: int) -> None:
    async def body(scene: EvmScene, names: list[Between]) -> None:
        names[0].edit = in_receipts(lambda receipt: {**receipt, "status": "0x0", "logs": []})
        task, attempt = await sent_lock(scene)
        with read_from_the_first(names):
            await scene.until(task, [attempt], lambda seen: seen.consumed)
            await never_final(scene, task, [attempt])
        if nodes == 3:
            assert (await scene.found(task, [attempt])).tx_id == attempt.tx_id
            assert f"{names[0].url} is contradicted" in scene.adapter.troubles()

    play(stage, body, nodes=nodes)


@pytest.mark.parametrize("nodes", [2, 3], ids=["of two nodes one", "of three nodes one"])
def test_a_forged_success_never_becomes_done(stage: Deployment, nodes: int) -> None:
    async def body(scene: EvmScene, names: list[Between]) -> None:
        vault = scene.contracts["Vault"].address
        task = scene.task(await scene.resolve("transfer", {"to": "second", "amount": _PAY}))
        task = restated(task, action={**task.action, "to": vault})  # which takes no coins
        names[0].edit = in_receipts(lambda receipt: {**receipt, "status": "0x1"})
        prepared, attempt = await scene.attempt(task)
        await scene.send(prepared)
        with read_from_the_first(names):
            await scene.until(task, [attempt], lambda seen: seen.found)
            await never_final(scene, task, [attempt])
        if nodes == 3:
            assert (await scene.consumed(task, [attempt])).reason == "reverted"

    play(stage, body, nodes=nodes)


def test_an_effect_that_a_node_hides_is_not_taken_for_absent(stage: Deployment) -> None:
    async def body(scene: EvmScene, names: list[Between]) -> None:
        resolved = await scene.resolve("lock", _LOCK)
        task = scene.task(resolved)
        found, _ = await scene.perform(task)
        undo = restated(task, direction="undo", forward=found.facts)
        prepared, attempt = await scene.attempt(undo)
        refund = scene.contracts["Vault"].functions.refund(bytes.fromhex(task.op_id))
        names[0].edit = in_receipts(
            lambda receipt: (
                receipt if receipt["blockNumber"] == hex(found.height) else {**receipt, "logs": []}
            )
        )
        with read_from_the_first(names):
            others = scene.chain.send(refund, scene.chain.accounts[2])
            await scene.send(prepared)  # succeeds without an event: the refund is there already
            seen = await scene.until(undo, [attempt], lambda seen: seen.consumed)
            assert seen.consumed is not None
            assert (seen.consumed.reason, seen.consumed.final) == ("no_effect", False)
        undone = await scene.found(undo, [attempt])
        assert undone.tx_id == f"0x{bytes(others['transactionHash']).hex()}"

    play(stage, body)


def test_a_transaction_that_a_node_leaves_out_is_found_at_the_others(stage: Deployment) -> None:
    async def body(scene: EvmScene, names: list[Between]) -> None:
        task = scene.task(await scene.resolve("lock", _LOCK))
        scene.adapter.keys(task, [])
        prepared, attempt = await scene.attempt(task)
        names[0].edit = without(prepared.tx_id)
        with read_from_the_first(names):
            await scene.send(prepared)
            await clock_at(scene, int(scene.rpc("eth_blockNumber"), 16))
            assert (await scene.adapter.observe(task, [attempt])).found is None
        async with asyncio.timeout(60):
            while not await is_final(scene, task, attempt):
                scene.node.mine()  # the coordinator looks again whenever it would send again
        seen = await scene.adapter.observe(task, [attempt])
        assert seen.found is not None
        assert seen.found.tx_id == prepared.tx_id
        assert f"{names[0].url} is contradicted" in scene.adapter.troubles()

    play(stage, body)


# ---------------------------------------------------------------- blocks and clocks


def test_one_that_waits_keeps_nobody_from_being_looked_for_at_the_others(
    stage: Deployment,
) -> None:
    async def body(scene: EvmScene, names: list[Between]) -> None:
        hidden, attempt, prepared = await prepared_lock(scene)
        scene.serial += 1
        waits, unsent, _ = await prepared_lock(scene)
        with read_from_the_first(names):
            names[0].edit = without(attempt.tx_id)
            await scene.send(prepared)
            scene.node.mine()
            await clock_at(scene, int(scene.rpc("eth_blockNumber"), 16))
        # More than are asked about at once are before it.
        crowd = [restated(unsent, tx_id=f"0x{at:064x}") for at in range(80)]
        for at in range(0, 80, 16):
            assert (await scene.adapter.observe(waits, crowd[at : at + 16])).found is None
        async with asyncio.timeout(20):
            while True:
                scene.changed.clear()
                assert (await scene.adapter.observe(waits, [unsent])).found is None
                if (await scene.adapter.observe(hidden, [attempt])).found is not None:
                    break
                scene.node.mine()
                await scene.changed.wait()

    play(stage, body)


def test_a_branch_that_one_node_shows_takes_nothing_back(stage: Deployment) -> None:
    async def body(scene: EvmScene, names: list[Between]) -> None:
        task, attempt = await sent_lock(scene)
        before = await scene.found(task, [attempt])
        names[0].edit = branch(before.height)
        scene.events.clear()
        scene.node.mine(3)
        scene.adapter.nudge()
        await clock_at(scene, before.height + 3)
        assert not any(event.reorganised for event in scene.events)
        assert await scene.found(task, [attempt]) == before
        assert f"{names[0].url} is on another branch" in scene.adapter.troubles()

    play(stage, body)


def test_with_two_nodes_on_two_branches_nothing_becomes_final_and_nothing_is_taken_back(
    stage: Deployment,
) -> None:
    async def body(scene: EvmScene, names: list[Between]) -> None:
        settled, first = await sent_lock(scene)
        before = await scene.found(settled, [first])
        names[0].edit = branch(before.height + 1)
        scene.serial += 1
        scene.events.clear()
        scene.rpc("evm_setAutomine", False)
        task, attempt = await sent_lock(scene, "50")
        for _ in range(3):
            scene.node.mine()
            await asyncio.sleep(0.1)  # nothing is to happen, so there is nothing to wait for
        seen = await scene.adapter.observe(task, [attempt])
        assert not (seen.found and seen.found.final)
        assert not any(event.reorganised for event in scene.events)
        assert await scene.found(settled, [first]) == before
        names[0].edit = honest
        assert (await scene.found(task, [attempt])).tx_id == attempt.tx_id

    play(stage, body, nodes=2)


def test_no_single_node_moves_the_clock(stage: Deployment) -> None:
    async def body(scene: EvmScene, names: list[Between]) -> None:
        def later(method: str, _params: list[Any], result: Any) -> Any:
            if method != "eth_getBlockByNumber" or result is None:
                return result
            return {**result, "timestamp": hex(int(result["timestamp"], 16) + 10**6)}

        names[0].edit = later
        scene.node.mine()
        scene.adapter.nudge()
        height = int(scene.rpc("eth_blockNumber"), 16)
        await clock_at(scene, height)
        clock = scene.adapter.clock()
        assert clock.agreed
        assert clock.time_s == int(
            scene.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16
        )

    play(stage, body)


def test_blocks_on_the_way_to_the_newest_do_not_move_the_clock(stage: Deployment) -> None:
    async def body(scene: EvmScene, names: list[Between]) -> None:
        top = int(scene.rpc("eth_blockNumber"), 16) + 40

        def later(method: str, _params: list[Any], result: Any) -> Any:
            if method != "eth_getBlockByNumber" or result is None or result["number"] == hex(top):
                return result
            return {**result, "timestamp": hex(int(result["timestamp"], 16) + 10**6)}

        names[0].edit = later
        with read_from_the_first(names):
            scene.node.mine(40)  # more than one request reads
            scene.adapter.nudge()
            await clock_at(scene, top)
        newest_s = int(scene.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        assert {
            event.clock.height for event in scene.events if event.clock.time_s > newest_s
        } == set()

    play(stage, body)


def test_what_few_nodes_show_takes_nothing_back(stage: Deployment) -> None:
    async def body(scene: EvmScene, names: list[Between]) -> None:
        task, attempt, prepared = await prepared_lock(scene)
        for name in names[1:]:
            name.edit = lambda *_: REFUSED
        await scene.send(prepared)
        before = (await scene.until(task, [attempt], lambda seen: seen.found)).found
        assert before is not None
        names[0].edit = branch(before.height)
        for mined in (0, 3):
            scene.node.mine(mined)
            asked = len(names[0].asked)
            async with asyncio.timeout(60):
                while names[0].asked[asked:].count("eth_getBlockByNumber") < 25:
                    scene.adapter.nudge()
                    await scene.adapter.balance(scene.account("payee"), "POL")
            assert (await scene.adapter.observe(task, [attempt])).found == before
            assert not any(event.reorganised for event in scene.events)

    play(stage, body)


def test_while_too_few_nodes_answer_effects_are_seen_but_the_clock_stands_still(
    stage: Deployment,
) -> None:
    async def body(scene: EvmScene, names: list[Between]) -> None:
        before = scene.adapter.clock()
        task, attempt, prepared = await prepared_lock(scene)
        for name in names[1:]:
            name.edit = lambda *_: REFUSED
        await scene.send(prepared)
        seen = await scene.until(task, [attempt], lambda seen: seen.found)
        assert seen.found is not None
        assert not seen.found.final
        # Nothing is said to be missing, or deep enough, by blocks that only a few nodes show.
        assert seen.height == before.height < seen.found.height
        assert scene.adapter.clock() == before
        for name in names[1:]:
            name.edit = honest
        assert (await scene.found(task, [attempt])).tx_id == attempt.tx_id

    play(stage, body)


def test_what_one_node_shows_while_the_others_are_away_is_taken_back_when_they_say_otherwise(
    stage: Deployment,
) -> None:
    async def body(scene: EvmScene, names: list[Between]) -> None:
        task, attempt, prepared = await prepared_lock(scene)
        for name in names[1:]:
            name.edit = lambda *_: REFUSED
        names[0].edit = in_receipts(lambda receipt: {**receipt, "status": "0x0", "logs": []})
        await scene.send(prepared)
        await scene.until(task, [attempt], lambda seen: seen.consumed)
        for name in names[1:]:
            name.edit = honest
        assert (await scene.found(task, [attempt])).tx_id == attempt.tx_id

    play(stage, body)


def test_a_start_with_too_few_nodes_has_no_clock_to_decide_by(stage: Deployment) -> None:
    async def body(scene: EvmScene, _names: list[Between]) -> None:
        assert not scene.adapter.clock().agreed

    async def whole() -> None:
        urls = [stage.node.url, "http://127.0.0.1:9", "http://127.0.0.1:10"]
        async with evm_scene(stage, rpc=urls) as scene:
            await body(scene, [])

    asyncio.run(whole())


def test_nodes_that_fell_back_a_little_take_nothing_back_while_one_has_the_newest_block(
    stage: Deployment,
) -> None:
    async def body(scene: EvmScene, names: list[Between]) -> None:
        older = scene.rpc("eth_getBlockByNumber", "latest", False)
        task, attempt = await sent_lock(scene)
        before = await scene.found(task, [attempt])
        scene.events.clear()
        names[1].edit = names[2].edit = frozen_at(older)
        asked = len(names[0].asked)
        async with asyncio.timeout(20):  # beyond the patience with a shorter chain, a slow block
            while names[0].asked[asked:].count("eth_getBlockByNumber") < 60:
                await scene.adapter.balance(scene.account("payee"), "POL")
        assert not any(event.reorganised for event in scene.events)
        assert (await scene.adapter.observe(task, [attempt])).found == before
        names[0].edit = frozen_at(older)
        await scene.until(task, [attempt], lambda seen: seen.found is None)
        assert any(event.reorganised for event in scene.events)

    play(stage, body)


# ---------------------------------------------------------------- laggards


def test_a_node_that_is_frozen_is_set_aside_and_comes_back(stage: Deployment) -> None:
    async def body(scene: EvmScene, names: list[Between]) -> None:
        names[0].edit = frozen_at(scene.rpc("eth_getBlockByNumber", "latest", False))
        scene.node.mine(20)  # more than a healthy node may lack
        scene.adapter.nudge()
        await clock_at(scene, int(scene.rpc("eth_blockNumber"), 16))
        task, attempt = await sent_lock(scene)
        await scene.found(task, [attempt])
        trouble = scene.adapter.troubles()
        assert f"{names[0].url} is behind" in trouble
        assert "21 blocks" in trouble
        asked = len(names[0].asked)
        await scene.adapter.balance(scene.account("payee"), "POL")
        assert "eth_getBalance" not in names[0].asked[asked:]
        names[0].edit = honest
        scene.node.mine()
        async with asyncio.timeout(60):
            while scene.adapter.troubles():
                scene.node.mine()
                await clock_at(scene, int(scene.rpc("eth_blockNumber"), 16))

    play(stage, body)


# ---------------------------------------------------------------- nonces, refusals, sends


def test_one_node_can_not_make_nonces_jump(stage: Deployment) -> None:
    async def body(scene: EvmScene, names: list[Between]) -> None:
        names[0].edit = lambda method, _params, result: (
            hex(10**6) if method == "eth_getTransactionCount" else result
        )
        treasury = scene.account("treasury")
        honestly = int(scene.rpc("eth_getTransactionCount", treasury, "latest"), 16)
        assert await scene.adapter.unused(treasury) == honestly
        task = scene.task(await scene.resolve("lock", _LOCK))
        prepared, _ = await scene.attempt(task)
        assert prepared.claim == ((treasury, honestly),)
        names[1].edit = names[2].edit = lambda *_: REFUSED
        with pytest.raises(Transient, match="1 of 3 nodes of polygon tell the nonce"):
            await scene.adapter.unused(treasury)

    play(stage, body)


@pytest.mark.parametrize("nodes", [2, 3])
def test_one_node_far_ahead_of_all_others_opens_no_hole_among_nonces(
    stage: Deployment, nodes: int
) -> None:
    """The one that tells the truth is taken for far behind, and a third one is away."""

    async def body(scene: EvmScene, names: list[Between]) -> None:
        treasury = scene.account("treasury")
        forward, attempt = await sent_lock(scene)
        found = await scene.found(forward, [attempt])
        honestly = int(scene.rpc("eth_getTransactionCount", treasury, "latest"), 16)

        def far_ahead(method: str, params: list[Any], result: Any) -> Any:
            if method == "eth_getTransactionCount":
                return hex(10**6)
            if method == "eth_getBlockByNumber" and params[0] == "latest":
                return {**result, "number": hex(int(result["number"], 16) + 900)}
            return result

        names[0].edit = far_ahead
        for name in names[2:]:
            name.edit = lambda *_: REFUSED
        async with asyncio.timeout(60):
            while "blocks, 0 s behind" not in scene.adapter.troubles():
                await scene.adapter.health()
        undo = restated(forward, direction="undo", forward=found.facts)
        prepared, _ = await scene.attempt(undo)
        assert prepared.claim == ((treasury, honestly),), "the last that a majority told"
        scene.serial += 1
        another = scene.task(await scene.resolve("lock", _LOCK))
        with pytest.raises(Transient, match=f"1 of {nodes} nodes of polygon tell the nonce"):
            await scene.attempt(another)

    play(stage, body, nodes=nodes)


@pytest.mark.parametrize("nonsense", [None, 7, "0xzz", "-0x5", Refusal(-1), {}], ids=repr)
def test_a_node_that_answers_nonsense_is_passed_over(stage: Deployment, nonsense: Any) -> None:
    state = {"eth_getBalance", "eth_getTransactionCount", "eth_getCode", "eth_call"}

    async def body(scene: EvmScene, names: list[Between]) -> None:
        def edit(method: str, params: list[Any], result: Any) -> Any:
            newest = method == "eth_getBlockByNumber" and params[0] == "latest"
            return nonsense if method in state or newest else result

        names[0].edit = edit
        params = {**_LOCK, "amount": {"asset": "ALZ", "value": "100"}}
        task = scene.task(await scene.resolve("lock", params))
        await scene.adapter.preflight(task)
        _, attempt = await scene.attempt(task)
        await scene.attempt(task, "tombstone", [attempt])
        payer = scene.account("treasury")
        assert await scene.adapter.balance(payer, "POL") == scene.coins(payer)
        assert await scene.adapter.balance(payer, "ALZ") == scene.tokens(payer)
        nonce = int(scene.rpc("eth_getTransactionCount", payer, "latest"), 16)
        assert await scene.adapter.unused(payer) == nonce
        await scene.adapter.fill(payer, nonce)

    play(stage, body)


def test_a_refusal_of_one_node_refuses_nothing_and_that_of_a_majority_does(
    stage: Deployment,
) -> None:
    async def body(scene: EvmScene, names: list[Between]) -> None:
        task = scene.task(await scene.resolve("lock", _LOCK))

        def poor(method: str, _params: list[Any], result: Any) -> Any:
            return "0x0" if method == "eth_getBalance" else result

        names[0].edit = poor
        await scene.adapter.preflight(task)
        await scene.attempt(task)
        names[1].edit = lambda *_: REFUSED
        names[2].edit = lambda *_: REFUSED
        with pytest.raises(Transient, match="1 of 3 nodes of polygon refuse"):
            await scene.adapter.preflight(task)
        names[1].edit = poor
        with pytest.raises(Rejected, match="lacks"):
            await scene.adapter.preflight(task)

    play(stage, body)


def test_a_node_that_became_another_chain_is_set_aside_and_not_sent_to(stage: Deployment) -> None:
    async def body(scene: EvmScene, names: list[Between]) -> None:
        def other(method: str, _params: list[Any], result: Any) -> Any:
            return "0x1" if method == "eth_chainId" else result

        names[0].edit = lambda *_: REFUSED
        await scene.adapter.balance(scene.account("payee"), "POL")
        names[0].edit = other
        scene.adapter.nudge()
        async with asyncio.timeout(20):
            while "serves chain id 1" not in scene.adapter.troubles():
                scene.node.mine()
                await clock_at(scene, int(scene.rpc("eth_blockNumber"), 16))
        asked = len(names[0].asked)
        task, attempt = await sent_lock(scene)
        await scene.found(task, [attempt])
        assert "eth_sendRawTransaction" not in names[0].asked[asked:]
        assert scene.failure is None

    play(stage, body)


def test_one_node_of_another_chain_keeps_nobody_from_starting(stage: Deployment) -> None:
    def other(method: str, _params: list[Any], result: Any) -> Any:
        return "0x1" if method == "eth_chainId" else result

    async def whole(wrong: int) -> str:
        async with AsyncExitStack() as stack:
            names = [await stack.enter_async_context(between(stage.node.url)) for _ in range(3)]
            for name in names[:wrong]:
                name.edit = other
            adapter = stage.adapter(rpc=[name.url for name in names])
            try:
                await adapter.open()
                return adapter.troubles()
            finally:
                await adapter.close()

    assert "serves chain id 1" in asyncio.run(whole(1))
    with pytest.raises(WrongChain, match="serves chain id 1"):
        asyncio.run(whole(2))


# ---------------------------------------------------------------- evidence


@pytest.mark.parametrize("answer", [None, REFUSED], ids=["null", "refused"])
def test_a_node_that_does_not_show_a_block_by_its_hash_keeps_no_evidence_from_being_made(
    stage: Deployment, answer: Any
) -> None:
    async def body(scene: EvmScene, names: list[Between]) -> None:
        task, attempt = await sent_lock(scene)
        found = await scene.found(task, [attempt])
        settled = Settled(found.tx_id, found.block_hash, found.height, True, found.facts)
        another = stage.adapter(rpc=[name.url for name in names])
        try:
            await another.open()
            names[0].edit = lambda method, _params, result: (
                answer if method == "eth_getBlockByHash" else result
            )
            assert await another.prove(task, settled)
            names[1].edit = names[2].edit = names[0].edit
            with pytest.raises(Transient, match="does not show block"):
                await another.prove(task, settled)
        finally:
            await another.close()

    play(stage, body)


# ---------------------------------------------------------------- what a recovery believes


def test_what_one_node_leaves_out_is_in_the_survey(stage: Deployment) -> None:
    async def body(scene: EvmScene, names: list[Between]) -> None:
        task, attempt = await sent_lock(scene)
        found = await scene.found(task, [attempt])
        names[0].edit = without(attempt.tx_id)
        survey = await scene.adapter.surveyor().survey(found.height)
        assert [movement.tx_id for movement in survey.movements] == [attempt.tx_id]
        names[1].edit = lambda *_: REFUSED
        with pytest.raises(Transient, match="no majority the same in them"):
            await scene.adapter.surveyor().survey(found.height)
        names[0].edit = names[1].edit
        with pytest.raises(Transient, match="2 of 3 nodes have to share the newest block"):
            await scene.adapter.surveyor().survey(found.height)

    play(stage, body)


def test_a_survey_that_is_not_told_whose_operations_are_ours_says_so(stage: Deployment) -> None:
    async def body(scene: EvmScene, names: list[Between]) -> None:
        def silent(method: str, _params: list[Any], result: Any) -> Any:
            return Refusal(-32000) if method == "eth_call" else result

        task, attempt = await sent_lock(scene)
        found = await scene.found(task, [attempt])
        surveyor = scene.adapter.surveyor()
        names[0].edit = silent
        assert len((await surveyor.survey(found.height)).movements) == 1
        names[1].edit = silent
        with pytest.raises(Transient, match=r"no majority of all|share the newest block"):
            await surveyor.survey(found.height)

    play(stage, body)


def test_no_single_node_says_from_where_a_survey_reads_nor_what_waits(stage: Deployment) -> None:
    async def body(scene: EvmScene, names: list[Between]) -> None:
        scene.node.mine(4)
        surveyor = scene.adapter.surveyor()
        time_s = int(scene.rpc("eth_getBlockByNumber", "0x3", False)["timestamp"], 16)
        honestly = await surveyor.height_at(time_s)
        assert honestly < 3

        def false(method: str, params: list[Any], result: Any) -> Any:
            if method == "eth_getBlockByNumber" and params[0] != "0x0":
                return {**result, "timestamp": "0x1"}
            waiting = method == "eth_getTransactionCount" and params[1] == "pending"
            return hex(10**6) if waiting else result

        names[0].edit = false
        assert await scene.adapter.surveyor().height_at(time_s) == honestly
        names[1].edit = names[2].edit = false
        claims = await scene.adapter.surveyor().waiting()
        for account in map(scene.account, ("treasury", "second", "third")):
            mined = int(scene.rpc("eth_getTransactionCount", account, "latest"), 16)
            told = [nonce for name, nonce in claims if name == account]
            assert told == list(range(mined, mined + 64)), "four windows of sixteen"

    play(stage, body)


# ---------------------------------------------------------------- finality tags


@pytest.mark.parametrize("tag", ["safe", "finalized"])
def test_a_tag_is_what_a_majority_of_the_nodes_says(stage: Deployment, tag: str) -> None:
    async def body(scene: EvmScene, names: list[Between]) -> None:
        def hasty(method: str, params: list[Any], result: Any) -> Any:
            return latest() if method == "eth_getBlockByNumber" and params[0] == tag else result

        def latest() -> Any:
            return scene.rpc("eth_getBlockByNumber", "latest", False)

        def tagged() -> int:
            return int(scene.rpc("eth_getBlockByNumber", tag, False)["number"], 16)

        names[0].edit = hasty
        task, attempt = await sent_lock(scene)
        seen = await scene.until(task, [attempt], lambda seen: seen.found)
        assert seen.found is not None
        assert tagged() < seen.found.height
        while tagged() < seen.found.height:
            assert not await is_final(scene, task, attempt)
            scene.node.mine()
        assert (await scene.found(task, [attempt])).height == seen.found.height

    play(stage, body, finality={"tag": tag})
