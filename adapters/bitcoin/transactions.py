"""The one place that touches python-bitcoinlib's untyped objects: bytes and our values in and out.

Transaction ids are computed here from bytes (`GetTxid`; the library's `GetHash` is the wtxid of a
segwit transaction). Outpoints are texts ``txid:vout``, transaction ids in the byte order that
people read.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import bitcoin
import bitcoin.base58
from bitcoin.core import (
    WITNESS_COINBASE_SCRIPTPUBKEY_MAGIC,
    CBlock,
    COutPoint,
    CTransaction,
    CTxIn,
    CTxInWitness,
    CTxOut,
    CTxWitness,
    Hash,
    Hash160,
    b2lx,
    lx,
)
from bitcoin.core.script import (
    SIGHASH_ALL,
    SIGVERSION_WITNESS_V0,
    CScript,
    CScriptInvalidError,
    CScriptOp,
    CScriptWitness,
    SignatureHash,
)

from adapters.bitcoin.networks import Network
from adapters.bitcoin.signing import BitcoinSigner, InputDigest

__all__ = [
    "DUMMY_SIGNATURE",
    "Block",
    "ChainDataError",
    "Draft",
    "Opcode",
    "Spend",
    "Tx",
    "TxInput",
    "TxOutput",
    "base58_check",
    "compile_script",
    "hash160",
    "parent_of",
    "parse_block",
    "parse_tx",
    "script_items",
    "select_network",
]

#: Final, and replaceable by BIP-125's signal; also what lets nLockTime bind.
SEQUENCE_REPLACEABLE: Final = 0xFFFFFFFD
#: Of the largest size that a low-s DER signature with its hash type has: 72 bytes. It is well
#: formed, so that a node that is asked about a trial transaction gets as far as checking it.
_HEADER_BYTES: Final = 80
DUMMY_SIGNATURE: Final = (
    bytes.fromhex("3045022100") + b"\x7f" * 32 + bytes.fromhex("0220") + b"\x3f" * 32 + b"\x01"
)


class ChainDataError(ValueError):
    """Bytes from a node are not what they were asked for; they are not used."""


@dataclass(frozen=True, slots=True)
class Opcode:
    """An opcode among the items of a script; a plain int there is a number."""

    value: int


@dataclass(frozen=True, slots=True)
class TxInput:
    """What an input spends, and the witness that allows it."""

    outpoint: str
    witness: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class TxOutput:
    """Value in satoshi and output script."""

    value_sat: int
    script: bytes


@dataclass(frozen=True, slots=True)
class Tx:
    """A transaction read from bytes. ``vsize`` as of BIP-141."""

    tx_id: str
    inputs: tuple[TxInput, ...]
    outputs: tuple[TxOutput, ...]
    vsize: int

    def spends(self, outpoint: str) -> TxInput | None:
        """Return the input that spends ``outpoint``."""
        return next((item for item in self.inputs if item.outpoint == outpoint), None)


@dataclass(frozen=True, slots=True)
class Block:
    """A block whose hash, transactions and witnesses fit together. ``time_s`` is its header's."""

    hash: str
    parent: str
    time_s: int
    txs: tuple[Tx, ...]


@dataclass(frozen=True, slots=True)
class Spend:
    """An input to be signed: what BIP-143 signs, and how the signature becomes a witness.

    Attributes:
        script_code: what the signature commits to (BIP-143).
        address: whose signer signs.
        witness: the input's witness, given the signature with its hash type.
    """

    outpoint: str
    value_sat: int
    script_code: bytes
    address: str
    witness: Callable[[bytes], tuple[bytes, ...]]
    sequence: int = SEQUENCE_REPLACEABLE


@dataclass(frozen=True, slots=True)
class Draft:
    """A transaction before its signatures."""

    spends: tuple[Spend, ...]
    outputs: tuple[TxOutput, ...]
    locktime: int = 0
    version: int = 2

    @property
    def fee_sat(self) -> int:
        """Inputs minus outputs."""
        paid = sum(output.value_sat for output in self.outputs)
        return sum(spend.value_sat for spend in self.spends) - paid

    def trial(self) -> bytes:
        """Return it with signatures that are none, of the largest size."""
        return self._with([spend.witness(DUMMY_SIGNATURE) for spend in self.spends])

    @property
    def vsize(self) -> int:
        """Virtual size (BIP-141) with signatures of the largest size."""
        return parse_tx(self.trial()).vsize

    def unsigned(self) -> bytes:
        """Return the transaction without witnesses: what its id and all signatures cover."""
        return self._with(())

    async def sign(self, signers: Mapping[str, BitcoinSigner]) -> bytes:
        """Return the signed transaction; ``signers`` by address."""
        unsigned = self.unsigned()
        bare = CTransaction.deserialize(unsigned)
        witnesses = []
        for index, spend in enumerate(self.spends):
            digest = SignatureHash(
                CScript(spend.script_code), bare, index, SIGHASH_ALL,
                amount=spend.value_sat, sigversion=SIGVERSION_WITNESS_V0,
            )  # fmt: skip
            wanted = InputDigest(digest, unsigned, index, spend.value_sat, spend.script_code)
            signature = await signers[spend.address].sign_input(wanted)
            witnesses.append(spend.witness(signature + bytes([SIGHASH_ALL])))
        return self._with(witnesses)

    def _with(self, witnesses: Sequence[tuple[bytes, ...]]) -> bytes:
        raw: bytes = self._library_tx(witnesses).serialize()
        return raw

    def _library_tx(self, witnesses: Sequence[tuple[bytes, ...]]) -> Any:
        return CTransaction(
            vin=[
                CTxIn(_library_outpoint(spend.outpoint), nSequence=spend.sequence)
                for spend in self.spends
            ],
            vout=[CTxOut(out.value_sat, CScript(out.script)) for out in self.outputs],
            nLockTime=self.locktime,
            nVersion=self.version,
            witness=CTxWitness(
                tuple(CTxInWitness(CScriptWitness(witness)) for witness in witnesses)
            ),
        )


def parse_tx(raw: bytes) -> Tx:
    """Return the transaction that ``raw`` is.

    Raises:
        ChainDataError: it is none, or bytes are left over.
    """
    try:
        return _tx(CTransaction.deserialize(raw))
    except Exception as error:  # noqa: BLE001 - the library lets IndexError and others through
        raise ChainDataError(f"no transaction: {error}") from None


def parse_block(raw: bytes, block_hash: str) -> Block:
    """Return block ``block_hash`` from its bytes; costs up to a second for a full block.

    Checked here: the header hashes to ``block_hash``, the transactions to its Merkle root, and
    the witnesses to the coinbase's commitment (BIP-141).

    Raises:
        ChainDataError: the bytes are another block, or none.
    """
    try:
        block = CBlock.deserialize(raw)
        found = b2lx(block.GetHash())
        rooted = block.vMerkleTree[-1] == block.hashMerkleRoot and _witnesses_fit(block)
        txs = tuple(_tx(tx) for tx in block.vtx)
    except Exception as error:  # noqa: BLE001 - the library lets IndexError and others through
        raise ChainDataError(f"no block: {error}") from None
    if found != block_hash or not rooted:
        raise ChainDataError(f"the bytes given for block {block_hash} are not that block")
    return Block(block_hash, b2lx(block.hashPrevBlock), block.nTime, txs)


def parent_of(header: bytes, block_hash: str) -> str:
    """Return the parent's hash that a block's header (80 bytes) names.

    Raises:
        ChainDataError: it is not the header of ``block_hash``.
    """
    if len(header) != _HEADER_BYTES or b2lx(Hash(header)) != block_hash:
        raise ChainDataError(f"the bytes given for the header of {block_hash} are not that header")
    return str(b2lx(header[4:36]))


def _witnesses_fit(block: Any) -> bool:
    if not block.vWitnessMerkleTree:
        # Whoever commits to witnesses has one in the coinbase: without any they were left out.
        return not any(
            bytes(out.scriptPubKey).startswith(WITNESS_COINBASE_SCRIPTPUBKEY_MAGIC)
            for out in block.vtx[0].vout
        )
    index = block.get_witness_commitment_index()
    commitment = block.vtx[0].vout[index].scriptPubKey[6:38]
    reserved = block.vtx[0].wit.vtxinwit[0].scriptWitness.stack[0]
    return bool(Hash(block.vWitnessMerkleTree[-1] + reserved) == commitment)


def _tx(tx: Any) -> Tx:
    witnesses = [tuple(item.scriptWitness.stack) for item in tx.wit.vtxinwit]
    witnesses += [()] * (len(tx.vin) - len(witnesses))
    return Tx(
        tx_id=b2lx(tx.GetTxid()),
        inputs=tuple(
            TxInput(f"{b2lx(item.prevout.hash)}:{item.prevout.n}", witness)
            for item, witness in zip(tx.vin, witnesses, strict=True)
        ),
        outputs=tuple(TxOutput(out.nValue, bytes(out.scriptPubKey)) for out in tx.vout),
        vsize=(tx.calc_weight() + 3) // 4,
    )


def _library_outpoint(outpoint: str) -> Any:
    tx_id, _, index = outpoint.partition(":")
    return COutPoint(lx(tx_id), int(index))


def compile_script(items: Sequence[Opcode | bytes | int]) -> bytes:
    """Return a script with minimal pushes."""
    return bytes(
        CScript([CScriptOp(item.value) if isinstance(item, Opcode) else item for item in items])
    )


def script_items(script: bytes) -> list[Opcode | bytes | int]:
    """Return the items of a script: short pushes as numbers only where they are no key or hash.

    Raises:
        ValueError: a push runs past the end.
    """
    try:
        raw = list(CScript(script).raw_iter())
    except CScriptInvalidError as error:
        raise ValueError(str(error)) from None
    items: list[Opcode | bytes | int] = []
    for opcode, data, _ in raw:
        if data is None:
            items.append(opcode - 0x50 if 0x51 <= opcode <= 0x60 else Opcode(opcode))
        elif len(data) <= 5:
            items.append(int.from_bytes(data, "little"))
        else:
            items.append(data)
    return items


@lru_cache(maxsize=256)
def hash160(data: bytes) -> bytes:
    """Return RIPEMD-160 of SHA-256, which names public keys in scripts.

    Where OpenSSL leaves RIPEMD-160 out, the library's is in Python and takes a millisecond; those
    of our own few keys are asked for all the time.
    """
    digest: bytes = Hash160(data)
    return digest


def base58_check(text: str) -> tuple[int, bytes]:
    """Return version byte and payload of a base58check text.

    Raises:
        ValueError: wrong characters, length or checksum.
    """
    if not 20 <= len(text) <= 60 or not text.isascii():
        raise ValueError("neither base58check nor segwit form")
    try:
        raw = bitcoin.base58.decode(text)
    except bitcoin.base58.InvalidBase58Error as error:
        raise ValueError(str(error)) from None
    body, checksum = raw[:-4], raw[-4:]
    if len(body) < 2 or hashlib.sha256(hashlib.sha256(body).digest()).digest()[:4] != checksum:
        raise ValueError("the checksum is wrong; a character was mistyped")
    return body[0], body[1:]


_selected: str | None = None


def select_network(network: Network) -> None:
    """Set python-bitcoinlib's parameters, which exist once per process.

    Raises:
        ValueError: this process already uses another Bitcoin network.
    """
    global _selected  # noqa: PLW0603 - mirrors the library's own global
    if _selected not in {None, network.name}:
        raise ValueError(
            f"this process already uses Bitcoin {_selected}; one configuration holds one Bitcoin "
            f"network, so {network.name} needs a configuration of its own"
        )
    bitcoin.SelectParams(network.library_name)
    _selected = network.name
