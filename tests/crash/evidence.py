"""What a saga left behind: raw bytes of its journal, and blocks. No coordinator is imported."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from eth_utils.crypto import keccak

from adapters.devnode.rpc import NodeRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = [
    "Balance",
    "Journal",
    "Landed",
    "Output",
    "Scene",
    "landed",
    "raw_transactions",
    "waiting",
    "witnessed",
]

_OPERATION = "0x" + keccak(b"Operation(address,bytes32,uint8,uint8,address,uint256,bytes32)").hex()
_EVM = ("polygon", "ethereum")

_SLOT = struct.Struct(">8sI16sQ32s32s")

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


def witnessed(second_place: bytes) -> int:
    """Return the highest position that the second place knows of.

    Sixteen slots, a page of 4096 bytes each: magic, format, journal's id, position, hash of the
    record there, and the SHA-256 of all that; a slot that was never written is zeros.
    """
    positions = [0]
    for offset in range(0, len(second_place), 4096):
        content = second_place[offset : offset + _SLOT.size]
        head, check = content[:-32], content[-32:]
        if hashlib.sha256(head).digest() == check:
            positions.append(_SLOT.unpack(content)[3])
    return max(positions)


@dataclass(frozen=True)
class Scene:
    """Everything that a verdict is made from.

    Attributes:
        ask: ``ask(chain, method, *params)`` calls a node.
        ours: chain → address in lower case → whose it is.
        heights: chain → height before the saga began; what is above it is looked at.
        confirmations: the depth that is final.
        before, after: what everybody owned; ``after`` is empty while it is not over.
        notes: each submission, and each preimage that was taken out, oldest first, as the process
            noted it just before.
        end: the state in which the saga must end.
        seed: of hold secrets.
        folders: where a preimage could have got onto the disk.
        reorganised: chains whose blocks were replaced while the saga ran: how deep an effect was
            when something was sent can not be seen there any more.
    """

    ask: Callable[..., Any]
    ours: Mapping[str, Mapping[str, str]]
    heights: Mapping[str, int]
    confirmations: int
    before: Mapping[Balance, int]
    after: Mapping[Balance, int]
    journal: Journal
    notes: Sequence[Mapping[str, Any]]
    end: str
    seed: bytes
    folders: Sequence[Path]
    reorganised: frozenset[str] = frozenset()

    @property
    def sent(self) -> list[Mapping[str, Any]]:
        """The notes of submissions."""
        return [note for note in self.notes if "tx" in note]


class Output(NamedTuple):
    """What a Bitcoin transaction pays: to which address, to which script (hex), how much."""

    address: str
    script: str
    sat: int


@dataclass(frozen=True)
class Landed:
    """A transaction in a block: of ours, or the payee's redemption of a hold of ours."""

    chain: str
    tx: str
    height: int
    sender: str
    fee: int
    #: operation id → status, of the events that it left
    operations: tuple[tuple[str, int], ...] = ()
    spends: frozenset[str] = frozenset()
    #: output index → what it pays
    outputs: Mapping[int, Output] = field(default_factory=dict)
    redeems: bool = False


def landed(scene: Scene) -> list[Landed]:
    """Return our transactions in blocks since the saga began, each chain in its order.

    With them come redemptions of our holds; only the payee has the key for one.
    """
    found = []
    for chain in _EVM:
        found += list(_evm_landed(scene, chain))
    return found + list(_bitcoin_landed(scene))


def _evm_landed(scene: Scene, chain: str) -> Iterator[Landed]:
    for height, block in _blocks(scene, chain):
        for tx in block["transactions"]:
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
    made: set[str] = set()
    for height, block in _blocks(scene, "bitcoin"):
        for tx in block["tx"]:
            inputs = [entry for entry in tx["vin"] if "prevout" in entry]
            owners = {entry["prevout"]["scriptPubKey"].get("address") for entry in inputs}
            spends = frozenset(f"{entry['txid']}:{entry['vout']}" for entry in inputs)
            if not owners & scene.ours["bitcoin"].keys() and not spends & made:
                continue
            made |= {f"{tx['txid']}:{out['n']}" for out in tx["vout"] if _is_locked(out)}
            yield Landed(
                "bitcoin",
                tx["txid"],
                height,
                min(owners),
                _sat(tx["fee"]),
                spends=spends,
                outputs={out["n"]: _output(out) for out in tx["vout"]},
                redeems=_redeems(tx),
            )


def _blocks(scene: Scene, chain: str) -> Iterator[tuple[int, Any]]:
    """Yield height and content of every block since the saga began."""
    if chain in _EVM:
        top = int(scene.ask(chain, "eth_blockNumber"), 16)
        for height in range(scene.heights[chain] + 1, top + 1):
            yield height, scene.ask(chain, "eth_getBlockByNumber", hex(height), True)
        return
    for height in range(scene.heights[chain] + 1, scene.ask(chain, "getblockcount") + 1):
        block_hash = scene.ask(chain, "getblockhash", height)
        yield height, scene.ask(chain, "getblock", block_hash, 3)


def _output(out: Mapping[str, Any]) -> Output:
    script = out["scriptPubKey"]
    return Output(script.get("address", ""), script["hex"], _sat(out["value"]))


def _is_locked(out: Mapping[str, Any]) -> bool:
    """Whether a script decides who may spend it (P2WSH, BIP-141)."""
    return bool(out["scriptPubKey"]["type"] == "witness_v0_scripthash")


def _redeems(tx: Mapping[str, Any]) -> bool:
    """Whether a witness shows the preimage of a hash that its script names."""
    witnesses = [entry.get("txinwitness", ()) for entry in tx["vin"]]
    return any(
        len(items) == 4 and hashlib.sha256(bytes.fromhex(items[1])).hexdigest() in items[3]
        for items in witnesses
    )


def _sat(coins: float) -> int:
    # Eight places of a whole coin survive a float; the rounding takes its last bit away.
    return round(coins * 10**8)


def waiting(scene: Scene) -> list[tuple[str, str]]:
    """Return chain and id of every transaction of ours that no block has yet."""
    found = [(chain, tx["hash"]) for chain in _EVM for tx in _evm_waiting(scene, chain)]
    return found + [("bitcoin", tx["txid"]) for tx in _mempool(scene) if not _redeems(tx)]


def _evm_waiting(scene: Scene, chain: str) -> Iterator[Mapping[str, Any]]:
    pool = scene.ask(chain, "txpool_content")
    for senders in (pool["pending"], pool["queued"]):
        for sender, txs in senders.items():
            if sender.lower() in scene.ours[chain]:
                yield from txs.values()


def _mempool(scene: Scene) -> list[Any]:
    waits = scene.ask("bitcoin", "getrawmempool")
    found = []
    for tx in waits:
        with suppress(NodeRefused):  # a block has taken it since: it does not wait any more
            found.append(scene.ask("bitcoin", "getrawtransaction", tx, 1))
    return found


def raw_transactions(scene: Scene) -> Iterator[tuple[str, str, str]]:
    """Yield chain, id and hex of all that anybody sent since the saga began, in blocks or not.

    Of an EVM transaction it is the calldata: nothing else in it is free to choose.
    """
    # Pools first: what a block takes in between is seen twice, not missed.
    for chain in _EVM:
        waits = [*_evm_waiting(scene, chain)]
        mined = [tx for _, block in _blocks(scene, chain) for tx in block["transactions"]]
        for tx in (*waits, *mined):
            yield chain, tx["hash"], tx["input"]
    waits = _mempool(scene)
    mined = [tx for _, block in _blocks(scene, "bitcoin") for tx in block["tx"]]
    for tx in (*waits, *mined):
        yield "bitcoin", tx["txid"], tx["hex"]
