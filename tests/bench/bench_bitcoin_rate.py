"""How many transfers a second a real bitcoind takes from us, and how often it is asked for it.

Each saga has one step, so a saga is a transaction: signed, journaled, sent. No block comes while
it is measured, so every transfer needs a final coin of its own from a pool that was split before.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from coordinator.devnet.control import mine
from coordinator.devnet.network import Devnet, DevnetOptions, running
from tests.bench.asked import Questions, asked
from tests.bench.figures import Figure, Options
from tests.bench.nodes import Bench, Times, driving

__all__ = ["bitcoin_rate"]

_LEAST: Final = 100.0
_BEGUN_AT_ONCE: Final = 64
_COINS_A_SPLIT: Final = 50
_ENDED_S: Final = 120
_HEAD: Final = """
version = 1
name = "rate"
deadline_s = 600

[[step]]
id = "send"
chain = "bitcoin"
"""
_TRANSFER: Final = (
    _HEAD
    + """
action = "transfer"
with = { amount = { asset = "BTC", value = "0.001" }, from = "treasury_btc", to = "settlement_btc" }
"""
)
_SPLIT: Final = (
    _HEAD
    + f"""
action = "split"
with = {{ amount = {{ asset = "BTC", value = "0.002" }}, from = "treasury_btc", \
count = {_COINS_A_SPLIT} }}
"""
)


def bitcoin_rate(options: Options) -> list[Figure]:
    """Measure how fast a split pool of coins is spent, no block coming meanwhile."""
    with running(options.folder / "coins", DevnetOptions.instant()) as devnet:
        return asyncio.run(_rounds(devnet, options))


@dataclass(frozen=True, slots=True)
class _Round:
    """What one round took: seconds until all were accepted, and from their block to their end;
    processor time of this process until they were accepted; what was asked of the nodes.
    """

    accepted_s: float
    closed_s: float
    cpu_s: float
    questions: Questions


async def _rounds(devnet: Devnet, options: Options) -> list[Figure]:
    splits = options.rounds(4, 2)
    transfers = splits * _COINS_A_SPLIT
    async with driving(devnet) as bench:
        split, transfer = await bench.lock(_SPLIT), await bench.lock(_TRANSFER)
        rounds = []
        for number in range(options.rounds(5, 1)):
            for part in range(splits):
                _, times = await bench.begin(*split, f"split-{number}-{part}")
                await asyncio.wait_for(times.ended.wait(), _ENDED_S)
            with _no_blocks(devnet):
                rounds.append(await _round(bench, transfer, f"coins-{number}", transfers))
    name = f"Bitcoin, {transfers} sagas in flight, a pool of split coins"
    methods = rounds[-1].questions.each(transfers)
    return [
        Figure(
            name, "transfers/s accepted", [transfers / one.accepted_s for one in rounds],
            least=_LEAST,
            facts={"own processor ms each": [round(1e3 * r.cpu_s / transfers, 1) for r in rounds]},
        ),
        Figure(
            "calls to all nodes per transfer", "calls",
            [one.questions.calls / transfers for one in rounds], facts={"by method": methods},
        ),
        Figure("their block comes, until all are closed", "s", [one.closed_s for one in rounds]),
    ]  # fmt: skip


@contextmanager
def _no_blocks(devnet: Devnet) -> Iterator[None]:
    """Let nobody but us mine while the block lasts."""
    paused = devnet.folder / "bitcoin.paused"
    paused.touch()
    try:
        yield
    finally:
        paused.unlink()


async def _round(bench: Bench, lock: tuple[Any, str], key: str, transfers: int) -> _Round:
    """Have ``transfers`` accepted, mine them, and see all of their sagas closed."""
    with asked() as questions:
        begun_s, cpu_s = time.perf_counter(), time.process_time()
        started = await _started(bench, lock, key, transfers)
        accepted_s = max(times.sent() for times in started) - begun_s
        cpu_s = time.process_time() - cpu_s
    mined_s = time.perf_counter()
    await asyncio.to_thread(mine, bench.devnet, "bitcoin", 1)
    await asyncio.gather(*(asyncio.wait_for(t.ended.wait(), _ENDED_S) for t in started))
    return _Round(accepted_s, time.perf_counter() - mined_s, cpu_s, questions)


async def _started(bench: Bench, lock: tuple[Any, str], key: str, transfers: int) -> list[Times]:
    """Start ``transfers`` sagas, so many at once; return when the node has taken all of them.

    Raises:
        RuntimeError: one ended without being sent.
    """
    slots = asyncio.Semaphore(_BEGUN_AT_ONCE)

    async def one(number: int) -> tuple[str, Times]:
        async with slots:
            state, times = await bench.begin(*lock, f"{key}-{number}")
        return state.saga, times

    begun = await asyncio.gather(*(one(number) for number in range(transfers)))
    while missing := [(saga, times) for saga, times in begun if not times.sent()]:
        for saga, times in missing:
            if times.ended.is_set():
                told = [record.data for _, record in times.records]
                raise RuntimeError(f"saga {saga} ended and was never sent: {told}")
        await asyncio.sleep(0.005)
    return [times for _, times in begun]
