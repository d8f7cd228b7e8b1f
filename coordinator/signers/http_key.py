"""A key behind an HTTP signer in the style of Web3Signer (EIP-3030's successor), for EVM chains.

Relied on, as its OpenAPI document for ``eth1`` has it:

- ``GET /upcheck``: 200 while it serves.
- ``GET /api/v1/eth1/publicKeys``: a JSON list of public keys in hex, uncompressed, 64 bytes without
  the leading 04 (33 and 65 bytes are understood, too). They are also the identifiers.
- ``POST /api/v1/eth1/sign/{identifier}`` with ``{"data": "0x…"}``: text ``0x`` r ‖ s ‖ v, 65 bytes,
  v 27 or 28. The signer hashes ``data`` with keccak-256 itself, without any prefix, so what it gets
  is the whole unsigned transaction and never a bare digest.

Nothing is repeated and no redirect is followed here; size and time of every answer are bounded.
"""

import json
import re
from typing import Final

import aiohttp

from adapters.errors import Transient
from adapters.json_text import parse_json
from adapters.remote_key import SigningRequest
from coordinator.signers.kinds import face_of
from coordinator.signers.public_keys import compressed
from coordinator.signers.remote import RemoteSource, away, hint, refused
from coordinator.signers.secret import Secret

__all__ = ["HttpKey"]

_SIGNATURE: Final = re.compile(r"0x([0-9a-fA-F]{130})")
_KEY: Final = re.compile(r"(?:0x)?([0-9a-fA-F]{66}|[0-9a-fA-F]{128}|[0-9a-fA-F]{130})")
_ANSWER_BYTES_MAX: Final = 4096
_KEYS_BYTES_MAX: Final = 1 << 20
_CONNECTIONS: Final = 8
#: Answers that mean no, and not "not now": bad request, forbidden, a policy, a content it rejects.
_REFUSALS: Final = frozenset({400, 403, 412, 422})


class HttpKey:
    """Implements `coordinator.signers.remote.Holder`.

    Args:
        name: the signer's name in chains.toml.
        source: its table, with a ``url``.
        token: bearer token, kept as a secret; None for none.
    """

    def __init__(self, name: str, source: RemoteSource, token: Secret | None) -> None:
        assert source.url is not None
        self.name = name
        self.source = source
        self._url = source.url
        self._token = token
        self._session: aiohttp.ClientSession | None = None
        self._identifier: str | None = None

    def __repr__(self) -> str:
        return f"HttpKey({self.name}, {self.source.place})"

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def public_key(self) -> bytes:
        """Find the pinned address among the keys that the signer lists; 33 bytes, compressed.

        Raises:
            Transient: it does not answer, or does not list that key (yet).
        """
        await self._asked("GET", "/upcheck", None, _ANSWER_BYTES_MAX)
        listed = await self._asked("GET", "/api/v1/eth1/publicKeys", None, _KEYS_BYTES_MAX)
        try:
            texts = parse_json(listed)
        except ValueError:
            texts = None
        if not isinstance(texts, list):
            raise self._away("listed no public keys that can be read")
        for text in texts:
            match = _KEY.fullmatch(text) if isinstance(text, str) else None
            if match is None:
                continue
            key = compressed(bytes.fromhex(match[1]))
            if key is not None and face_of("ethereum", key).address == self.source.address:
                self._identifier = text
                return key
        # A signer that has just begun serves before it has loaded its keys.
        raise self._away(
            f"lists {len(texts)} keys, and none is that of {self.source.address}, which "
            "chains.toml pins: load the key into the signer, or pin the right address"
        )

    async def signature(self, request: SigningRequest) -> bytes:
        """Return what the signer answers: 65 bytes r, s, v, not verified."""
        if request.hash != "keccak256":
            raise refused(self.name, self.source.place, "it signs over keccak-256 only")
        if self._identifier is None:
            await self.public_key()
        path = f"/api/v1/eth1/sign/{self._identifier}"
        body = json.dumps({"data": f"0x{request.payload.hex()}"}).encode()
        answer = await self._asked("POST", path, body, _ANSWER_BYTES_MAX)
        match = _SIGNATURE.fullmatch(answer.decode("ascii", "replace").strip())
        if match is None:
            raise self._away("answered with no signature of 65 bytes in hex")
        return bytes.fromhex(match[1])

    async def _asked(self, method: str, path: str, body: bytes | None, most: int) -> bytes:
        try:
            status, answer = await self._exchange(method, path, body, most)
        except TimeoutError:
            raise self._away(f"did not answer in {self.source.timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._away(f"is not reachable ({hint(_reason(error))})") from None
        if status == 200:
            return answer
        said = hint(answer.decode("utf-8", "replace"))
        if status in _REFUSALS:
            raise refused(self.name, self.source.place, f"HTTP {status}, {said}")
        if status == 404:
            self._identifier = None  # it may have been loaded anew under another name
            raise self._away("does not know the key (any more) (HTTP 404)")
        if status == 401:
            raise self._away("refuses our credentials (HTTP 401)")
        if 300 <= status < 400:
            raise self._away(f"answered with a redirect (HTTP {status}), which is never followed")
        raise self._away(f"answered HTTP {status}, {said}")

    async def _exchange(
        self, method: str, path: str, body: bytes | None, most: int
    ) -> tuple[int, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
                timeout=aiohttp.ClientTimeout(total=self.source.timeout_s),
            )
        headers = {} if body is None else {"Content-Type": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.reveal().decode('ascii', 'replace')}"
        async with self._session.request(
            method, self._url + path, data=body, headers=headers, allow_redirects=False
        ) as response:
            answer = bytearray()
            async for part in response.content.iter_any():
                answer += part
                if len(answer) > most:
                    response.close()
                    raise self._away(f"answered over {most} bytes")
            return response.status, bytes(answer)

    def _away(self, why: str) -> Transient:
        return away(self.name, self.source.place, why)


def _reason(error: Exception) -> str:
    """Return why no connection came about; the library's own text hides it behind the address."""
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    distrusted = getattr(cause, "verify_message", None)
    if distrusted:
        return f"its certificate is not trusted: {distrusted}"
    return str(getattr(cause, "strerror", None) or cause or type(error).__name__)
