"""For how long a slow node is waited for, and nodes behind one host and port."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from adapters.census import Census, Shared
from adapters.errors import Transient
from adapters.roster import Roster
from adapters.standing import Pace, State
from tests.sim import virtual_time
from tests.sim.chain import SimClock


@dataclass(frozen=True)
class Block:
    height: int
    branch: str = ""
    time_s: int = 1000


@dataclass
class Node:
    """A node that shows its newest block after ``delay_s``; below it all have the same chain."""

    head: Block
    delay_s: float = 0
    asked: int = 0

    async def look(self) -> Block:
        self.asked += 1
        await asyncio.sleep(self.delay_s)
        return self.head

    async def at(self, height: int) -> Block | None:
        return Block(height) if height < self.head.height else None


NEVER = 1000.0


def played(
    nodes: list[Node],
    looks: Callable[[Callable[[], Awaitable[Shared[Node, Block]]]], Awaitable[None]],
) -> tuple[Roster[Node], float]:
    """Let ``looks`` ask for the newest block; return the nodes, and how long it took, in virtual
    seconds.
    """

    clock = SimClock()
    begun_ms = clock.now_ms

    async def whole() -> Roster[Node]:
        roster = Roster(
            "chain", [("http://x:1", node) for node in nodes], asyncio.get_running_loop().time
        )
        census = Census(roster, Pace(), lambda: 1000.0)
        async with asyncio.timeout(NEVER / 2):
            await looks(lambda: census.newest(Node.look, Node.at))
        return roster

    roster = virtual_time.run(clock, whole())
    return roster, (clock.now_ms - begun_ms) / 1000


def test_a_node_that_hangs_is_not_waited_for_while_a_majority_is_alike() -> None:
    nodes = [Node(Block(7)), Node(Block(7)), Node(Block(7), NEVER)]

    async def looks(newest: Callable[[], Awaitable[Shared[Node, Block]]]) -> None:
        for _ in range(20):
            shared = await newest()
            assert shared.agreed
            assert shared.head == Block(7)

    _, took_s = played(nodes, looks)
    assert took_s == 0.25, "a little once in five seconds, so that a slow node is seen too"
    assert [node.asked for node in nodes] == [20, 20, 1]


def test_a_slow_node_on_another_branch_is_seen_from_time_to_time() -> None:
    async def looks(newest: Callable[[], Awaitable[Shared[Node, Block]]]) -> None:
        assert (await newest()).agreed

    roster, _ = played([Node(Block(7)), Node(Block(7)), Node(Block(7, "b"), 0.05)], looks)
    assert [seat.standing.state for seat in roster.seats] == [State.WELL, State.WELL, State.ASTRAY]


def test_while_two_show_different_blocks_the_third_has_time_to_decide() -> None:
    async def slow(newest: Callable[[], Awaitable[Shared[Node, Block]]]) -> None:
        shared = await newest()
        assert shared.agreed
        assert shared.head == Block(7)

    played([Node(Block(7, "liar")), Node(Block(7)), Node(Block(7), 0.6)], slow)

    async def hung(newest: Callable[[], Awaitable[Shared[Node, Block]]]) -> None:
        shared = await newest()
        assert shared.agreed
        assert shared.head == Block(6), "what both have"

    played([Node(Block(8)), Node(Block(7, "other")), Node(Block(7), NEVER)], hung)


def test_two_keys_at_one_provider_are_two_nodes() -> None:
    roster = Roster("chain", [("https://x:443", 1), ("https://x:443", 2), ("y", 3)], lambda: 5.0)
    for seat in roster.seats[:2]:
        seat.standing.failed(Transient("down"), 5.0)
    roster.seats[2].standing.answered()
    assert roster.words() == {"https://x:443": "away", "https://x:443#2": "away"}
    assert not roster.is_agreed()
    with pytest.raises(Transient, match="no node of chain answers"):
        raise roster.silence([Transient("down")])
