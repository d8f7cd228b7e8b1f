"""JSON-RPC 2.0 over HTTP: the one door to every node.

A reply is checked (size, id, shape) before anybody sees it, and trouble is sorted by what it allows
next: the node's own refusal (`RpcError`), a read that may be repeated (`Transient`), or a send of
which nobody knows whether it arrived (`Ambiguous`). Nothing is ever repeated here.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Any, Final
from urllib.parse import unquote

import aiohttp
from yarl import URL

from adapters.errors import Ambiguous, Busy, Transient
from adapters.json_text import parse_json

__all__ = ["Headers", "JsonRpc", "RpcError"]

#: Gives request headers (authorisation); asked again after the node answered 401.
Headers = Callable[[], Mapping[str, str]]

#: A reply beyond this is refused: blocks of the largest chains stay well below.
REPLY_LIMIT_BYTES: Final = 64 << 20
#: Parsing more than this would keep the loop from its other work for over 10 ms.
_PARSE_IN_THREAD_BYTES: Final = 1 << 20
_CONNECTIONS: Final = 8
#: Too many requests, and overloaded (RFC 6585, section 4; RFC 9110, section 15.6.4).
_BUSY_STATUS: Final = frozenset({429, 503})
#: Content too large (RFC 9110, section 15.5.14).
_TOO_LARGE: Final = 413
#: Whatever a node asks for, it is asked again after so long: a redeem may be waiting.
_PAUSE_MAX_S: Final = 60.0
#: Shorter parts of an address are words like "rpc" and no secrets.
_SECRET_LENGTH_MIN: Final = 8


class RpcError(Exception):
    """The node answered, and its answer is an error object (JSON-RPC 2.0, section 5.1).

    Attributes:
        code: the node's number; its meaning differs between nodes.
        message: the node's text, a hint for people.
        data: what the node added (revert data of a simulation, say), or None.
        node: who said it, as scheme, host and port.
    """

    def __init__(self, code: int, message: str, data: Any = None, node: str = "") -> None:
        super().__init__(f"{node}: {message} ({code})" if node else f"{message} ({code})")
        self.code = code
        self.message = message
        self.data = data
        self.node = node


class JsonRpc:
    """One node.

    Args:
        url: ``http(s)://[user:password@]host:port/path``. Only scheme, host and port ever show up
            in messages, because the rest often holds a key.
        timeout_s: for one request, from connecting to the last byte.
        headers: see `Headers`.
        transient_codes: error codes of this kind of node that mean "busy, ask again".
        reply_limit_bytes: longer replies are refused as `Transient`.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float = 10.0,
        headers: Headers | None = None,
        *,
        transient_codes: frozenset[int] = frozenset(),
        reply_limit_bytes: int = REPLY_LIMIT_BYTES,
    ) -> None:
        self._url = URL(url)
        self._secrets = _secrets_in(self._url)
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._headers = headers
        self._known_headers: Mapping[str, str] | None = None
        self._transient_codes = transient_codes
        self._reply_limit_bytes = reply_limit_bytes
        self._ids = count(1)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        #: the node for messages: scheme, host and port.
        self.label: str = f"{self._url.scheme}://{self._url.host}:{self._url.port}"

    async def close(self) -> None:
        """Close all connections, for good: a later call is `Transient` and opens none."""
        self._closed = True
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def call(self, method: str, params: Sequence[Any] = ()) -> Any:
        """Return the result of a read.

        Raises:
            RpcError: the node answered with an error.
            Transient: no valid answer came; nothing was changed anywhere.
        """
        request = self._request(method, params)
        reply = await self._post(request)
        answer = self._answer(reply, request["id"])
        if isinstance(answer, RpcError):
            raise answer
        return answer

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Return the results of several reads in one request, in their order.

        A call that the node refused has its `RpcError` in the list.

        Raises:
            RpcError: the node refused the whole batch.
            Transient: no valid answer came, or one of the answers means "busy".
        """
        answers = await self.outcomes(calls)
        for answer in answers:
            if isinstance(answer, Transient):
                raise answer
        return answers

    async def outcomes(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Return for each call, asked in one request, its result, its `RpcError`, or the
        `Transient` trouble that the node had with it alone.

        Raises:
            RpcError: the node refused the whole batch.
            Transient: no valid answer came to the request as such.
        """
        if not calls:
            return []
        requests = [self._request(method, params) for method, params in calls]
        replies = await self._post(requests)
        if isinstance(replies, dict):
            answer = self._answer(replies, replies.get("id"))
            raise answer if isinstance(answer, RpcError) else self._nonsense("no list for a batch")
        if not isinstance(replies, list) or len(replies) != len(requests):
            raise self._nonsense("another number of answers than of calls")
        by_id = {_id_of(reply): reply for reply in replies}
        return [self._outcome(by_id.get(request["id"]), request["id"]) for request in requests]

    async def send(self, method: str, params: Sequence[Any] = ()) -> Any:
        """Return the result of a call that changes something.

        Raises:
            RpcError: the node answered with an error.
            Ambiguous: no valid answer came; the call may have taken effect.
        """
        try:
            return await self.call(method, params)
        except Transient as error:
            raise Ambiguous(f"{method}: {error}; it may have arrived all the same") from error

    def _request(self, method: str, params: Sequence[Any]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": list(params)}

    async def _post(self, body: Any) -> Any:
        """Send a body; ask for fresh headers once when the node does not know us (any more)."""
        status, reply, pause_s = await self._exchange(body)
        if status == 401 and self._headers is not None:
            self._known_headers = None
            status, reply, pause_s = await self._exchange(body)
        if status in _BUSY_STATUS:
            wish = "" if pause_s is None else f" and asks for a pause of {pause_s:g} s"
            raise Busy(f"{self.label} is busy (HTTP {status}){wish}", pause_s)
        if status in (401, 403):
            raise Transient(f"{self.label} refused our credentials (HTTP {status})")
        if status == _TOO_LARGE:
            raise RpcError(status, "the request is too long for it", node=self.label)
        value = await self._parse(reply, status)
        # Some nodes answer errors of the call with an HTTP error status and a proper body.
        if status != 200 and not isinstance(value, (dict, list)):
            raise Transient(f"{self.label} answered HTTP {status}")
        return value

    async def _exchange(self, body: Any) -> tuple[int, bytes, float | None]:
        """Return status, body and the pause that the node asks for."""
        if self._closed:
            raise Transient(f"the connection to {self.label} was closed here")
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        if self._known_headers is None:
            self._known_headers = self._headers() if self._headers is not None else {}
        sent = json.dumps(body, separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json", **self._known_headers}
        try:
            # A redirect could carry the body to a host that nobody configured.
            async with self._session.post(
                self._url, data=sent, headers=headers, allow_redirects=False
            ) as response:
                pause_s = _pause_s(response.headers)
                return response.status, await self._read(response), pause_s
        except TimeoutError:
            raise Transient(f"{self.label} did not answer in {self._timeout.total:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            reason = self._without_secrets(_reason(error))
            raise Transient(f"{self.label} is not reachable: {reason}") from None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        parts: list[bytes] = []
        left = self._reply_limit_bytes
        async for part in response.content.iter_any():
            left -= len(part)
            if left < 0:
                response.close()
                raise Transient(f"{self.label} answered over {self._reply_limit_bytes} bytes")
            parts.append(part)
        return b"".join(parts)

    async def _parse(self, reply: bytes, status: int) -> Any:
        try:
            if len(reply) > _PARSE_IN_THREAD_BYTES:
                return await asyncio.to_thread(parse_json, reply)
            return parse_json(reply)
        except ValueError:
            raise Transient(f"{self.label} answered no JSON (HTTP {status})") from None

    def _outcome(self, reply: Any, wanted: Any) -> Any:
        """Return what `_answer` does, trouble included: it says nothing of other calls."""
        try:
            return self._answer(reply, wanted)
        except Transient as trouble:
            return trouble

    def _answer(self, reply: Any, wanted: Any) -> Any:
        """Return the result in one reply object, or its error as a value."""
        if not isinstance(reply, dict) or reply.get("id") != wanted:
            error = reply.get("error") if isinstance(reply, dict) else None
            if isinstance(error, dict) and reply.get("id") is None:
                return self._error(error)
            raise self._nonsense("an answer to another question")
        error = reply.get("error")
        if error is not None:
            if not isinstance(error, dict):
                raise self._nonsense("an error that is no object")
            return self._error(error)
        if "result" not in reply:
            raise self._nonsense("neither result nor error")
        return reply["result"]

    def _error(self, error: Mapping[str, Any]) -> RpcError:
        code = error.get("code")
        code = code if isinstance(code, int) else 0
        message = self._without_secrets(str(error.get("message", ""))[:500])
        if code in self._transient_codes:
            raise Busy(f"{self.label} is busy: {message} ({code})")
        return RpcError(code, message, error.get("data"), self.label)

    def _without_secrets(self, text: str) -> str:
        """Nodes and libraries like to repeat the address, and its path is often a key."""
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return text

    def _nonsense(self, what: str) -> Transient:
        return Transient(f"{self.label} sent {what}")


def _id_of(reply: Any) -> int | None:
    """Return the number of the question that an answer is for; ours are numbers."""
    number = reply.get("id") if isinstance(reply, dict) else None
    return number if isinstance(number, int) else None


def _secrets_in(url: URL) -> tuple[str, ...]:
    """Return the parts of an address that nobody may read, the longest first."""
    login = (url.raw_user or "", url.raw_password or "")
    raw = [url.raw_path_qs, *url.raw_parts, *url.query.values(), *login]
    parts = {part for text in raw for part in (text, unquote(text))}
    return tuple(sorted((p for p in parts if len(p) >= _SECRET_LENGTH_MIN), key=len, reverse=True))


def _pause_s(headers: Mapping[str, str]) -> float | None:
    """Return the wait in Retry-After (RFC 9110, section 10.2.3), bounded; None where none is asked.

    A date counts from the node's own Date, because our clocks may differ.
    """
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _PAUSE_MAX_S)
    try:
        now = parsedate_to_datetime(headers["Date"]).timestamp() if "Date" in headers else None
        wait_s = parsedate_to_datetime(text).timestamp() - (time.time() if now is None else now)
    except (TypeError, ValueError):
        return None
    return max(0.0, min(wait_s, _PAUSE_MAX_S))


def _reason(error: Exception) -> str:
    return str(error).split(" ssl:")[0] or type(error).__name__
