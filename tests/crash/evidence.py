"""What a saga left behind: raw bytes of its journal, and blocks. No coordinator is imported."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eth_utils.crypto import keccak

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["Balance", "Journal", "Landed", "Scene", "landed", "waiting"]

_OPERATION = "0x" + keccak(b"Operation(address,bytes32,uint8,uint8,address,uint256,bytes32)").hex()
_EVM = ("polygon", "ethereum")

#: (chain, asset, holder)
Balance = tuple[str, str, str]


@dataclass(frozen=True)
class Journal:
    """The journal's raw content, in commit order."""

    bodies: Sequence[bytes]
    #: transaction id → SHA-256 of its stored bytes
    stored: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> Journal:
        """Read the tables without changing anything beside them."""
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            rows = connection.execute("SELECT body FROM records ORDER BY position").fetchall()
            raws = connection.execute("SELECT tx, raw FROM attempts").fetchall()
        finally:
            connection.close()
        stored = {tx: hashlib.sha256(raw).hexdigest() for tx, raw in raws}
        return cls([bytes(body) for (body,) in rows], stored)

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.bodies]

    def intents(self) -> dict[str, dict[str, Any]]:
        """Transaction id → data of its intent."""
        return {r["data"]["tx"]: r["data"] for r in self.records() if r["kind"] == "intent"}


@dataclass(frozen=True)
class Scene:
    """Everything that a verdict is made from.

    Attributes:
        ask: ``ask(chain, method, *params)`` calls a node.
        ours: chain → address in lower case → whose it is.
        heights: chain → height before the saga began; what is above it is looked at.
        confirmations: the depth that is final.
        before, after: what everybody owned; ``after`` is empty while it is not over.
        sent: each submission as the process noted it before it left, oldest first; None where
            nobody took notes.
        end: the state in which the saga must end.
    """

    ask: Callable[..., Any]
    ours: Mapping[str, Mapping[str, str]]
    heights: Mapping[str, int]
    confirmations: int
    before: Mapping[Balance, int]
    after: Mapping[Balance, int]
    journal: Journal
    sent: Sequence[Mapping[str, Any]] | None
    end: str


@dataclass(frozen=True)
class Landed:
    """A transaction of ours in a block."""

    chain: str
    tx: str
    height: int
    sender: str
    fee: int
    #: operation id → status, of the events that it left
    operations: tuple[tuple[str, int], ...] = ()
    spends: frozenset[str] = frozenset()
    #: output index → (address, satoshis)
    outputs: Mapping[int, tuple[str, int]] = field(default_factory=dict)


def landed(scene: Scene) -> list[Landed]:
    """Return our transactions in blocks since the saga began, each chain in its order."""
    found = []
    for chain in _EVM:
        found += list(_evm_landed(scene, chain))
    return found + list(_bitcoin_landed(scene))


def _evm_landed(scene: Scene, chain: str) -> Iterator[Landed]:
    top = int(scene.ask(chain, "eth_blockNumber"), 16)
    for height in range(scene.heights[chain] + 1, top + 1):
        for tx in scene.ask(chain, "eth_getBlockByNumber", hex(height), True)["transactions"]:
            if tx["from"].lower() not in scene.ours[chain]:
                continue
            receipt = scene.ask(chain, "eth_getTransactionReceipt", tx["hash"])
            operations = tuple(
                (log["topics"][2].removeprefix("0x"), int(log["topics"][3], 16))
                for log in receipt["logs"]
                if log["topics"][0] == _OPERATION
            )
            fee = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
            yield Landed(chain, tx["hash"], height, tx["from"].lower(), fee, operations)


def _bitcoin_landed(scene: Scene) -> Iterator[Landed]:
    top = scene.ask("bitcoin", "getblockcount")
    for height in range(scene.heights["bitcoin"] + 1, top + 1):
        block_hash = scene.ask("bitcoin", "getblockhash", height)
        for tx in scene.ask("bitcoin", "getblock", block_hash, 3)["tx"]:
            inputs = [entry for entry in tx["vin"] if "prevout" in entry]
            owners = {entry["prevout"]["scriptPubKey"].get("address") for entry in inputs}
            if not owners & scene.ours["bitcoin"].keys():
                continue
            yield Landed(
                "bitcoin",
                tx["txid"],
                height,
                min(owners),
                _sat(tx["fee"]),
                spends=frozenset(f"{entry['txid']}:{entry['vout']}" for entry in inputs),
                outputs={
                    out["n"]: (out["scriptPubKey"].get("address", ""), _sat(out["value"]))
                    for out in tx["vout"]
                },
            )


def _sat(coins: float) -> int:
    # Eight places of a whole coin survive a float; the rounding takes its last bit away.
    return round(coins * 10**8)


def waiting(scene: Scene) -> list[tuple[str, str]]:
    """Return chain and id of every transaction of ours that no block has yet."""
    found = []
    for chain in _EVM:
        pool = scene.ask(chain, "txpool_content")
        for senders in (pool["pending"], pool["queued"]):
            for sender, txs in senders.items():
                if sender.lower() in scene.ours[chain]:
                    found += [(chain, tx["hash"]) for tx in txs.values()]
    return found + [("bitcoin", tx) for tx in scene.ask("bitcoin", "getrawmempool")]
