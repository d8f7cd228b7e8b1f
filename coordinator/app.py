"""Composition root: the only place that turns a configuration into open adapters and keys.

Concrete adapters are imported where they are opened, so that commands that read the journal alone
never load a chain library.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from adapters.base import Adapter
from adapters.errors import AdapterError, WrongChain
from adapters.recipe import Recipes
from adapters.statement import NodeAsked, Statements
from adapters.tables import TableError
from coordinator.alarm import Notice
from coordinator.clock import HostClock
from coordinator.config import ChainConfig, Config
from coordinator.delivery import FileDelivery
from coordinator.driving import Driver
from coordinator.errors import ConfigError, JournalBroken, JournalError, PreflightError
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
from coordinator.notary import Notary, open_notary
from coordinator.runner import Runner
from coordinator.saga import SagaState
from coordinator.signers import (
    Opened,
    Passphrases,
    check_env_allowed,
)
from coordinator.watchdog import Watchdog

__all__ = [
    "LazySecrets",
    "SignerLocked",
    "admit_environment",
    "configured_nodes",
    "open_adapters",
    "open_driver",
    "open_journal",
    "passphrases_for",
    "preimage_folder",
    "recipes_of",
    "statements_of",
    "watched_accounts",
]

_T = TypeVar("_T")
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
        chain, family = _chain(config, name)
        with _telling(config):
            genesis.append(await _reached(name, family.genesis(chain)))
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
    adapters: dict[str, Adapter] = {}
    keyring = Keyring(config, passphrases, sign=sign)
    try:
        if names_environment(config):
            await admit_environment(config, passphrases, chains)
        for name in sorted(chains):
            chain, family = _chain(config, name)
            with _telling(config):
                adapters[name] = family.build(config, chain, keyring)
        await keyring.confirm(patient=patient)
        for name, adapter in adapters.items():
            await _reached(name, adapter.open())
        yield adapters
    finally:
        for adapter in adapters.values():
            await adapter.close()
        await keyring.close()


async def _reached(name: str, asking: Awaitable[_T]) -> _T:
    """Return what a chain's nodes answered.

    Raises:
        PreflightError: none can be used.
    """
    try:
        return await asking
    except WrongChain as error:
        raise PreflightError(f"{name}: {error}. Nothing was sent.") from error
    except AdapterError as error:
        raise PreflightError(
            f"{name}: its node can not be used: {error}. Nothing was sent. "
            "Check the address under rpc, then: coordinator doctor"
        ) from error


def _urls(chain: ChainConfig) -> list[str]:
    """Return a chain's nodes; a variable that is not set names none."""
    table = chain.table
    return [
        table.expand("rpc", url)
        for url in table.peek("rpc")
        if not url.startswith("env:") or table.is_set(url)
    ]


def _chain(config: Config, name: str) -> "tuple[ChainConfig, _Family]":
    """Return a chain that may be opened, and what is special to its kind.

    Raises:
        ConfigError: there is no such chain, or it may not.
    """
    chain = config.chains.get(name)
    if chain is None or not chain.enabled:
        why = "is not enabled" if chain else "is not"
        raise ConfigError(f"chain {name} {why} in {config.path}; nothing was sent")
    family = _FAMILIES.get(chain.kind)
    if family is None:
        raise ConfigError(
            f"[chain.{name}] kind {chain.kind!r} is unknown; known: {', '.join(_FAMILIES)}. "
            "Nothing was sent."
        )
    return chain, family


@contextmanager
def _telling(config: Config) -> Iterator[None]:
    """Name the file in which an adapter found a mistake."""
    try:
        yield
    except TableError as error:
        raise ConfigError(f"{config.path}: {error}; nothing was sent") from None


def _evm(_config: Config, chain: ChainConfig, keyring: Keyring) -> Adapter:
    from adapters.evm.adapter import EvmAdapter
    from adapters.evm.settings import EvmSettings
    from adapters.evm.signing import EvmSigner, LocalEvmSigner, RemoteEvmSigner

    settings = EvmSettings.read(chain.table)
    signers: dict[str, EvmSigner] = {}
    for name, key, watch in keyring.of_kind("ethereum"):
        if isinstance(key, Opened):
            signers[name] = LocalEvmSigner(key.secret.reveal())
        else:
            signers[name] = watch if key is None else RemoteEvmSigner(key, watch.address)
    return EvmAdapter(chain.name, settings, signers, chain.assets)


async def _evm_genesis(chain: ChainConfig) -> str:
    from adapters.evm.nodes import Nodes
    from adapters.evm.settings import EvmSettings

    settings = EvmSettings.read(chain.table)
    nodes = Nodes(
        chain.name, settings.rpc, timeout_s=settings.timeout_ms / 1000,
        chain_id=settings.chain_id, genesis=settings.genesis, clock=time.monotonic,
    )  # fmt: skip
    try:
        await nodes.open()
        return str(nodes.genesis)
    finally:
        await nodes.close()


def _bitcoin(config: Config, chain: ChainConfig, keyring: Keyring) -> Adapter:
    from adapters.bitcoin.adapter import BitcoinAdapter
    from adapters.bitcoin.settings import BitcoinSettings
    from adapters.bitcoin.signing import BitcoinSigner, LocalBitcoinSigner, RemoteBitcoinSigner

    settings = BitcoinSettings.read(chain.table)
    signers: dict[str, BitcoinSigner] = {}
    network = settings.network.name
    for name, key, watch in keyring.of_kind("bitcoin", network=network):
        if isinstance(key, Opened):
            signers[name] = LocalBitcoinSigner(key.secret.reveal())
        else:
            signers[name] = watch if key is None else RemoteBitcoinSigner(key, watch.public_key)
    return BitcoinAdapter(chain.name, settings, signers, chain.assets, config.recovery_dir)


async def _bitcoin_genesis(chain: ChainConfig) -> str:
    from adapters.bitcoin.nodes import Nodes
    from adapters.bitcoin.settings import BitcoinSettings

    settings = BitcoinSettings.read(chain.table)
    nodes = Nodes(settings)
    try:
        await nodes.open()
        return settings.genesis
    finally:
        await nodes.close()


def _evm_statements() -> Statements:
    from adapters.evm import statement

    return statement


def _bitcoin_statements() -> Statements:
    from adapters.bitcoin import statement

    return statement


def _evm_recipes() -> Recipes:
    from adapters.evm import recipe

    return recipe


def _bitcoin_recipes() -> Recipes:
    from adapters.bitcoin import recipe

    return recipe


@dataclass(frozen=True, slots=True)
class _Family:
    """What is special to one kind of chain.

    Attributes:
        build: its adapter, not open yet, with the keys of its kind.
        genesis: hash of block 0 as its nodes show it; needs no key.
        namespace: how CAIP-2 names of its chains begin.
        statements: how its nodes are asked for blocks.
        recipes: how its effects are taken back without a coordinator.
    """

    build: Callable[[Config, ChainConfig, Keyring], Adapter]
    genesis: Callable[[ChainConfig], Awaitable[str]]
    namespace: str
    statements: Callable[[], Statements]
    recipes: Callable[[], Recipes]


_FAMILIES: Final[Mapping[str, _Family]] = {
    "evm": _Family(_evm, _evm_genesis, "eip155", _evm_statements, _evm_recipes),
    "bitcoin": _Family(_bitcoin, _bitcoin_genesis, "bip122", _bitcoin_statements, _bitcoin_recipes),
}


def recipes_of(kind: str) -> Recipes | None:
    """Return how effects on chains of this kind are taken back; None for an unknown kind."""
    family = _FAMILIES.get(kind)
    return None if family is None else family.recipes()


def statements_of(chain: str) -> Statements | None:
    """Return how nodes of the chain with this CAIP-2 name are asked; None for an unknown kind."""
    namespace = chain.partition(":")[0]
    families = [family for family in _FAMILIES.values() if family.namespace == namespace]
    return families[0].statements() if families else None


def configured_nodes(config: Config) -> dict[str, tuple[NodeAsked, ...]]:
    """Return the nodes of all enabled chains by the chain's CAIP-2 name; opens no connection.

    Raises:
        ConfigError: a chain's table is wrong.
    """
    found: dict[str, tuple[NodeAsked, ...]] = {}
    for name in sorted(config.chains):
        if not config.chains[name].enabled:
            continue
        chain, family = _chain(config, name)
        with _telling(config):
            where, nodes = family.statements().chain_of(chain.table)
        found[where] = (*found.get(where, ()), *nodes)
    return found


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
) -> AsyncIterator[Driver]:
    """Open everything that one process needs to drive sagas, and sign off at the end.

    Args:
        observer: called with every record of this process after it is durable.
        alarm: called by the watchdog, from its thread, while the loop does not move or the open
            claim of an ended saga is overdue; and when the journal has failed.

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
            return [*runner.notices(), *(notary.notices() if notary is not None else ())]

        with Watchdog(runner.earliest_due_ms, alarm, notices=notices) as watchdog:
            driver = Driver(journal=journal, instance=instance, runner=runner, watchdog=watchdog)
            if notary is not None:
                notary.start()
            try:
                yield driver
            except (JournalBroken, OSError) as broken:  # the disk of something else may be full
                sent = await driver.send_durable()
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
