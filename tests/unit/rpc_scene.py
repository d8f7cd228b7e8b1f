"""A JSON-RPC server that answers as it is told, and a door to it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from adapters.rpc import JsonRpc

__all__ = ["Answer", "replies", "result", "with_server"]

Answer = Callable[[Any, web.Request], Awaitable[web.StreamResponse]]


def with_server(
    answer: Answer, body: Callable[[JsonRpc], Awaitable[None]], **options: Any
) -> list[Any]:
    """Serve ``answer`` on a free port and play ``body``; return the bodies that arrived."""
    arrived: list[Any] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        sent = await request.json()
        arrived.append(sent)
        return await answer(sent, request)

    async def whole() -> None:
        application = web.Application()
        application.router.add_post("/secret-path", handle)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        rpc = JsonRpc(f"http://127.0.0.1:{port}/secret-path", **options)
        try:
            await body(rpc)
        finally:
            await rpc.close()
            await runner.cleanup()

    asyncio.run(whole())
    return arrived


def replies(make: Callable[[Any], Any], status: int = 200) -> Answer:
    async def answer(sent: Any, _request: web.Request) -> web.Response:
        made = make(sent)
        text = made if isinstance(made, str) else json.dumps(made)
        return web.Response(text=text, status=status)

    return answer


def result(sent: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": sent["id"], "result": [sent["method"], sent["params"]]}
