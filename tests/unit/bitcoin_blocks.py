"""Blocks to prove things about: real ones from files, and small ones mined here on regtest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proofs.bitcoin import build_spv
from proofs.bitcoin_headers import NETWORKS, Policy, bits_of, parse_header, work_of
from proofs.bitcoin_merkle import root_of
from proofs.bitcoin_tx import Transaction, parse_tx, sha256d, shown
from proofs.errors import Refused

VECTORS = Path(__file__).parents[1] / "vectors" / "bitcoin"
MAINNET = "bip122:000000000019d6689c085ae165831e93"
REGTEST = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328"


def split_block(raw: bytes) -> list[bytes]:
    """The serialised transactions after a header and a one-byte count, found by trial."""
    rest, txs = raw[81:], []
    for _ in range(raw[80]):
        length = next(n for n in range(60, len(rest) + 1) if reads(rest[:n]))
        txs.append(rest[:length])
        rest = rest[length:]
    assert rest == b""
    return txs


def reads(raw: bytes) -> bool:
    try:
        parse_tx(raw)
    except Refused:
        return False
    return True


@dataclass(frozen=True)
class Block:
    chain: str
    height: int
    headers: list[bytes]
    txs: list[Transaction]

    @property
    def txids(self) -> list[str]:
        return [shown(tx.txid) for tx in self.txs]

    @property
    def hash(self) -> str:
        return shown(parse_header(self.headers[0]).hash)

    def proof(self, index: int, *, witness: bool = False) -> dict[str, Any]:
        return build_spv(
            chain=self.chain,
            txids=self.txids,
            tx=self.txs[index].raw.hex(),
            coinbase=self.txs[0].raw.hex(),
            headers=[header.hex() for header in self.headers],
            at=0,
            wtxids=[shown(tx.wtxid) for tx in self.txs] if witness else None,
        )

    def policy(self, **changes: Any) -> Policy:
        known: dict[str, Any] = {
            "chain": self.chain,
            "network": NETWORKS[self.chain],
            "min_work": sum(work_of(parse_header(raw).target) for raw in self.headers),
            "confirmations": len(self.headers),
            "anchors": {self.hash: self.height},
        }
        return Policy(**known | changes)


def vector(name: str) -> Block:
    content = json.loads((VECTORS / f"{name}.json").read_text())
    raw = bytes.fromhex(content["block"])
    headers = [raw[:80], *map(bytes.fromhex, content["headers_after"])]
    txs = [parse_tx(tx) for tx in split_block(raw)]
    block = Block(content["chain"], content["height"], headers, txs)
    assert block.hash == content["hash"]
    return block


def mined(previous: bytes, root: bytes, bits: int = 0x207FFFFF, time_s: int = 1) -> bytes:
    """A header that meets its target; on regtest every second nonce does."""
    front = b"\x01\0\0\0" + previous + root + time_s.to_bytes(4, "little")
    front += bits.to_bytes(4, "little")
    target = (bits & 0x7FFFFF) << 8 * ((bits >> 24) - 3)
    for nonce in range(1 << 20):
        header = front + nonce.to_bytes(4, "little")
        if int.from_bytes(sha256d(header), "little") <= target:
            return header
    raise AssertionError("no nonce; ask for an easier target")


def pushed(height: int) -> bytes:
    """BIP-34's height, for heights from 17 to 127."""
    return bytes([1, height])


def classic(script: bytes, previous: bytes = b"\x11" * 32, n: int = 0, value: int = 1) -> bytes:
    """A transaction with one input and one output, without witnesses."""
    spent = b"\x01" + previous + n.to_bytes(4, "little") + bytes([len(script)]) + script
    made = b"\x01" + value.to_bytes(8, "little") + b"\x01\x51"
    return b"\x02\0\0\0" + spent + b"\xff" * 4 + made + bytes(4)


def coinbase(height: int, extra: bytes = b"made here") -> bytes:
    return classic(pushed(height) + extra, previous=bytes(32), n=0xFFFFFFFF)


def small_block(count: int, height: int = 100, confirmations: int = 2) -> Block:
    """A regtest block of ``count`` transactions, with headers after it."""
    raws = [coinbase(height), *(classic(b"tx %d" % n + bytes(8)) for n in range(1, count))]
    return block_of(raws, height, confirmations)


def block_of(raws: list[bytes], height: int = 100, confirmations: int = 2) -> Block:
    txs = [parse_tx(raw) for raw in raws]
    headers = [mined(bytes(32), root_of([tx.txid for tx in txs]))]
    for n in range(1, confirmations):
        headers.append(mined(sha256d(headers[-1]), bytes([n]) * 32, time_s=n))
    return Block(REGTEST, height, headers, txs)


assert bits_of(NETWORKS[REGTEST].pow_limit) == 0x207FFFFF
