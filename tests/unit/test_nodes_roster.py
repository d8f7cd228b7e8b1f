"""Which of several nodes is asked, who is set aside, and on what a majority agrees."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from adapters.census import Census, Shared
from adapters.errors import Busy, Rejected, Transient, WrongChain
from adapters.roster import Roster
from adapters.standing import Pace, Standing, State

_PACE = Pace(blocks=3, seconds=60)


@dataclass(frozen=True)
class Block:
    height: int
    branch: str = ""
    time_s: int = field(default=1000, compare=False)


@dataclass
class Node:
    """A node with a chain: the common one up to ``forks_at``, its own branch from there on."""

    name: str
    height: int = 10
    branch: str = ""
    forks_at: int = 10**9
    trouble: Exception | None = None
    time_s: int = 1000
    asked: int = 0

    async def look(self) -> Block:
        await asyncio.sleep(0)
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble
        return self.block(self.height)

    def block(self, height: int) -> Block:
        return Block(height, self.branch if height >= self.forks_at else "", self.time_s)

    async def at(self, height: int) -> Block | None:
        await asyncio.sleep(0)
        if self.trouble is not None:
            raise self.trouble
        return self.block(height) if height <= self.height else None


class Clock:
    now_s = 100.0


def play(*nodes: Node) -> tuple[Roster[Node], Clock]:
    clock = Clock()
    roster = Roster("chain", [(node.name, node) for node in nodes], lambda: clock.now_s)
    return roster, clock


def newest(roster: Roster[Node]) -> Shared[Node, Block]:
    async def whole() -> Shared[Node, Block]:
        census = Census(roster, _PACE, lambda: 1000.0)
        return await census.newest(Node.look, Node.at, all_of_them=True)

    return asyncio.run(whole())


def first(roster: Roster[Node]) -> str:
    async def name(node: Node) -> str:
        await node.look()
        return node.name

    return asyncio.run(roster.first(name))


# ---------------------------------------------------------------- agreement


def test_the_newest_block_is_the_highest_that_a_majority_shares() -> None:
    roster, _ = play(Node("a", 12), Node("b", 11), Node("c", 10))
    found = newest(roster)
    assert (found.head.height, found.agreed) == (11, True)
    assert {seat.node.name for seat in found.holders} == {"a", "b"}


@pytest.mark.parametrize("height", [10, 12, 500])
def test_one_node_with_a_chain_of_its_own_does_not_count(height: int) -> None:
    roster, _ = play(Node("liar", height, "fake", 5), Node("b"), Node("c"))
    found = newest(roster)
    assert (found.head, found.agreed) == (Block(10), True)
    assert {seat.node.name for seat in found.holders} == {"b", "c"}
    assert [seat.standing.state for seat in roster.seats][1:] == [State.WELL, State.WELL]
    assert roster.seats[0].standing.state is not State.WELL


def test_two_nodes_agree_on_the_block_at_which_their_chains_part() -> None:
    roster, _ = play(Node("a", 10, "left", 8), Node("b", 10, "right", 8))
    found = newest(roster)
    assert found.agreed
    assert found.head.height < 8
    assert found.head.branch == ""


def test_chains_that_share_nothing_are_no_newest_block() -> None:
    roster, _ = play(Node("a", 10, "left", 0), Node("b", 10, "right", 0))
    with pytest.raises(Transient, match="a at 10, b at 10"):
        newest(roster)


@pytest.mark.parametrize("error", [Transient("gone"), WrongChain("other")])
def test_with_too_few_answers_there_is_a_newest_block_but_no_agreement(error: Exception) -> None:
    roster, _ = play(Node("a"), Node("b", trouble=error), Node("c", trouble=error))
    found = newest(roster)
    assert (found.head, found.agreed) == (Block(10), False)
    assert "gone" in roster.troubles() or "other" in roster.troubles()


def test_a_single_node_is_the_majority_of_one() -> None:
    roster, _ = play(Node("a"))
    assert newest(roster).agreed
    roster.seats[0].node.trouble = WrongChain("another chain")
    with pytest.raises(WrongChain):
        newest(roster)


def test_where_every_node_serves_another_chain_that_is_said() -> None:
    roster, _ = play(*(Node(name, trouble=WrongChain(f"{name} is other")) for name in "ab"))
    with pytest.raises(WrongChain):
        newest(roster)
    with pytest.raises(WrongChain):
        first(roster)


# ---------------------------------------------------------------- set aside


def test_a_node_far_behind_is_neither_asked_nor_heard_until_it_caught_up() -> None:
    behind = Node("a", 5)
    roster, _ = play(behind, Node("b"), Node("c"))
    newest(roster)
    assert roster.seats[0].standing.state is State.BEHIND
    assert "a is behind; at height 5, 5 blocks and 0 s behind" in roster.troubles()
    assert first(roster) == "b"

    async def yes(node: Node) -> bool:
        return node is behind or node.name == "b"

    assert not asyncio.run(roster.majority_of(yes)), "its vote counted"
    behind.height = 10
    newest(roster)
    assert first(roster) == "a"
    assert not roster.troubles()


def test_one_node_that_claims_to_be_far_ahead_puts_nobody_aside() -> None:
    roster, _ = play(Node("liar", 10**6, "fake", 11), Node("b"), Node("c"))
    found = newest(roster)
    assert (found.head, found.agreed) == (Block(10), True)
    assert [seat.standing.aside for seat in roster.seats] == [False, False, False]


def test_a_block_from_the_future_is_no_measure_for_others() -> None:
    future = Node("liar", 10**6, "fake", 11, time_s=10**9)
    roster, _ = play(future, Node("b"))
    assert newest(roster).head == Block(10)
    assert not roster.seats[1].standing.aside


def test_a_node_days_behind_by_its_block_time_is_set_aside_when_it_stays_so() -> None:
    standing = Standing("node")
    standing.showed(9, 1_000)
    standing.compared(10, 1_000 + 3 * 86_400, _PACE, 100.0)
    assert not standing.aside, "after a pause of the chain its newest block may be on its way"
    standing.compared(10, 1_000 + 3 * 86_400, _PACE, 120.0)
    assert standing.state is State.BEHIND
    assert "1 blocks, 259200 s behind" in standing.trouble
    standing.showed(10, 1_000 + 3 * 86_400)
    standing.compared(10, 1_000 + 3 * 86_400, _PACE, 121.0)
    assert not standing.aside


def test_fast_chains_allow_more_blocks_than_slow_ones() -> None:
    assert Pace.of(250, 1_000) == Pace(40, 60)
    assert Pace.of(60_000, 3_600_000) == Pace(3, 36_000)


# ---------------------------------------------------------------- rest


def test_a_node_that_failed_rests_longer_each_time_and_is_asked_last() -> None:
    failing = Node("a", trouble=Transient("a is not reachable"))
    roster, clock = play(failing, Node("b"))
    rests = []
    for _ in range(9):
        assert first(roster) == "b"
        rests.append(roster.seats[0].standing.rest_until_s - clock.now_s)
        assert first(roster) == "b"
        clock.now_s += rests[-1]
    assert failing.asked == 9
    assert rests == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    failing.trouble = None
    assert first(roster) == "a"


def test_a_node_that_wants_a_pause_is_not_asked_before_it_is_over() -> None:
    busy = Node("a", trouble=Busy("slow down", 30.0))
    roster, clock = play(busy, Node("b"))
    assert [first(roster), first(roster)] == ["b", "b"]
    assert busy.asked == 1
    busy.trouble = None
    clock.now_s += 29.0
    assert first(roster) == "b"
    clock.now_s += 1.0
    assert first(roster) == "a"


def test_where_all_want_a_pause_nobody_is_asked_and_the_shortest_is_told() -> None:
    nodes = [Node("a", trouble=Busy("x", 30.0)), Node("b", trouble=Busy("y", 20.0))]
    roster, clock = play(*nodes)
    for left_s in (20.0, 15.0):
        with pytest.raises(Busy) as busy:
            first(roster)
        assert busy.value.wait_s == left_s
        clock.now_s += 5.0
    assert [node.asked for node in nodes] == [1, 1]


def test_a_node_that_a_majority_contradicted_is_asked_last() -> None:
    roster, clock = play(Node("a"), Node("b"), Node("c"))
    roster.contradicted(roster.seats[0], "a receipt")
    assert first(roster) == "b"
    assert "a is contradicted" in roster.troubles()
    clock.now_s += 3600
    assert first(roster) == "a"


# ---------------------------------------------------------------- refusals and sends


def refusing(*names: str) -> Callable[[Node], Awaitable[str]]:
    async def ask(node: Node) -> str:
        await node.look()
        if node.name in names:
            raise Rejected(f"{node.name} says no")
        return node.name

    return ask


@pytest.mark.parametrize(
    ("names", "ends"), [(["a"], "b"), (["a", "b"], Rejected), (["a", "b", "c"], Rejected)]
)
def test_a_refusal_is_believed_of_a_majority_only(names: list[str], ends: object) -> None:
    roster, _ = play(Node("a"), Node("b"), Node("c"))
    ask = refusing(*names)

    async def whole() -> str:
        return await roster.unless_refused(lambda: roster.first(ask))

    if isinstance(ends, str):
        assert asyncio.run(whole()) == ends
    else:
        with pytest.raises(Rejected):
            asyncio.run(whole())


def test_a_refusal_of_the_only_node_that_answers_is_no_refusal() -> None:
    away = Transient("away")
    roster, _ = play(Node("a"), Node("b", trouble=away), Node("c", trouble=away))
    ask = refusing("a")
    with pytest.raises(Transient, match=r"1 of 3 nodes of chain refuse \(a says no\), 2 would"):
        asyncio.run(roster.unless_refused(lambda: roster.first(ask)))


def test_what_no_node_had_a_part_in_is_refused_at_once() -> None:
    roster, _ = play(Node("a"), Node("b"), Node("c"))
    asked = []

    async def attempt() -> None:
        asked.append(1)
        raise Rejected("not what the plan says", code="mismatch")

    with pytest.raises(Rejected):
        asyncio.run(roster.unless_refused(attempt))
    assert len(asked) == 1


def test_every_node_is_told_also_those_that_are_set_aside() -> None:
    roster, _ = play(Node("a", 1), Node("b"), Node("c"))
    newest(roster)
    told = []

    async def whole() -> list[str]:
        async def tell(seat: object) -> str:
            told.append(seat)
            return "taken"

        return await roster.tell(tell, lambda answer: answer == "taken")

    assert asyncio.run(whole()) == ["taken"] * 3
    assert set(told) == set(roster.seats)


def test_once_one_has_taken_it_a_hanging_node_is_not_waited_for() -> None:
    roster, _ = play(Node("a"), Node("b"))

    async def whole() -> list[str]:
        async def tell(seat: object) -> str:
            if seat is roster.seats[0]:
                await asyncio.Event().wait()
            return "taken"

        async with asyncio.timeout(5):
            said = await roster.tell(tell, lambda answer: answer == "taken")
        await roster.close()
        return said

    assert asyncio.run(whole()) == ["taken"]


def test_an_answer_that_was_on_its_way_does_not_end_the_pause_that_a_node_asked_for() -> None:
    standing = Standing("node")
    standing.failed(Busy("slow down", 5.0), 100.0)
    standing.answered(99.9)
    assert (standing.held(100.1), standing.state) == (True, State.BUSY)
    standing.answered(100.1)
    assert (standing.held(100.2), standing.state) == (False, State.WELL)
