"""How long a process needs to take up a thousand sagas that another one left by ``kill -9``.

Blocks of all three chains are held, so that every saga has one transaction on its way; then the
process is killed. While nobody looks, a part of what was sent gets into blocks and another part
vanishes from the pools. The clock runs from the start of ``coordinator resume --all`` until every
saga is driven again: what landed is a durable record, and of everything else the stored bytes have
been sent, so that what is missing is on its way. Then blocks come, and every saga has to commit.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from coordinator.devnet.network import CHAIN_IDS, Devnet, DevnetOptions, miner_address, running
from coordinator.journal.reading import JournalReader, open_readonly
from tests.bench.figures import Figure, Options
from tests.bench.nodes import driving
from tests.bench.recovery_process import ASKED, SENT, mix

__all__ = ["recovery"]

_MOST_S: Final = 15.0
_SAGAS: Final = 1000
_SAGAS_SHORT: Final = 60
_COINS_A_SPLIT: Final = 50
#: Every so many of the transactions that have not landed vanish from their pool.
_VANISH: Final = 7
_BEGUN_S: Final = 300
_RECOVERED_S: Final = 300
_ENDED_S: Final = 600
_LOOK_S: Final = 0.02
_SPLIT: Final = f"""
version = 1
name = "coins"
deadline_s = 600

[[step]]
id = "split"
chain = "bitcoin"
action = "split"
with = {{ amount = {{ asset = "BTC", value = "0.002" }}, from = "treasury_btc", \
count = {_COINS_A_SPLIT} }}
"""


def recovery(options: Options) -> list[Figure]:
    """Kill -9 with a thousand sagas in flight on real nodes, until all are driven again."""
    sagas = _SAGAS_SHORT if options.short else _SAGAS
    rounds = []
    for number in range(options.rounds(3, 1)):
        with running(options.folder / f"recovery-{number}", DevnetOptions()) as devnet:
            rounds.append(_round(devnet, sagas))
    last = rounds[-1]
    return [
        Figure(
            f"kill -9 with {sagas} sagas in flight, until all are driven again", "s",
            [one.recovered_s for one in rounds], most=_MOST_S,
            facts={
                "landed meanwhile": last.landed,
                "vanished from pools": last.vanished,
                "sent again": sagas - last.landed,
                "processor s": [round(one.cpu_s, 1) for one in rounds],
            },
        ),
        Figure(
            "  calls to all nodes by then, per saga", "calls",
            [sum(one.methods.values()) / sagas for one in rounds],
            facts={
                "requests per saga": round(last.requests / sagas, 2),
                "by method": {name: n for name, n in last.methods.items() if n >= sagas // 100},
            },
        ),
        Figure("  memory, at most", "MB", [one.memory_mb for one in rounds]),
        Figure("  blocks come, until all have committed", "s", [one.ended_s for one in rounds]),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Round:
    """One kill: what had become of the transactions, and what taking the sagas up took."""

    landed: int
    vanished: int
    recovered_s: float
    cpu_s: float
    requests: int
    methods: dict[str, int]
    memory_mb: float
    ended_s: float


def _round(devnet: Devnet, sagas: int) -> _Round:
    _widen_the_lines(devnet)
    asyncio.run(_split_coins(devnet, mix(sagas)["bitcoin"]))
    with _blocks_held(devnet):
        with _process("begin", devnet, sagas) as process:
            reader = _Left(devnet)
            _wait("the sagas begin", _BEGUN_S, process, lambda: reader.look() == sagas)
            process.kill()
        reader.look()
        landed, vanished = _while_nobody_looks(devnet, reader)
        begun_s = time.perf_counter()
        with _process("resume", devnet) as process:
            _wait("the sagas go on", _RECOVERED_S, process, lambda: reader.is_driven(landed))
            recovered_s = time.perf_counter() - begun_s
            told = json.loads((devnet.folder / ASKED).read_text(encoding="ascii"))
            cpu_s, memory_mb = _processor_s(process.pid), _memory_mb(process.pid)
            _let_blocks_come(devnet)
            begun_s = time.perf_counter()
            _wait("the sagas end", _ENDED_S, process, lambda: process.poll() is not None)
            ended_s = time.perf_counter() - begun_s
            reader.require_committed()
    return _Round(
        len(landed), vanished, recovered_s, cpu_s, told["requests"], told["methods"],
        memory_mb, ended_s,
    )  # fmt: skip


# ---------------------------------------------------------------- before the kill


def _widen_the_lines(devnet: Devnet) -> None:
    """Let one account have as many nonces on their way as there are sagas."""
    text = devnet.config.read_text(encoding="utf-8")
    wide = text.replace('kind = "evm"\n', 'kind = "evm"\nwindow = 1000\n')
    devnet.config.write_text(wide, encoding="utf-8")


async def _split_coins(devnet: Devnet, wanted: int) -> None:
    """Give every saga on Bitcoin a final coin of its own."""
    async with driving(devnet) as bench:
        lock = await bench.lock(_SPLIT)
        splits = [
            await bench.begin(*lock, f"coins-{number}")
            for number in range(-(-wanted // _COINS_A_SPLIT))
        ]
        await asyncio.gather(*(asyncio.wait_for(t.ended.wait(), _BEGUN_S) for _, t in splits))


@contextmanager
def _blocks_held(devnet: Devnet) -> Iterator[None]:
    """Let no block come on any chain, until `_let_blocks_come`."""
    for chain in CHAIN_IDS:
        devnet.rpc(chain, "evm_setIntervalMining", 0)
        devnet.rpc(chain, "evm_setAutomine", False)
    (devnet.folder / "bitcoin.paused").touch()
    (devnet.folder / "demo").mkdir(exist_ok=True)
    yield


def _let_blocks_come(devnet: Devnet) -> None:
    for chain in CHAIN_IDS:
        devnet.rpc(chain, "evm_setIntervalMining", 1)
    (devnet.folder / "bitcoin.paused").unlink()


@contextmanager
def _process(mode: str, devnet: Devnet, *arguments: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Run one of the two processes; its output is in the network's folder."""
    command = [sys.executable, "-m", "tests.bench.recovery_process", mode, str(devnet.folder)]
    with (devnet.folder / "demo" / f"{mode}.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *map(str, arguments)], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield process
        except RuntimeError as error:
            told = (devnet.folder / "demo" / f"{mode}.log").read_text(errors="replace")
            raise RuntimeError(f"{error}; it said: {told[-2000:]}") from error
        finally:
            process.kill()
            process.wait()


def _wait(
    what: str, timeout_s: float, process: "subprocess.Popen[bytes]", until: Callable[[], bool]
) -> None:
    """Look until a condition holds, as long as the process lives.

    Raises:
        RuntimeError: it does not, or the process left first.
    """
    give_up_s = time.monotonic() + timeout_s
    while not until():
        if time.monotonic() > give_up_s:
            raise RuntimeError(f"waited {timeout_s} s until {what}")
        if process.poll() is not None and not until():
            raise RuntimeError(f"the process left with {process.returncode} before {what}")
        time.sleep(_LOOK_S)


# ---------------------------------------------------------------- while nobody looks


def _while_nobody_looks(devnet: Devnet, left: "_Left") -> tuple[set[str], int]:
    """Mine a part of what was sent and let another part vanish; return what landed (transaction
    ids), and how many vanished.
    """
    landed: set[str] = set()
    vanished = 0
    for chain in CHAIN_IDS:
        lined = left.sent_on(chain)
        late = lined[len(lined) // 2 :: _VANISH]
        for tx_id in late:
            devnet.rpc(chain, "anvil_dropTransaction", tx_id)
        devnet.rpc(chain, "anvil_mine", hex(1))
        block = devnet.rpc(chain, "eth_getBlockByNumber", "latest", False)
        landed |= set(block["transactions"])
        vanished += len(late)
    pool = [tx_id for tx_id in left.sent_on("bitcoin") if tx_id in set(_pool(devnet))]
    chosen = pool[: len(pool) // 2]
    devnet.rpc("bitcoin", "generateblock", miner_address(), chosen)
    return landed | set(chosen), vanished


def _pool(devnet: Devnet) -> list[str]:
    return list(devnet.rpc("bitcoin", "getrawmempool"))


def _processor_s(pid: int) -> float:
    """Processor time of a process so far (Linux: proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(pid: int) -> float:
    """The most memory that a process has had (Linux: proc(5))."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


# ---------------------------------------------------------------- what the journal says


@dataclass(frozen=True, slots=True)
class _First:
    """A saga's first attempt; ``digest`` is the SHA-256 of its bytes."""

    tx_id: str
    chain: str
    digest: str


class _Left:
    """The journal as it grows, and what has left for nodes since the kill."""

    def __init__(self, devnet: Devnet) -> None:
        self._devnet = devnet
        self._reader: JournalReader | None = None
        self._position = 0
        #: streams of the sagas that are measured.
        self._measured: set[str] = set()
        self._first: dict[str, _First] = {}
        self._included: set[str] = set()
        self._ends: dict[str, str] = {}
        self._sent: set[str] = set()

    def look(self) -> int:
        """Read what is new; return how many sagas have a durable attempt."""
        if self._reader is None:
            self._reader = open_readonly(self._devnet.folder / "journal" / "journal.db")
        for record in self._reader.records(self._position + 1):
            self._position = record.position
            self._enter(record.stream, record.kind, record.data)
        return len(self._first)

    def _enter(self, stream: str, kind: str, data: Any) -> None:
        if kind == "started" and data["plan"]["name"] == "recovery":
            self._measured.add(stream)
        elif stream not in self._measured:
            return
        elif kind == "intent":
            first = _First(data["tx"], data["chain"], data["bytes"])
            self._first.setdefault(stream, first)
        elif kind == "included":
            self._included.add(data["tx"])
        elif kind == "closed":
            self._ends[stream] = data["state"]

    def sent_on(self, chain: str) -> list[str]:
        """Return the transactions of a chain in the order in which they were made durable."""
        return [first.tx_id for first in self._first.values() if first.chain == chain]

    def is_driven(self, landed: set[str]) -> bool:
        """Tell whether what landed is recorded, and the bytes of all else were sent again."""
        self.look()
        with contextlib.suppress(FileNotFoundError):
            text = (self._devnet.folder / SENT).read_text(encoding="ascii")
            self._sent = set(text.split())
        return all(
            first.tx_id in self._included if first.tx_id in landed else first.digest in self._sent
            for first in self._first.values()
        )

    def require_committed(self) -> None:
        """Every saga has done all of its effects.

        Raises:
            RuntimeError: one has not.
        """
        self.look()
        others = {
            stream: self._ends.get(stream, "open")
            for stream in self._measured
            if self._ends.get(stream) != "committed"
        }
        if others:
            raise RuntimeError(f"{len(others)} sagas did not commit: {sorted(others.items())[:5]}")
