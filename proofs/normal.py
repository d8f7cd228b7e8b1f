"""One form for Merkle proofs of every scheme: a fold that all share, and each scheme's position.

The fold is ``h = H(pre + value + post)`` with the leaf's pair, then ``h = H(pre + h + post)`` with
each pair of the path; the last ``h`` is the root. It shows that the value is under the root and
nothing about where: whoever writes the pairs may claim any index or key. So `verify` also makes
the scheme's position check, and the scheme and root come from the caller, never from the proof.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proofs import fields, log, trie
from proofs.bitcoin_merkle import MAX_DEPTH
from proofs.bitcoin_merkle import fold as bitcoin_fold
from proofs.bitcoin_tx import parse_tx, sha256d
from proofs.errors import Refused
from proofs.keccak import keccak256

__all__ = [
    "BITCOIN",
    "LOG",
    "TRIE",
    "Proven",
    "folded",
    "from_log",
    "from_spv",
    "from_trie",
    "verify",
]

TRIE: Final = "mpt/keccak256"
BITCOIN: Final = "btc/sha256d"
LOG: Final = "rfc6962/sha256"

_COMMON: Final = frozenset({"scheme", "hash", "value", "leaf", "path", "root"})
_KEYS: Final[Mapping[str, frozenset[str]]] = {
    TRIE: _COMMON | {"key"},
    BITCOIN: _COMMON | {"index", "size"},
    LOG: _COMMON | {"index", "size"},
}
_MAX_VALUE_BYTES: Final = 1 << 20
#: A trie's branch has at most 532 bytes.
_MAX_PAIR_BYTES: Final = 600
_MAX_STEPS: Final = trie.MAX_NODES


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof in the normal form shows: the value and its one position under the root.

    Attributes:
        key: of a trie; None otherwise.
        index, size: of a list; None otherwise. Bitcoin's size counts places, a power of two.
    """

    scheme: str
    value: bytes
    root: bytes
    key: bytes | None = None
    index: int | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class _Form:
    hash: str
    value: bytes
    leaf: tuple[bytes, bytes]
    path: tuple[tuple[bytes, bytes], ...]
    root: bytes
    rest: Mapping[str, Any]


def from_trie(root: bytes, key: bytes, nodes: Sequence[bytes]) -> dict[str, Any]:
    """Return a verified trie proof in the normal form. Raises Refused (``trie-*``)."""
    fold = trie.fold(root, key, nodes)
    form = _as_json(TRIE, "keccak256", fold.value, fold.path[0], fold.path[1:], root)
    return form | {"key": key.hex()}


def from_spv(proof: Mapping[str, Any], root: bytes) -> dict[str, Any]:
    """Return the tree part of a verified ``btc.spv/v1`` proof; ``root`` as the header has it."""
    index = int(proof["index"])
    path = []
    for level, sibling in enumerate(map(bytes.fromhex, proof["branch"])):
        path.append((sibling, b"") if index >> level & 1 else (b"", sibling))
    value = parse_tx(bytes.fromhex(proof["tx"])).stripped
    form = _as_json(BITCOIN, "sha256d", value, (b"", b""), path, root)
    return form | {"index": index, "size": 1 << len(path)}


def from_log(
    record: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> dict[str, Any]:
    """Return a log's inclusion proof in the normal form. Raises Refused (``log-*``)."""
    log.verify_inclusion(log.leaf_hash(record), index, size, path, root)
    sides = log.inclusion_sides(index, size)
    pairs = [
        (b"\x01" + sibling, b"") if left else (b"\x01", sibling)
        for left, sibling in zip(sides, path, strict=True)
    ]
    form = _as_json(LOG, "sha256", record, (b"\x00", b""), pairs, root)
    return form | {"index": index, "size": size}


def folded(form: Any, scheme: str) -> bytes:
    """Return the root that the bare fold gives. It is no proof of a position: use `verify`."""
    return _fold(_read(form, scheme))


def verify(form: Any, *, scheme: str, root: bytes, size: int | None = None) -> Proven:
    """Check a proof in the normal form under a scheme and root that the caller trusts.

    Args:
        size: of the list; the caller's too, because one path may fit trees of several sizes. A
            log's stands in its checkpoint; a block's is 2^depth, known from its coinbase. None for
            a trie.

    Raises:
        Refused: ``normal-form``, ``normal-scheme``, ``normal-root`` and ``normal-size`` (not the
            caller's),
            ``normal-fold``, ``normal-position``, and the position checks ``trie-*``,
            ``merkle-*``, ``tx-*`` and ``log-*``.
    """
    read = _read(form, scheme)
    if read.root != root:
        raise Refused("normal-root", "a proof under another root than the trusted one")
    if read.rest.get("size") != size:
        raise Refused("normal-size", "a proof for another size than the trusted one")
    if _fold(read) != root:
        raise Refused("normal-fold", "the fold does not lead to the root")
    return _POSITIONS[scheme](read)


def _read(form: Any, scheme: str) -> _Form:
    check = "normal-form"
    if scheme not in _KEYS:
        raise Refused("normal-scheme", "an unknown scheme is asked for")
    if not isinstance(form, dict) or form.get("scheme") != scheme:
        raise Refused("normal-scheme", f"not a proof of scheme {scheme}")
    table = fields.record(check, form, _KEYS[scheme])
    if table["hash"] != scheme.split("/")[1]:
        raise Refused(check, f"scheme {scheme} has another hash")
    steps = fields.items(check, table["path"], most=_MAX_STEPS)
    return _Form(
        hash=table["hash"],
        value=fields.data(check, table["value"], most=_MAX_VALUE_BYTES),
        leaf=_pair(table["leaf"]),
        path=tuple(_pair(step) for step in steps),
        root=fields.data(check, table["root"], most=32, length=32),
        rest=table,
    )


def _pair(value: Any) -> tuple[bytes, bytes]:
    parts = fields.items("normal-form", value, most=2)
    if len(parts) != 2:
        raise Refused("normal-form", "a step has a part before and a part after")
    pre, post = (fields.data("normal-form", part, most=_MAX_PAIR_BYTES) for part in parts)
    return pre, post


def _fold(form: _Form) -> bytes:
    digest = _HASHES[form.hash]
    node = digest(form.leaf[0] + form.value + form.leaf[1])
    for pre, post in form.path:
        node = digest(pre + node + post)
    return node


def _trie_position(form: _Form) -> Proven:
    """Put the nodes together again and let the strict verifier walk them by the key."""
    key = fields.data("normal-form", form.rest["key"], most=trie.MAX_KEY_BYTES)
    nodes = [form.leaf[0] + form.value + form.leaf[1]]
    for pre, post in form.path:
        nodes.append(pre + keccak256(nodes[-1]) + post)
    value = trie.verify_inclusion(form.root, key, nodes[::-1])
    if value != form.value:
        raise Refused("normal-position", "the trie holds another value at that key")
    return Proven(TRIE, value, form.root, key=key)


def _bitcoin_position(form: _Form) -> Proven:
    index, size = _place(form)
    if form.leaf != (b"", b"") or size != 1 << len(form.path) or len(form.path) > MAX_DEPTH:
        raise Refused("normal-position", "not the shape of a block's tree of that size")
    branch = [_sibling(step, index >> level & 1) for level, step in enumerate(form.path)]
    tx = parse_tx(form.value)
    if tx.has_witness or len(form.value) == 64:
        raise Refused("tx-64-bytes", "a leaf is a classic transaction and has not 64 bytes")
    # The root it gives is the fold's, because every sibling stands on its side; it refuses copies.
    bitcoin_fold(tx.txid, index, branch)
    return Proven(BITCOIN, form.value, form.root, index=index, size=size)


def _log_position(form: _Form) -> Proven:
    index, size = _place(form)
    sides = log.inclusion_sides(index, size)
    if form.leaf != (b"\x00", b"") or len(sides) != len(form.path):
        raise Refused("normal-position", "not the shape of a log's tree of that size")
    path = []
    for left, (pre, post) in zip(sides, form.path, strict=True):
        if pre[:1] != b"\x01":
            raise Refused("normal-position", "an inner node without its prefix")
        path.append(_sibling((pre[1:], post), left))
    log.verify_inclusion(log.leaf_hash(form.value), index, size, path, form.root)
    return Proven(LOG, form.value, form.root, index=index, size=size)


def _sibling(step: tuple[bytes, bytes], left: int) -> bytes:
    """Return the one hash of a binary step, which must stand on the side the position says."""
    pre, post = step
    sibling, other = (pre, post) if left else (post, pre)
    if len(sibling) != 32 or other:
        raise Refused("normal-position", "a sibling stands on the other side of that position")
    return sibling


def _place(form: _Form) -> tuple[int, int]:
    index = fields.integer("normal-form", form.rest["index"])
    size = fields.integer("normal-form", form.rest["size"])
    if index >= size:
        raise Refused("normal-position", f"index {index} of {size}")
    return index, size


def _as_json(
    scheme: str,
    name: str,
    value: bytes,
    leaf: tuple[bytes, bytes],
    path: Sequence[tuple[bytes, bytes]],
    root: bytes,
) -> dict[str, Any]:
    return {
        "scheme": scheme,
        "hash": name,
        "value": value.hex(),
        "leaf": [part.hex() for part in leaf],
        "path": [[pre.hex(), post.hex()] for pre, post in path],
        "root": root.hex(),
    }


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


_HASHES: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "keccak256": keccak256,
    "sha256d": sha256d,
    "sha256": _sha256,
}
_POSITIONS: Final[Mapping[str, Callable[[_Form], Proven]]] = {
    TRIE: _trie_position,
    BITCOIN: _bitcoin_position,
    LOG: _log_position,
}
