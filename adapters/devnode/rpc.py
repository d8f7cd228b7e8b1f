"""A blocking JSON-RPC call with the standard library, for the readiness and mining of dev nodes.

Whatever carries a plan's effects goes through `adapters.rpc` instead.
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from typing import Any

__all__ = ["NodeRefused", "NodeUnreachable", "call"]

# Proxies of the environment must not see calls to a loopback node.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NodeUnreachable(Exception):
    """The node did not answer; the call may or may not have reached it."""


class NodeRefused(Exception):
    """The node answered with an error.

    Attributes:
        code: the JSON-RPC error code.
    """

    def __init__(self, method: str, code: int, message: str) -> None:
        super().__init__(f"{method}: {message} ({code})")
        self.code = code


def call(
    url: str, method: str, *params: object, credentials: str | None = None, timeout_s: float = 30.0
) -> Any:
    """Call method and return its result, the JSON value as Python has it.

    Args:
        url: where the node listens, without credentials.
        method: name of the call.
        params: positional parameters, values that JSON can carry.
        credentials: ``user:password`` for HTTP basic authentication.
        timeout_s: longest silence of the node.

    Raises:
        NodeRefused: the node answered with an error.
        NodeUnreachable: no connection, no answer in time, or no JSON.
    """
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    if credentials is not None:
        request.add_header(
            "Authorization", "Basic " + base64.b64encode(credentials.encode()).decode()
        )
    try:
        with _OPENER.open(request, timeout=timeout_s) as response:
            answer = json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            answer = _json_or_none(error.read())
        if answer is None:
            msg = f"{method}: HTTP {error.code} from {url}"
            raise NodeUnreachable(msg) from error
    except (OSError, ValueError) as error:
        msg = f"{method}: no answer from {url}: {error}"
        raise NodeUnreachable(msg) from error
    failure = answer.get("error")
    if failure is not None:
        raise NodeRefused(method, failure["code"], failure["message"])
    return answer["result"]


def _json_or_none(body: bytes) -> dict[str, Any] | None:
    """The reply inside an HTTP error: bitcoind answers 1.x requests and warm-up that way."""
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None
