"""The audit log's part of a bundle: a checkpoint, and that every record is a leaf under it.

Instead of a path for each record there is one proof for all: the stored nodes that the records'
leaves lack to make the root. Neighbouring records share most of their paths, so it is small.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from proofs import log
from proofs.bundle_form import MAX_NODES, LogPart
from proofs.checkpoint import Checkpoint, parse_checkpoint, parse_note
from proofs.checkpoint_keys import KeyHistory
from proofs.errors import Refused
from proofs.trust import LogTrust

__all__ = [
    "LogFacts",
    "build_log",
    "nodes_needed",
    "root_from",
    "verify_checkpoint",
    "verify_consistency",
    "verify_inclusion",
]


@dataclass(frozen=True, slots=True)
class LogFacts:
    """A checkpoint whose signature has been verified.

    Attributes:
        address: 20 bytes of the key that signed it.
        rotations: how often the key had been handed on.
    """

    checkpoint: Checkpoint
    address: bytes
    rotations: int


def nodes_needed(positions: Sequence[int], size: int) -> list[tuple[int, int]]:
    """Return the stored nodes ``(level, index)`` that leaves at ``positions`` lack, sorted.

    Args:
        positions: leaf indexes, strictly increasing, below ``size``.

    Raises:
        Refused: ``log-positions``.
    """
    _check_positions(positions, size)
    names: list[tuple[int, int]] = []
    stack = [(0, size, 0, len(positions))]
    while stack:
        start, end, low, high = stack.pop()
        if low == high:
            names += log.covering(start, end)
        elif end - start > 1:
            middle = start + log.split(end - start)
            cut = _count_below(positions, middle, low, high)
            stack += [(start, middle, low, cut), (middle, end, cut, high)]
    return sorted(names)


def root_from(
    leaves: Sequence[bytes],
    positions: Sequence[int],
    size: int,
    nodes: Mapping[tuple[int, int], bytes],
) -> bytes:
    """Return the root that leaf hashes at ``positions`` make together with ``nodes``.

    Raises:
        Refused: ``log-positions``; ``log-nodes``: one is missing, or left over.
    """
    needed = nodes_needed(positions, size)
    if needed != sorted(nodes):
        missing, surplus = set(needed) - set(nodes), set(nodes) - set(needed)
        raise Refused("log-nodes", f"{len(missing)} nodes are missing, {len(surplus)} left over")
    hashes = dict(zip(positions, leaves, strict=True))
    values: list[bytes] = []
    # A range is first opened, then closed when both of its halves are on the stack of values.
    stack = [(0, size, 0, len(positions), False)]
    while stack:
        start, end, low, high, close = stack.pop()
        if close:
            right = values.pop()
            values.append(log.node_hash(values.pop(), right))
        elif low == high:
            values.append(log.joined([nodes[name] for name in log.covering(start, end)]))
        elif end - start == 1:
            values.append(hashes[start])
        else:
            middle = start + log.split(end - start)
            cut = _count_below(positions, middle, low, high)
            stack.append((start, end, low, high, True))
            stack.append((middle, end, cut, high, False))
            stack.append((start, middle, low, cut, False))
    return values[0]


def build_log(
    note: bytes,
    positions: Sequence[int],
    read: log.Read,
    *,
    rotations: Sequence[bytes] = (),
    older: int | None = None,
) -> dict[str, Any]:
    """Return the member ``log`` of a bundle.

    Args:
        note: a signed checkpoint that covers all positions.
        positions: leaf index of each record (its position in the journal, less one).
        read: gives stored nodes by name; asked once for the nodes, once for a consistency proof.
        rotations: notes by which the key was handed on before this checkpoint, in order.
        older: size of another checkpoint that somebody holds, to be consistent with.

    Raises:
        Refused: the note is none, or the positions are not below its size.
    """
    checkpoint = parse_checkpoint(parse_note(note).text)
    names = nodes_needed(positions, checkpoint.size)
    if len(names) > MAX_NODES:
        raise Refused("log-nodes", f"{len(names)} nodes, the limit is {MAX_NODES}")
    hashes = read(names) if names else ()
    consistency = None
    if older is not None:
        sizes = sorted((older, checkpoint.size))
        path = log.build_consistency(sizes[0], sizes[1], read) if older else []
        consistency = {"size": older, "path": [_text(node) for node in path]}
    return {
        "checkpoint": note.decode(),
        "positions": list(positions),
        "nodes": [
            [level, index, _text(node)] for (level, index), node in zip(names, hashes, strict=True)
        ],
        "rotations": [rotation.decode() for rotation in rotations],
        "consistency": consistency,
    }


def verify_checkpoint(part: LogPart, trust: LogTrust) -> LogFacts:
    """Check that the checkpoint is signed by the key that was the trusted log's at its size.

    Raises:
        Refused: ``note-*``, ``checkpoint-*``, ``rotation-*``.
    """
    keys = KeyHistory.read(trust.origin, trust.address, part.rotations)
    checkpoint = keys.verify(part.checkpoint)
    used = [rotation for rotation in keys.rotations if rotation.at.size < checkpoint.size]
    if len(used) != len(keys.rotations):
        raise Refused("rotation-order", "a rotation after the checkpoint says nothing about it")
    return LogFacts(checkpoint, keys.address_at(checkpoint.size), len(used))


def verify_inclusion(part: LogPart, bodies: Sequence[bytes], checkpoint: Checkpoint) -> None:
    """Check that each record is the leaf at its position.

    Raises:
        Refused: ``log-positions``, ``log-nodes``, ``log-root``.
    """
    if len(part.positions) != len(bodies):
        raise Refused("log-positions", f"{len(part.positions)} for {len(bodies)} records")
    nodes = {name: _hash(text) for name, text in part.nodes.items()}
    leaves = [log.leaf_hash(body) for body in bodies]
    root = root_from(leaves, part.positions, checkpoint.size, nodes)
    if root != checkpoint.root:
        raise Refused("log-root", "the records and nodes do not make the checkpoint's root")


def verify_consistency(part: LogPart, checkpoint: Checkpoint, size: int, root: bytes) -> bool:
    """Check that the checkpoint and the one that the verifier holds are of one log.

    Returns:
        False where the bundle brings no proof between these sizes.

    Raises:
        Refused: ``log-fork``, ``log-consistency``, ``log-path``.
    """
    if size == checkpoint.size:
        if root != checkpoint.root:
            raise Refused("log-fork", f"two roots of one log at {size} records: it was forked")
        return True
    if part.consistency is None or part.consistency[0] != size:
        return False
    path = [_hash(node) for node in part.consistency[1]]
    heads = sorted([(size, root), (checkpoint.size, checkpoint.root)])
    (old, old_root), (new, new_root) = heads
    log.verify_consistency(old, new, old_root, new_root, path)
    return True


def _check_positions(positions: Sequence[int], size: int) -> None:
    if not positions or positions[0] < 0 or positions[-1] >= size:
        raise Refused("log-positions", f"not positions of a log of {size} records")
    if any(after <= before for before, after in pairwise(positions)):
        raise Refused("log-positions", "the records do not stand in the log in their order")


def _count_below(positions: Sequence[int], bound: int, low: int, high: int) -> int:
    """Return the first place from ``low`` on whose position is not below ``bound``."""
    while low < high:
        at = (low + high) // 2
        if positions[at] < bound:
            low = at + 1
        else:
            high = at
    return low


def _text(node: bytes) -> str:
    return base64.b64encode(node).decode()


def _hash(text: str) -> bytes:
    try:
        node = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise Refused("log-nodes", "a hash is not base64") from None
    if len(node) != 32 or base64.b64encode(node).decode() != text:
        raise Refused("log-nodes", "a hash is not 32 bytes as base64 in its one form")
    return node
