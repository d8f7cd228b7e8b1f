"""Runs of Bitcoin block headers under a verifier's own proof-of-work policy.

A run shows work, not validity: that somebody paid for these headers and that one of them is a
block the verifier knows. What was mined beside them it cannot show.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal

from proofs import fields
from proofs.bitcoin_tx import sha256d, shown
from proofs.errors import Refused

__all__ = [
    "MAX_HEADERS",
    "NETWORKS",
    "Header",
    "Network",
    "Policy",
    "Run",
    "bits_of",
    "parse_header",
    "read_policy",
    "target_of",
    "verify_run",
    "work_of",
]

#: A difficulty period and a bit; an anchor further away costs more than a newer one.
MAX_HEADERS: Final = 2048
_PERIOD: Final = 2016
_LARGEST_STEP: Final = 4


@dataclass(frozen=True, slots=True)
class Network:
    """Consensus constants of a network (chainparams of Bitcoin Core).

    Attributes:
        pow_limit: the easiest target there is.
        difficulty: when a target may change: at each 2016th block, never, or at any block.
        bip34_height: from here on a coinbase begins with its height.
    """

    pow_limit: int
    difficulty: Literal["retarget", "fixed", "any"]
    bip34_height: int


_MAIN_LIMIT: Final = (1 << 224) - 1
#: By CAIP-2 name: ``bip122:`` and the first 32 digits of the genesis block's hash.
NETWORKS: Final[Mapping[str, Network]] = {
    "bip122:000000000019d6689c085ae165831e93": Network(_MAIN_LIMIT, "retarget", 227_931),
    # testnet3 allows a block of least difficulty after twenty minutes without one.
    "bip122:000000000933ea01ad0ee984209779ba": Network(_MAIN_LIMIT, "any", 21_111),
    "bip122:00000008819873e925422c1ff0f99f7c": Network(0x377AE << 216, "retarget", 1),
    "bip122:0f9188f13cb7b2c71f2a335e3a4fc328": Network((1 << 255) - 1, "fixed", 1),
}


@dataclass(frozen=True, slots=True)
class Policy:
    """What a verifier believes without proof; it comes from its trust file, never from a bundle.

    Attributes:
        chain: CAIP-2 name.
        network: the constants that hold there.
        min_work: least sum of 2^256 / (target + 1) over the transaction's block and those after it.
        confirmations: least number of such blocks.
        anchors: known blocks, hash as people write it → height. One of them must be in the run.
    """

    chain: str
    network: Network
    min_work: int
    confirmations: int
    anchors: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Header:
    """A block header; hashes in the byte order in which they are hashed."""

    hash: bytes
    previous: bytes
    merkle_root: bytes
    time_s: int
    bits: int
    target: int


@dataclass(frozen=True, slots=True)
class Run:
    """A verified run.

    Attributes:
        block: the header that holds the transaction.
        height: of that block, counted from the anchor.
        work: of that block and all after it.
        anchor: hash of the known block, as people write it.
        pinned: the anchor is that block or comes after it, so the block is in the chain that the
            verifier knows; otherwise only work speaks for it.
    """

    block: Header
    tip: Header
    height: int
    confirmations: int
    work: int
    anchor: str
    pinned: bool


def target_of(bits: int) -> int:
    """Decode a compact target as Bitcoin Core's DeriveTarget does.

    Raises:
        Refused: ``header-bits``: negative, zero, beyond 256 bits, or not the shortest form.
    """
    size, mantissa = bits >> 24, bits & 0x7FFFFF
    if bits & 0x800000:
        raise Refused("header-bits", f"{bits:08x} is a negative target")
    # Bounded before the shift: a hostile size byte would make a number of 2,000 bits.
    target = mantissa >> 8 * (3 - size) if size <= 3 else mantissa << 8 * min(size - 3, 32)
    if not 0 < target < 1 << 256:
        raise Refused("header-bits", f"{bits:08x} is zero or beyond 256 bits")
    if bits_of(target) != bits:
        raise Refused("header-bits", f"{bits:08x} is not the shortest form of its target")
    return target


def bits_of(target: int) -> int:
    """Return the compact form of a positive target; digits beyond its precision are cut off."""
    size = (target.bit_length() + 7) // 8
    mantissa = target << 8 * (3 - size) if size <= 3 else target >> 8 * (size - 3)
    if mantissa & 0x800000:
        mantissa >>= 8
        size += 1
    return size << 24 | mantissa


def work_of(target: int) -> int:
    """Return the expected number of hashes for a block under this target (GetBlockProof)."""
    return (1 << 256) // (target + 1)


def parse_header(raw: bytes) -> Header:
    """Decode 80 bytes. Raises Refused (``header-form``, ``header-bits``)."""
    if len(raw) != 80:
        raise Refused("header-form", f"{len(raw)} bytes instead of 80")
    bits = int.from_bytes(raw[72:76], "little")
    return Header(
        hash=sha256d(raw),
        previous=raw[4:36],
        merkle_root=raw[36:68],
        time_s=int.from_bytes(raw[68:72], "little"),
        bits=bits,
        target=target_of(bits),
    )


def verify_run(raws: Sequence[bytes], at: int, policy: Policy) -> Run:
    """Check that headers are linked, worked for, anchored and enough, and return what they show.

    Args:
        raws: 80 bytes each, oldest first.
        at: which of them holds the transaction.

    Raises:
        Refused: ``header-count``, ``confirmations``, ``header-form``, ``header-bits``,
            ``header-limit``, ``header-work``, ``header-link``, ``anchor-missing``,
            ``anchor-height``, ``header-difficulty``, ``min-work``.
    """
    if not 0 < len(raws) <= MAX_HEADERS or not 0 <= at < len(raws):
        raise Refused("header-count", f"header {at} of {len(raws)}; at most {MAX_HEADERS}")
    confirmations = len(raws) - at
    if confirmations < policy.confirmations:
        raise Refused("confirmations", f"{confirmations} of {policy.confirmations}")
    headers = [_worked(raw, policy) for raw in raws]
    for older, newer in pairwise(headers):
        if newer.previous != older.hash:
            raise Refused("header-link", f"{shown(newer.hash)} does not follow the one before")
    first_height, anchor, anchor_at = _anchored(headers, policy)
    _check_difficulty(headers, first_height, policy.network)
    work = sum(work_of(header.target) for header in headers[at:])
    if work < policy.min_work:
        raise Refused("min-work", f"{work} of {policy.min_work} expected hashes")
    return Run(
        block=headers[at],
        tip=headers[-1],
        height=first_height + at,
        confirmations=confirmations,
        work=work,
        anchor=anchor,
        pinned=anchor_at >= at,
    )


def read_policy(value: Any) -> Policy:
    """Read a policy from its JSON form in a trust file.

    ``{"chain": "bip122:…", "min_work": "decimal", "confirmations": 6, "anchors": {hash: height}}``

    Raises:
        Refused: ``policy-form``: wrong keys or types, an unknown network, no anchor.
    """
    check = "policy-form"
    keys = frozenset({"chain", "min_work", "confirmations", "anchors"})
    table = fields.record(check, value, keys)
    chain = fields.choice(check, table["chain"], frozenset(NETWORKS))
    work = table["min_work"]
    if type(work) is not str or not (work.isascii() and work.isdigit() and len(work) <= 78):
        raise Refused(check, "min_work is not a decimal text")
    if not isinstance(table["anchors"], dict) or not table["anchors"]:
        raise Refused(check, "no anchor: without a known block any run would do")
    anchors = {
        fields.data(check, known, most=32, length=32).hex(): fields.integer(check, height)
        for known, height in table["anchors"].items()
    }
    confirmations = fields.integer(check, table["confirmations"], most=MAX_HEADERS)
    return Policy(chain, NETWORKS[chain], int(work), max(confirmations, 1), anchors)


def _worked(raw: bytes, policy: Policy) -> Header:
    header = parse_header(raw)
    if header.target > policy.network.pow_limit:
        raise Refused("header-limit", f"{header.bits:08x} is easier than {policy.chain} allows")
    if int.from_bytes(header.hash, "little") > header.target:
        raise Refused("header-work", f"{shown(header.hash)} is above its own target")
    return header


def _anchored(headers: Sequence[Header], policy: Policy) -> tuple[int, str, int]:
    """Return the first header's height and the last known block, with its place."""
    known = [
        (policy.anchors[name], name, place)
        for place, header in enumerate(headers)
        if (name := shown(header.hash)) in policy.anchors
    ]
    if not known:
        raise Refused("anchor-missing", "no header of the run is a block that the verifier knows")
    heights = {height - place for height, _, place in known}
    if len(heights) > 1 or min(heights) < 0:
        raise Refused("anchor-height", "the known blocks do not have the heights they should have")
    _, name, place = known[-1]
    return heights.pop(), name, place


def _check_difficulty(headers: Sequence[Header], first_height: int, network: Network) -> None:
    """Refuse a target that changes where it may not, or more than fourfold."""
    if network.difficulty == "any":
        return
    for place, (older, newer) in enumerate(pairwise(headers), 1):
        if newer.bits == older.bits:
            continue
        height = first_height + place
        if network.difficulty == "fixed" or height % _PERIOD:
            raise Refused("header-difficulty", f"the target changes at height {height}")
        # Compact forms are rounded down, so the exact bound may be missed by their precision.
        eased = newer.target > older.target * _LARGEST_STEP
        if eased or bits_of(older.target // _LARGEST_STEP) > newer.bits:
            raise Refused("header-difficulty", f"more than fourfold at height {height}")
