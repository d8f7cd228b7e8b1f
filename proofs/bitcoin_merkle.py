"""Bitcoin's Merkle tree of a block: roots, branches, and the position that a branch shows.

An odd level repeats its last node. That makes different lists of transactions share a root
(CVE-2012-2459), so folding alone shows too much: `fold` refuses every branch whose repetitions are
not those of the one true list.
"""

from collections.abc import Sequence
from typing import Final

from proofs.bitcoin_tx import sha256d
from proofs.errors import Refused

__all__ = ["MAX_DEPTH", "branch_of", "fold", "root_of"]

#: A block holds at most 4,000,000 / 240 transactions, which is less than 2**15.
MAX_DEPTH: Final = 15


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Return the root over the hashes of a block's transactions, in their order."""
    if not hashes:
        raise Refused("merkle-count", "a block has at least one transaction")
    level = list(hashes)
    while len(level) > 1:
        level = _above(level)
    return level[0]


def branch_of(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return the siblings from the leaf at ``index`` up to the root."""
    if not 0 <= index < len(hashes):
        raise Refused("merkle-index", f"index {index} of {len(hashes)} transactions")
    branch = []
    level = list(hashes)
    while len(level) > 1:
        sibling = index ^ 1
        branch.append(level[sibling] if sibling < len(level) else level[index])
        level = _above(level)
        index >>= 1
    return branch


def fold(leaf: bytes, index: int, branch: Sequence[bytes]) -> bytes:
    """Return the root that a branch leads to, if it can be the branch of that position.

    A sibling equal to the node itself stands for "there is nothing to my right". It is right only
    for the last node of a level that is not the first, and then nothing may follow on the right
    higher up either. A copy in the place of a left sibling only occurs in a mutated list.

    Raises:
        Refused: ``merkle-depth``, ``merkle-index``, ``merkle-duplicate``.
    """
    if len(branch) > MAX_DEPTH:
        raise Refused("merkle-depth", f"{len(branch)} levels, a block has at most {MAX_DEPTH}")
    if not 0 <= index < 1 << len(branch):
        raise Refused("merkle-index", f"index {index} is not below 2^{len(branch)}")
    node = leaf
    last_of_level = False
    for sibling in branch:
        if index & 1:
            if sibling == node:
                raise Refused("merkle-duplicate", "a node is the copy of its left sibling")
            node = sha256d(sibling + node)
        else:
            if sibling == node and index == 0:
                raise Refused("merkle-duplicate", "the first node of a level has a true sibling")
            if sibling != node and last_of_level:
                raise Refused("merkle-duplicate", "something follows a node that was the last")
            last_of_level = last_of_level or sibling == node
            node = sha256d(node + sibling)
        index >>= 1
    return node


def _above(level: list[bytes]) -> list[bytes]:
    if len(level) % 2:
        level = [*level, level[-1]]
    return [sha256d(left + right) for left, right in zip(level[::2], level[1::2], strict=True)]
