"""A node that passes on what another node says, with answers edited on the way."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

__all__ = ["REFUSED", "Between", "Refusal", "between"]


@dataclass(frozen=True)
class Refusal:
    """An edit returns this where the node shall answer with an error."""

    code: int
    message: str = "no"


REFUSED = Refusal(-32601, "Method not found")

Edit = Callable[[str, list[Any], Any], Any]


def _honest(_method: str, _params: list[Any], result: Any) -> Any:
    return result


@dataclass
class Between:
    """``edit(method, params, result)`` returns what is answered; ``asked`` keeps the methods."""

    url: str = ""
    edit: Edit = _honest
    asked: list[str] = field(default_factory=list)

    def answer(self, call: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(call["method"])
        if "result" not in reply:
            return reply
        result = self.edit(call["method"], call["params"], reply["result"])
        if isinstance(result, Refusal):
            error = {"code": result.code, "message": result.message}
            return {"jsonrpc": "2.0", "id": call["id"], "error": error}
        return {**reply, "result": result}


@asynccontextmanager
async def between(upstream: str) -> AsyncIterator[Between]:
    """Listen on a free loopback port before the node at ``upstream``."""
    node = Between()

    async def handle(request: web.Request) -> web.Response:
        body = await request.json()
        async with session.post(upstream, json=body) as response:
            reply = await response.json()
        if isinstance(body, dict):
            return web.json_response(node.answer(body, reply))
        by_id = {each["id"]: each for each in reply}
        return web.json_response([node.answer(call, by_id[call["id"]]) for call in body])

    application = web.Application()
    application.router.add_post("/{path:.*}", handle)
    runner = web.AppRunner(application)
    async with aiohttp.ClientSession() as session:
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            node.url = f"http://{host}:{port}"
            yield node
        finally:
            await runner.cleanup()
