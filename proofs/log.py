"""Merkle trees of logs by RFC 6962 and RFC 9162: hashing, appending, inclusion, consistency.

A node is named ``(level, index)`` and covers the leaves from ``index · 2^level`` up to
``(index + 1) · 2^level``. Only nodes whose leaves all exist are ever stored, so a stored node never
changes; what the right edge of the tree needs is hashed when a proof is built.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from proofs.errors import Refused

__all__ = [
    "EMPTY_ROOT",
    "MAX_PATH",
    "Frontier",
    "Read",
    "append",
    "build_consistency",
    "build_inclusion",
    "covering",
    "frontier_at",
    "inclusion_sides",
    "joined",
    "leaf_hash",
    "node_hash",
    "root_of",
    "split",
    "verify_consistency",
    "verify_inclusion",
]

#: The root of a tree without leaves (RFC 9162, 2.1.1).
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
#: Sizes are below 2^53, so a path is shorter than this; RFC 9162 sizes fit 64 bits.
MAX_PATH: Final = 64

#: Gives the hashes of nodes by name, all at once and in the order asked.
Read = Callable[[Sequence[tuple[int, int]]], Sequence[bytes]]


def leaf_hash(record: bytes) -> bytes:
    """Return the hash of a record's stored bytes as a leaf."""
    return hashlib.sha256(b"\x00" + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two neighbours."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes."""
    _, frontier = append(Frontier.empty(), leaves)
    return frontier.root()


@dataclass(frozen=True, slots=True)
class Frontier:
    """All that appending needs: the size and the roots of the full subtrees, largest first."""

    size: int
    peaks: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if self.size.bit_count() != len(self.peaks):
            raise ValueError(f"{len(self.peaks)} peaks for a log of {self.size} leaves")

    @classmethod
    def empty(cls) -> "Frontier":
        """Return the frontier of a log without records."""
        return cls(0, ())

    def root(self) -> bytes:
        """Return the root of the tree at this size."""
        return joined(self.peaks) if self.peaks else EMPTY_ROOT


def frontier_at(size: int, read: Read) -> Frontier:
    """Return the frontier at ``size``, from stored nodes."""
    return Frontier(size, tuple(read(covering(0, size))))


def append(
    frontier: Frontier, leaf_hashes: Iterable[bytes]
) -> tuple[list[tuple[int, int, bytes]], Frontier]:
    """Return the nodes ``(level, index, hash)`` that new leaves complete, and the new frontier."""
    sha256 = hashlib.sha256
    peaks = list(frontier.peaks)
    size = frontier.size
    nodes = []
    for leaf in leaf_hashes:
        node, level, index = leaf, 0, size
        nodes.append((0, index, node))
        while index & 1:
            node = sha256(b"\x01" + peaks.pop() + node).digest()
            level += 1
            index >>= 1
            nodes.append((level, index, node))
        peaks.append(node)
        size += 1
    return nodes, Frontier(size, tuple(peaks))


def build_inclusion(index: int, size: int, read: Read) -> list[bytes]:
    """Return the path from leaf ``index`` to the root at ``size`` (RFC 9162, 2.1.3.1).

    Raises:
        Refused: ``log-index``: there is no such leaf.
    """
    if not 0 <= index < size:
        raise Refused("log-index", f"leaf {index} of {size}")
    siblings = []
    start, end = 0, size
    while end - start > 1:
        middle = start + split(end - start)
        if index < middle:
            siblings.append((middle, end))
            end = middle
        else:
            siblings.append((start, middle))
            start = middle
    return _hashes_of(siblings[::-1], read)


def build_consistency(old: int, new: int, read: Read) -> list[bytes]:
    """Return the proof that the tree at ``old`` is a prefix of that at ``new`` (RFC 9162, 2.1.4.1).

    Raises:
        Refused: ``log-size``: the older size is the larger one.
    """
    if not 0 <= old <= new:
        raise Refused("log-size", f"from {old} to {new} leaves")
    ranges = []
    start, end = 0, new
    whole = True
    while old not in {start, end}:
        middle = start + split(end - start)
        if old <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
            whole = False
    # The older root itself is known to whoever checks, so it is left out.
    if not whole:
        ranges.append((start, end))
    return _hashes_of(ranges[::-1], read)


def inclusion_sides(index: int, size: int) -> list[bool]:
    """Return for each element of the path of a leaf whether it stands on the left."""
    if not 0 <= index < size:
        raise Refused("log-index", f"leaf {index} of {size}")
    sides = []
    last = size - 1
    while last:
        if index & 1:
            sides.append(True)
        elif index < last:
            sides.append(False)
        # Otherwise the node is the last of its level without a sibling, and rises as it is.
        index >>= 1
        last >>= 1
    return sides


def verify_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> None:
    """Check that a leaf hash is at ``index`` of the tree of ``size`` leaves with this root.

    Raises:
        Refused: ``log-index``, ``log-path`` (its length), ``log-root``.
    """
    _check_hashes([leaf, root, *path[: MAX_PATH + 1]])
    sides = inclusion_sides(index, size)
    if len(path) != len(sides):
        raise Refused("log-path", f"{len(path)} hashes, this position needs {len(sides)}")
    node = leaf
    for left, sibling in zip(sides, path, strict=True):
        node = node_hash(sibling, node) if left else node_hash(node, sibling)
    if node != root:
        raise Refused("log-root", "the path does not lead to the root")


def verify_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the log with the new root holds the one with the old root, unchanged, first.

    Raises:
        Refused: ``log-size``, ``log-path``, ``log-consistency``; ``log-fork``: two roots of one
            size, which no proof can ever reconcile.
    """
    _check_hashes([old_root, new_root, *proof[: MAX_PATH + 1]])
    if not 0 <= old <= new:
        raise Refused("log-size", f"from {old} to {new} leaves")
    if old in {0, new}:
        _check_trivial(old, new, old_root, new_root, proof)
        return
    # RFC 9162, 2.1.4.2; fn and sn there are node and last here.
    node, last = old - 1, new - 1
    while node & 1:
        node >>= 1
        last >>= 1
    rest = list(proof)
    if not rest and node:
        raise Refused("log-path", "the proof is empty")
    older = newer = rest.pop(0) if node else old_root
    for sibling in rest:
        if not last:
            raise Refused("log-path", "the proof goes on above the root")
        if node & 1 or node == last:
            older, newer = node_hash(sibling, older), node_hash(sibling, newer)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            newer = node_hash(newer, sibling)
        node >>= 1
        last >>= 1
    if last:
        raise Refused("log-path", "the proof ends below the root")
    if (older, newer) != (old_root, new_root):
        raise Refused("log-consistency", "it does not show that the new log begins with the old")


def _check_trivial(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Equal sizes and an empty older log need no hashes: their roots are known."""
    if proof:
        raise Refused("log-path", "nothing is to be proven between these sizes")
    if old_root != (EMPTY_ROOT if old == 0 else new_root):
        raise Refused("log-fork", f"another root for the same {old} leaves")
    if new == 0 and new_root != EMPTY_ROOT:
        raise Refused("log-root", "a log without leaves has one root only")


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if len(hashes) > MAX_PATH + 2:
        raise Refused("log-path", f"more than {MAX_PATH} hashes")
    if any(len(item) != 32 for item in hashes):
        raise Refused("log-path", "a hash has 32 bytes")


def split(width: int) -> int:
    """Return the largest power of two below ``width``."""
    return 1 << (width - 1).bit_length() - 1


def covering(start: int, end: int) -> list[tuple[int, int]]:
    """Return the full subtrees that cover leaves from ``start`` to ``end``, largest first."""
    names = []
    while start < end:
        level = (end - start).bit_length() - 1
        names.append((level, start >> level))
        start += 1 << level
    return names


def joined(subtrees: Sequence[bytes]) -> bytes:
    """Return the root over neighbouring full subtrees, largest first."""
    node = subtrees[-1]
    for left in reversed(subtrees[:-1]):
        node = node_hash(left, node)
    return node


def _hashes_of(ranges: Sequence[tuple[int, int]], read: Read) -> list[bytes]:
    """Return the hash of each range of leaves, with one reading for all of them."""
    covers = [covering(start, end) for start, end in ranges]
    wanted = [name for cover in covers for name in cover]
    found = iter(read(wanted) if wanted else ())
    return [joined([next(found) for _ in cover]) for cover in covers]
