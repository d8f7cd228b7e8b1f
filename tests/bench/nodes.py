"""The coordinator on a development network of its own, with a note of when what happened."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, cast

from adapters.base import Adapter, Submission
from coordinator.app import LazySecrets, open_adapters, open_driver, open_journal, passphrases_for
from coordinator.config import Config, load_config
from coordinator.devnet.network import Devnet
from coordinator.driving import Driver
from coordinator.journal.base import Record
from coordinator.journal.derive import OPERATOR_STREAM
from coordinator.journal.sqlite import SqliteJournal
from coordinator.operator_stream import Unexplained, fold_operator
from coordinator.planning import lock_of, read_source
from coordinator.recovery.recover import accept
from coordinator.saga import SagaState
from coordinator.saga.table import ENDS
from coordinator.service import start
from tests.no_sagas import none_until

__all__ = ["Bench", "Times", "driving"]

_CHAINS: Final = ("polygon", "ethereum", "bitcoin")
_SEEN_S: Final = 30.0
_LOOK_S: Final = 0.05


@dataclass(slots=True)
class Times:
    """When records of a saga became durable and its transactions were accepted, in seconds."""

    records: list[tuple[float, Record]] = field(default_factory=list)
    accepted: dict[str, float] = field(default_factory=dict)
    decided: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def of(self, kind: str, step: str | None = None, direction: str | None = None) -> float:
        """Return when the last record of this kind was durable."""
        return max(
            at_s
            for at_s, record in self.records
            if record.kind == kind
            and (step is None or record.data["step"] == step)
            and (direction is None or record.data["dir"] == direction)
        )

    def sent(self) -> float:
        """Return when the node took the newest transaction; 0 while it has not."""
        intents = [record.data["tx"] for _, record in self.records if record.kind == "intent"]
        return self.accepted.get(intents[-1], 0.0) if intents else 0.0

    def tx(self, step: str, direction: str) -> str:
        """Return the transaction of the last intent of a step and direction."""
        found = [
            record.data["tx"]
            for _, record in self.records
            if record.kind == "intent"
            and (record.data["step"], record.data["dir"]) == (step, direction)
        ]
        return str(found[-1])


class _Watched:
    """An adapter that notes when its node accepted what was sent."""

    def __init__(self, adapter: Adapter, accepted: dict[str, float]) -> None:
        self._adapter = adapter
        self._accepted = accepted

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._adapter, name)
        setattr(self, name, found)  # what is measured is the coordinator, not this
        return found

    async def submit(self, tx_id: str, raw: bytes) -> Submission:
        said = await self._adapter.submit(tx_id, raw)
        if said.accepted:
            self._accepted.setdefault(tx_id, time.perf_counter())
        return said


class Bench:
    """One process of the coordinator, driving sagas on real nodes.

    Attributes:
        devnet: the network it runs on.
        adapters: its open adapters.
    """

    def __init__(self, devnet: Devnet, config: Config, adapters: Mapping[str, Adapter]) -> None:
        self.devnet = devnet
        self.config = config
        self.adapters = adapters
        self.times: dict[str, Times] = {}
        self.accepted: dict[str, float] = {}
        self._driver: Driver | None = None
        self._journal: SqliteJournal | None = None

    @asynccontextmanager
    async def driving(self, secrets: LazySecrets) -> AsyncIterator["Bench"]:
        """Drive sagas as they are started, for the time of the block."""
        journal = self._journal = open_journal(self.config, create=True)
        over = asyncio.Event()

        watched = {
            name: cast("Adapter", _Watched(adapter, self.accepted))
            for name, adapter in self.adapters.items()
        }
        async with open_driver(
            self.config, journal, watched, secrets, observer=self._saw, alarm=lambda _text: None
        ) as driver:
            self._driver = driver
            work = asyncio.create_task(driver.run(none_until(over), stop=asyncio.Event()))
            try:
                yield self
            finally:
                over.set()
                await work
        await journal.close()

    def _saw(self, state: SagaState, record: Record) -> None:
        times = self.times.setdefault(state.saga, Times(accepted=self.accepted))
        times.records.append((time.perf_counter(), record))
        if record.kind == "decided":
            times.decided.set()
        if state.state in ENDS:
            times.ended.set()

    async def lock(self, plan: str) -> tuple[Mapping[str, Any], str]:
        """Resolve a plan given as TOML; return the lock and its digest."""
        path = self.devnet.folder / "bench.toml"
        path.write_text(plan, encoding="utf-8")
        lock = await lock_of(read_source(path, {}), self.adapters, self.config)
        return lock.data, lock.digest

    async def begin(
        self, lock: Mapping[str, Any], digest: str, key: str
    ) -> tuple[SagaState, Times]:
        """Start a saga and drive it; return its first fold and what will be noted of it."""
        assert self._driver is not None
        assert self._journal is not None
        begun = await start(
            self._journal,
            self.adapters,
            lock,
            digest,
            key=key,
            instance=self._driver.instance.name,
            now_ms=time.time_ns() // 1_000_000,
        )
        assert begun.state is not None
        times = self.times.setdefault(begun.saga, Times(accepted=self.accepted))
        self._driver.runner.remember(begun.state)
        self._driver.runner.take(begun.saga)
        return begun.state, times

    async def accept(self, txs: Collection[str]) -> None:
        """Say, as an operator would, that these are known: what our accounts signed and no record
        explains stops them, once it is seen in a block.
        """
        assert self._journal is not None
        async with asyncio.timeout(_SEEN_S):
            while not set(txs) <= {item.tx for item in self._unexplained()}:  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_S)
        await accept(self._journal, list(txs), by=["bench"], reason="sent beside the coordinator")

    def _unexplained(self) -> Sequence[Unexplained]:
        assert self._journal is not None
        return fold_operator(self._journal.read(OPERATOR_STREAM)).open


@asynccontextmanager
async def driving(devnet: Devnet, chains: Sequence[str] = _CHAINS) -> AsyncIterator[Bench]:
    """Run a coordinator on ``devnet`` for the time of the block; it opens only these chains."""
    config = load_config(devnet.config)
    passphrases = passphrases_for(config, interactive=False)
    async with open_adapters(config, chains, passphrases=passphrases, sign=True) as adapters:
        bench = Bench(devnet, config, adapters)
        async with bench.driving(LazySecrets(config, passphrases)):
            yield bench
