"""The JSON-RPC door against a server that misbehaves as it is told."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from adapters.errors import Ambiguous, Busy, Transient
from adapters.retry import Patience, reading, reading_for_ever
from adapters.rpc import JsonRpc, RpcError
from tests.unit.rpc_scene import Answer, replies, result, with_server


def test_a_result_comes_back() -> None:
    async def body(rpc: JsonRpc) -> None:
        assert await rpc.call("m", [1, "a"]) == ["m", [1, "a"]]
        assert await rpc.send("m") == ["m", []]

    arrived = with_server(replies(result), body)
    assert [sent["jsonrpc"] for sent in arrived] == ["2.0", "2.0"]
    assert arrived[0]["id"] != arrived[1]["id"]


def test_a_batch_comes_back_in_its_own_order_with_errors_in_their_places() -> None:
    def make(sent: Any) -> Any:
        answers = [result(item) for item in sent]
        answers[1] = {"id": sent[1]["id"], "error": {"code": 3, "message": "no", "data": "0x"}}
        return list(reversed(answers))

    async def body(rpc: JsonRpc) -> None:
        first, second, third = await rpc.batch([("a", []), ("b", []), ("c", [])])
        assert (first[0], third[0]) == ("a", "c")
        assert isinstance(second, RpcError)
        assert (second.code, second.message, second.data) == (3, "no", "0x")
        assert await rpc.batch([]) == []

    assert len(with_server(replies(make), body)) == 1


@pytest.mark.parametrize(
    ("make", "status"),
    [
        (lambda sent: {**result(sent), "id": sent["id"] + 1}, 200),
        (lambda sent: {"id": sent["id"]}, 200),
        (lambda sent: {"id": sent["id"], "error": "text"}, 200),
        (lambda _sent: "not json", 200),
        (lambda _sent: "[" * 100_000, 200),
        (lambda _sent: [], 200),
        (lambda _sent: 5, 200),
        (lambda _sent: "Work queue depth exceeded", 503),
        (lambda _sent: "rate limited", 429),
        (lambda _sent: "who are you", 401),
        (lambda _sent: {"x": "y" * 5000}, 200),
        (lambda sent: {"id": sent["id"], "error": {"code": -32005, "message": "limit"}}, 200),
    ],
    ids=[
        "another id", "no result", "an odd error", "no JSON", "deep nesting", "a list", "a number",
        "overloaded", "rate limited", "unauthorised", "too long", "busy",
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_transient_for_a_read_and_ambiguous_for_a_send(
    make: Callable[[Any], Any], status: int
) -> None:
    async def body(rpc: JsonRpc) -> None:
        with pytest.raises(Transient) as read:
            await rpc.call("m")
        assert "secret-path" not in str(read.value)
        with pytest.raises(Ambiguous, match="may have arrived"):
            await rpc.send("m")

    options = {"transient_codes": frozenset({-32005}), "reply_limit_bytes": 4000}
    with_server(replies(make, status), body, **options)


def test_an_error_with_an_http_status_is_still_the_nodes_answer() -> None:
    def make(sent: Any) -> Any:
        return {"id": sent["id"], "error": {"code": -5, "message": "unknown"}, "result": None}

    async def body(rpc: JsonRpc) -> None:
        for ask in (rpc.call, rpc.send):
            with pytest.raises(RpcError) as refused:
                await ask("m")
            assert refused.value.code == -5

    with_server(replies(make, 500), body)


@pytest.mark.parametrize("odd", [[1], {"a": 1}, None, "1"])
def test_answers_with_odd_numbers_are_no_answers(odd: Any) -> None:
    def make(sent: Any) -> Any:
        return [{**result(item), "id": odd} for item in sent]

    async def body(rpc: JsonRpc) -> None:
        with pytest.raises(Transient, match="an answer to another question"):
            await rpc.batch([("a", []), ("b", [])])

    with_server(replies(make), body)


def test_a_node_that_refuses_a_whole_batch_says_so() -> None:
    def make(_sent: Any) -> Any:
        return {"id": None, "error": {"code": -32600, "message": "no batches"}}

    async def body(rpc: JsonRpc) -> None:
        with pytest.raises(RpcError, match="no batches"):
            await rpc.batch([("a", [])])

    with_server(replies(make), body)


def test_a_hang_ends_at_the_timeout() -> None:
    async def answer(_sent: Any, _request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def body(rpc: JsonRpc) -> None:
        with pytest.raises(Transient, match=r"did not answer in 0\.1 s"):
            await rpc.call("m")

    with_server(answer, body, timeout_s=0.1)


def test_a_redirect_is_not_followed() -> None:
    async def answer(_sent: Any, _request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect("http://127.0.0.1:9/elsewhere")

    async def body(rpc: JsonRpc) -> None:
        with pytest.raises(Transient, match="HTTP 307"):
            await rpc.call("m")

    assert len(with_server(answer, body)) == 1


def test_a_closed_door_stays_closed() -> None:
    async def body(rpc: JsonRpc) -> None:
        await rpc.call("m")
        await rpc.close()
        await rpc.close()
        with pytest.raises(Transient, match="was closed"):
            await rpc.call("m")

    with_server(replies(result), body)


def test_headers_are_asked_for_again_after_a_401() -> None:
    tokens = iter(["old", "new"])

    async def answer(sent: Any, request: web.Request) -> web.Response:
        fresh = request.headers["Authorization"] == "new"
        return web.json_response(result(sent), status=200 if fresh else 401)

    async def body(rpc: JsonRpc) -> None:
        assert await rpc.call("m") == ["m", []]
        assert await rpc.call("m") == ["m", []]

    arrived = with_server(answer, body, headers=lambda: {"Authorization": next(tokens)})
    assert len(arrived) == 3


def test_a_node_that_is_away_is_named_by_host_and_port_only() -> None:
    async def whole() -> None:
        rpc = JsonRpc("http://user:hunter2@127.0.0.1:9/token")
        with pytest.raises(Transient) as away:
            await rpc.call("m")
        await rpc.close()
        assert "http://127.0.0.1:9 is not reachable" in str(away.value)
        assert "hunter2" not in str(away.value)
        assert "token" not in str(away.value)

    asyncio.run(whole())


_QUICK = Patience(attempts=3, first_wait_s=0.001, longest_wait_s=0.002)


@pytest.mark.parametrize(
    ("error", "tries"), [(Transient("away"), 3), (Ambiguous("?"), 1), (RpcError(1, "no"), 1)]
)
def test_only_transient_trouble_of_reads_is_tried_again(error: Exception, tries: int) -> None:
    made = []

    async def read() -> None:
        made.append(1)
        raise error

    with pytest.raises(type(error)):
        asyncio.run(reading(read, _QUICK))
    assert len(made) == tries


def test_a_follower_outlives_any_number_of_failures() -> None:
    left = [Transient("away")] * 20

    async def read() -> str:
        if left:
            raise left.pop()
        return "here"

    assert asyncio.run(reading_for_ever(read, _QUICK)) == "here"


# ---------------------------------------------------------------- busy nodes


def busy(status: int, **headers: str) -> Answer:
    async def answer(_sent: Any, _request: web.Request) -> web.Response:
        return web.Response(status=status, text="later", headers=headers)

    return answer


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "86400"}, 60.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        (
            {
                "Date": "Sat, 21 Nov 2026 11:00:00 GMT",
                "Retry-After": "Sat, 21 Nov 2026 11:00:09 GMT",
            },
            9.0,
        ),
        ({"Retry-After": "Sat, 21 Nov 2020 11:00:00 GMT"}, 0.0),
    ],
    ids=["no wish", "seconds", "bounded", "no number", "negative", "a date", "a date gone by"],
)
def test_a_busy_node_says_how_long_a_pause_it_wants(
    status: int, headers: dict[str, str], wait_s: float | None
) -> None:
    async def body(rpc: JsonRpc) -> None:
        with pytest.raises(Busy, match=f"HTTP {status}") as told:
            await rpc.call("m")
        assert told.value.wait_s == wait_s
        with pytest.raises(Ambiguous):
            await rpc.send("m")

    with_server(busy(status, **headers), body)


def test_a_read_waits_as_long_as_a_busy_node_wants_and_not_beyond_its_own_patience() -> None:
    tries: list[float] = []
    waits = [0.2, None, 90.0]

    async def read() -> str:
        tries.append(asyncio.get_running_loop().time())
        if waits:
            raise Busy("later", waits.pop(0))
        return "here"

    with pytest.raises(Busy):
        asyncio.run(reading(read, Patience(attempts=9, first_wait_s=0.001, total_s=5)))
    assert len(tries) == 3, "the wish for 90 s ends the read"
    assert tries[1] - tries[0] >= 0.2
    assert asyncio.run(reading(read, _QUICK)) == "here"


def test_no_text_shows_what_the_address_holds_beyond_host_and_port() -> None:
    def make(sent: Any) -> Any:
        error = {"code": -1, "message": "no such thing at http://127.0.0.1/secret-path?x"}
        return {"id": sent["id"], "error": error}

    async def body(rpc: JsonRpc) -> None:
        with pytest.raises(RpcError) as refused:
            await rpc.call("m")
        assert "secret-path" not in str(refused.value)
        assert str(refused.value).startswith("http://127.0.0.1:")

    with_server(replies(make), body)


def test_a_key_that_stands_for_a_user_is_no_more_shown_than_a_password() -> None:
    def make(sent: Any) -> Any:
        return {"id": sent["id"], "error": {"code": -1, "message": "unknown key a-provider-key"}}

    async def body(rpc: JsonRpc) -> None:
        own = JsonRpc(rpc.label.replace("//", "//a-provider-key@") + "/secret-path")
        try:
            with pytest.raises(RpcError, match="unknown key …") as refused:
                await own.call("m")
            assert "a-provider-key" not in str(refused.value)
        finally:
            await own.close()

    with_server(replies(make), body)
