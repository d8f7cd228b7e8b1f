"""chains.toml: chains, assets, signers by reference, and where the journal lives.

What only one kind of chain understands stays in that chain's `Table`, which its adapter reads to
the end (unknown keys included); here is what the coordinator itself needs.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from adapters.assets import AssetFacts
from adapters.tables import Table, TableError, unknown_key
from coordinator.errors import ConfigError
from coordinator.literal_secrets import secrets_in
from coordinator.plan.names import ASSET, IDENTIFIER, name_problem
from coordinator.plan.source import SourceError, read_document
from coordinator.signers.environment import is_loopback
from coordinator.signers.remote import RemoteSource
from coordinator.signers.remote_table import read_remote

__all__ = [
    "AssetConfig",
    "ChainConfig",
    "Config",
    "Limits",
    "LogConfig",
    "SecretsConfig",
    "SignerConfig",
    "check_log",
    "load_config",
]

_TOP: Final = (
    "asset", "chain", "devnet", "journal", "limits", "log", "secrets", "signer", "version",
)  # fmt: skip
_VARIABLE: Final = r"[A-Za-z_][A-Za-z0-9_]{0,127}"
#: As checkpoints have it (proofs/checkpoint.py), with room for "/r" and the count of recoveries.
_ORIGIN: Final = r"[a-z0-9][a-z0-9._/:-]{0,119}"
_REFERENCE: Final = rf"file:.+|fd:[0-9]{{1,4}}|prompt|env:{_VARIABLE}"


@dataclass(frozen=True, slots=True)
class AssetConfig:
    """An asset: where it is the chain's own, and its contract where it is a token."""

    name: str
    decimals: int
    native: tuple[str, ...]
    contracts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ChainConfig:
    """A chain. ``table`` is for the adapter of this ``kind``; ``assets`` are those on this chain.

    A chain with ``enabled = false`` is read but neither opened nor accepted in plans.
    """

    name: str
    kind: str
    enabled: bool
    table: Table
    assets: Mapping[str, AssetFacts]


@dataclass(frozen=True, slots=True)
class SignerConfig:
    """Where a signer's key is, never the key.

    ``keystore``: ``path`` and ``passphrase`` (``file:/absolute``, ``fd:N``, ``prompt``, and
    ``env:NAME`` on a devnet). ``env`` (devnet only): ``variable``. ``http`` and ``command``:
    ``remote``, a key that another process holds. ``kind`` says for which kind of chain the key is,
    where its keystore does not say so itself.
    """

    name: str
    type: str
    path: Path | None = None
    passphrase: str | None = None
    variable: str | None = None
    kind: str | None = None
    remote: RemoteSource | None = None


@dataclass(frozen=True, slots=True)
class SecretsConfig:
    """The keystore of the seed from which preimages of holds are derived."""

    seed: Path
    passphrase: str


@dataclass(frozen=True, slots=True)
class LogConfig:
    """How heads of the audit log are signed.

    Attributes:
        origin: the log's name in its checkpoints, for ever.
        key: the signer that signs them, and nothing else.
        heartbeat_s: a head is signed at least this often while a process drives sagas.
    """

    origin: str
    key: str
    heartbeat_s: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Allowances in the timing rules of plans (DESIGN.md §4).

    Attributes:
        outage_s: how long the coordinator may be away at the worst moment.
        skew_s: how far two clocks may be apart.
    """

    outage_s: int
    skew_s: int


@dataclass(frozen=True, slots=True)
class Config:
    """A whole chains.toml. All paths are absolute or relative to the caller, never to the file."""

    version: int
    devnet: bool
    path: Path
    journal_path: Path
    witness_path: Path
    recovery_dir: Path
    limits: Limits
    chains: Mapping[str, ChainConfig]
    assets: Mapping[str, AssetConfig]
    signers: Mapping[str, SignerConfig]
    secrets: SecretsConfig | None
    log: LogConfig | None = None


def load_config(path: Path, environ: Mapping[str, str] | None = None) -> Config:
    """Return the configuration in ``path``; touches no network and opens no keystore.

    ``environ`` is where ``env:NAME`` references are looked up, when an adapter reads them.

    Raises:
        ConfigError: the file, its first mistake, and what would mend it.
    """
    try:
        data = read_document(path)
        _refuse_secrets(data)
        folder = path.absolute().parent
        environ = os.environ if environ is None else environ
        return _read(path, Table("", data, folder=folder, environ=environ))
    except SourceError as error:
        raise ConfigError(f"{error}; nothing was sent") from None
    except TableError as error:
        raise ConfigError(f"{path}: {error}; nothing was sent") from None


def _refuse_secrets(data: Mapping[str, Any]) -> None:
    for place, kind in secrets_in(data):
        raise TableError(
            f"{place} holds {kind}; keys and passwords never stand in this file: "
            "name a keystore, a passphrase file, or env:VARIABLE"
        )


def _read(path: Path, root: Table) -> Config:
    # First of all: a misspelt "devnet" would otherwise be reported as what follows from it.
    for key in root.names():
        if key not in _TOP:
            raise TableError(unknown_key(key, "", _TOP))
    version = root.integer("version", minimum=1)
    if version != 1:
        raise root.error("version", "is of a newer program; this one reads version 1")
    devnet = root.flag("devnet", False)
    journal_path, witness_path, recovery_dir = _places(root.table("journal", {}))
    tables = _chain_tables(root)
    assets = {name: _asset(name, table, tables) for name, table in _named(root, "asset", ASSET)}
    secrets, log = root.table("secrets", None), root.table("log", None)
    config = Config(
        version=version,
        devnet=devnet,
        path=path,
        journal_path=journal_path,
        witness_path=witness_path,
        recovery_dir=recovery_dir,
        limits=_limits(root.table("limits", {}), devnet=devnet),
        chains={name: _chain(name, table, assets) for name, table in tables.items()},
        assets=assets,
        signers={
            name: _signer(name, table, devnet=devnet)
            for name, table in _named(root, "signer", IDENTIFIER)
        },
        secrets=_secrets(secrets, devnet=devnet) if secrets else None,
        log=_log(log) if log else None,
    )
    root.finish()
    _check_together(config)
    return config


def _places(journal: Table) -> tuple[Path, Path, Path]:
    path = journal.path("path", None) or journal.locate("path", "journal.db")
    witness = journal.path("witness", None) or journal.locate("witness", "witness/head")
    recovery = journal.path("recovery_dir", None) or journal.locate("recovery_dir", "recovery")
    if witness == path:
        raise journal.error("witness", "must be another file than the journal (R12)")
    return path, witness, recovery


def _named(root: Table, key: str, pattern: str) -> Iterator[tuple[str, Table]]:
    for name, table in root.tables(key).items():
        if problem := name_problem(name, pattern):
            raise root.error(key, f"has an entry whose name {problem}")
        yield name, table


def _limits(table: Table, *, devnet: bool) -> Limits:
    return Limits(
        outage_s=table.integer("outage_s", 0 if devnet else 3600, maximum=30 * 86400),
        skew_s=table.integer("skew_s", 0 if devnet else 60, maximum=86400),
    )


def _chain_tables(root: Table) -> dict[str, Table]:
    """Return the chains' tables under a root of their own: their adapters finish them."""
    apart = Table("", {"chain": root.raw("chain")}, folder=root.folder, environ=root.environ)
    found = dict(_named(apart, "chain", IDENTIFIER))
    if not found:
        raise root.error("chain", "names no chain")
    return found


def _asset(name: str, table: Table, chains: Mapping[str, Table]) -> AssetConfig:
    contracts = table.table("contract", {})
    addresses = {chain: contracts.text(chain) for chain in contracts.names()}
    natives = tuple(table.texts("native", ()))
    decimals = table.integer("decimals", maximum=36)
    for key, places in (("native", natives), ("contract", tuple(addresses))):
        for chain in places:
            if chain not in chains:
                raise table.error(key, f"names {chain!a}, which is no chain of this file")
    if both := set(natives) & set(addresses):
        raise table.error("contract", f"and 'native' both name {min(both)}")
    return AssetConfig(name, decimals, natives, addresses)


def _chain(name: str, table: Table, assets: Mapping[str, AssetConfig]) -> ChainConfig:
    facts = {
        asset.name: AssetFacts(
            asset.name, asset.decimals, asset.contracts.get(name), name in asset.native
        )
        for asset in assets.values()
        if name in asset.native or name in asset.contracts
    }
    enabled = table.flag("enabled", True)
    natives = [fact.name for fact in facts.values() if fact.native]
    if enabled and len(natives) != 1:
        found = " and ".join(natives) or "none"
        raise TableError(
            f"[chain.{name}] needs one asset in which its fees are paid, found: {found}; "
            f'write native = ["{name}"] in exactly one [asset.NAME]'
        )
    contracts = [fact.contract.lower() for fact in facts.values() if fact.contract]
    if len(set(contracts)) != len(contracts):
        raise TableError(f"two assets name the same contract on [chain.{name}]")
    return ChainConfig(name, table.text("kind", pattern="[a-z]{1,20}"), enabled, table, facts)


def _signer(name: str, table: Table, *, devnet: bool) -> SignerConfig:
    kind = table.text("kind", None, pattern="[a-z]{1,20}")
    match table.text("type"):
        case "keystore":
            passphrase = _passphrase(table, devnet=devnet)
            return SignerConfig(name, "keystore", table.path("path"), passphrase, kind=kind)
        case "env" if devnet:
            variable = table.text("variable", pattern=_VARIABLE)
            return SignerConfig(name, "env", variable=variable, kind=kind)
        case "env":
            raise table.error("type", "'env' needs devnet = true; use an encrypted keystore")
        case "http" | "command" as other:
            remote = read_remote(table, kind, devnet=devnet)
            return SignerConfig(name, other, kind=remote.kind, remote=remote)
    raise table.error("type", "must be 'keystore', 'http', 'command' or 'env'")


def _passphrase(table: Table, *, devnet: bool) -> str:
    """Return a reference to a passphrase; the text itself is never quoted, it may be one."""
    text = table.text("passphrase")
    if text.startswith("env:") and not devnet:
        raise table.error("passphrase", "comes from the environment, which needs devnet = true")
    if not re.fullmatch(_REFERENCE, text):
        raise table.error("passphrase", "must be 'file:PATH', 'fd:N' or 'prompt', never the phrase")
    if text.startswith("file:"):
        return f"file:{table.locate('passphrase', text.removeprefix('file:'))}"
    return text


def _secrets(table: Table, *, devnet: bool) -> SecretsConfig:
    return SecretsConfig(table.path("seed"), _passphrase(table, devnet=devnet))


def _log(table: Table) -> LogConfig:
    return LogConfig(
        origin=table.text("origin", pattern=_ORIGIN),
        key=table.text("key"),
        heartbeat_s=table.integer("heartbeat_s", 3600, minimum=10, maximum=7 * 86400),
    )


def check_log(config: Config, log: LogConfig) -> None:
    """Keep the key that vouches for the log apart from those that spend.

    Raises:
        TableError: the log's key is no signer of the file, or does something else as well.
    """
    signer = config.signers.get(log.key)
    if signer is None:
        raise TableError(f"[log] key names {log.key!a}, which is no [signer.NAME] of this file")
    for name, chain in config.chains.items():
        if chain.table.peek("signer") == log.key:
            raise TableError(
                f"[log] key names {log.key!a}, which spends on [chain.{name}]; make a key for the "
                "log alone: coordinator keys add log --kind ethereum"
            )
    if signer.remote is not None:
        raise TableError(
            f"[log] key names {log.key!a}, a remote signer; heads are signed inside the journal's "
            "own transaction, where nothing may be waited for: use a keystore"
        )
    if signer.kind not in (None, "ethereum"):
        raise TableError(f"[log] key names {log.key!a}, which is of another kind than ethereum")
    place = (signer.path, signer.variable)
    others = {
        f"[signer.{name}]": (other.path, other.variable)
        for name, other in config.signers.items()
        if name != log.key
    }
    if config.secrets is not None:
        others["[secrets] seed"] = (config.secrets.seed, None)
    for other_name, other_place in others.items():
        if other_place == place:
            raise TableError(f"[log] key names {log.key!a}, whose key is also that of {other_name}")


def _check_together(config: Config) -> None:
    if config.log is not None:
        check_log(config, config.log)
    networks: dict[str, tuple[str, str]] = {}
    for name, chain in config.chains.items():
        table = chain.table
        signer = table.peek("signer")
        if isinstance(signer, str) and signer not in config.signers:
            raise table.error("signer", f"names {signer!a}, which is no [signer.NAME] of this file")
        if config.devnet:
            _check_devnet(table)
        network = table.peek("network")
        if chain.enabled and isinstance(network, str):
            known, other = networks.setdefault(chain.kind, (network, name))
            if known != network:
                raise table.error(
                    "network",
                    f"differs from that of [chain.{other}]; use one configuration per network",
                )


def _check_devnet(table: Table) -> None:
    """Hold the shortcuts of ``devnet = true`` to nodes of this machine (genesis: at `open`)."""
    if table.peek("mainnet") is not None:
        raise table.error("mainnet", "and 'devnet = true' exclude each other")
    nodes: Any = table.peek("rpc")
    for node in nodes if isinstance(nodes, list) else ():
        # A reference that is not set yet is refused by the adapter that needs it.
        unset = isinstance(node, str) and node.startswith("env:") and not table.is_set(node)
        if isinstance(node, str) and not unset and not is_loopback(table.expand("rpc", node)):
            raise table.error("rpc", "has a node that is not on this machine, but devnet = true")
