"""One bitcoind: its identity, its credentials, and the calls that are more than a question."""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, TypeVar

from adapters.bitcoin.settings import BitcoinSettings, CookieFile
from adapters.errors import Ambiguous, Transient, WrongChain
from adapters.gathering import Gathering
from adapters.identity import Identity
from adapters.rpc import JsonRpc, RpcError

__all__ = ["Node", "Scan", "Tip", "Unspent", "confirmations_of", "sat"]

T = TypeVar("T")

#: RPC_IN_WARMUP, and RPC_CLIENT_NOT_CONNECTED and _IN_INITIAL_DOWNLOAD: ask again later.
_BUSY_CODES: Final = frozenset({-28, -9, -10})
#: RPC_INVALID_PARAMETER, which scantxoutset uses for "another scan runs".
_INVALID_PARAMETER: Final = -8
_SCAN_TIMEOUT_S: Final = 600.0
#: A scan is looked at so often, and given up when it showed no progress for so long.
_SCAN_LOOK_S: Final = 5.0
_SCAN_STALL_S: Final = 60.0


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
    except (ArithmeticError, ValueError):
        exact = False
    if not exact or isinstance(amount_btc, bool):
        raise Transient("a node gave something for an amount of bitcoin that is none")
    return int(scaled)


class Node:
    """One bitcoind.

    Args:
        url: where it listens.
        settings: network, genesis, credentials, patience.
        clock: monotonic seconds.
    """

    def __init__(
        self, url: str, settings: BitcoinSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._identity = Identity(self._look, clock)

        def door(timeout_s: float) -> JsonRpc:
            headers = None if settings.auth is None else self.headers
            return JsonRpc(url, timeout_s, headers, transient_codes=_BUSY_CODES)

        self._rpc = door(settings.timeout_ms / 1000)
        self._gathering = Gathering(self._rpc)
        self._slow_rpc = door(_SCAN_TIMEOUT_S)

    @property
    def label(self) -> str:
        """The node for messages."""
        return self._rpc.label

    async def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        await self._gathering.close()
        await self._rpc.close()
        await self._slow_rpc.close()

    def doubt(self) -> None:
        """Check its identity before the next question."""
        self._identity.doubt()

    async def check(self) -> None:
        """Check that the node serves the configured network from the configured genesis, unless
        that was done just now.

        Raises:
            WrongChain: it does not.
            Transient: it does not tell.
        """
        await self._identity.check()

    async def _look(self) -> None:
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

    async def call(self, method: str, *params: Any) -> Any:
        """Return the result of a read, asked in one request with what others ask at the same
        moment; `RpcError` and `Transient` as from `JsonRpc`.
        """
        return await self._through(self._gathering.call, method, params)

    async def ask(self, parse: Callable[[Any], T], method: str, *params: Any) -> T:
        """Return what ``parse`` makes of a read's result; another shape is `Transient` trouble."""
        return self._parsed(parse, await self.call(method, *params))

    async def apart(self, parse: Callable[[Any], T], method: str, *params: Any) -> T:
        """Do what `ask` does in a request of its own: nothing short waits for a long answer."""
        return self._parsed(parse, await self._through(self._rpc.call, method, params))

    async def broadcast(self, raw: bytes) -> str:
        """Send a transaction, beside those of others; return the id that the node gives it.

        ``maxfeerate`` 0 lifts the node's own cap of 0.1 BTC/kvB: ours was applied when the bytes
        were signed, and bytes that are in the journal must be sendable as they are.

        Raises:
            RpcError: the node's refusal, a hint.
            Ambiguous: no answer; the bytes may have arrived.
        """
        answer = await self._through(self._gathering.send, "sendrawtransaction", (raw.hex(), 0))
        return str(answer)

    async def scan(self, scripts: Sequence[bytes]) -> Scan:
        """List the unspent outputs of ``scripts``; minutes on a long chain.

        Raises:
            RpcError: the node does not do that.
            Transient: it has another scan to end first, or does not get on with this one.
        """
        descriptors = [f"raw({script.hex()})" for script in scripts]
        start = self._through(self._slow_rpc.call, "scantxoutset", ("start", descriptors))
        asked = asyncio.create_task(start)
        try:
            await self._while_it_gets_on(asked)
            return self._parsed(_scanned, await asked)
        except RpcError as error:
            if error.code == _INVALID_PARAMETER:
                done = await self._progress_pct()
                raise Transient(
                    f"{self.label} is busy with another scan for coins"
                    f"{'' if done is None else f', {done} % done'}: that of another process, or of "
                    "one of ours that was ended; nothing can be listed before it is through"
                ) from error
            raise
        finally:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)

    async def _while_it_gets_on(self, asked: "asyncio.Task[Any]") -> None:
        """Wait for a scan as long as the node shows that it gets on."""
        known, since_s = None, self._clock()
        while not (await asyncio.wait((asked,), timeout=_SCAN_LOOK_S))[0]:
            done, now_s = await self._progress_pct(), self._clock()
            if done != known:
                known, since_s = done, now_s
            elif now_s - since_s >= _SCAN_STALL_S:
                if done is not None:
                    with suppress(RpcError, Transient):
                        await self._rpc.call("scantxoutset", ("abort",))
                raise Transient(
                    f"{self.label} does not get on with listing our coins: "
                    f"{'it shows no progress' if done is None else f'{done} % done'} for "
                    f"{now_s - since_s:.0f} s"
                )

    async def _progress_pct(self) -> int | None:
        """Return how far the scan is that the node does now; None where it tells of none."""
        try:
            status = await self._rpc.call("scantxoutset", ("status",))
            return self._parsed(lambda told: int(told["progress"]), status) if status else None
        except (RpcError, Transient):
            return None

    def _parsed(self, parse: Callable[[Any], T], value: Any) -> T:
        try:
            return parse(value)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise Transient(f"{self.label} gave an answer of another shape: {error!r}") from error

    async def _through(
        self, call: Callable[[str, Sequence[Any]], Awaitable[T]], method: str, params: Sequence[Any]
    ) -> T:
        try:
            await self.check()
            return await call(method, params)
        except (Transient, Ambiguous):
            # Whoever answers next at this address may be another node.
            self.doubt()
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


def confirmations_of(header: Any) -> int:
    """Return how deep a header in a node's JSON lies in its best chain; -1 if it is not in it."""
    return int(header["confirmations"])


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
