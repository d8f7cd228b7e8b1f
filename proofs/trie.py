"""Merkle-Patricia tries (Yellow Paper, appendix D): what a path of nodes proves of a key.

The verifier is strict. A proof is the list of nodes from the root to where the key ends or leaves
the trie; each is used once, in this order, and nothing is left over. A node stands in its parent
as its hash, or as itself if it has less than 32 bytes; a reference of any other form is refused.
Presence and absence are two functions, so that one can never be taken for the other by accident.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proofs import rlp
from proofs.errors import Refused
from proofs.keccak import keccak256

__all__ = [
    "CHILDREN",
    "EMPTY_ROOT",
    "MAX_KEY_BYTES",
    "MAX_NODES",
    "Fold",
    "Step",
    "descend",
    "fold",
    "list_key",
    "lookup",
    "nibbles",
    "verify_absence",
    "verify_inclusion",
]

#: Root of the trie that holds nothing: the hash of the empty string's item.
EMPTY_ROOT: Final = keccak256(rlp.EMPTY)
#: Keys are hashes or list indexes.
MAX_KEY_BYTES: Final = 32
#: A node for each half byte of the longest key, and one more for its end.
MAX_NODES: Final = 2 * MAX_KEY_BYTES + 1

#: Of a branch; a value of its own comes behind them.
CHILDREN: Final = 16


@dataclass(frozen=True, slots=True)
class Fold:
    """A proof of presence in the form that all schemes share.

    ``keccak256(pre + value + post)`` with the first pair, then the same with each hash and the
    next pair, gives the root. It says nothing of the position: only `verify_inclusion` does.
    """

    value: bytes
    path: tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Step:
    """Where a node leads: on to ``hash``, to ``value``, or (both None) out of the trie.

    ``start`` and ``end`` say where in the node that hash or value stands; ``at`` how many half
    bytes of the key are used up.
    """

    at: int
    hash: bytes | None = None
    value: bytes | None = None
    start: int = 0
    end: int = 0
    by_extension: bool = False


def list_key(index: int) -> bytes:
    """Return the key of the element ``index`` in the trie of a list (transactions, receipts)."""
    return rlp.encode_int(index)


def lookup(root: bytes, key: bytes, proof: Sequence[bytes]) -> bytes | None:
    """Return the value of ``key``, None where the proof shows that it has none.

    For storage, where absence means zero; everything else wants presence or absence.

    Raises:
        Refused: the proof shows neither.
    """
    return _walk(root, key, proof)[0]


def verify_inclusion(root: bytes, key: bytes, proof: Sequence[bytes]) -> bytes:
    """Return the value of ``key`` in the trie with this root.

    Raises:
        Refused: the proof does not show exactly that (``trie-absent`` if it shows absence).
    """
    value = lookup(root, key, proof)
    if value is None:
        raise Refused("trie-absent", "the proof shows that the key is not in the trie")
    return value


def verify_absence(root: bytes, key: bytes, proof: Sequence[bytes]) -> None:
    """Check that ``key`` is not in the trie with this root.

    Raises:
        Refused: the proof does not show exactly that (``trie-present`` if it shows a value).
    """
    if lookup(root, key, proof) is not None:
        raise Refused("trie-present", "the proof shows that the key is in the trie")


def fold(root: bytes, key: bytes, proof: Sequence[bytes]) -> Fold:
    """Return a verified proof of presence as a `Fold`.

    Raises:
        Refused: as `verify_inclusion`.
    """
    value = verify_inclusion(root, key, proof)
    _, steps = _walk(root, key, proof)
    pairs = zip(proof, steps, strict=True)
    path = [(node[: step.start], node[step.end :]) for node, step in pairs]
    return Fold(value, tuple(reversed(path)))


def _walk(root: bytes, key: bytes, proof: Sequence[bytes]) -> tuple[bytes | None, list[Step]]:
    if len(proof) > MAX_NODES or len(key) > MAX_KEY_BYTES:
        raise Refused(
            "trie-bounds", f"more than {MAX_NODES} nodes, or a longer key than any trie's"
        )
    if root == EMPTY_ROOT:
        # Nodes differ in how they write the proof of an empty trie; these are all there are.
        if list(proof) not in ([], [rlp.EMPTY]):
            raise Refused("trie-surplus", "nodes of a trie that is empty")
        return None, []
    path = nibbles(key)
    steps: list[Step] = []
    wanted: bytes | None = root
    at, after_extension = 0, False
    while wanted is not None:
        if len(steps) == len(proof):
            raise Refused("trie-incomplete", f"node {len(steps)} of the path is missing")
        node = proof[len(steps)]
        if keccak256(node) != wanted:
            raise Refused("trie-hash", f"node {len(steps)} is not the one its parent names")
        if steps and len(node) < 32:
            raise Refused("trie-node", f"node {len(steps)} is too short to be named by a hash")
        step = descend(node, path, at, after_extension=after_extension)
        steps.append(step)
        wanted, at, after_extension = step.hash, step.at, step.by_extension
    if len(steps) != len(proof):
        raise Refused("trie-surplus", f"{len(proof) - len(steps)} nodes that the path does not use")
    return steps[-1].value, steps


def descend(node: bytes, path: bytes, at: int, *, after_extension: bool) -> Step:
    """Follow ``path`` from its half byte ``at`` through a node and the nodes that lie inside it.

    Raises:
        Refused: ``trie-node`` or ``rlp-canonical``: no trie has this node.
    """
    offset, end = 0, len(node)
    while True:
        spans = rlp.elements(node[offset:end], CHILDREN + 1)
        if offset:
            spans = [(start + offset, stop + offset) for start, stop in spans]
        if len(spans) == CHILDREN + 1:
            _check_branch(node, spans)
            if at == len(path):
                return _valued(node, spans[-1], at)
            start, stop = spans[path[at]]
            at, after_extension = at + 1, False
        elif len(spans) == 2 and not after_extension:
            part, is_leaf = _part(rlp.string(node, *spans[0]))
            if is_leaf:
                _check(rlp.string(node, *spans[1]) != b"", "a leaf without a value")
                return _valued(node, spans[1], at) if path[at:] == part else Step(at)
            _check(part != b"", "an extension that extends nothing")
            start, stop = spans[1]
            _check(stop - start > 1, "an extension to nothing")
            _check_reference(node, start, stop)
            if path[at : at + len(part)] != part:
                return Step(at)
            at, after_extension = at + len(part), True
        else:
            raise Refused("trie-node", "neither branch, extension nor leaf where it stands")
        if node[start] == 0xA0:
            name = node[start + 1 : stop]
            return Step(at, name, None, start + 1, stop, by_extension=after_extension)
        if stop - start == 1:
            return Step(at)
        offset, end = start, stop


def _valued(node: bytes, span: tuple[int, int], at: int) -> Step:
    value = rlp.string(node, *span)
    return Step(at, None, value or None, span[1] - len(value), span[1])


def _check_branch(node: bytes, spans: Sequence[tuple[int, int]]) -> None:
    """Check each child's form; siblings are not followed, their hashes already bind them."""
    taken = 0
    for start, end in spans[:-1]:
        if end - start != 33 or node[start] != 0xA0:  # else it is named by 32 bytes, as most are
            if end - start == 1 and node[start] == 0x80:
                continue
            _check_reference(node, start, end)
        taken += 1
    taken += rlp.string(node, *spans[-1]) != b""
    _check(taken >= 2, "a branch that does not branch")


def _check_reference(node: bytes, start: int, end: int) -> None:
    """A child is named by 32 bytes, or stands there itself as a list of less than 32."""
    named = node[start] == 0xA0 and end - start == 33
    inside = node[start] >= 0xC0 and end - start < 32
    _check(named or inside, "a reference that is neither a hash nor a short node")


def _check(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as an assertion
    if not holds:
        raise Refused("trie-node", otherwise)


def _part(text: bytes) -> tuple[bytes, bool]:
    """Return the half bytes of a hex-prefix text, and whether it is a leaf's."""
    flag = text[0] >> 4 if text else 4
    _check(flag < 4 and (flag & 1 == 1 or text[0] & 15 == 0), "a path in no canonical form")
    return nibbles(text)[2 - (flag & 1) :], flag >= 2


def nibbles(text: bytes) -> bytes:
    """Return the half bytes of ``text``, one in each byte, high before low."""
    return bytes(half for byte in text for half in (byte >> 4, byte & 15))
