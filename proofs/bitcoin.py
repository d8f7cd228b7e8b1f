"""Step proof ``btc.spv/v1``: a transaction is in a block that the verifier's policy accepts.

It shows "mined under this work, by a block you know", not that the spend was valid (miners and
nodes see to that) nor that no heavier chain exists beside this one.

Every byte of a proof is covered by a hash: the classic serialisation by the txid, witnesses by the
commitment in the coinbase (BIP-141) or they are left out. So nothing in a proof can be changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from proofs import fields
from proofs.bitcoin_headers import MAX_HEADERS, Header, Policy, Run, parse_header, verify_run
from proofs.bitcoin_merkle import MAX_DEPTH, branch_of, fold, root_of
from proofs.bitcoin_tx import (
    MAX_TX_BYTES,
    Outpoint,
    Output,
    Transaction,
    is_coinbase,
    parse_tx,
    sha256d,
    shown,
)
from proofs.errors import ProofUnavailable, Refused

__all__ = ["KIND", "SpvFacts", "build_spv", "verify_spv"]

KIND: Final = "btc.spv/v1"
_KEYS: Final = frozenset(
    {"kind", "chain", "tx", "index", "branch", "coinbase", "coinbase_branch", "witness_branch"}
    | {"headers", "at"}
)
#: OP_RETURN, 36 bytes, and BIP-141's tag; the commitment follows.
_COMMITMENT_TAG: Final = bytes.fromhex("6a24aa21a9ed")


@dataclass(frozen=True, slots=True)
class SpvFacts:
    """What a verified proof shows, all of it recomputed.

    Attributes:
        txid, block, tip: hashes as people write them.
        index: the transaction's place in its block.
        depth: levels of the block's tree.
        tx: the decoded transaction.
        witness_shown: witnesses are proven, too; otherwise the proof holds none.
        run: height, confirmations, work and anchor.
    """

    chain: str
    txid: str
    block: str
    tip: str
    index: int
    depth: int
    tx: Transaction
    witness_shown: bool
    run: Run

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What the transaction created, by output number."""
        return self.tx.outputs

    @property
    def spends(self) -> tuple[Outpoint, ...]:
        """What the transaction spent."""
        return tuple(spent.outpoint for spent in self.tx.inputs)


def build_spv(
    *,
    chain: str,
    txids: Sequence[str],
    tx: str,
    coinbase: str,
    headers: Sequence[str],
    at: int,
    wtxids: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return the proof of one transaction.

    Args:
        chain: CAIP-2 name of the network.
        txids: all of the block, as ``getblock HASH 1`` lists them.
        tx, coinbase: raw hex as ``getrawtransaction`` gives it.
        headers: raw hex, oldest first, from the anchor or the block to the newest.
        at: which header is the block's.
        wtxids: ``hash`` of every transaction (``getblock HASH 2``); None leaves witnesses out.

    Raises:
        ProofUnavailable: ``malformed_answer``, ``not_in_block``, ``root_mismatch`` or
            ``not_provable``: what the node gave makes no proof; never a part of one.
    """
    try:
        hashes = [_from_shown(txid) for txid in txids]
        wanted, first = (parse_tx(_from_node(raw)) for raw in (tx, coinbase))
        block = parse_header(_from_node(headers[at]))
    except (Refused, IndexError) as error:
        raise ProofUnavailable("malformed_answer", str(error)) from None
    if wanted.txid not in hashes or first.txid != hashes[0]:
        raise ProofUnavailable("not_in_block", "the transactions are not of the block's list")
    if block.merkle_root != root_of(hashes):
        raise ProofUnavailable("root_mismatch", "the header does not commit to that list")
    index = hashes.index(wanted.txid)
    branches = branch_of(hashes, index), branch_of(hashes, 0)
    try:
        _check_leaves(wanted, index, first)
        _check_tree(block, wanted, index, branches[0], first, branches[1])
        witness = _witness_branch(wanted, index, first, wtxids) if wtxids else None
    except Refused as refused:
        raise ProofUnavailable("not_provable", str(refused)) from None
    return {
        "kind": KIND,
        "chain": chain,
        "tx": (wanted.raw if witness else wanted.stripped).hex(),
        "index": index,
        "branch": [node.hex() for node in branches[0]],
        "coinbase": (first.raw if witness else first.stripped).hex(),
        "coinbase_branch": [node.hex() for node in branches[1]],
        "witness_branch": [node.hex() for node in witness] if witness else None,
        "headers": list(headers),
        "at": at,
    }


def verify_spv(proof: Any, policy: Policy) -> SpvFacts:
    """Check a proof against a verifier's policy and return what it shows.

    Raises:
        Refused: ``spv-form``, ``spv-chain``, ``tx-form``, ``tx-size``, ``tx-64-bytes``,
            ``coinbase-form``, ``coinbase-depth``, ``coinbase-height``, ``merkle-*``,
            ``merkle-root``, ``coinbase-root``, ``witness-*`` and those of `verify_run`.
    """
    form = fields.record("spv-form", proof, _KEYS)
    if form["kind"] != KIND:
        raise Refused("spv-form", f"not a proof of kind {KIND}")
    if form["chain"] != policy.chain:
        raise Refused("spv-chain", f"a proof of another chain than {policy.chain}")
    index = fields.integer("spv-form", form["index"])
    at = fields.integer("spv-form", form["at"], most=MAX_HEADERS)
    raws = fields.datas("spv-form", form["headers"], most=MAX_HEADERS, length=80)
    branch = _branch(form["branch"])
    coinbase_branch = _branch(form["coinbase_branch"])
    if len(branch) != len(coinbase_branch):
        raise Refused("coinbase-depth", f"{len(branch)} levels, {len(coinbase_branch)} in its")
    tx = parse_tx(fields.data("spv-form", form["tx"], most=MAX_TX_BYTES))
    coinbase = parse_tx(fields.data("spv-form", form["coinbase"], most=MAX_TX_BYTES))
    _check_leaves(tx, index, coinbase)
    run = verify_run(raws, at, policy)
    _check_tree(run.block, tx, index, branch, coinbase, coinbase_branch)
    _check_height(coinbase, run.height, policy)
    if form["witness_branch"] is not None:
        witness_branch = _branch(form["witness_branch"])
        if len(witness_branch) != len(branch):
            raise Refused("witness-depth", "its tree is not as deep as that of the txids")
        _check_witness(tx, index, witness_branch, coinbase)
    elif tx.has_witness or coinbase.has_witness:
        raise Refused("witness-unproven", "witnesses without their branch are covered by nothing")
    return SpvFacts(
        chain=policy.chain,
        txid=shown(tx.txid),
        block=shown(run.block.hash),
        tip=shown(run.tip.hash),
        index=index,
        depth=len(branch),
        tx=tx,
        witness_shown=tx.has_witness,
        run=run,
    )


def _check_leaves(tx: Transaction, index: int, coinbase: Transaction) -> None:
    """Refuse leaves that could be inner nodes (CVE-2017-12842), and a coinbase out of place."""
    for leaf in (tx, coinbase):
        if len(leaf.stripped) == 64:
            raise Refused("tx-64-bytes", "a transaction of 64 bytes could be an inner node")
    if not is_coinbase(coinbase):
        raise Refused("coinbase-form", "its input is not the null outpoint")
    if index == 0 or is_coinbase(tx):
        raise Refused("coinbase-form", "a step's transaction is never the coinbase")


def _check_tree(
    block: Header,
    tx: Transaction,
    index: int,
    branch: Sequence[bytes],
    coinbase: Transaction,
    coinbase_branch: Sequence[bytes],
) -> None:
    if fold(tx.txid, index, branch) != block.merkle_root:
        raise Refused("merkle-root", "the branch does not lead to the block's root")
    # A true coinbase at the same depth fixes where leaves are: nothing above or below is one.
    if fold(coinbase.txid, 0, coinbase_branch) != block.merkle_root:
        raise Refused("coinbase-root", "the coinbase's branch does not lead to the block's root")


def _check_height(coinbase: Transaction, height: int, policy: Policy) -> None:
    """Refuse a coinbase that names another height than the anchor gives (BIP-34)."""
    if height < policy.network.bip34_height:
        return
    if not coinbase.inputs[0].script.startswith(_height_push(height)):
        raise Refused("coinbase-height", f"the coinbase does not begin with height {height}")


def _height_push(height: int) -> bytes:
    """Return the script bytes that push a height, as ``CScript() << height`` makes them."""
    if height == 0:
        return b"\x00"
    if height <= 16:
        return bytes([0x50 + height])
    length = height.bit_length() // 8 + 1
    return bytes([length]) + height.to_bytes(length, "little")


def _witness_branch(
    tx: Transaction, index: int, coinbase: Transaction, wtxids: Sequence[str]
) -> list[bytes] | None:
    """Return the checked branch of the wtxid; None for a transaction without witnesses."""
    if not tx.has_witness:
        return None
    # The coinbase commits to the others' witnesses, so its own leaf is zero there (BIP-141).
    leaves = [bytes(32), *(_from_shown(wtxid) for wtxid in wtxids[1:])]
    branch = branch_of(leaves, index)
    _check_witness(tx, index, branch, coinbase)
    return branch


def _check_witness(
    tx: Transaction, index: int, branch: Sequence[bytes], coinbase: Transaction
) -> None:
    if not tx.has_witness:
        raise Refused("witness-form", "a witness branch for a transaction without witnesses")
    reserved = coinbase.inputs[0].witness
    if len(reserved) != 1 or len(reserved[0]) != 32:
        raise Refused("witness-form", "the coinbase's witness is not one value of 32 bytes")
    scripts = [out.script for out in coinbase.outputs if out.script.startswith(_COMMITMENT_TAG)]
    long_enough = [script for script in scripts if len(script) >= 38]
    if not long_enough:
        raise Refused("witness-commitment", "the coinbase commits to no witnesses")
    # Of several commitments the last counts (BIP-141).
    root = fold(tx.wtxid, index, branch)
    if sha256d(root + reserved[0]) != long_enough[-1][6:38]:
        raise Refused("witness-root", "the witness branch does not lead to the commitment")


def _branch(value: Any) -> list[bytes]:
    return fields.datas("spv-form", value, most=MAX_DEPTH, length=32)


def _from_shown(text: str) -> bytes:
    return fields.data("spv-form", text, most=32, length=32)[::-1]


def _from_node(text: str) -> bytes:
    return fields.data("spv-form", text, most=MAX_TX_BYTES)
