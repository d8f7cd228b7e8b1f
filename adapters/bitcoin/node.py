"""One bitcoind: its identity, its credentials, and the calls that are more than a question."""

import base64
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar

from adapters.bitcoin.settings import BitcoinSettings, CookieFile
from adapters.errors import Ambiguous, Transient, WrongChain
from adapters.rpc import JsonRpc, RpcError

__all__ = ["Node", "Scan", "Tip", "Unspent", "sat"]

T = TypeVar("T")

#: RPC_IN_WARMUP, and RPC_CLIENT_NOT_CONNECTED and _IN_INITIAL_DOWNLOAD: ask again later.
_BUSY_CODES: Final = frozenset({-28, -9, -10})
_NOT_FOUND: Final = -5
#: RPC_INVALID_PARAMETER, which scantxoutset uses for "another scan runs".
_INVALID_PARAMETER: Final = -8
#: Blocks beyond this are parsed in a thread: some ten milliseconds of pure Python.
_PARSE_HERE_BYTES: Final = 20_000
_SCAN_TIMEOUT_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Tip:
    """A block of a node's best chain; the same hash at the same height is the same block.

    ``time_s`` is what the node says of it, Unix seconds, 0 where it was not asked.
    """

    hash: str
    height: int
    time_s: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Unspent:
    """An output as ``scantxoutset`` lists it."""

    outpoint: str
    value_sat: int
    script: bytes
    height: int
    coinbase: bool


@dataclass(frozen=True, slots=True)
class Scan:
    """All unspent outputs of some scripts as of one block."""

    hash: str
    height: int
    unspent: tuple[Unspent, ...]


def sat(amount_btc: object) -> int:
    """Return satoshi for an amount in a node's JSON.

    JSON numbers arrive as doubles; their shortest decimal form is exact for every amount below
    21 million with 8 decimals, so going through the text loses nothing.

    Raises:
        Transient: no amount of bitcoin.
    """
    try:
        scaled = Decimal(str(amount_btc)).scaleb(8)
        exact = scaled == scaled.to_integral_value() and 0 <= scaled <= 21 * 10**14
    except InvalidOperation:
        exact = False
    if not exact or isinstance(amount_btc, bool):
        raise Transient(f"a node gave {str(amount_btc)[:40]} for an amount of bitcoin")
    return int(scaled)


class Node:
    """One bitcoind. Its identity is checked before its first answer and after each break.

    Args:
        url: where it listens.
        settings: network, genesis, credentials, patience.
    """

    def __init__(self, url: str, settings: BitcoinSettings) -> None:
        self._settings = settings
        self._verified = False

        def door(timeout_s: float) -> JsonRpc:
            headers = None if settings.auth is None else self.headers
            return JsonRpc(url, timeout_s, headers, transient_codes=_BUSY_CODES)

        self._rpc = door(settings.timeout_ms / 1000)
        self._slow_rpc = door(_SCAN_TIMEOUT_S)

    @property
    def label(self) -> str:
        """The node for messages."""
        return self._rpc.label

    async def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        await self._rpc.close()
        await self._slow_rpc.close()

    async def verify(self) -> None:
        """Check that the node serves the configured network from the configured genesis.

        Raises:
            WrongChain: it does not.
            Transient: it does not tell.
        """
        try:
            info = await self._rpc.call("getblockchaininfo")
            genesis = await self._rpc.call("getblockhash", [0])
        except RpcError as error:
            raise Transient(f"{self.label} does not tell which chain it serves: {error}") from error
        chain = self._parsed(lambda value: str(value["chain"]), info)
        network = self._settings.network
        if chain != network.rpc_name or genesis != self._settings.genesis:
            raise WrongChain(
                f"{self.label} serves Bitcoin {chain} from genesis {genesis}, "
                f"configured is {network.name} from {self._settings.genesis}; nothing was sent"
            )
        self._verified = True

    async def call(self, method: str, *params: Any) -> Any:
        """Return the result of a read; `RpcError` and `Transient` as from `JsonRpc`."""
        return await self._through(self._rpc.call, method, params)

    async def ask(self, parse: Callable[[Any], T], method: str, *params: Any) -> T:
        """Return what ``parse`` makes of a read's result; another shape is `Transient` trouble."""
        return self._parsed(parse, await self.call(method, *params))

    async def broadcast(self, raw: bytes) -> str:
        """Send a transaction; return the id that the node gives it.

        ``maxfeerate`` 0 lifts the node's own cap of 0.1 BTC/kvB: ours was applied when the bytes
        were signed, and bytes that are in the journal must be sendable as they are.

        Raises:
            RpcError: the node's refusal, a hint.
            Ambiguous: no answer; the bytes may have arrived.
        """
        answer = await self._through(self._rpc.send, "sendrawtransaction", (raw.hex(), 0))
        return str(answer)

    async def scan(self, scripts: Sequence[bytes]) -> Scan:
        """List the unspent outputs of ``scripts``; minutes on a long chain."""
        descriptors = [f"raw({script.hex()})" for script in scripts]
        try:
            found = await self._through(self._slow_rpc.call, "scantxoutset", ("start", descriptors))
        except RpcError as error:
            if error.code == _INVALID_PARAMETER:
                raise Transient(f"{self.label} is busy with another scan: {error}") from error
            raise
        return self._parsed(_scanned, found)

    def _parsed(self, parse: Callable[[Any], T], value: Any) -> T:
        try:
            return parse(value)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise Transient(f"{self.label} gave an answer of another shape: {error!r}") from error

    async def _through(
        self, call: Callable[[str, Sequence[Any]], Awaitable[T]], method: str, params: Sequence[Any]
    ) -> T:
        try:
            if not self._verified:
                await self.verify()
            return await call(method, params)
        except (Transient, Ambiguous):
            # Whoever answers next at this address may be another node.
            self._verified = False
            raise

    def headers(self) -> dict[str, str]:
        """Give the credentials; the cookie file is read each time because each start renews it."""
        auth = self._settings.auth
        if isinstance(auth, CookieFile):
            try:
                credentials = auth.path.read_text(encoding="ascii").strip()
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not ASCII"
                raise Transient(f"the cookie of {self.label} can not be read: {reason}") from None
        else:
            credentials = auth or ""
        token = base64.b64encode(credentials.encode()).decode()
        return {"Authorization": f"Basic {token}"}


def _scanned(found: Any) -> Scan:
    unspent = tuple(
        Unspent(
            f"{item['txid']}:{item['vout']}",
            sat(item["amount"]),
            bytes.fromhex(item["scriptPubKey"]),
            int(item["height"]),
            bool(item.get("coinbase", False)),
        )
        for item in found["unspents"]
    )
    return Scan(str(found["bestblock"]), int(found["height"]), unspent)
