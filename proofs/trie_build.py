"""Merkle-Patricia tries built whole from their keys and values, and the proofs they give."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from proofs import rlp
from proofs.keccak import keccak256
from proofs.trie import CHILDREN, EMPTY_ROOT, MAX_KEY_BYTES, descend, list_key, nibbles

__all__ = ["Trie", "build", "build_list"]


@dataclass(frozen=True, slots=True)
class Trie:
    """A built trie.

    Attributes:
        root: its root hash.
        nodes: its nodes by hash; those of less than 32 bytes lie in their parents.
    """

    root: bytes
    nodes: dict[bytes, bytes]

    def proof(self, key: bytes) -> tuple[bytes, ...]:
        """Return the nodes that prove what ``key`` holds, or that it holds nothing."""
        if self.root == EMPTY_ROOT:
            return ()
        path, used = nibbles(key), []
        wanted: bytes | None = self.root
        at = 0
        while wanted is not None:
            used.append(self.nodes[wanted])
            step = descend(used[-1], path, at, after_extension=False)
            wanted, at = step.hash, step.at
        return tuple(used)


def build_list(values: Sequence[bytes]) -> Trie:
    """Return the trie of a list, as headers commit to it."""
    return build((list_key(index), value) for index, value in enumerate(values))


def build(items: Iterable[tuple[bytes, bytes]]) -> Trie:
    """Return the trie of these keys and values.

    Raises:
        ValueError: a repeated key, a key of more than `MAX_KEY_BYTES`, or an empty value, which a
            trie cannot tell from nothing.
    """
    pairs = sorted((nibbles(key), value) for key, value in items)
    if any(first[0] == second[0] for first, second in pairwise(pairs)):
        raise ValueError("a key appears twice")
    if any(not value or len(path) > 2 * MAX_KEY_BYTES for path, value in pairs):
        raise ValueError("an empty value or a key that is too long")
    if not pairs:
        return Trie(EMPTY_ROOT, {})
    nodes: dict[bytes, bytes] = {}
    top = _node(pairs, 0, nodes)
    root = keccak256(top)
    nodes[root] = top
    return Trie(root, nodes)


def _hex_prefix(path: bytes, *, leaf: bool) -> bytes:
    flag = 2 * leaf + len(path) % 2
    padded = bytes((flag,)) + path if len(path) % 2 else bytes((flag, 0)) + path
    pairs = zip(padded[::2], padded[1::2], strict=True)
    return bytes(high << 4 | low for high, low in pairs)


def _node(pairs: Sequence[tuple[bytes, bytes]], at: int, nodes: dict[bytes, bytes]) -> bytes:
    """Return the node over sorted pairs that agree in ``at`` half bytes.

    Recursion ends with the key, and `build` bounds keys.
    """
    first, value = pairs[0]
    if len(pairs) == 1:
        part = _hex_prefix(first[at:], leaf=True)
        return rlp.encode_list((rlp.encode_bytes(part), rlp.encode_bytes(value)))
    last = pairs[-1][0]
    split = at
    while split < len(first) and first[split] == last[split]:
        split += 1
    if split > at:
        part = _hex_prefix(first[at:split], leaf=False)
        child = _reference(_node(pairs, split, nodes), nodes)
        return rlp.encode_list((rlp.encode_bytes(part), child))
    ends_here = len(first) == at
    children = [rlp.EMPTY] * CHILDREN
    start = int(ends_here)
    while start < len(pairs):
        half = pairs[start][0][at]
        end = start + 1
        while end < len(pairs) and pairs[end][0][at] == half:
            end += 1
        children[half] = _reference(_node(pairs[start:end], at + 1, nodes), nodes)
        start = end
    return rlp.encode_list((*children, rlp.encode_bytes(value if ends_here else b"")))


def _reference(node: bytes, nodes: dict[bytes, bytes]) -> bytes:
    if len(node) < 32:
        return node
    name = keccak256(node)
    nodes[name] = node
    return rlp.encode_bytes(name)
