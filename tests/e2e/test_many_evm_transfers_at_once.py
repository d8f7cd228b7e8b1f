"""Many transfers of one account at once: a line without holes, and a node that is asked little."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from adapters.base import Attempt, Settled, Task
from tests.e2e.evm_scene import Deployment, EvmScene, evm_scene
from tests.fault_proxy import FaultProxy

MANY = 40
_WINDOW = 16
_STATE = ("eth_getBalance", "eth_call", "eth_getCode", "eth_getTransactionCount")

Story = Callable[[EvmScene, FaultProxy], Awaitable[None]]


@pytest.fixture
def play(deployment: Deployment) -> Callable[[Story], None]:
    """Run a story with the node behind a proxy."""

    def run(story: Story) -> None:
        with FaultProxy(deployment.node.url) as proxy:

            async def whole() -> None:
                node = {"rpc": [proxy.url], "proof": "required", "window": _WINDOW}
                async with evm_scene(deployment, follow=True, **node) as scene:
                    await story(scene, proxy)

            asyncio.run(whole())

    return run


async def tasks_of(scene: EvmScene, name: str) -> list[Task]:
    """Return as many transfers, each of another saga."""
    params = {"amount": {"asset": "POL", "value": "0.001"}, "to": "second"}
    resolved = await scene.resolve("transfer", params)
    return [scene.task(resolved, saga=f"{name}-{number}") for number in range(MANY)]


async def begin(scene: EvmScene, task: Task) -> Attempt:
    """Do what the coordinator does for one forward step: try, prepare, send."""
    await scene.adapter.preflight(task)
    prepared, attempt = await scene.attempt(task)
    said = await scene.send(prepared)
    assert said.accepted, said.hint
    return attempt


def test_they_fill_the_line_without_a_hole_and_the_node_is_asked_little(
    play: Callable[[Story], None],
) -> None:
    async def story(scene: EvmScene, proxy: FaultProxy) -> None:
        tasks = await tasks_of(scene, "line")
        first = int(scene.rpc("eth_getTransactionCount", scene.account("treasury"), "latest"), 16)
        proxy.calls.clear()
        attempts = await asyncio.gather(*(begin(scene, task) for task in tasks))
        assert sorted(attempt.claim[0][1] for attempt in attempts) == [
            first + number for number in range(MANY)
        ]
        for task, attempt in zip(tasks, attempts, strict=True):
            found = await scene.found(task, [attempt])
            assert found.tx_id == attempt.tx_id, "each has the answer to its own send"
            outcome = Settled(found.tx_id, found.block_hash, found.height, True, found.facts)
            (proof,) = await scene.adapter.prove(task, outcome)
            assert proof.kind == "evm.receipt/v1"
        asked: Counter[str] = Counter(proxy.calls)
        assert asked["eth_sendRawTransaction"] == MANY
        assert sum(asked[method] for method in _STATE) < MANY, asked
        assert asked["eth_getBlockByHash"] == 0, "evidence comes from what was read"

    play(story)


def test_a_reply_that_is_lost_leaves_every_send_of_its_request_open_and_none_is_repeated(
    play: Callable[[Story], None],
) -> None:
    async def story(scene: EvmScene, proxy: FaultProxy) -> None:
        tasks = (await tasks_of(scene, "lost"))[:4]
        prepared = [await scene.attempt(task) for task in tasks]
        proxy.calls.clear()
        proxy.on("eth_sendRawTransaction", "lost_reply")
        said = await asyncio.gather(*(scene.send(ready) for ready, _ in prepared))
        assert [answer.accepted for answer in said] == [False] * 4
        assert all("may have arrived" in answer.hint for answer in said)
        assert proxy.calls["eth_sendRawTransaction"] == 4
        for task, (_, attempt) in zip(tasks, prepared, strict=True):
            found = await scene.found(task, [attempt])
            assert found.tx_id == attempt.tx_id, "all of them had arrived"

    play(story)
