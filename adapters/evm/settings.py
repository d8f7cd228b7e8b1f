"""``[chain.NAME]`` of kind ``evm``: nodes, pins, finality, fees, contracts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from adapters.base import PROOF
from adapters.evm import contracts
from adapters.json_text import parse_json
from adapters.tables import Table, TableError
from adapters.tiers import Tier, read_tiers

__all__ = ["PUBLIC_CHAINS", "ContractSettings", "EvmSettings", "FeeSettings", "Finality"]

#: Public chains on which value is real. They are refused until ``mainnet = "enabled"``.
PUBLIC_CHAINS: Final[Mapping[int, str]] = {
    1: "Ethereum", 10: "OP Mainnet", 14: "Flare", 25: "Cronos", 30: "Rootstock", 50: "XDC",
    56: "BNB Smart Chain", 61: "Ethereum Classic", 100: "Gnosis", 122: "Fuse", 130: "Unichain",
    137: "Polygon", 146: "Sonic", 169: "Manta Pacific", 204: "opBNB", 250: "Fantom",
    252: "Fraxtal", 295: "Hedera", 324: "zkSync Era", 480: "World Chain", 1030: "Conflux",
    1088: "Metis", 1101: "Polygon zkEVM", 1116: "Core", 1135: "Lisk", 1284: "Moonbeam",
    1285: "Moonriver", 1329: "Sei", 1868: "Soneium", 2222: "Kava", 2741: "Abstract",
    5000: "Mantle", 8217: "Kaia", 8453: "Base", 13371: "Immutable", 33139: "ApeChain",
    34443: "Mode", 42161: "Arbitrum One", 42170: "Arbitrum Nova", 42220: "Celo",
    43114: "Avalanche", 57073: "Ink", 59144: "Linea", 60808: "BOB", 80094: "Berachain",
    81457: "Blast", 534352: "Scroll", 747474: "Katana", 7777777: "Zora",
    1313161554: "Aurora", 1666600000: "Harmony",
}  # fmt: skip

_HASH: Final = r"0x[0-9a-f]{64}"
_ADDRESS: Final = r"0x[0-9a-fA-F]{40}"
_GWEI: Final = re.compile(r"(0|[1-9][0-9]{0,9})(?:\.([0-9]{1,9}))?")
_ABI_BYTES_MAX: Final = 4 << 20
#: Blocks that "safe" and "finalized" trail the head by, as a first guess for time estimates only.
_TAG_DEPTH: Final = {"safe": 40, "finalized": 100}


@dataclass(frozen=True, slots=True)
class Finality:
    """When a block counts as final.

    ``confirmations`` n ≥ 1: included at height h it is final when the head is at h + n - 1 or
    beyond. ``tag`` ``safe`` or ``finalized``: the node says so; ``blocks`` is then only the depth
    that time estimates assume.
    """

    confirmations: int | None
    tag: str | None
    blocks: int
    tiers: tuple[Tier, ...] = ()

    def height(self, head: int, tagged: int | None) -> int:
        """Return the highest final height for a head and, with a tag, that tag's height."""
        if self.confirmations is not None:
            return head - self.confirmations + 1
        return -1 if tagged is None else min(head, tagged)


@dataclass(frozen=True, slots=True)
class FeeSettings:
    """Caps in wei per gas (EIP-1559).

    Attributes:
        max_fee_wei, max_tip_wei: bound every attempt of a saga, burns included.
        jam_fee_wei, jam_tip_wei: bound what replaces the head of an account's line while others
            wait behind it; the account pays the difference, no saga does.
        bump_blocks: an attempt that so many blocks passed by is replaced by one that pays more.
    """

    max_fee_wei: int
    tip_wei: int
    max_tip_wei: int
    jam_fee_wei: int
    jam_tip_wei: int
    bump_blocks: int


@dataclass(frozen=True, slots=True)
class ContractSettings:
    """A contract that plans may name. ``artifact`` is set for our own (``Vault``, ``Token``)."""

    name: str
    address: str
    code_hash: str
    artifact: str | None
    abi: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class EvmSettings:
    """One EVM chain as configured; nothing here was checked against a node yet.

    Attributes:
        rpc: node URLs, the first is asked first; never shown in messages beyond host and port.
        genesis: hash of block 0; None pins what the first node says, for this process only.
        block_fast_ms, block_slow_ms: time between blocks, at best and at worst.
        signer: name of the signer that acts where a plan names none.
        window: nonces of one account that may be intended and not yet included, for forward steps.
        gas: gas limits that replace our defaults, by call (``lock``, ``refund``, ``transfer`` …).
        proof: whether a decision waits for evidence (``required``), evidence is made when it can be
            (``wanted``), or never (``none``).
    """

    rpc: tuple[str, ...]
    chain_id: int
    genesis: str | None
    finality: Finality
    block_fast_ms: int
    block_slow_ms: int
    poll_ms: int
    timeout_ms: int
    signer: str
    window: int
    fee: FeeSettings
    gas: Mapping[str, int]
    contracts: Mapping[str, ContractSettings]
    proof: str

    def abi_of(self, address: str) -> Sequence[Mapping[str, Any]]:
        """Return the ABI of the configured contract at an address; empty where there is none."""
        found = (item.abi for item in self.contracts.values() if item.address == address)
        return next(found, ())

    @classmethod
    def read(cls, table: Table) -> "EvmSettings":
        """Read the whole table; unknown keys are refused.

        Raises:
            TableError: the first mistake and what would be right.
        """
        table.text("kind", "evm")
        table.flag("enabled", True)
        chain_id = table.integer("chain_id", minimum=1)
        rpc = _nodes(table)
        _gate(table, chain_id, len(rpc))
        fast_ms, slow_ms = _block_time(table.table("block_time_ms"))
        settings = cls(
            rpc=rpc,
            chain_id=chain_id,
            genesis=table.text("genesis", None, pattern=_HASH),
            finality=_finality(table.table("finality")),
            block_fast_ms=fast_ms,
            block_slow_ms=slow_ms,
            poll_ms=table.integer("poll_ms", min(max(fast_ms // 10, 50), 2000), minimum=5),
            timeout_ms=table.integer("timeout_ms", 10_000, minimum=100, maximum=120_000),
            signer=table.text("signer"),
            window=table.integer("window", 16, minimum=1, maximum=1000),
            fee=_fee(table.table("fee")),
            gas=_gas(table.table("gas", {})),
            contracts={
                name: _contract(name, item) for name, item in table.tables("contracts").items()
            },
            proof=table.choice("proof", "wanted", PROOF),
        )
        table.finish()
        return settings


def _nodes(table: Table) -> tuple[str, ...]:
    urls = tuple(table.references("rpc"))
    if not urls:
        raise table.error("rpc", "must name at least one node")
    for url in urls:
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname)
            _ = parts.port
        except ValueError:
            usable = False
        if not usable:
            raise table.error("rpc", "has an entry that is no http:// or https:// address")
    if len(set(urls)) != len(urls):
        raise table.error("rpc", "names the same node twice, which would count it twice")
    return urls


def _gate(table: Table, chain_id: int, nodes: int) -> None:
    """Hold back chains with real value until their owner enables them by name."""
    enabled = table.text("mainnet", None)
    if enabled not in (None, "enabled"):
        raise table.error("mainnet", 'must be "enabled" or left out')
    alone = table.flag("single_node", False)
    public = PUBLIC_CHAINS.get(chain_id)
    if public is None:
        return
    if enabled is None:
        raise table.error(
            "chain_id", f'is {public}, where value is real; write mainnet = "enabled" to allow it'
        )
    if nodes == 1 and not alone:
        raise table.error(
            "rpc", f"names one node of {public}; name three, or trust it with single_node = true"
        )


def _block_time(table: Table) -> tuple[int, int]:
    fast_ms = table.integer("fast", minimum=1)
    slow_ms = table.integer("slow", minimum=1)
    if fast_ms > slow_ms:
        raise table.error("fast", "is more than 'slow'; both are milliseconds between two blocks")
    return fast_ms, slow_ms


def _finality(table: Table) -> Finality:
    confirmations = table.integer("confirmations", None, minimum=1, maximum=100_000)
    tag = table.text("tag", None)
    if (confirmations is None) == (tag is None):
        raise table.error("confirmations", "or 'tag' must be there, and not both")
    if confirmations is not None:
        return Finality(confirmations, None, confirmations, read_tiers(table, confirmations))
    assert tag is not None
    if tag not in _TAG_DEPTH:
        raise table.error("tag", "must be 'safe' or 'finalized'")
    blocks = table.integer("blocks", _TAG_DEPTH[tag], minimum=1)
    return Finality(None, tag, blocks, read_tiers(table, blocks))


def _fee(table: Table) -> FeeSettings:
    max_fee_wei = _gwei(table, "max_gwei")
    max_tip_wei = _gwei(table, "max_tip_gwei", max_fee_wei)
    tip_wei = _gwei(table, "tip_gwei", min(10**9, max_tip_wei * 10 // 11))
    if max_tip_wei > max_fee_wei:
        raise table.error("max_tip_gwei", "is more than 'max_gwei', of which it is a part")
    if tip_wei > max_tip_wei * 10 // 11:
        # A burn has to beat a forward attempt by a tenth in both fields.
        raise table.error("tip_gwei", "must be at most 'max_tip_gwei' ÷ 1.1")
    if max_fee_wei < 11:
        raise table.error("max_gwei", "is too small to ever be replaced by a higher fee")
    jam_fee_wei = _gwei(table, "jam_gwei", 2 * max_fee_wei)
    if jam_fee_wei < max_fee_wei:
        raise table.error("jam_gwei", "is less than 'max_gwei', which every saga may pay")
    return FeeSettings(
        max_fee_wei=max_fee_wei,
        tip_wei=tip_wei,
        max_tip_wei=max_tip_wei,
        jam_fee_wei=jam_fee_wei,
        jam_tip_wei=max_tip_wei * jam_fee_wei // max_fee_wei,
        bump_blocks=table.integer("bump_blocks", 3, minimum=1, maximum=1000),
    )


def _gwei(table: Table, key: str, default: int | None = None) -> int:
    """Return wei for a price in gwei: an integer, or a text such as ``"1.5"``."""
    value = table.raw(key) if default is None else table.raw(key, None)
    if value is None and default is not None:
        return default
    match = _GWEI.fullmatch(str(value)) if type(value) in (int, str) else None
    if match is None:
        raise table.error(key, 'must be gwei as an integer or as a text such as "1.5"')
    return int(match[1]) * 10**9 + int((match[2] or "").ljust(9, "0"))


def _gas(table: Table) -> dict[str, int]:
    limits = {}
    for name in table.names():
        limits[name] = table.integer(name, minimum=21_000, maximum=1_000_000_000)
    return limits


def _contract(name: str, table: Table) -> ContractSettings:
    artifact = table.text("artifact", None)
    path = table.path("abi", None)
    if (artifact is None) == (path is None):
        raise table.error("artifact", "or 'abi' must be there, and not both")
    if artifact is not None:
        try:
            abi = contracts.load(artifact).abi
        except LookupError as error:
            raise table.error("artifact", f"is unknown: {error}") from None
    else:
        assert path is not None
        abi = _abi(table, path)
    return ContractSettings(
        name=name,
        address=table.text("address", pattern=_ADDRESS),
        code_hash=table.text("code_hash", pattern=_HASH),
        artifact=artifact,
        abi=abi,
    )


def _abi(table: Table, path: Path) -> Sequence[Mapping[str, Any]]:
    """Read a contract's ABI: a JSON list, or an artefact with the list under ``abi``."""
    try:
        with path.open("rb") as file:
            text = file.read(_ABI_BYTES_MAX + 1)
        if len(text) > _ABI_BYTES_MAX:
            raise table.error("abi", f"is a file over {_ABI_BYTES_MAX} bytes")
        value = parse_json(text)
    except OSError as error:
        raise table.error("abi", f"can not be read: {error.strerror}") from None
    except TableError:
        raise
    except ValueError as error:
        raise table.error("abi", f"is no JSON: {error}") from None
    value = value.get("abi") if isinstance(value, dict) else value
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise table.error("abi", "holds no list of functions and events")
    return value
