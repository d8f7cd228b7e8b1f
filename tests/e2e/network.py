"""A coordinator on a development network, and an independent look at what it left behind.

`Coordinator` is wired as the command line wires it. `Chains` and `verify_rollback` share nothing
with the engine: they ask the nodes, and compare with the journal's records.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coordinator import app, planning, service
from coordinator.config import Config, load_config
from coordinator.delivery import FileDelivery
from coordinator.devnet.control import mine_until
from coordinator.devnet.ledger import NATIVE, Line, difference, read_ledger
from coordinator.devnet.network import CHAIN_IDS, Devnet
from coordinator.journal.derive import OPERATOR_STREAM
from coordinator.ports import Settings
from coordinator.runner import Runner
from coordinator.saga import SagaState
from coordinator.saga.table import ENDS
from coordinator.views import timeline
from tests.e2e.evidence import expect_valid_bundle
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from adapters.base import Adapter
    from coordinator.journal.base import Record
    from coordinator.journal.sqlite import SqliteJournal
    from coordinator.plan import Lock

EXAMPLES = Path(__file__).parents[2] / "examples"
VARIANTS = ("hold", "transfer", "pay")
#: The step that each variant makes on Bitcoin.
BITCOIN_STEP = {"hold": "hold", "transfer": "move", "pay": "pay"}
#: As patient as production, in tenths of a second.
SETTINGS = Settings(
    resend_slow_blocks=0, resend_ms_min=200, retry_ms_min=50, retry_ms_max=500, journal_poll_ms=50
)
#: When a record has become durable and nothing was sent for it yet: kind (``burn`` and
#: ``tombstone`` for intents of that purpose), step, direction.
Moment = tuple[str, str | None, str | None]
Cues = Mapping[Moment, Callable[[], object]]


def plan_text(variant: str, changes: Mapping[str, str] | None = None) -> str:
    """The example's text with some of it replaced; every replacement must find its place."""
    text = (EXAMPLES / f"alz-{variant}.toml").read_text(encoding="utf-8")
    for old, new in (changes or {}).items():
        assert old in text, f"{old!r} is not in alz-{variant}.toml"
        text = text.replace(old, new)
    return text


def moment_of(record: Record) -> Moment:
    """The moment at which ``record`` became durable."""
    purpose = record.data.get("purpose", "effect")
    kind = record.kind if purpose == "effect" else purpose
    return (kind, record.data.get("step"), record.data.get("dir"))


async def eventually(probe: Callable[[], object], *, what: str, timeout_s: float = 60) -> None:
    """Return once ``probe`` returns something true."""
    deadline_s = time.monotonic() + timeout_s
    while not await asyncio.to_thread(probe):
        assert time.monotonic() < deadline_s, f"waited {timeout_s:g} s for {what}"
        await asyncio.sleep(0.01)


class ShiftingClock:
    """The host's clock; ``ahead_s`` lets a test live through a deadline without waiting for it."""

    def __init__(self) -> None:
        self.ahead_s = 0

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_s * 1000

    async def sleep_until(self, due_ms: int | None, changed: asyncio.Event) -> None:
        while not changed.is_set() and (due_ms is None or self.now_ms() < due_ms):
            with suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await changed.wait()


@dataclass
class Service:
    """A process that stays; ``drive`` hands it a saga."""

    runner: Runner
    _handed: asyncio.Queue[str | None]
    _work: asyncio.Task[None]

    async def drive(self, saga: str) -> None:
        await self._handed.put(saga)

    async def until(self, probe: Callable[[], object], *, what: str) -> None:
        """Return once ``probe`` returns something true; the process must not end before that."""

        def found() -> object:
            if self._work.done():
                self._work.result()
                raise AssertionError(f"the process ended before {what}")
            return probe()

        await eventually(found, what=what)


@dataclass
class Coordinator:
    """One process's part: open adapters, a journal, and a runner for each drive."""

    devnet: Devnet
    config: Config
    folder: Path
    journal: SqliteJournal
    adapters: Mapping[str, Adapter]
    secrets: app.LazySecrets
    clock: ShiftingClock = field(default_factory=ShiftingClock)
    accepted: int = 0

    async def accept(
        self, variant: str, changes: Mapping[str, str] | None = None, *, key: str | None = None
    ) -> str:
        """Resolve, check and simulate a plan, and write its first record; nothing is sent."""
        lock = await self.lock(variant, changes)
        examined = await planning.examine(lock, self.adapters, self._reserved())
        planning.require_runnable(lock, examined)
        self.accepted += 1
        started = await service.start(
            self.journal,
            self.adapters,
            lock.data,
            lock.digest,
            key=key or f"{variant} {self.accepted}",
            instance="test",
            now_ms=time.time_ns() // 1_000_000,
        )
        assert started.fresh
        return started.saga

    async def lock(self, variant: str, changes: Mapping[str, str] | None = None) -> Lock:
        path = self.folder / f"plan-{self.accepted}.toml"
        path.write_text(plan_text(variant, changes), encoding="utf-8")
        return await planning.lock_of(planning.read_source(path, {}), self.adapters, self.config)

    def _reserved(self) -> list[Any]:
        return [row for chain in self.adapters for row in self.journal.reservations(chain)]

    async def drive(
        self,
        saga: str,
        cues: Cues | None = None,
        *,
        beside: Coroutine[Any, Any, None] | None = None,
        timeout_s: float = 90,
    ) -> SagaState:
        """Drive a saga to its end; every cue must come, ``beside`` must have finished, and what is
        left behind must convince a stranger.

        A hold's refund waits for a height: once a rollback is decided, Bitcoin gets its blocks.
        """
        pending = dict(cues or {})
        state = service.load(self.journal, saga)
        if state.state == "undoing":
            self._reach_refunds(state)

        def observe(state: SagaState, record: Record) -> None:
            act = pending.pop(moment_of(record), None)
            if act is not None:
                act()
            if record.kind == "decided" and record.data["decision"] == "rollback":
                self._reach_refunds(state)

        runner = Runner(
            journal=self.journal,
            adapters=self.adapters,
            secrets=self.secrets,
            clock=self.clock,
            instance="test",
            deliver=FileDelivery(app.preimage_folder(self.config)),
            observer=observe,
            settings=SETTINGS,
        )
        try:
            async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
                if beside is not None:
                    group.create_task(beside)
                await runner.run(service.only(saga))
        except TimeoutError:
            lines = "\n".join(timeline(record) for record in self.records(saga))
            raise AssertionError(f"no end after {timeout_s:g} s:\n{lines}") from None
        assert not pending, f"these cues never came: {sorted(map(str, pending))}"
        ended = service.load(self.journal, saga)
        if ended.state in ENDS:
            await expect_valid_bundle(self.config, saga)
        return ended

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Service]:
        """A process that stays, and drives what it is handed."""
        handed: asyncio.Queue[str | None] = asyncio.Queue()

        async def sagas() -> AsyncIterator[str]:
            while (saga := await handed.get()) is not None:
                yield saga

        runner = Runner(
            journal=self.journal,
            adapters=self.adapters,
            secrets=self.secrets,
            clock=self.clock,
            instance="test",
            deliver=FileDelivery(app.preimage_folder(self.config)),
            settings=SETTINGS,
        )
        work = asyncio.create_task(runner.run(sagas()))
        try:
            yield Service(runner, handed, work)
        finally:
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work

    def _reach_refunds(self, state: SagaState) -> None:
        if (self.devnet.folder / "bitcoin.paused").exists():
            return
        for step, expiry in state.expiries.items():
            if state.effort(step, "forward").attempts:
                mine_until(self.devnet, state.step(step).chain, expiry["height"])

    def records(self, saga: str) -> list[Record]:
        return self.journal.read(f"saga:{saga}")

    def has(self, saga: str, kind: str) -> bool:
        return any(record.kind == kind for record in self.records(saga))

    def unexplained(self) -> list[Record]:
        """What a key of ours signed and no record explains."""
        return [r for r in self.journal.read(OPERATOR_STREAM) if r.kind == "unexplained"]


def config_for(devnet: Devnet, folder: Path, changes: Mapping[str, str] | None = None) -> Config:
    """The network's configuration, some of its text replaced, with a journal in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    text = devnet.config.read_text(encoding="utf-8")
    for old, new in (changes or {}).items():
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in chains.toml"
        text = text.replace(old, new)
    # Beside the original, because its paths are relative to it.
    path = devnet.folder / f"chains-{folder.name}.toml"
    path.write_text(text, encoding="utf-8")
    config = load_config(path)
    (folder / "witness").mkdir(exist_ok=True)
    return replace(
        config, journal_path=folder / "journal.db", witness_path=folder / "witness" / "head"
    )


@asynccontextmanager
async def coordinator(
    devnet: Devnet, folder: Path, changes: Mapping[str, str] | None = None
) -> AsyncIterator[Coordinator]:
    """Open everything that driving needs; the journal in ``folder`` is kept or made.

    ``changes`` are to the text of chains.toml.
    """
    config = config_for(devnet, folder, changes)
    passphrases = app.passphrases_for(config, interactive=False)
    async with app.open_adapters(
        config, list(config.chains), passphrases=passphrases, sign=True
    ) as adapters:
        journal = app.open_journal(config, create=True)
        try:
            yield Coordinator(
                devnet, config, folder, journal, adapters, app.LazySecrets(config, passphrases)
            )
        finally:
            await journal.close()


# ---------------------------------------------------------------- what the chains say


def settled(devnet: Devnet) -> dict[Line, int]:
    """Read the ledger with every transaction in a block."""
    for chain in CHAIN_IDS:
        # anvil tells of a receipt a moment before it takes the transaction out of its pool.
        wait_until(partial(_pool_is_empty, devnet, chain), what="an empty pool")
    wait_until(lambda: not devnet.rpc("bitcoin", "getrawmempool"), what="an empty mempool")
    return read_ledger(devnet)


def _pool_is_empty(devnet: Devnet, chain: str) -> bool:
    return bool(devnet.rpc(chain, "txpool_status") == {"pending": "0x0", "queued": "0x0"})


def expect_equal_but_for_fees(
    before: Mapping[Line, int],
    after: Mapping[Line, int],
    fees: Mapping[str, int],
    elsewhere: Mapping[Line, int] | None = None,
) -> None:
    """Every amount is what it was, and what our accounts lost is the fees that the saga lists.

    ``elsewhere``: what the test moved on its own meanwhile.
    """
    changed = difference(before, after)
    for line, amount in (elsewhere or {}).items():
        changed[line] = changed.get(line, 0) - amount
    changed = {line: amount for line, amount in changed.items() if amount}
    ours = {
        line for line in changed if line.asset == NATIVE[line.chain] and line.holder != "payee_btc"
    }
    assert not {line: changed[line] for line in changed.keys() - ours}
    lost: dict[str, int] = {}
    for line in ours:
        lost[line.asset] = lost.get(line.asset, 0) - changed[line]
    assert lost == {asset: fee for asset, fee in fees.items() if fee}


def is_final(devnet: Devnet, chain: str, tx: str) -> bool:
    """Whether the node shows the transaction in a block of its best chain, deep enough."""
    wanted = int(devnet.options["confirmations"])
    if chain in CHAIN_IDS:
        receipt = devnet.rpc(chain, "eth_getTransactionReceipt", tx)
        if receipt is None:
            return False
        top = int(devnet.rpc(chain, "eth_blockNumber"), 16)
        return top - int(receipt["blockNumber"], 16) + 1 >= wanted
    found = devnet.rpc(chain, "getrawtransaction", tx, 1)
    return int(found.get("confirmations", 0)) >= wanted


def verify_rollback(
    devnet: Devnet,
    records: list[Record],
    *,
    undone: list[str],
    cause: Mapping[str, Any],
    ahead_s: int = 0,
) -> None:
    """The undo records are complete, in exactly the reverse order, and true on the chains.

    Args:
        undone: the steps that had to be taken back, in the order of their undos.
        cause: what the record of the decision must say; its text may be a part of the real one.
        ahead_s: how far the test moved the host's clock.
    """
    lock = records[0].data["plan"]
    chains = {step["id"]: step["chain"] for step in lock["steps"]}
    order = [step["id"] for step in lock["steps"]]
    assert undone == sorted(undone, key=order.index, reverse=True)

    done = [r for r in records if r.kind == "done" and r.data["dir"] == "undo"]
    intents = [r for r in records if r.kind == "intent" and r.data["dir"] == "undo"]
    assert [r.data["step"] for r in done] == undone
    assert list(dict.fromkeys(r.data["step"] for r in intents)) == undone
    for later, earlier in itertools.pairwise(undone):
        finished = next(r.seq for r in done if r.data["step"] == later)
        begun = next(r.seq for r in intents if r.data["step"] == earlier)
        assert finished < begun, f"the undo of {earlier} was sent before that of {later} was final"

    decision = next(r for r in records if r.kind == "decided")
    assert decision.data["decision"] == "rollback"
    _expect_cause(decision.data["cause"], cause)
    for record in done:
        data, chain = record.data, chains[record.data["step"]]
        forward = _forward(records, data["step"])
        assert data["reason"] == "atomicity_failure"
        assert data["result"] == "undone"
        assert data["cause"] == decision.data["cause"]
        executed_ms = forward.data["facts"]["time"] * 1000
        assert -60_000 < data["executed_ms"] - executed_ms < 60_000 + ahead_s * 1000
        assert data["executed_ms"] <= data["undone_ms"]
        assert decision.at_ms <= data["undone_ms"]
        assert is_final(devnet, chain, forward.data["tx"])
        assert is_final(devnet, chain, data["tx"])
    assert records[-1].kind == "closed"
    assert records[-1].data["state"] == "rolled_back"
    assert records[-1].data["records"] == len(records)


def _expect_cause(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for key, value in wanted.items():
        if key == "text":
            assert value.lower() in found["text"].lower()
        else:
            assert found[key] == value, f"{key} of {dict(found)}"


def _forward(records: list[Record], step: str) -> Record:
    """The record that first showed the forward effect of ``step`` in a block."""
    return next(
        record
        for record in records
        if record.kind in ("included", "done")
        and record.data["step"] == step
        and record.data["dir"] == "forward"
    )


def intents(records: list[Record], step: str | None = None) -> list[Record]:
    """The intents of a saga, of all its steps or of one."""
    return [
        record
        for record in records
        if record.kind == "intent" and step in (None, record.data["step"])
    ]
