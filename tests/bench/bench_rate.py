"""How many transactions a second an EVM node takes from us, and how often it is asked for it.

Each saga has one step, so a saga is a transaction: signed, journaled, sent, observed final, closed.
The account may have as many nonces on their way as there are sagas in flight (``window``), and the
node writes no log of its requests. Each figure has a chain of its own, because what a block costs
this node grows with the blocks that it has.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from coordinator.devnet.network import Devnet, DevnetOptions, running
from tests.bench.asked import asked
from tests.bench.figures import Figure, Options
from tests.bench.nodes import Bench, driving

__all__ = ["evm_rate"]

_LEAST: Final = 400.0
_IN_FLIGHT: Final = 64
#: For so long a round may last.
_MOST_S: Final = 300
_CHAIN: Final = "ethereum"
_PLAN: Final = f"""
version = 1
name = "rate"
deadline_s = 600

[[step]]
id = "send"
chain = "{_CHAIN}"
action = "transfer"
with = {{ amount = {{ asset = "ETH", value = "0.0001" }}, to = "rescue_evm" }}
"""
#: A resolved plan and its digest.
Lock = tuple[Mapping[str, Any], str]
#: The chain's setting for evidence → what is measured with it, and the least that it has to be.
_NAMES: Final = {
    "none": (f"EVM, one account, {_IN_FLIGHT} in flight", _LEAST),
    "required": ("  the same, with evidence before each decision", None),
}


def evm_rate(options: Options) -> list[Figure]:
    """Measure one account on a chain that mines at once, with 1 to 1,000 sagas in flight."""
    figures = []
    for proof, (name, least) in _NAMES.items():
        with _fresh(options, f"rate {proof}", proof) as devnet:
            figures.append(asyncio.run(_rate(devnet, name, least, options)))
    with _fresh(options, "asked", "required") as devnet:
        return [*figures, *asyncio.run(_questions(devnet, options))]


@contextmanager
def _fresh(options: Options, place: str, proof: str) -> Iterator[Devnet]:
    """Run a network whose chains have no blocks yet, with this setting for evidence."""
    with running(options.folder / place, DevnetOptions.instant()) as devnet:
        devnet.rpc(_CHAIN, "anvil_setLoggingEnabled", False)
        written = devnet.config.read_text(encoding="utf-8")
        settings = f'proof = "{proof}"\nwindow = {_IN_FLIGHT}'
        text = written.replace('proof = "required"', settings)
        devnet.config.write_text(text, encoding="utf-8")
        yield devnet


async def _rate(devnet: Devnet, name: str, least: float | None, options: Options) -> Figure:
    sagas, rates = options.rounds(640, 256), []
    async with driving(devnet, [_CHAIN]) as bench:
        lock = await bench.lock(_PLAN)
        await _many(bench, lock, f"{name} warm", _IN_FLIGHT, _IN_FLIGHT)
        cpu_s = time.process_time()
        for number in range(options.rounds(5, 2)):
            spent_s = await _many(bench, lock, f"{name} {number}", sagas, _IN_FLIGHT)
            rates.append(sagas / spent_s)
        cpu_s = time.process_time() - cpu_s
    facts = {"processor ms per transaction": round(cpu_s * 1000 / (sagas * len(rates)), 2)}
    return Figure(name, "transactions/s", rates, least=least, facts=facts)


async def _questions(devnet: Devnet, options: Options) -> list[Figure]:
    """Count the calls to the node for sagas that come one by one, and many at once."""
    figures = []
    async with driving(devnet, [_CHAIN]) as bench:
        lock = await bench.lock(_PLAN)
        await _many(bench, lock, "asked warm", _IN_FLIGHT, _IN_FLIGHT)
        for in_flight in (1, 10, 100, 1000) if not options.short else (1, 10, 100):
            sagas = max(in_flight, 20)
            with asked() as questions:
                spent_s = await _many(bench, lock, f"asked {in_flight}", sagas, in_flight)
            facts = {
                "requests per saga": round(questions.requests / sagas, 2),
                "sagas per second": round(sagas / spent_s),
                "calls": questions.each(sagas),
            }
            name = f"EVM, {in_flight} in flight: calls to the node per saga"
            figures.append(Figure(name, "calls", [questions.calls / sagas], facts=facts))
    return figures


async def _many(bench: Bench, lock: Lock, key: str, sagas: int, in_flight: int) -> float:
    """Run ``sagas``, so many at once; return the seconds that took."""
    slots = asyncio.Semaphore(in_flight)

    async def one(number: int) -> None:
        async with slots:
            _, times = await bench.begin(*lock, f"{key}-{number}")
            await times.ended.wait()

    begun_s = time.perf_counter()
    async with asyncio.timeout(_MOST_S):
        await asyncio.gather(*(one(number) for number in range(sagas)))
    return time.perf_counter() - begun_s
