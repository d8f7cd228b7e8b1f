"""Waiting for room in an account's line."""

import asyncio
from collections.abc import Awaitable, Callable

from adapters.evm import line as line_module
from adapters.evm.line import Lines

_US = "0x" + "11" * 20
_WINDOW = 2


class Scene:
    """A line and its claims, and who got through."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.lines = Lines(lambda: self.now_s)
        self.claimed: set[int] = set()
        self.through: list[str] = []
        self.inside = self.most_inside = 0

    def taken(self, _account: str, nonce: int) -> bool:
        return nonce in self.claimed

    async def enter(self, name: str, *, takes: bool = True) -> None:
        """Wait for room and take the first free nonce, after a question to a node."""
        async with self.lines.place(_US, _WINDOW, self.taken):
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            await asyncio.sleep(0)
            self.inside -= 1
            if takes:
                nonce = next(n for n in range(99) if n not in self.claimed)
                self.claimed.add(nonce)
                self.through.append(name)

    def start(self, name: str, *, takes: bool = True) -> "asyncio.Task[None]":
        return asyncio.create_task(self.enter(name, takes=takes))


def play(story: Callable[[Scene], Awaitable[None]]) -> None:
    async def whole() -> None:
        await story(Scene())

    asyncio.run(whole())


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_no_more_get_in_than_there_is_room_for_even_at_one_moment() -> None:
    async def story(scene: Scene) -> None:
        scene.lines.saw(_US, 0)
        tasks = [scene.start(name) for name in "abcde"]
        await settle()
        assert scene.through == ["a", "b"]
        for task in tasks:
            task.cancel()

    play(story)


def test_who_waits_is_called_in_his_order_as_blocks_consume_nonces() -> None:
    async def story(scene: Scene) -> None:
        scene.lines.saw(_US, 0)
        tasks = [scene.start(name) for name in "abcde"]
        await settle()
        late = scene.start("late")
        scene.lines.consumed([(_US, 0)])  # c is called, and it is late's turn of the loop first
        await settle()
        assert scene.through == ["a", "b", "c"]
        scene.lines.consumed([(_US, 1), (_US, 2)])
        await settle()
        assert scene.through == ["a", "b", "c", "d", "e"]
        scene.lines.consumed([(_US, 4)])
        await asyncio.gather(*tasks, late)
        assert scene.through[-1] == "late"

    play(story)


def test_who_takes_nothing_leaves_his_place_to_the_next() -> None:
    async def story(scene: Scene) -> None:
        scene.lines.saw(_US, 0)
        first = [scene.start("none", takes=False), scene.start("a")]
        rest = [scene.start("b")]
        await asyncio.gather(*first, *rest)
        assert scene.through == ["a", "b"]

    play(story)


def test_who_gives_up_when_he_is_called_leaves_his_place_to_the_next() -> None:
    async def story(scene: Scene) -> None:
        scene.lines.saw(_US, 0)
        await asyncio.gather(scene.start("a"), scene.start("b"))
        gone, waits = scene.start("gone"), scene.start("waits")
        await settle()
        scene.lines.consumed([(_US, 0)])
        gone.cancel()
        await settle()
        assert scene.through == ["a", "b", "waits"]
        await waits

    play(story)


def test_where_nothing_is_known_one_at_a_time_finds_out() -> None:
    async def story(scene: Scene) -> None:
        await asyncio.gather(*(scene.start(name) for name in "abc"))
        assert scene.through == ["a", "b", "c"]
        assert scene.most_inside == 1
        waiting = [scene.start(name) for name in "defg"]
        await asyncio.sleep(0)
        scene.lines.saw(_US, 3)
        await settle()
        assert scene.through[3:] == ["d", "e"]
        scene.lines.consumed([(_US, 3), (_US, 4)])
        await asyncio.gather(*waiting)
        assert scene.through[5:] == ["f", "g"]

    play(story)


def test_nobody_waits_where_nothing_is_known_and_none_waits_for_ever() -> None:
    async def story(scene: Scene) -> None:
        await scene.enter("unknown")
        scene.lines.saw(_US, 0)
        scene.claimed |= {0, 1}
        late = scene.start("late")
        await settle()
        assert scene.through == ["unknown"]
        scene.now_s += 2 * line_module._WAIT_S
        scene.lines.consumed([(_US, -1)])  # nothing moved; he is not called
        scene.lines.forget()
        await late
        assert scene.through == ["unknown", "late"], "what is not known is asked of a node"

    play(story)


def test_a_wait_ends_by_itself() -> None:
    async def story(scene: Scene) -> None:
        scene.lines.saw(_US, 0)
        scene.claimed |= {0, 1}
        scene.now_s = -line_module._WAIT_S  # nearly over when the loop's own clock starts
        waiting = scene.start("late")
        await settle()
        assert not waiting.done()
        await asyncio.wait_for(waiting, 10 * line_module._WAIT_S)
        assert scene.through == ["late"], "whether there is room is for the caller to find out"
        assert not scene.lines._lines[_US].waiting, "he is not called any more"

    play(story)
