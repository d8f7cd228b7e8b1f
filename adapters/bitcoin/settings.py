"""``[chain.NAME]`` of kind ``bitcoin``: nodes, network, finality, fees, coins."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from adapters.base import PROOF
from adapters.bitcoin.networks import NETWORKS, Network
from adapters.tables import Table
from adapters.tiers import Tier, read_tiers

__all__ = ["BitcoinSettings", "CoinSettings", "CookieFile", "FeeSettings"]

_HASH: Final = r"[0-9a-f]{64}"
#: More inputs than this make a transaction slow to sign and dear to replace.
_MAX_INPUTS: Final = 50


@dataclass(frozen=True, slots=True)
class FeeSettings:
    """Fee rates in sat/vB, whole numbers.

    Attributes:
        max_sat_vb: highest rate of any effect; a burn may exceed it by what replacing one costs.
        min_sat_vb: lowest rate, used too when the node asks for less.
        fallback_sat_vb: rate when the node has no estimate.
        incremental_sat_vb: what a replacement must add per vbyte (BIP-125, rule 4), at least.
        target_blocks: within how many blocks an effect should be mined.
        bump_blocks: an attempt that so many blocks passed by is replaced by one that pays more.
    """

    max_sat_vb: int
    min_sat_vb: int
    fallback_sat_vb: int
    incremental_sat_vb: int
    target_blocks: int
    bump_blocks: int


@dataclass(frozen=True, slots=True)
class CoinSettings:
    """The coin pool of each own address.

    Attributes:
        min_confirmed: fewer final coins than this draw a warning at plan time: sagas that run at
            the same time need a coin each.
        max_inputs: most coins in one transaction; worst-case fees count with it.
    """

    min_confirmed: int
    max_inputs: int


@dataclass(frozen=True, slots=True)
class CookieFile:
    """Where bitcoind writes ``user:password`` anew at each start."""

    path: Path


@dataclass(frozen=True, slots=True)
class BitcoinSettings:
    """One Bitcoin chain as configured; nothing here was checked against a node yet.

    Attributes:
        rpc: node URLs; never shown in messages beyond host and port.
        auth: cookie file, or ``user:password`` from the environment, or None where the URLs
            carry it.
        genesis: hash of block 0; differs from the network's own for custom networks only.
        confirmations: a block is final when this many blocks, itself included, end with it at
            the bottom.
        tiers: more confirmations for more value.
        block_fast_ms, block_slow_ms: time between blocks, at best and at worst.
        signer: name of the signer that acts where a plan names none.
        proof: whether evidence of effects is ``required`` before the decision, ``wanted`` or
            ``none``.
        truc: payments to outsiders are version 3 (BIP-431), so that the payee can not make their
            replacement dear; off where a node's policy does not know it.
    """

    rpc: tuple[str, ...]
    auth: CookieFile | str | None
    network: Network
    genesis: str
    confirmations: int
    tiers: tuple[Tier, ...]
    block_fast_ms: int
    block_slow_ms: int
    poll_ms: int
    timeout_ms: int
    signer: str
    proof: str
    truc: bool
    fee: FeeSettings
    coins: CoinSettings

    @property
    def quorum(self) -> int:
        """How many of the configured nodes must agree on what is final."""
        return len(self.rpc) // 2 + 1

    @classmethod
    def read(cls, table: Table) -> "BitcoinSettings":
        """Read the whole table; unknown keys are refused.

        Raises:
            TableError: the first mistake and what would be right.
        """
        table.text("kind", "bitcoin")
        table.flag("enabled", True)
        network = _network(table)
        rpc = _nodes(table)
        _gate(table, network, len(rpc))
        fast_ms, slow_ms = _block_time(table.table("block_time_ms"))
        finality = table.table("finality")
        confirmations = _confirmations(finality)
        settings = cls(
            rpc=rpc,
            auth=_auth(table, rpc),
            network=network,
            genesis=table.text("genesis", network.genesis, pattern=_HASH),
            confirmations=confirmations,
            tiers=read_tiers(finality, confirmations),
            block_fast_ms=fast_ms,
            block_slow_ms=slow_ms,
            poll_ms=table.integer("poll_ms", min(max(fast_ms // 10, 50), 5000), minimum=5),
            timeout_ms=table.integer("timeout_ms", 30_000, minimum=100, maximum=600_000),
            signer=table.text("signer"),
            proof=table.choice("proof", "wanted", PROOF),
            truc=table.flag("truc", True),
            fee=_fee(table.table("fee")),
            coins=_coins(table.table("coins", {})),
        )
        table.finish()
        return settings


def _network(table: Table) -> Network:
    name = table.text("network")
    network = NETWORKS.get(name)
    if network is None:
        raise table.error("network", f"must be one of {', '.join(NETWORKS)}")
    return network


def _nodes(table: Table) -> tuple[str, ...]:
    urls = tuple(table.references("rpc"))
    if not urls:
        raise table.error("rpc", "must name at least one node")
    for url in urls:
        try:
            parts = urlsplit(url)
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
            _ = parts.port
        except ValueError:
            usable = False
        if not usable:
            raise table.error("rpc", "has an entry that is no http:// or https:// address")
    if len(set(urls)) != len(urls):
        raise table.error("rpc", "names the same node twice, which would count it twice")
    return urls


def _gate(table: Table, network: Network, nodes: int) -> None:
    """Hold back the network with real value until its owner enables it by name."""
    enabled = table.text("mainnet", None)
    if enabled not in {None, "enabled"}:
        raise table.error("mainnet", 'must be "enabled" or left out')
    alone = table.flag("single_node", False)
    if network.name == "mainnet" and enabled is None:
        raise table.error(
            "network", 'is mainnet, where value is real; write mainnet = "enabled" to allow it'
        )
    if network.public and nodes == 1 and not alone:
        raise table.error(
            "rpc",
            f"names one node of {network.name}; name three, "
            "or write single_node = true to trust it",
        )


def _auth(table: Table, rpc: tuple[str, ...]) -> CookieFile | str | None:
    text = table.text("auth", None)
    if text is None:
        if any(urlsplit(url).username is None for url in rpc):
            raise table.error("auth", 'is missing: write "cookie:PATH" or "env:VARIABLE"')
        return None
    if text.startswith("cookie:"):
        return CookieFile(table.locate("auth", text.removeprefix("cookie:")))
    if not text.startswith("env:"):
        raise table.error("auth", 'must be "cookie:PATH" or "env:VARIABLE", never the password')
    credentials = table.expand("auth", text)
    if not re.fullmatch(r"[^:\s]+:\S+", credentials):
        raise table.error("auth", "refers to a variable that is not of the form user:password")
    return credentials


def _block_time(table: Table) -> tuple[int, int]:
    fast_ms = table.integer("fast", minimum=1)
    slow_ms = table.integer("slow", minimum=1)
    if fast_ms > slow_ms:
        raise table.error("fast", "is more than 'slow'; both are milliseconds between two blocks")
    return fast_ms, slow_ms


def _confirmations(table: Table) -> int:
    if "tag" in table:
        raise table.error("tag", "does not exist on Bitcoin; write confirmations = 6")
    return table.integer("confirmations", minimum=1, maximum=1000)


def _fee(table: Table) -> FeeSettings:
    max_sat_vb = table.integer("max_sat_vb", minimum=1, maximum=100_000)
    min_sat_vb = table.integer("min_sat_vb", 1, minimum=1, maximum=100_000)
    fallback_sat_vb = table.integer(
        "fallback_sat_vb", min(max(2, min_sat_vb), max_sat_vb), minimum=1, maximum=100_000
    )
    if not min_sat_vb <= fallback_sat_vb <= max_sat_vb:
        raise table.error("fallback_sat_vb", "must lie between 'min_sat_vb' and 'max_sat_vb'")
    target_blocks = table.integer("target_blocks", 2, minimum=1, maximum=144)
    return FeeSettings(
        max_sat_vb=max_sat_vb,
        min_sat_vb=min_sat_vb,
        fallback_sat_vb=fallback_sat_vb,
        incremental_sat_vb=table.integer("incremental_sat_vb", 1, minimum=1, maximum=1000),
        target_blocks=target_blocks,
        bump_blocks=table.integer("bump_blocks", max(3, target_blocks), minimum=1, maximum=1000),
    )


def _coins(table: Table) -> CoinSettings:
    return CoinSettings(
        min_confirmed=table.integer("min_confirmed", 4, minimum=1, maximum=10_000),
        max_inputs=table.integer("max_inputs", 5, minimum=1, maximum=_MAX_INPUTS),
    )
