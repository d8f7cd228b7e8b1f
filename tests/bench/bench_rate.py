"""How many transactions a second real nodes take from us, and how often they are asked for it.

Each saga has one step, so a saga is a transaction: signed, journaled, sent, observed final, closed.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from adapters.rpc import JsonRpc
from coordinator.devnet.control import mine
from coordinator.devnet.network import Devnet, DevnetOptions, running
from tests.bench.figures import Figure, Options
from tests.bench.nodes import Bench, Times, driving

__all__ = ["bitcoin_rate", "evm_rate"]

_EVM_LEAST: Final = 400.0
_BITCOIN_LEAST: Final = 100.0
_IN_FLIGHT: Final = 64
_PLAN: Final = """
version = 1
name = "rate"
deadline_s = 600

[[step]]
id = "send"
"""
_EVM: Final = (
    _PLAN
    + """
chain = "ethereum"
action = "transfer"
with = { amount = { asset = "ETH", value = "0.0001" }, to = "rescue_evm" }
"""
)
_BITCOIN: Final = (
    _PLAN
    + """
chain = "bitcoin"
action = "transfer"
with = { amount = { asset = "BTC", value = "0.001" }, from = "treasury_btc", to = "settlement_btc" }
"""
)
_SPLIT: Final = (
    _PLAN
    + """
chain = "bitcoin"
action = "split"
with = { amount = { asset = "BTC", value = "0.002" }, from = "treasury_btc", count = 50 }
"""
)


class Questions:
    """How many requests went to nodes, and how many calls were in them."""

    def __init__(self) -> None:
        self.requests = 0
        self.calls = 0


@contextmanager
def counted() -> Iterator[Questions]:
    """Count what goes through the one door to nodes."""
    found, real = Questions(), JsonRpc._post

    async def post(self: JsonRpc, body: Any) -> Any:
        found.requests += 1
        found.calls += len(body) if isinstance(body, list) else 1
        return await real(self, body)

    JsonRpc._post = post  # type: ignore[method-assign]
    try:
        yield found
    finally:
        JsonRpc._post = real  # type: ignore[method-assign]


def evm_rate(options: Options) -> list[Figure]:
    """Measure one account on a chain that mines at once, with 1 to 1,000 sagas in flight."""
    with running(options.folder / "rate", DevnetOptions.instant()) as devnet:
        return asyncio.run(_evm_rate(devnet, options))


async def _evm_rate(devnet: Devnet, options: Options) -> list[Figure]:
    rates: list[float] = []
    asked: list[Figure] = []
    async with driving(devnet) as bench:
        lock, digest = await bench.lock(_EVM)
        await _many(bench, lock, digest, "warm", 16, 16)
        for number in range(options.rounds(5, 1)):
            spent_s, _ = await _many(
                bench, lock, digest, f"rate-{number}", options.rounds(640, 128), _IN_FLIGHT
            )
            rates.append(options.rounds(640, 128) / spent_s)
        for in_flight in (1, 10, 100, 1000) if not options.short else (1, 10, 100):
            sagas = max(in_flight, 20)
            with counted() as questions:
                spent_s, _ = await _many(
                    bench, lock, digest, f"asked-{in_flight}", sagas, in_flight
                )
            asked.append(
                Figure(
                    f"EVM, {in_flight} in flight: calls to the node per saga", "calls",
                    [questions.calls / sagas],
                    facts={
                        "requests per saga": round(questions.requests / sagas, 2),
                        "sagas per second": round(sagas / spent_s),
                    },
                )
            )  # fmt: skip
    name = f"EVM, one account, {_IN_FLIGHT} sagas in flight"
    return [Figure(name, "transactions/s", rates, least=_EVM_LEAST), *asked]


def bitcoin_rate(options: Options) -> list[Figure]:
    """Measure how fast a split pool of coins is spent, no block coming meanwhile."""
    with running(options.folder / "coins", DevnetOptions.instant()) as devnet:
        return asyncio.run(_bitcoin_rate(devnet, options))


async def _bitcoin_rate(devnet: Devnet, options: Options) -> list[Figure]:
    rates: list[float] = []
    async with driving(devnet) as bench:
        split, split_digest = await bench.lock(_SPLIT)
        lock, digest = await bench.lock(_BITCOIN)
        for number in range(options.rounds(5, 1)):
            for part in range(2):
                await _many(bench, split, split_digest, f"split-{number}-{part}", 1, 1)
            (devnet.folder / "bitcoin.paused").touch()
            begun_s = time.perf_counter()
            started = [
                (await bench.begin(lock, digest, f"coins-{number}-{index}"))[1]
                for index in range(_IN_FLIGHT)
            ]
            while not all(times.sent() for times in started):  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.001)
            rates.append(_IN_FLIGHT / (max(times.sent() for times in started) - begun_s))
            (devnet.folder / "bitcoin.paused").unlink()
            await asyncio.to_thread(mine, devnet, "bitcoin", 1)
            await asyncio.gather(*(asyncio.wait_for(t.ended.wait(), 60) for t in started))
    name = f"Bitcoin, {_IN_FLIGHT} sagas in flight, a pool of split coins"
    return [Figure(name, "transfers/s accepted", rates, least=_BITCOIN_LEAST)]


async def _many(
    bench: Bench, lock: Any, digest: str, key: str, sagas: int, in_flight: int
) -> tuple[float, list[Times]]:
    """Run ``sagas``, so many at once; return the seconds that took and what was noted of each."""
    slots, done = asyncio.Semaphore(in_flight), []

    async def one(number: int) -> None:
        async with slots:
            _, times = await bench.begin(lock, digest, f"{key}-{number}")
            await asyncio.wait_for(times.ended.wait(), 300)
            done.append(times)

    begun_s = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(sagas)))
    return time.perf_counter() - begun_s, done
