"""A node's address at which faults can be set: by method, by way, for the nth call.

    with FaultProxy(node_url) as proxy:
        proxy.on("eth_sendRawTransaction", "lost_reply")         # its next call
        proxy.on("getblockcount", "forged", nth=3, transform=lambda height: height + 7)
        ...                                                      # a client of proxy.url
        proxy.clear()
        assert proxy.fired["eth_sendRawTransaction", "lost_reply"] == 1

| way | the node gets it | the client gets |
|---|---|---|
| `lost_reply` | yes | a closed connection |
| `error` | not this call | a JSON-RPC error object |
| `http_500`, `http_503`, `http_429` | no | that status and plain text; 429 with Retry-After |
| `hang` | no | nothing, until `clear` or its own timeout |
| `wrong_id` | yes | the answer with an id of another question |
| `truncated` | yes | the first half of the answer |
| `forged` | yes | ``transform(result)`` for the result |
| `stale` | yes | the former, different answer to the same question |
| `frozen` | yes | what the same question was answered when the fault was set |
| `kill` | no | nothing; the callback runs when the call arrives |
| `kill_after` | yes | nothing; the callback runs when the node has answered |

A batch (JSON-RPC 2.0, section 6) is a request of several calls: `error`, `wrong_id`, `forged`,
`stale` and `frozen` touch only the call that was meant, the others the whole request. `stale` and
`frozen` wait for a call that they can answer otherwise than the node. Headers pass both ways, so a
client's credentials reach the node.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import aiohttp
from aiohttp import web

from tests.fault_table import AFTER, ANY, BEFORE, OF_A_CALL, Call, FaultTable, Hit, Transform

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["ANY", "WAYS", "FaultProxy"]

WAYS: Final = OF_A_CALL | BEFORE | AFTER

_TEXTS: Final = {500: "internal error", 503: "Work queue depth exceeded", 429: "slow down"}
_UPSTREAM_TIMEOUT_S: Final = 60.0
_START_S: Final = 10.0


@dataclass
class _Answer:
    """What goes back to the client."""

    status: int = 200
    body: bytes = b"[]"
    kind: str = "application/json"


class FaultProxy:
    """A loopback address in front of one node; its server runs in a thread of its own.

    Args:
        upstream_url: of the node; may be changed while no request is under way (`upstream`).
        error: code and message of the way ``error``.
        retry_after_s: what ``http_429`` asks for.
        watch: told each method as its call comes, in the proxy's thread.

    Attributes:
        url: where clients find it, while the context is open.
        calls: method → calls that came.
        fired: (method, way) → faults that took effect.
        hangs_up: whether each answer ends its connection, as a node that restarts soon does: a
            client's pool keeps none for later then.
    """

    def __init__(
        self,
        upstream_url: str,
        *,
        error: tuple[int, str] = (-32603, "internal error"),
        retry_after_s: int = 1,
        watch: Callable[[str], None] | None = None,
    ) -> None:
        self.upstream = upstream_url
        self.url = ""
        self.hangs_up = False
        self._table = FaultTable(error)
        self.calls, self.fired = self._table.calls, self._table.fired
        self._retry_after_s = retry_after_s
        self._watch = watch
        self._thread: threading.Thread | None = None
        self._is_up = threading.Event()
        self._trouble: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._released: asyncio.Event

    def on(
        self,
        method: str,
        way: str,
        nth: int = 1,
        times: int | None = 1,
        transform: Transform | None = None,
        run: Callable[[], None] | None = None,
    ) -> None:
        """Set a fault.

        Args:
            method: of JSON-RPC, or `ANY`.
            way: one of `WAYS`.
            nth: the call that it hits first, 1 being the next one that comes.
            times: how many calls in a row it hits; None: all, until `clear`.
            transform: for ``forged``: result → what is answered.
            run: for ``kill`` and ``kill_after``: what happens; called in the proxy's thread.
        """
        if way not in WAYS:
            raise ValueError(f"no such way: {way}; there are {sorted(WAYS)}")
        self._table.set(method, way, nth, times, transform, run)

    def clear(self) -> None:
        """Take every fault back and let hanging requests end; the counters stay."""
        self._table.clear()
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._release)

    def forget(self) -> None:
        """Forget every answer: what is `stale` or `frozen` from now on is younger than this."""
        self._table.forget()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._serve, name="fault proxy", daemon=True)
        self._thread.start()
        if not self._is_up.wait(_START_S) or self._trouble is not None:
            raise RuntimeError("the fault proxy did not start") from self._trouble
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._thread is not None
        self.clear()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._thread = None

    # ------------------------------------------------------------ in the thread

    def _serve(self) -> None:
        try:
            asyncio.run(self._listen())
        except BaseException as error:  # noqa: BLE001 - told to whoever waits for the start
            self._trouble = error
            self._is_up.set()

    async def _listen(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop, self._released = asyncio.Event(), asyncio.Event()
        timeout = aiohttp.ClientTimeout(total=_UPSTREAM_TIMEOUT_S)
        application = web.Application(client_max_size=64 << 20)
        runner = web.AppRunner(
            application, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        async with aiohttp.ClientSession(timeout=timeout, auto_decompress=True) as session:

            async def handle(request: web.Request) -> web.StreamResponse:
                return await self._handle(request, session)

            application.router.add_post("/{path:.*}", handle)
            await runner.setup()
            try:
                site = web.TCPSite(runner, "127.0.0.1", 0)
                await site.start()
                host, port = runner.addresses[0][:2]
                self.url = f"http://{host}:{port}"
                self._is_up.set()
                await self._stop.wait()
            finally:
                await runner.cleanup()

    def _release(self) -> None:
        self._released.set()
        self._released = asyncio.Event()

    async def _handle(
        self, request: web.Request, session: aiohttp.ClientSession
    ) -> web.StreamResponse:
        body = await request.read()
        asked = json.loads(body)
        calls: list[Call] = asked if isinstance(asked, list) else [asked]
        if self._watch is not None:
            for call in calls:
                self._watch(call["method"])
        hits = self._table.due(calls)
        early = _first(hits, BEFORE)
        if early is not None:
            return await self._instead(request, early)
        refused = [hit for hit in hits if hit.fault.way == "error"]
        kept = [call for call in calls if all(hit.call is not call for hit in refused)]
        answer = _Answer()
        if kept:
            text = json.dumps(kept).encode() if refused else body
            try:
                answer = await self._ask(request, session, text)
            except (aiohttp.ClientError, OSError):
                return _closed(request)  # there is no node: neither is there one here
        late = _first(hits, AFTER)
        if late is not None:
            self._table.count(late)
            if late.fault.way != "truncated":
                if late.fault.run is not None:
                    late.fault.run()
                return _closed(request)
        answer.body = self._table.edited(asked, hits, answer.body)
        if late is not None:
            answer.body = answer.body[: len(answer.body) // 2]
        response = web.Response(status=answer.status, body=answer.body, content_type=answer.kind)
        if self.hangs_up:
            response.force_close()
        return response

    async def _ask(
        self, request: web.Request, session: aiohttp.ClientSession, body: bytes
    ) -> _Answer:
        kept = ("Authorization", "Content-Type")
        headers = {name: request.headers[name] for name in kept if name in request.headers}
        url = self.upstream.rstrip("/") + request.raw_path
        async with session.post(url, data=body, headers=headers) as response:
            return _Answer(response.status, await response.read(), response.content_type)

    async def _instead(self, request: web.Request, hit: Hit) -> web.StreamResponse:
        """Answer a request that the node never sees."""
        self._table.count(hit)
        way = hit.fault.way
        if way.startswith("http_"):
            status = int(way.removeprefix("http_"))
            headers = {"Retry-After": str(self._retry_after_s)} if status == 429 else {}
            return web.Response(status=status, text=_TEXTS[status], headers=headers)
        if way == "hang":
            await self._released.wait()
        elif hit.fault.run is not None:
            hit.fault.run()
        return _closed(request)


def _first(hits: list[Hit], ways: frozenset[str]) -> Hit | None:
    return next((hit for hit in hits if hit.fault.way in ways), None)


def _closed(request: web.Request) -> web.StreamResponse:
    """Close the connection; what is returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
