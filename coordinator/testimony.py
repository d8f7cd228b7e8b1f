"""Trust files from what nodes say: testimony of these nodes, and no more than that.

An auditor asks nodes of his own; asking those of whoever made the bundle shows only that its maker
agrees with himself. Nothing that a bundle holds is ever taken for true here: it only says which
blocks have to be asked for.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.errors import AdapterError
from adapters.statement import BlockAsked, BlockSeen, NodeAsked, Statements
from coordinator.errors import CoordinatorError
from proofs.bundle import verify_bundle
from proofs.errors import Refused
from proofs.trust import read_trust

__all__ = [
    "Heard",
    "Untold",
    "ask",
    "extended",
    "needed_blocks",
    "new_trust",
]

_UNSIGNED: Final = "signatures."


class Untold(CoordinatorError):
    """The bundle or the trust file can not be worked with; nothing was written."""

    exit_code = 40


@dataclass(frozen=True, slots=True)
class Heard:
    """What one node said, or why it said nothing (``trouble``)."""

    chain: str
    node: NodeAsked
    seen: tuple[BlockSeen, ...] = ()
    trouble: str = ""


def needed_blocks(raw: bytes) -> dict[str, tuple[BlockAsked, ...]]:
    """Return by CAIP-2 name the blocks that a verifier of this bundle has to believe in.

    Raises:
        Untold: the bundle is wrong in itself; no block could make it right.
    """
    report = verify_bundle(raw, None)
    wrong = [check for check in report.checks if check.status == "failed"]
    wrong = [check for check in wrong if not check.name.startswith(_UNSIGNED)]
    if wrong:
        first = wrong[0]
        about = f"{first.name} {first.subject}".rstrip()
        raise Untold(
            f"the bundle does not verify, whatever blocks are trusted: {about}: {first.reason}. No "
            "node was asked. See: coordinator verify BUNDLE"
        )
    needed: dict[str, dict[str, BlockAsked]] = {}
    for effect in report.facts["effects"]:
        if not effect["evidence"]:
            continue
        # Work-based evidence names no header before there is a policy: its own block is asked for.
        own = {"chain": effect["chain"], "hash": effect["block"], "height": effect["height"]}
        for block in effect["blocks"] or [own]:
            digest = str(block["hash"]).removeprefix("0x")
            chain = needed.setdefault(block["chain"], {})
            chain[digest] = BlockAsked(digest, int(block["height"]))
    return {
        chain: tuple(sorted(blocks.values(), key=lambda block: block.height))
        for chain, blocks in sorted(needed.items())
    }


async def ask(
    needed: Mapping[str, Sequence[BlockAsked]],
    nodes: Mapping[str, Sequence[NodeAsked]],
    statements_of: Callable[[str], Statements | None],
) -> list[Heard]:
    """Ask every node of every chain for its blocks, all at once."""

    async def one(chain: str, node: NodeAsked, statements: Statements) -> Heard:
        try:
            return Heard(chain, node, await statements.look(node, chain, needed[chain]))
        except AdapterError as error:
            return Heard(chain, node, trouble=str(error))

    questions = []
    for chain in needed:
        statements = statements_of(chain)
        if statements is not None:
            questions += [one(chain, node, statements) for node in nodes.get(chain, ())]
    return list(await asyncio.gather(*questions))


def new_trust() -> dict[str, Any]:
    """Return a trust file that trusts nothing."""
    return {"v": 1, "kind": "trust/v1", "log": None, "chains": {}, "participants": {}}


def extended(
    trust: dict[str, Any],
    heard: Sequence[Heard],
    statements_of: Callable[[str], Statements | None],
    *,
    needed: int | None,
    at_s: int,
) -> bytes:
    """Return the trust file with what nodes stated of final blocks; the rest of it stays.

    Args:
        needed: how many nodes have to agree; None leaves a chain's number as it is (new: 1).

    Raises:
        Untold: the file would not be one.
    """
    chains = trust["chains"]
    for answer in heard:
        statements = statements_of(answer.chain)
        assert statements is not None
        entry = chains.setdefault(answer.chain, statements.trust_entry(answer.node))
        if needed is not None:
            entry["needed"] = needed
        for seen in answer.seen:
            if seen.verdict == "final":
                _state(entry["statements"], answer.node.name, seen, at_s)
            elif seen.verdict == "other":
                _require_unsaid(entry["statements"], answer.node.name, seen)
    raw = json.dumps(trust, indent=2, sort_keys=True).encode() + b"\n"
    try:
        read_trust(raw)
    except Refused as error:
        raise Untold(f"that would be no trust file: {error}. Nothing was written.") from None
    return raw


def _require_unsaid(statements: list[dict[str, Any]], node: str, seen: BlockSeen) -> None:
    """Refuse to keep the statement of a node that says otherwise now.

    Raises:
        Untold: it stated this block before.
    """
    if any((said["node"], said["block"]) == (node, seen.hash) for said in statements):
        raise Untold(
            f"{node} stated block {seen.hash} at height {seen.height} before, and now "
            f"{seen.detail}: its chain was taken back, or it is another node. Nothing was written. "
            "Take the old statement out by hand if you know why."
        )


def _state(statements: list[dict[str, Any]], node: str, seen: BlockSeen, at_s: int) -> None:
    """Add a statement, in the place of an older one of the same node about the same block.

    Raises:
        Untold: the node said before that it has another block at that height.
    """
    statement = {"node": node, "block": seen.hash, "height": seen.height, "at_s": at_s}
    for index, other in enumerate(statements):
        if (other["node"], other["height"]) != (node, seen.height):
            continue
        if other["block"] != seen.hash:
            raise Untold(
                f"{node} stated block {other['block']} at height {seen.height} before and states "
                f"{seen.hash} now: its chain was taken back, or it is another node. Nothing was "
                "written. Take the old statement out by hand if you know why."
            )
        statements[index] = statement
        return
    statements.append(statement)
