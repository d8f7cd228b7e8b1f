"""A development network in the hands of a test: run a plan, read balances, make a step fail."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from coordinator import app, planning, service
from coordinator.alarm import Notice
from coordinator.config import Config, load_config
from coordinator.devnet import control
from coordinator.devnet.ledger import Line, difference, read_ledger
from coordinator.devnet.network import Devnet
from coordinator.journal.base import Record
from coordinator.journal.sqlite import SqliteJournal
from coordinator.saga import SagaState

__all__ = ["DevnetFixture", "Result"]

#: Chain, asset, holder.
Balance = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Result:
    """How a plan ended.

    Attributes:
        saga: its id.
        state: ``committed``, ``rolled_back``, or where it was when the patience was over.
        stuck: the question for a person, None where there is none.
        fees: base units paid, by asset.
        records: the saga's journal, oldest first.
    """

    saga: str
    state: str
    stuck: str | None
    fees: Mapping[str, int]
    records: tuple[Record, ...]


class DevnetFixture:
    """What the fixture ``coordinator_devnet`` is."""

    def __init__(self, devnet: Devnet) -> None:
        self._devnet = devnet
        self._runs = 0

    @property
    def config(self) -> Path:
        """Its chains.toml, for ``--config`` or COORDINATOR_CONFIG."""
        return self._devnet.config

    @property
    def urls(self) -> Mapping[str, str]:
        """Where the nodes listen, by chain; bitcoind's cookie is named in `config`."""
        return dict(self._devnet.urls)

    @property
    def contracts(self) -> Mapping[str, Mapping[str, str]]:
        """Addresses of ``vault``, ``token`` and their ``owner``, by chain."""
        return {chain: dict(place) for chain, place in self._devnet.contracts.items()}

    # ------------------------------------------------------------ plans

    def run(
        self,
        plan: Path | str,
        *,
        journal: Path,
        sets: Mapping[str, str] | None = None,
        key: str | None = None,
        patience_s: float = 60,
    ) -> Result:
        """Check a plan or lock, start it and drive it to its end, as ``coordinator run`` does.

        Args:
            journal: folder for the journal of this test; a second call goes on in the same one.
            sets: values for the plan's inputs, as ``--set``.
            key: names the saga: the same key attaches to it. None is a new one.
            patience_s: leave after this time, whatever the saga's state; it can be run on.

        Raises:
            CoordinatorError: the plan was refused; nothing was sent.
        """
        self._runs += 1
        key = key or f"{Path(plan).stem} {self._runs} {time.time_ns()}"
        config = self._config(journal)
        return asyncio.run(self._run(config, Path(plan), dict(sets or {}), key, patience_s))

    def _config(self, folder: Path) -> Config:
        (folder / "witness").mkdir(parents=True, exist_ok=True)
        return replace(
            load_config(self.config),
            journal_path=folder / "journal.db",
            witness_path=folder / "witness" / "head",
        )

    async def _run(
        self, config: Config, plan: Path, sets: dict[str, str], key: str, patience_s: float
    ) -> Result:
        passphrases = app.passphrases_for(config, interactive=False)
        secrets = app.LazySecrets(config, passphrases)
        async with app.open_adapters(
            config, list(config.chains), passphrases=passphrases, sign=True
        ) as adapters:
            journal = app.open_journal(config, create=True)
            try:
                lock = await planning.lock_of(planning.read_source(plan, sets), adapters, config)
                if journal.saga_of_key(key) is None:
                    others = [row for chain in adapters for row in journal.reservations(chain)]
                    examined = await planning.examine(lock, adapters, others)
                    planning.require_runnable(lock, examined)
                async with app.open_driver(
                    config, journal, adapters, secrets, observer=_ignore, alarm=_ignore_notice
                ) as driver:
                    started = await service.start(
                        journal, adapters, lock.data, lock.digest, key=key,
                        instance=driver.instance.name, now_ms=time.time_ns() // 1_000_000,
                    )  # fmt: skip
                    await driver.take_over(driver.row(started.saga))
                    await driver.run(
                        service.only(started.saga), stop=asyncio.Event(), wait_s=patience_s
                    )
                return _result(journal, started.saga)
            finally:
                await journal.close()

    # ------------------------------------------------------------ chains

    def balances(self) -> dict[Balance, int]:
        """Return base units by (chain, asset, holder), read from the nodes.

        Holders are the network's identities (``treasury_evm``, ``receiver``, ``payee_btc`` …) and
        on EVM chains ``vault``, ``supply``, ``pending`` and ``allowance`` of ALZ.
        """
        return {_key(line): amount for line, amount in read_ledger(self._devnet).items()}

    def changes(self, before: Mapping[Balance, int]) -> dict[Balance, int]:
        """Return what is another amount than in ``before``, as differences in base units."""
        lines = {Line(*key): amount for key, amount in before.items()}
        changed = difference(lines, read_ledger(self._devnet))
        return {_key(line): amount for line, amount in changed.items()}

    def mine(self, chain: str, blocks: int = 1) -> int:
        """Mine blocks; return the chain's new height."""
        return control.mine(self._devnet, chain, blocks)

    def reorganise(self, chain: str, depth: int) -> None:
        """Replace the last ``depth`` blocks by others."""
        control.reorganise(self._devnet, chain, depth)

    def pause_token(self, chain: str) -> None:
        """Let every new mint on ``chain`` fail until `unpause_token`."""
        control.pause_token(self._devnet, chain)

    def unpause_token(self, chain: str) -> None:
        """Let mints begin again."""
        control.unpause_token(self._devnet, chain)


def _key(line: Line) -> Balance:
    return line.chain, line.asset, line.holder


def _result(journal: SqliteJournal, saga: str) -> Result:
    state = service.load(journal, saga)
    return Result(
        saga=saga,
        state=state.state,
        stuck=None if state.stuck is None else str(state.stuck["question"]),
        fees=dict(state.fees),
        records=tuple(journal.read(f"saga:{saga}")),
    )


def _ignore(_state: SagaState, _record: Record) -> None:
    """A test reads the records afterwards."""


def _ignore_notice(_notice: Notice) -> None:
    """The watchdog's alarm; a test has a time limit of its own."""
