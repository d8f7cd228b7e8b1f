"""Calls of one moment in one request: everybody gets the answer to his own, and only that."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any

import pytest
from aiohttp import web

from adapters.errors import Ambiguous, Busy, Transient
from adapters.gathering import Gathering, Judge
from adapters.rpc import JsonRpc, RpcError
from tests.unit.rpc_scene import Answer, replies, result, with_server

_BUSY = -32005
#: Most calls that go out in one request.
_MOST = 64


def gathered(
    answer: Answer,
    body: Callable[[Gathering], Awaitable[None]],
    judge: tuple[Judge, ...] = (),
    **options: Any,
) -> list[list[str]]:
    """Play ``body`` against ``answer``; return the methods of each request that arrived."""

    async def whole(rpc: JsonRpc) -> None:
        gathering = Gathering(rpc, *judge)
        try:
            await body(gathering)
        finally:
            await gathering.close()

    options = {"transient_codes": frozenset({_BUSY}), **options}
    arrived = with_server(answer, whole, **options)
    return [[item["method"] for item in each(sent)] for sent in arrived]


def each(sent: Any) -> list[Any]:
    return sent if isinstance(sent, list) else [sent]


def answers(sent: Any) -> Any:
    """Answer each call with its method and parameters, the last one first."""
    if isinstance(sent, list):
        return [result(item) for item in reversed(sent)]
    return result(sent)


def failing(method: str, make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Answer the calls of one method with what ``make`` makes of them, and all others well."""

    def reply(sent: Any) -> Any:
        made = [make(item) if item["method"] == method else result(item) for item in each(sent)]
        return made if isinstance(sent, list) else made[0]

    return reply


def at_most(calls: int) -> Callable[[Any], Any]:
    """Refuse longer requests as a whole, as nodes do."""

    def reply(sent: Any) -> Any:
        if isinstance(sent, list) and len(sent) > calls:
            return {"id": None, "error": {"code": -32600, "message": "batch too large"}}
        return answers(sent)

    return reply


def too_large_above(calls: int) -> Answer:
    async def reply(sent: Any, _request: web.Request) -> web.Response:
        if isinstance(sent, list) and len(sent) > calls:
            return web.Response(status=413, text="too large")
        return web.json_response(answers(sent))

    return reply


async def silent(_sent: Any, request: web.Request) -> web.Response:
    """Break the connection off without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def test_what_is_asked_at_one_moment_is_one_request_and_each_answer_finds_its_asker() -> None:
    async def body(gathering: Gathering) -> None:
        asked = [gathering.batch([(f"m{n}", [n]), ("also", [n])]) for n in range(5)]
        for n, got in enumerate(await asyncio.gather(*asked, gathering.call("alone"))):
            assert got == ([[f"m{n}", [n]], ["also", [n]]] if n < 5 else ["alone", []])

    assert [len(methods) for methods in gathered(replies(answers), body)] == [11]


def test_a_call_that_nobody_else_makes_is_no_batch() -> None:
    async def body(gathering: Gathering) -> None:
        assert await gathering.call("m", [1]) == ["m", [1]]
        assert await gathering.send("s", [2]) == ["s", [2]]
        assert await gathering.batch([]) == []

    def alone(sent: Any) -> Any:
        assert isinstance(sent, dict)
        return result(sent)

    assert gathered(replies(alone), body) == [["m"], ["s"]]


def test_an_equal_question_is_asked_once_and_anew_once_it_has_left() -> None:
    heights = iter(range(9))
    left = asyncio.Event()

    async def reply(sent: Any, _request: web.Request) -> web.Response:
        height = next(heights)
        if height:
            left.set()
        made = [{"id": item["id"], "result": height} for item in each(sent)]
        return web.json_response(made if isinstance(sent, list) else made[0])

    async def body(gathering: Gathering) -> None:
        latest = [gathering.call("latest", ["0x1", {"a": 1}]) for _ in range(3)]
        other = gathering.call("latest", ["0x2", {"a": 1}])
        assert await asyncio.gather(*latest, other) == [0, 0, 0, 0]
        first = asyncio.ensure_future(gathering.call("latest"))
        await left.wait()
        # The answer to a question that has left may be older than this one.
        assert await gathering.call("latest") == 2
        assert await first == 1

    assert gathered(reply, body) == [["latest"] * 2, ["latest"], ["latest"]]


def test_an_answer_is_judged_once_and_the_verdict_is_everybodys() -> None:
    judged: list[tuple[str, Any]] = []

    def judge(method: str, params: Sequence[Any], answer: Any) -> Any:
        assert params == [1]
        judged.append((method, answer))
        return Transient("no answer to this") if method == "bad" else answer

    async def body(gathering: Gathering) -> None:
        asked = [gathering.call(method, [1]) for method in ("good", "bad") * 3]
        got = await asyncio.gather(*asked, return_exceptions=True)
        assert got[::2] == [["good", [1]]] * 3
        assert [str(trouble) for trouble in got[1::2]] == ["no answer to this"] * 3
        with pytest.raises(Transient, match="no answer to this"):
            await gathering.call("bad", [1])
        assert await gathering.send("bad", [1]) == ["bad", [1]]  # sends have no other answer

    gathered(replies(answers), body, (judge,))
    assert judged == [(method, [method, [1]]) for method in ("good", "bad", "bad")]


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda item: {"id": item["id"], "error": {"code": 3, "message": "no"}}, RpcError),
        (lambda item: {"id": item["id"], "error": {"code": _BUSY, "message": "later"}}, Busy),
        (lambda item: {"id": item["id"]}, Transient),
        (lambda _item: {"id": 10**6, "result": "of another"}, Transient),
        (lambda _item: "nonsense", Transient),
    ],
    ids=["refused", "busy", "no result", "another number", "nonsense"],
)
def test_one_answer_that_is_none_does_not_touch_its_neighbours(
    make: Callable[[Any], Any], kind: type[Exception]
) -> None:
    async def body(gathering: Gathering) -> None:
        good, bad, both = await asyncio.gather(
            gathering.batch([("a", []), ("b", [])]),
            gathering.call("bad"),
            gathering.batch([("c", []), ("bad", [1])]),
            return_exceptions=True,
        )
        assert good == [["a", []], ["b", []]]
        assert isinstance(bad, kind)
        if kind is RpcError:
            assert both[0] == ["c", []]
            assert isinstance(both[1], RpcError)
        else:
            assert isinstance(both, kind)

    assert len(gathered(replies(failing("bad", make)), body)) == 1


def test_one_send_that_is_refused_does_not_touch_its_neighbours() -> None:
    def refuse(item: Any) -> Any:
        return {"id": item["id"], "error": {"code": -32000, "message": "nonce too low"}}

    async def body(gathering: Gathering) -> None:
        sends = [gathering.send(name, [n]) for n, name in enumerate(("send", "refused", "send"), 1)]
        first, refused, third = await asyncio.gather(*sends, return_exceptions=True)
        assert (first, third) == (["send", [1]], ["send", [3]])
        assert isinstance(refused, RpcError)
        assert "nonce too low" in str(refused)

    assert gathered(replies(failing("refused", refuse)), body) == [["send", "refused", "send"]]


def test_sends_keep_their_order_and_travel_apart_from_reads_and_none_is_left_out() -> None:
    async def body(gathering: Gathering) -> None:
        sends = [gathering.send("send", ["the same bytes"]) for _ in range(3)]
        more = [gathering.send(f"send{n}", [n]) for n in range(20)]
        await asyncio.gather(gathering.call("read"), *sends, *more)

    requests = gathered(replies(answers), body)
    assert sorted(map(len, requests)) == [1, 23]
    assert max(requests, key=len) == ["send"] * 3 + [f"send{n}" for n in range(20)]


@pytest.mark.parametrize(
    "refuse",
    [lambda calls: replies(at_most(calls)), too_large_above],
    ids=["an error", "HTTP 413"],
)
def test_a_request_that_is_longer_than_the_node_allows_is_cut_and_every_read_answered(
    refuse: Callable[[int], Answer],
) -> None:
    async def body(gathering: Gathering) -> None:
        for _ in range(4):
            asked = [gathering.call("m", [n]) for n in range(10)]
            assert await asyncio.gather(*asked) == [["m", [n]] for n in range(10)]

    requests = list(map(len, gathered(refuse(3), body)))
    assert sum(length for length in requests if length <= 3) == 40
    assert [length for length in requests if length > 3] == [10, 5, 5], "it has learnt"


def test_a_node_that_takes_no_batches_is_asked_one_by_one() -> None:
    async def body(gathering: Gathering) -> None:
        assert await asyncio.gather(*(gathering.call("m", [n]) for n in range(5))) == [
            ["m", [n]] for n in range(5)
        ]

    assert [len(methods) for methods in gathered(replies(at_most(1)), body)].count(1) == 5


def test_more_than_fits_goes_out_in_several_requests() -> None:
    async def body(gathering: Gathering) -> None:
        got = await gathering.batch([("m", [n]) for n in range(2 * _MOST + 1)])
        assert got == [["m", [n]] for n in range(2 * _MOST + 1)]

    requests = gathered(replies(answers), body)
    assert sorted(map(len, requests)) == [1, _MOST, _MOST]


def test_a_send_is_never_repeated_not_even_when_the_node_refuses_the_request() -> None:
    async def body(gathering: Gathering) -> None:
        sends = [gathering.send("send", [n]) for n in range(4)]
        for said in await asyncio.gather(*sends, return_exceptions=True):
            assert isinstance(said, RpcError)
            assert "batch too large" in str(said)
        assert await asyncio.gather(*(gathering.send("again", [n]) for n in range(4)))

    requests = gathered(replies(at_most(2)), body)
    sent = list(chain(*requests))
    assert (sent.count("send"), sent.count("again")) == (4, 4)
    assert sorted(map(len, requests)) == [2, 2, 4], "the next ones are shorter"


def test_a_lost_reply_is_transient_for_every_read_and_ambiguous_for_every_send() -> None:
    async def body(gathering: Gathering) -> None:
        reads = [gathering.call("read", [n]) for n in range(3)]
        for trouble in await asyncio.gather(*reads, return_exceptions=True):
            assert isinstance(trouble, Transient)
        sends = [gathering.send("send", [n]) for n in range(3)]
        for trouble in await asyncio.gather(*sends, return_exceptions=True):
            assert isinstance(trouble, Ambiguous)
            assert "may have arrived" in str(trouble)

    assert gathered(silent, body) == [["read"] * 3, ["send"] * 3], "nothing is repeated here"


def test_while_requests_are_under_way_what_comes_is_gathered() -> None:
    free = asyncio.Event()

    async def slow(sent: Any, _request: web.Request) -> web.Response:
        await free.wait()
        return web.json_response(answers(sent))

    async def body(gathering: Gathering) -> None:
        asked = []
        for n in range(40):
            asked.append(asyncio.ensure_future(gathering.call("m", [n])))
            await asyncio.sleep(0.001)
        free.set()
        assert await asyncio.gather(*asked) == [["m", [n]] for n in range(40)]

    requests = gathered(slow, body)
    assert len(requests) < 10
    assert sum(map(len, requests)) == 40


def test_who_gives_up_takes_nothing_from_the_others_and_what_he_alone_wanted_stays_here() -> None:
    async def body(gathering: Gathering) -> None:
        patient = asyncio.ensure_future(gathering.call("shared"))
        hasty = [asyncio.ensure_future(gathering.call(name)) for name in ("shared", "his own")]
        await asyncio.sleep(0)
        for task in hasty:
            task.cancel()
        assert await patient == ["shared", []]

    assert gathered(replies(answers), body) == [["shared"]]


def test_closing_ends_every_wait() -> None:
    came = asyncio.Event()

    async def never(_sent: Any, _request: web.Request) -> web.Response:
        came.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def body(gathering: Gathering) -> None:
        asked = [asyncio.ensure_future(gathering.call("m", [n])) for n in range(3)]
        send = asyncio.ensure_future(gathering.send("s"))
        await came.wait()
        late = asyncio.ensure_future(gathering.call("late"))
        await asyncio.sleep(0)
        await gathering.close()
        for trouble in await asyncio.gather(*asked, late, return_exceptions=True):
            assert isinstance(trouble, Transient)
            assert "closed here" in str(trouble)
        with pytest.raises(Ambiguous):
            await send

    gathered(never, body)
