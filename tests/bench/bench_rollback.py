"""How fast a failed plan is taken back on real nodes that mine at once, one effect at a time."""

import asyncio
import time
from typing import Final

from coordinator.devnet.control import mine, mine_until, pause_token
from coordinator.devnet.network import Devnet, DevnetOptions, running
from coordinator.saga import SagaState
from tests.bench.figures import Figure, Options
from tests.bench.nodes import Bench, Times, driving

__all__ = ["rollback"]

_MOST_MS: Final = 50.0

_HEAD = """
version = 1
name = "{name}"
deadline_s = 600

[[step]]
"""
#: What can not happen: minting is paused. Before it, what has to be taken back.
_FAILS = """
[[step]]
id = "mint"
chain = "ethereum"
action = "mint"
with = { token = "AlzToken", to = "0x0500BD70a3912a084BF19203EA8335301E3F6eb5", amount = { asset = "ALZ", value = "1" } }
"""  # noqa: E501 - an inline table has one line
_TRANSFERS = """
id = "lock"
chain = "polygon"
action = "lock"
with = { vault = "AlzVault", amount = { asset = "ALZ", value = "1" } }

[[step]]
id = "move"
chain = "bitcoin"
action = "transfer"
with = { amount = { asset = "BTC", value = "0.001" }, from = "treasury_btc", to = "settlement_btc" }

[[step]]
id = "send"
chain = "ethereum"
action = "transfer"
with = { amount = { asset = "ETH", value = "0.001" }, to = "rescue_evm" }
"""
_HOLD = """
id = "hold"
chain = "bitcoin"
action = "hold"
with = { amount = { asset = "BTC", value = "0.001" }, payee = "024136e57a31437675c736347c75009673a842c541f690cdaedbb1651c5a59d8ab", refund_after_blocks = 11, deliver = "file" }
"""  # noqa: E501 - an inline table has one line


def rollback(options: Options) -> list[Figure]:
    """Measure each undo from the moment at which it was its turn."""
    with running(options.folder / "rollback", DevnetOptions.instant()) as devnet:
        return asyncio.run(_rollback(devnet, options))


async def _rollback(devnet: Devnet, options: Options) -> list[Figure]:
    found: dict[str, list[float]] = {}
    async with driving(devnet) as bench:
        await asyncio.to_thread(pause_token, devnet, "ethereum")
        lock, digest = await bench.lock(_HEAD.format(name="transfers") + _TRANSFERS + _FAILS)
        for number in range(options.rounds(20, 4)):
            _, times = await bench.begin(lock, digest, f"transfers-{number}")
            await asyncio.wait_for(times.ended.wait(), 60)
            for what, spent_s in _transfers(times).items():
                found.setdefault(what, []).append(spent_s * 1000)
        lock, digest = await bench.lock(_HEAD.format(name="hold") + _HOLD + _FAILS)
        for number in range(options.rounds(10, 2)):
            spent_s = await _hold(bench, *(await bench.begin(lock, digest, f"hold-{number}")))
            found.setdefault("Bitcoin: matured refund accepted", []).append(spent_s * 1000)
    return [Figure(f"rollback, {what}", "ms", ms, most=_MOST_MS) for what, ms in found.items()]


def _transfers(times: Times) -> dict[str, float]:
    """Return what each undo took; the third step is taken back first."""
    decided_s = times.of("decided")
    send_s = times.of("done", "send", "undo")
    move_s = times.of("done", "move", "undo")
    lock_s = times.of("done", "lock", "undo")
    accepted_s = times.accepted[times.tx("move", "undo")]
    return {
        "Ethereum: decision to undo observed final": send_s - decided_s,
        "Bitcoin: counter-transfer accepted": accepted_s - send_s,
        "Polygon: refund of the lock observed final": lock_s - move_s,
    }


async def _hold(bench: Bench, state: SagaState, times: Times) -> float:
    """Let the hold mature after the decision; return the time from its last block to the refund."""
    adapter = bench.adapters["bitcoin"]
    await asyncio.wait_for(times.decided.wait(), 60)
    wanted = state.expiries["hold"]["height"]
    devnet = bench.devnet
    await asyncio.to_thread(mine_until, devnet, "bitcoin", wanted - 1)
    while adapter.clock().height < wanted - 1:  # noqa: ASYNC110 - another loop's event, if any
        await asyncio.sleep(0.01)
    await asyncio.to_thread(mine, devnet, "bitcoin", 1)
    begin_s = time.perf_counter()
    await asyncio.wait_for(times.ended.wait(), 60)
    return times.accepted[times.tx("hold", "undo")] - begin_s
