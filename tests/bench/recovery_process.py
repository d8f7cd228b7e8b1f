"""The two processes of the recovery bench, each of which ends by a signal of whoever started it.

``python -m tests.bench.recovery_process begin FOLDER SAGAS`` starts sagas on the development
network in FOLDER and drives them until it is killed. ``… resume FOLDER`` is the real command line,
``coordinator resume --all``; beside it, everything that leaves for a node is noted: what is sent in
``FOLDER/demo/sent`` (SHA-256 of each transaction's bytes, a line each), how often nodes were asked
in ``FOLDER/demo/asked.json``.
"""

import asyncio
import hashlib
import json
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from coordinator.devnet.ledger import evm_address
from coordinator.devnet.network import Devnet
from tests.bench.asked import asked
from tests.bench.nodes import Bench, driving

__all__ = ["ASKED", "SENT", "mix"]

ASKED: Final = "demo/asked.json"
SENT: Final = "demo/sent"
_BEGUN_AT_ONCE: Final = 64
_NOTED_EVERY_S: Final = 0.05
_SENDS: Final = frozenset({"eth_sendRawTransaction", "sendrawtransaction"})
_HEAD: Final = """
version = 1
name = "recovery"
deadline_s = 3600
"""
#: Of ten sagas four are a hold on Polygon and a mint on Ethereum, four a transfer, two on Bitcoin.
_TWO_CHAINS: Final = (
    _HEAD
    + f"""
[input]
reserve = {{ type = "evm_address", value = "{evm_address("reserve")}" }}
receiver = {{ type = "evm_address", value = "{evm_address("receiver")}" }}
"""
    + """
[[step]]
id = "lock"
chain = "polygon"
action = "lock"
with = { vault = "AlzVault", amount = { asset = "ALZ", value = "1" }, to = "@reserve" }

[[step]]
id = "mint"
chain = "ethereum"
action = "mint"
with = { token = "AlzToken", to = "@receiver", amount = { asset = "ALZ", value = "1" } }
"""
)
_ETHER: Final = (
    _HEAD
    + """
[[step]]
id = "send"
chain = "ethereum"
action = "transfer"
with = { amount = { asset = "ETH", value = "0.0001" }, to = "rescue_evm" }
"""
)
_BITCOIN: Final = (
    _HEAD
    + """
[[step]]
id = "send"
chain = "bitcoin"
action = "transfer"
with = { amount = { asset = "BTC", value = "0.001" }, from = "treasury_btc", to = "settlement_btc" }
"""
)
_PLANS: Final = (*(_TWO_CHAINS,) * 4, *(_ETHER,) * 4, *(_BITCOIN,) * 2)


def mix(sagas: int) -> Mapping[str, int]:
    """Return how many sagas begin on each chain."""
    begun = {"polygon": 0, "ethereum": 0, "bitcoin": 0}
    for number in range(sagas):
        plan = _PLANS[number % len(_PLANS)]
        begun[{_TWO_CHAINS: "polygon", _ETHER: "ethereum", _BITCOIN: "bitcoin"}[plan]] += 1
    return begun


async def _begin(folder: Path, sagas: int) -> None:
    """Start ``sagas`` and drive them, for ever."""
    async with driving(Devnet.load(folder)) as bench:
        locks = {plan: await bench.lock(plan) for plan in dict.fromkeys(_PLANS)}
        slots = asyncio.Semaphore(_BEGUN_AT_ONCE)

        async def one(number: int) -> None:
            async with slots:
                lock: tuple[Any, str] = locks[_PLANS[number % len(_PLANS)]]
                await _sent(bench, lock, f"recovery-{number}")

        await asyncio.gather(*(one(number) for number in range(sagas)))
        await asyncio.Event().wait()


async def _sent(bench: Bench, lock: tuple[Any, str], key: str) -> None:
    """Start one saga; return when its first transaction was accepted."""
    _, times = await bench.begin(*lock, key)
    while not times.sent():  # noqa: ASYNC110 - the adapter has no event for it
        await asyncio.sleep(0.01)


def _resume(folder: Path) -> None:
    """Run ``coordinator resume --all`` and note what leaves."""
    with asked() as questions, (folder / SENT).open("a", encoding="ascii", buffering=1) as sent:
        seen: set[str] = set()
        saw = questions.saw

        def noting(body: Any) -> None:
            saw(body)
            for call in body if isinstance(body, list) else [body]:
                if call["method"] in _SENDS and (raw := call["params"][0]) not in seen:
                    seen.add(raw)
                    digest = hashlib.sha256(bytes.fromhex(raw.removeprefix("0x"))).hexdigest()
                    sent.write(f"{digest}\n")

        questions.saw = noting  # type: ignore[method-assign]

        def note() -> None:
            while not over.wait(_NOTED_EVERY_S):
                told = {"requests": questions.requests, "methods": dict(questions.methods)}
                partial = folder / f"{ASKED}.partial"
                partial.write_text(json.dumps(told), encoding="ascii")
                partial.replace(folder / ASKED)

        over = threading.Event()
        threading.Thread(target=note, daemon=True).start()
        from coordinator.cli.entry import run

        run(["--config", str(folder / "chains.toml"), "resume", "--all"])


if __name__ == "__main__":
    if sys.argv[1] == "begin":
        asyncio.run(_begin(Path(sys.argv[2]), int(sys.argv[3])))
    else:
        _resume(Path(sys.argv[2]))
