"""What is special to each kind of chain: the one table of families, and what opens them.

Concrete adapters are imported where they are opened, so that commands that read the journal alone
never load a chain library.
"""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from adapters.base import Adapter
from adapters.recipe import Recipes
from adapters.statement import NodeAsked, Statements
from adapters.tables import TableError
from coordinator.config import ChainConfig, Config
from coordinator.errors import ConfigError
from coordinator.keyring import Keyring
from coordinator.signers import Opened

__all__ = [
    "Family",
    "chain_of",
    "configured_nodes",
    "naming_the_file",
    "recipes_of",
    "statements_of",
]


def chain_of(config: Config, name: str) -> "tuple[ChainConfig, Family]":
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
def naming_the_file(config: Config) -> Iterator[None]:
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
class Family:
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


_FAMILIES: Final[Mapping[str, Family]] = {
    "evm": Family(_evm, _evm_genesis, "eip155", _evm_statements, _evm_recipes),
    "bitcoin": Family(_bitcoin, _bitcoin_genesis, "bip122", _bitcoin_statements, _bitcoin_recipes),
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
        chain, family = chain_of(config, name)
        with naming_the_file(config):
            where, nodes = family.statements().chain_of(chain.table)
        found[where] = (*found.get(where, ()), *nodes)
    return found
