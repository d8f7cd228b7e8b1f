"""When a node has to show again which chain it serves."""

import asyncio

from adapters.errors import Transient
from adapters.identity import Identity


class Node:
    """A node that is looked at, and a clock."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.looks = 0
        self.error: Exception | None = None
        self.held = asyncio.Event()
        self.held.set()
        self.begun = asyncio.Event()
        self.identity = Identity(self.look, lambda: self.now_s)

    async def look(self) -> None:
        self.looks += 1
        self.begun.set()
        await self.held.wait()
        if self.error is not None:
            raise self.error


def test_a_node_is_looked_at_at_first_after_doubt_and_from_time_to_time() -> None:
    async def whole() -> None:
        node = Node()
        for passed_s, looks in ((0.0, 1), (0.0, 1), (9.9, 1), (0.2, 2), (1.0, 2)):
            node.now_s += passed_s
            await node.identity.check()
            assert node.looks == looks
        node.identity.doubt()
        await node.identity.check()
        assert node.looks == 3

    asyncio.run(whole())


def test_many_that_wait_for_a_node_that_does_not_answer_wait_once() -> None:
    async def whole() -> None:
        node = Node()
        node.error = Transient("it did not answer in time")
        node.held.clear()
        waiting = [asyncio.create_task(node.identity.check()) for _ in range(50)]
        await node.begun.wait()
        node.held.set()
        came = await asyncio.gather(*waiting, return_exceptions=True)
        assert came == [node.error] * 50
        assert node.looks == 1
        node.error = None
        await node.identity.check()
        assert node.looks == 2

    asyncio.run(whole())


def test_who_gives_up_waiting_takes_the_answer_from_nobody_else() -> None:
    async def whole() -> None:
        node = Node()
        node.held.clear()
        first, second = (asyncio.create_task(node.identity.check()) for _ in range(2))
        await node.begun.wait()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        node.held.set()
        await second
        assert node.looks == 1

    asyncio.run(whole())


def test_trouble_while_a_node_is_looked_at_calls_for_another_look() -> None:
    async def whole() -> None:
        node = Node()
        node.held.clear()
        waiting = asyncio.create_task(node.identity.check())
        await node.begun.wait()
        node.identity.doubt()
        node.held.set()
        await waiting
        await node.identity.check()
        assert node.looks == 2

    asyncio.run(whole())
