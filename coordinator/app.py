"""Composition root: the only place that turns a configuration into open adapters and keys; what is
special to a kind of chain is in `coordinator.families`.
"""

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from adapters.base import Adapter
from adapters.errors import AdapterError, WrongChain
from adapters.retry import Patience, reading
from coordinator.alarm import Notice
from coordinator.clock import HostClock
from coordinator.config import ChainConfig, Config
from coordinator.delivery import FileDelivery
from coordinator.driving import Driver
from coordinator.errors import JournalBroken, JournalError, JournalHeld, PreflightError
from coordinator.families import chain_of, naming_the_file
from coordinator.interpreter import prepare_to_drive
from coordinator.journal.base import Record
from coordinator.journal.liveness import Instance
from coordinator.journal.sqlite import SqliteJournal
from coordinator.keyring import (
    Keyring,
    LazySecrets,
    SignerLocked,
    names_environment,
    watched_accounts,
)
from coordinator.late_chains import LateChains
from coordinator.notary import Notary, open_notary
from coordinator.runner import Runner
from coordinator.saga import SagaState
from coordinator.signers import Passphrases, check_env_allowed
from coordinator.watchdog import Watchdog

__all__ = [
    "LazySecrets",
    "SignerLocked",
    "admit_environment",
    "open_adapters",
    "open_driver",
    "open_journal",
    "open_what_answers",
    "passphrases_for",
    "preimage_folder",
    "watched_accounts",
]

_T = TypeVar("_T")
#: For how long a chain's nodes are asked before a command goes without them.
_OPENING: Final = Patience(attempts=10, first_wait_s=0.25, longest_wait_s=2.0, total_s=5.0)
#: What an operator is asked when the journal can not be written.
_MEND: Final = (
    "is the disk full or broken? Mend it, then: coordinator resume --all. Each start until then "
    "sends again what is durable, and nothing else"
)


def passphrases_for(config: Config, *, interactive: bool) -> Passphrases:
    """Return where this configuration's passphrases come from.

    The environment is not among it until `admit_environment` (`open_adapters` does that).
    """
    return Passphrases(config.path.absolute().parent, interactive=interactive)


async def admit_environment(
    config: Config, passphrases: Passphrases, chains: Collection[str] | None = None
) -> None:
    """Let keys and passphrases come from the environment, if everything is a local devnet.

    Nothing is read from it before.

    Args:
        chains: those whose nodes are asked for their genesis; all enabled ones if None.

    Raises:
        KeysError: something is not local.
        PreflightError: a node can not be asked.
    """
    enabled = sorted(name for name, chain in config.chains.items() if chain.enabled)
    asked = set(enabled if chains is None else chains) - passphrases.admitted
    genesis = []
    for name in sorted(asked):
        chain, family = chain_of(config, name)
        with naming_the_file(config):
            genesis.append(await _reached(name, partial(family.genesis, chain)))
    if not genesis:
        return
    check_env_allowed(
        devnet=config.devnet,
        rpc_urls=[url for name in enabled for url in _urls(config.chains[name])],
        genesis_hashes=genesis,
    )
    passphrases.allow_environment(asked)


@asynccontextmanager
async def open_adapters(
    config: Config,
    chains: Collection[str],
    *,
    passphrases: Passphrases,
    sign: bool,
    patient: bool = False,
) -> AsyncIterator[dict[str, Adapter]]:
    """Open the adapters of ``chains``: nodes reached, chain ids and genesis pinned.

    Args:
        sign: open the signers' keys; False is enough to plan and to look.
        patient: go on without a remote signer that does not answer; for those who take up what has
            begun already.

    Raises:
        ConfigError: a chain's table is wrong, or a chain is unknown or not enabled.
        KeysError: a key can not be opened, is for another network, or may not come from where it
            is said to be.
        PreflightError: a node is unreachable or serves another chain.
    """
    async with _built(config, chains, passphrases, sign=sign, patient=patient) as adapters:
        for name, adapter in adapters.items():
            await _reached(name, adapter.open)
        yield adapters


@asynccontextmanager
async def open_what_answers(
    config: Config, chains: Collection[str], *, passphrases: Passphrases
) -> AsyncIterator[tuple[dict[str, Adapter], LateChains]]:
    """Open the adapters of those ``chains`` whose nodes answer, with keys; for those who take up
    what has begun already: one chain that is away must not keep the others from going on.

    Yields:
        The open adapters, and the chains that are opened when they answer.

    Raises:
        ConfigError, KeysError: as `open_adapters`.
        PreflightError: a node serves another chain.
    """
    async with _built(config, chains, passphrases, sign=True, patient=True) as adapters:
        away: dict[str, tuple[Adapter, AdapterError]] = {}
        results = await asyncio.gather(
            *(_answers(name, adapter.open) for name, adapter in adapters.items()),
            return_exceptions=True,
        )
        for (name, adapter), result in zip(adapters.items(), results, strict=True):
            if isinstance(result, AdapterError):
                away[name] = adapter, result
            elif result is not None:
                raise result
        async with LateChains(away, lambda: HostClock().now_ms() // 1000) as late:
            yield {name: adapters[name] for name in adapters if name not in away}, late


@asynccontextmanager
async def _built(
    config: Config,
    chains: Collection[str],
    passphrases: Passphrases,
    *,
    sign: bool,
    patient: bool,
) -> AsyncIterator[dict[str, Adapter]]:
    """Make the adapters of ``chains`` with their keys, not open yet; they are closed in the end."""
    adapters: dict[str, Adapter] = {}
    keyring = Keyring(config, passphrases, sign=sign)
    try:
        if names_environment(config):
            await admit_environment(config, passphrases, chains)
        for name in sorted(chains):
            chain, family = chain_of(config, name)
            with naming_the_file(config):
                adapters[name] = family.build(config, chain, keyring)
        await keyring.confirm(patient=patient)
        yield adapters
    finally:
        for adapter in adapters.values():
            await adapter.close()
        await keyring.close()


async def _reached(name: str, ask: Callable[[], Awaitable[_T]]) -> _T:
    """Return what a chain's nodes answered.

    Raises:
        PreflightError: none can be used.
    """
    try:
        return await _answers(name, ask)
    except AdapterError as error:
        raise PreflightError(
            f"{name}: its node can not be used: {error}. Nothing was sent. "
            "Check the address under rpc, then: coordinator doctor"
        ) from error


async def _answers(name: str, ask: Callable[[], Awaitable[_T]]) -> _T:
    """Return what a chain's nodes answered, asking for a while: one that was busy for a moment
    keeps nobody from starting.

    Raises:
        AdapterError: none can be used now.
        PreflightError: one serves another chain.
    """
    try:
        return await reading(ask, _OPENING)
    except WrongChain as error:
        raise PreflightError(f"{name}: {error}. Nothing was sent.") from error


def _urls(chain: ChainConfig) -> list[str]:
    """Return a chain's nodes; a variable that is not set names none."""
    table = chain.table
    return [
        table.expand("rpc", url)
        for url in table.peek("rpc")
        if not url.startswith("env:") or table.is_set(url)
    ]


def preimage_folder(config: Config) -> Path:
    """Return where ``deliver = "file"`` puts preimages after their reveal."""
    return config.recovery_dir / "preimages"


def open_journal(config: Config, *, create: bool = False) -> SqliteJournal:
    """Open the configured journal for writing; ``create`` makes it where there never was one.

    Raises:
        JournalError: missing, damaged, not writable, or older than its second place.
    """
    path, witness = config.journal_path, config.witness_path
    if create and not path.exists() and not witness.exists():
        try:
            SqliteJournal.create(path, witness)
        except JournalError:
            # Another process may have made it in this moment; if not, its absence is told below.
            if not path.exists():
                raise
    return SqliteJournal(path, witness)


@asynccontextmanager
async def open_driver(
    config: Config,
    journal: SqliteJournal,
    adapters: Mapping[str, Adapter],
    secrets: LazySecrets,
    *,
    observer: Callable[[SagaState, Record], None],
    alarm: Callable[[Notice], None],
    beside: Callable[[], Sequence[Notice]] = tuple,
) -> AsyncIterator[Driver]:
    """Open everything that one process needs to drive sagas, and sign off at the end.

    Args:
        observer: called with every record of this process after it is durable.
        alarm: called by the watchdog, from its thread, while the loop does not move or the open
            claim of an ended saga is overdue; and when the journal has failed.
        beside: what else is waited for; called from the watchdog's thread.

    Raises:
        JournalError: the folder of signs of life can not be written, or the journal is not the
            one whose heads were signed.
        JournalBroken: the journal failed on the way; what is durable has left once more.
        KeysError: the log's key can not be opened.
    """
    prepare_to_drive()
    clock = HostClock()
    notary = open_notary(config, secrets.passphrases, now_ms=clock.now_ms)
    observe = observer if notary is None else partial(_observe_ends, observer, notary)
    instance = Instance.enter(config.journal_path)
    try:
        runner = Runner(
            journal=journal,
            adapters=adapters,
            secrets=secrets,
            clock=clock,
            instance=instance.name,
            deliver=FileDelivery(preimage_folder(config)),
            observer=observe,
        )

        def notices() -> list[Notice]:
            signing = notary.notices() if notary is not None else ()
            return [*runner.notices(), *signing, *beside()]

        with Watchdog(runner.waking.earliest_due_ms, alarm, notices=notices) as watchdog:
            driver = Driver(journal=journal, instance=instance, runner=runner, watchdog=watchdog)
            if notary is not None:
                notary.start()
            try:
                yield driver
            except (JournalBroken, JournalHeld, OSError) as broken:  # the disk of something else
                sent = await _sent(driver)
                alarm(Notice("journal", "broken", f"{broken} Before leaving, {sent}.", _MEND))
                raise
            finally:
                with suppress(JournalError):  # a broken journal was told already
                    await driver.leave()
                if notary is not None:
                    for notice in await asyncio.to_thread(notary.stop):
                        alarm(notice)
    finally:
        instance.leave()


async def _sent(driver: Driver) -> str:
    """Let what is durable leave once more; whatever goes wrong there, the alarm must be told."""
    try:
        return await driver.send_durable()
    except Exception as error:  # noqa: BLE001 - the journal can not be read either
        return f"what is durable could not be sent once more ({error})"


def _observe_ends(
    observer: Callable[[SagaState, Record], None],
    notary: Notary,
    state: SagaState,
    record: Record,
) -> None:
    """Show a record to the observer, and have the log signed soon after a saga has ended."""
    if record.kind == "closed":
        notary.want()
    observer(state, record)
