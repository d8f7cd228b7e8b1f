"""What a verifier believes without proof: its own file, never a part of what it verifies.

People write it, so any white space will do; a key that stands there twice, a float or a block that
is said to have two heights is refused.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from proofs import canonical, fields
from proofs.bitcoin_headers import MAX_HEADERS, NETWORKS, Policy
from proofs.checkpoint import Checkpoint
from proofs.errors import CanonicalError, Refused

__all__ = ["KIND", "MAX_BYTES", "ChainTrust", "LogTrust", "Statement", "Trust", "read_trust"]

KIND: Final = "trust/v1"
MAX_BYTES: Final = 1 << 20
_MAX_ENTRIES: Final = 10_000
_CHECK: Final = "trust-form"
_EVM: Final = re.compile(r"eip155:[1-9][0-9]{0,17}")
_ROLE: Final = re.compile(r"[a-z][a-z0-9_-]{0,47}")
_NODE: Final = re.compile(r"[!-~]{1,100}")
_ORIGIN: Final = re.compile(r"[a-z0-9][a-z0-9._/:-]{0,127}")
_WORK: Final = re.compile(r"0|[1-9][0-9]{0,77}")

_KEYS: Final = frozenset({"v", "kind", "log", "chains", "participants"})
_COMMON: Final = frozenset({"schemes", "needed", "statements"})
_EVM_SCHEMES: Final = frozenset({"evm.receipt/v1", "evm.storage/v1", "evm.ancestor/v1"})
_BITCOIN_SCHEMES: Final = frozenset({"btc.spv/v1"})


@dataclass(frozen=True, slots=True)
class LogTrust:
    """The audit log that a verifier knows.

    Attributes:
        address: 20 bytes of the key of the log's first checkpoint; rotations lead on from it.
        checkpoint: size and root of a head that the verifier has seen.
    """

    origin: str
    address: bytes
    checkpoint: tuple[int, bytes] | None


@dataclass(frozen=True, slots=True)
class Statement:
    """A node said that the chain has this block; testimony, not proof."""

    node: str
    block: str
    height: int
    at_s: int


@dataclass(frozen=True, slots=True)
class ChainTrust:
    """What a verifier knows of one chain.

    Attributes:
        schemes: kinds of evidence that it accepts there.
        blocks: pinned: hash (64 hex digits, as people write it) → height.
        needed: so many different nodes must state a block.
        policy: Bitcoin's; None where no block is known at all.
        pinned: height → the block in ``blocks``.
        stated: height → block → the nodes that state it.
    """

    chain: str
    schemes: frozenset[str]
    blocks: Mapping[str, int]
    needed: int
    statements: tuple[Statement, ...]
    pinned: Mapping[int, str]
    stated: Mapping[int, Mapping[str, Collection[str]]]
    policy: Policy | None = None

    def believes(self, block: str, height: int) -> str | None:
        """Return which input carries the block, None where nothing does.

        Raises:
            Refused: ``block-contradicted``: another block is known at that height, or this one at
                another height.
        """
        known = self.blocks.get(block)
        if known is not None and known != height:
            raise Refused("block-contradicted", f"the trust file knows it at height {known}")
        pinned, stated = self.pinned.get(height, block), self.stated.get(height, {})
        rivals = [name for name, nodes in stated.items() if len(nodes) >= self.needed]
        for rival in (pinned, *rivals):
            if rival != block:
                raise Refused("block-contradicted", f"the trust file knows {rival} at that height")
        if known is not None:
            return "pinned"
        return _testimony(stated[block]) if rivals else None

    def carries(self, anchor: str) -> str:
        """Return which input carries a block that the policy knows."""
        if anchor in self.blocks:
            return "pinned"
        return _testimony({said.node for said in self.statements if said.block == anchor})


def _testimony(nodes: Collection[str]) -> str:
    return f"statement of {', '.join(sorted(nodes))}"


@dataclass(frozen=True, slots=True)
class Trust:
    """A trust file.

    Attributes:
        chains: by CAIP-2 name.
        participants: role → address (40 hex digits); empty where the verifier knows none.
    """

    log: LogTrust | None
    chains: Mapping[str, ChainTrust]
    participants: Mapping[str, str]


def read_trust(raw: bytes) -> Trust:
    """Read a trust file.

    Raises:
        Refused: ``trust-form``: it is none; ``block-contradicted``: it contradicts itself.
    """
    form = fields.record(_CHECK, _parsed(raw), _KEYS)
    if form["kind"] != KIND or type(form["v"]) is not int or form["v"] != 1:
        raise Refused(_CHECK, f"not a trust file of kind {KIND}")
    chains = _table(form["chains"])
    return Trust(
        log=_log(form["log"]),
        chains={name: _chain(name, value) for name, value in chains.items()},
        participants={
            _name(_ROLE, role, "a role"): fields.data(_CHECK, address, most=20, length=20).hex()
            for role, address in _table(form["participants"]).items()
        },
    )


def _parsed(raw: bytes) -> Any:
    if len(raw) > MAX_BYTES:
        raise Refused(_CHECK, f"more than {MAX_BYTES} bytes")
    try:
        # The parser recurses in C, where too deep a text ends the whole process.
        canonical.check_depth(raw)
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_object, parse_float=_no_float)
        canonical.encode(value)
    except UnicodeDecodeError:
        raise Refused(_CHECK, "not UTF-8") from None
    except (CanonicalError, ValueError, RecursionError) as error:
        raise Refused(_CHECK, f"not JSON that we take: {error}") from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise CanonicalError("a key stands there twice")
    return value


def _no_float(text: str) -> Any:
    raise CanonicalError(f"{text[:20]} is not an integer")


def _table(value: Any) -> dict[str, Any]:
    if type(value) is not dict or len(value) > _MAX_ENTRIES:
        raise Refused(_CHECK, f"not an object of at most {_MAX_ENTRIES} members")
    return value


def _name(pattern: re.Pattern[str], value: Any, what: str) -> str:
    if type(value) is not str or not pattern.fullmatch(value):
        raise Refused(_CHECK, f"{what} is not of its form")
    return value


def _log(value: Any) -> LogTrust | None:
    if value is None:
        return None
    form = fields.record(_CHECK, value, frozenset({"origin", "address", "checkpoint"}))
    head = form["checkpoint"]
    checkpoint = None
    if head is not None:
        head = fields.record(_CHECK, head, frozenset({"size", "root"}))
        root = fields.data(_CHECK, head["root"], most=32, length=32)
        checkpoint = (fields.integer(_CHECK, head["size"]), root)
    origin = _name(_ORIGIN, form["origin"], "the log's origin")
    Checkpoint(origin, 0, bytes(32)).text()
    return LogTrust(origin, fields.data(_CHECK, form["address"], most=20, length=20), checkpoint)


def _chain(name: str, value: Any) -> ChainTrust:
    if name in NETWORKS:
        return _bitcoin(name, value)
    if not _EVM.fullmatch(name):
        raise Refused(_CHECK, f"{ascii(name)[:60]} is the name of no chain that can be verified")
    form = fields.record(_CHECK, value, _COMMON | {"blocks"})
    return _known(name, form, form["blocks"], _EVM_SCHEMES)


def _bitcoin(name: str, value: Any) -> ChainTrust:
    keys = _COMMON | {"min_work", "confirmations", "anchors"}
    form = fields.record(_CHECK, value, keys)
    trust = _known(name, form, form["anchors"], _BITCOIN_SCHEMES)
    work = int(_name(_WORK, form["min_work"], "min_work"))
    confirmations = max(fields.integer(_CHECK, form["confirmations"], most=MAX_HEADERS), 1)
    anchors = dict(trust.blocks)
    for said in trust.statements:
        if trust.believes(said.block, said.height) is not None:
            anchors[said.block] = said.height
    if not anchors:
        return trust
    return replace(trust, policy=Policy(name, NETWORKS[name], work, confirmations, anchors))


def _known(name: str, form: Mapping[str, Any], blocks: Any, known: frozenset[str]) -> ChainTrust:
    """Read what all chains have.

    Raises:
        Refused: ``block-contradicted``: the pins and statements can not all be true of one chain.
    """
    pins, statements = _blocks(blocks), _statements(form["statements"])
    pinned = {height: block for block, height in pins.items()}
    if len(pinned) != len(pins):
        raise Refused("block-contradicted", f"two blocks of {name} at one height")
    said: dict[tuple[str, int], str] = {}
    heights = dict(pins)
    stated: dict[int, dict[str, set[str]]] = {}
    for statement in statements:
        node, block, height = statement.node, statement.block, statement.height
        if said.setdefault((node, height), block) != block:
            raise Refused("block-contradicted", f"{node} states two blocks at height {height}")
        if heights.setdefault(block, height) != height:
            raise Refused("block-contradicted", f"{block} is said to have two heights")
        there = stated.setdefault(height, {})
        there.setdefault(block, set()).add(node)
    schemes = fields.items(_CHECK, form["schemes"], most=16)
    return ChainTrust(
        chain=name,
        schemes=frozenset(fields.choice(_CHECK, scheme, known) for scheme in schemes),
        blocks=pins,
        needed=_needed(form["needed"]),
        statements=statements,
        pinned=pinned,
        stated=stated,
    )


def _blocks(value: Any) -> dict[str, int]:
    return {
        fields.data(_CHECK, block, most=32, length=32).hex(): fields.integer(_CHECK, height)
        for block, height in _table(value).items()
    }


def _needed(value: Any) -> int:
    needed = fields.integer(_CHECK, value, most=_MAX_ENTRIES)
    if needed < 1:
        raise Refused(_CHECK, "needed is at least 1")
    return needed


def _statements(value: Any) -> tuple[Statement, ...]:
    found = []
    for item in fields.items(_CHECK, value, most=_MAX_ENTRIES):
        form = fields.record(_CHECK, item, frozenset({"node", "block", "height", "at_s"}))
        found.append(
            Statement(
                node=_name(_NODE, form["node"], "a node's name"),
                block=fields.data(_CHECK, form["block"], most=32, length=32).hex(),
                height=fields.integer(_CHECK, form["height"]),
                at_s=fields.integer(_CHECK, form["at_s"]),
            )
        )
    return tuple(found)
