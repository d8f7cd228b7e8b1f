"""Composition root: the only place that turns a configuration into open adapters and keys.

Concrete adapters are imported where they are opened, so that commands that read the journal alone
never load a chain library.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from adapters.base import Adapter
from adapters.errors import AdapterError, WrongChain
from adapters.tables import TableError
from coordinator.clock import HostClock
from coordinator.config import ChainConfig, Config
from coordinator.delivery import FileDelivery
from coordinator.driving import Driver
from coordinator.errors import ConfigError, JournalError, KeysError, PreflightError
from coordinator.interpreter import prepare_to_drive
from coordinator.journal.base import Record
from coordinator.journal.liveness import Instance
from coordinator.journal.sqlite import SqliteJournal
from coordinator.runner import Runner
from coordinator.saga import SagaState
from coordinator.signers import (
    HoldSecrets,
    Opened,
    Passphrases,
    Secret,
    check_env_allowed,
    open_seed,
    open_signer,
    read_keystore,
)
from coordinator.watchdog import Watchdog

__all__ = [
    "LazySecrets",
    "SignerLocked",
    "open_adapters",
    "open_driver",
    "open_journal",
    "passphrases_for",
    "preimage_folder",
    "watched_accounts",
]


class SignerLocked(KeysError):
    """A signature was asked of a key that this command did not open."""


class LazySecrets:
    """Implements `coordinator.runner.Secrets`; the seed is opened when a hold first needs it."""

    def __init__(self, config: Config, passphrases: Passphrases) -> None:
        self._config = config
        self._passphrases = passphrases
        self._seed: HoldSecrets | None = None

    def open(self) -> HoldSecrets:
        """Return the opened seed.

        Raises:
            KeysError: there is no seed in the configuration, or it can not be opened.
        """
        if self._seed is None:
            secrets = self._config.secrets
            if secrets is None:
                raise KeysError(
                    "a hold needs a seed for its preimage and chains.toml has no [secrets]; make "
                    "one: coordinator keys add seed --kind seed. Nothing was sent."
                )
            self._seed = open_seed(
                secrets.seed, secrets.passphrase, self._passphrases, devnet=self._config.devnet
            )
        return self._seed

    def preimage(self, *, saga: str, step: str, generation: int) -> Secret:
        """Return the 32-byte preimage of one hold."""
        return self.open().preimage(saga=saga, step=step, generation=generation)

    def hashlock(self, *, saga: str, step: str, generation: int) -> str:
        """Return its SHA-256 as 64 hex digits."""
        return self.open().hashlock(saga=saga, step=step, generation=generation)


def passphrases_for(config: Config, *, interactive: bool) -> Passphrases:
    """Return where this configuration's passphrases come from."""
    return Passphrases(
        config.path.absolute().parent, interactive=interactive, env_allowed=config.devnet
    )


@dataclass(frozen=True, slots=True)
class _WatchOnly:
    """A signer whose public half is enough for what the command does."""

    name: str
    address: str
    public_key: bytes

    async def sign(self, _unsigned: Any) -> bytes:
        raise SignerLocked(f"signer {self.name} was not opened for this command. Nothing was sent.")

    async def sign_digest(self, _digest: bytes) -> bytes:
        raise SignerLocked(f"signer {self.name} was not opened for this command. Nothing was sent.")


@asynccontextmanager
async def open_adapters(
    config: Config, chains: Collection[str], *, passphrases: Passphrases, sign: bool
) -> AsyncIterator[dict[str, Adapter]]:
    """Open the adapters of ``chains``: nodes reached, chain ids and genesis pinned.

    Args:
        sign: open the signers' keys; False is enough to plan and to look.

    Raises:
        ConfigError: a chain's table is wrong, or a chain is unknown or not enabled.
        KeysError: a key can not be opened.
        PreflightError: a node is unreachable or serves another chain.
    """
    adapters: dict[str, Adapter] = {}
    try:
        for name in sorted(chains):
            adapters[name] = _build(config, name, passphrases, sign=sign)
        for name, adapter in adapters.items():
            await _open(name, adapter)
        if sign and any(signer.type == "env" for signer in config.signers.values()):
            check_env_allowed(
                devnet=config.devnet,
                rpc_urls=[url for chain in adapters for url in _urls(config.chains[chain])],
                genesis_hashes=[str(adapter.terms()["genesis"]) for adapter in adapters.values()],
            )
        yield adapters
    finally:
        for adapter in adapters.values():
            await adapter.close()


async def _open(name: str, adapter: Adapter) -> None:
    try:
        await adapter.open()
    except WrongChain as error:
        raise PreflightError(f"{name}: {error}. Nothing was sent.") from error
    except AdapterError as error:
        raise PreflightError(
            f"{name}: its node can not be used: {error}. Nothing was sent. "
            "Check the address under rpc, then: coordinator doctor"
        ) from error


def _urls(chain: ChainConfig) -> list[str]:
    return [chain.table.expand("rpc", url) for url in chain.table.peek("rpc")]


def _build(config: Config, name: str, passphrases: Passphrases, *, sign: bool) -> Adapter:
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
    try:
        return family(config, chain, passphrases, sign)
    except TableError as error:
        raise ConfigError(f"{config.path}: {error}; nothing was sent") from None


def _evm(config: Config, chain: ChainConfig, passphrases: Passphrases, sign: bool) -> Adapter:  # noqa: FBT001 - one signature for the table below
    from adapters.evm.adapter import EvmAdapter
    from adapters.evm.settings import EvmSettings
    from adapters.evm.signing import EvmSigner, LocalEvmSigner

    settings = EvmSettings.read(chain.table)
    signers: dict[str, EvmSigner] = {}
    for name, opened, watch in _keys(config, "ethereum", passphrases, sign=sign):
        signers[name] = LocalEvmSigner(opened.secret.reveal()) if opened else watch
    return EvmAdapter(chain.name, settings, signers, chain.assets)


def _bitcoin(config: Config, chain: ChainConfig, passphrases: Passphrases, sign: bool) -> Adapter:  # noqa: FBT001 - one signature for the table below
    from adapters.bitcoin.adapter import BitcoinAdapter
    from adapters.bitcoin.settings import BitcoinSettings
    from adapters.bitcoin.signing import BitcoinSigner, LocalBitcoinSigner

    settings = BitcoinSettings.read(chain.table)
    signers: dict[str, BitcoinSigner] = {}
    for name, opened, watch in _keys(config, "bitcoin", passphrases, sign=sign):
        signers[name] = LocalBitcoinSigner(opened.secret.reveal()) if opened else watch
    return BitcoinAdapter(chain.name, settings, signers, chain.assets, config.recovery_dir)


_FAMILIES: Final[Mapping[str, Callable[[Config, ChainConfig, Passphrases, bool], Adapter]]] = {
    "evm": _evm,
    "bitcoin": _bitcoin,
}

#: Kind of chain → kind of the keys that sign for it.
_SIGNER_KINDS: Final = {"evm": "ethereum", "bitcoin": "bitcoin"}


def _keys(
    config: Config, kind: str, passphrases: Passphrases, *, sign: bool
) -> list[tuple[str, Opened | None, _WatchOnly]]:
    """Return the signers of ``kind``, opened if signatures are wanted."""
    found: list[tuple[str, Opened | None, _WatchOnly]] = []
    for name, source in config.signers.items():
        if source.kind not in (None, kind):
            continue
        face = None
        if source.type == "keystore" and source.path is not None:
            face = read_keystore(source.path, f"signer {name}: keystore").face
        if face is not None and face.kind != kind:
            continue
        opened = None
        if sign or face is None:
            opened = open_signer(name, source, passphrases, devnet=config.devnet)
            if opened.kind != kind:
                continue
            face = opened.face
        watch = _WatchOnly(
            name, face.address or "", bytes.fromhex(face.public_key) if face.public_key else b""
        )
        found.append((name, opened, watch))
    return found


def watched_accounts(config: Config, chain: str) -> dict[str, str]:
    """Return the addresses of our signers that fit the kind of ``chain``; opens no keystore."""
    kind = _SIGNER_KINDS[config.chains[chain].kind]
    found = {}
    for name, source in config.signers.items():
        if source.path is None or source.kind not in (None, kind):
            continue
        face = read_keystore(source.path, f"signer {name}: keystore").face
        if face is not None and face.kind == kind and face.address:
            found[name] = face.address
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
    alarm: Callable[[str], None],
) -> AsyncIterator[Driver]:
    """Open everything that one process needs to drive sagas, and sign off at the end.

    Args:
        observer: called with every record of this process after it is durable.
        alarm: called by the watchdog, from its thread, while the loop does not move.

    Raises:
        JournalError: the folder of signs of life can not be written.
    """
    prepare_to_drive()
    instance = Instance.enter(config.journal_path)
    try:
        runner = Runner(
            journal=journal,
            adapters=adapters,
            secrets=secrets,
            clock=HostClock(),
            instance=instance.name,
            deliver=FileDelivery(preimage_folder(config)),
            observer=observer,
        )
        with Watchdog(runner.earliest_due_ms, alarm) as watchdog:
            driver = Driver(journal=journal, instance=instance, runner=runner, watchdog=watchdog)
            try:
                yield driver
            finally:
                with suppress(JournalError):  # a broken journal was told already
                    await driver.leave()
    finally:
        instance.leave()
