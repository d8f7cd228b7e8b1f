"""Text forms: what a node's JSON writes as ``0x…``, and what our proofs write as plain hex.

A node's answer that cannot be read is no proof and no attack: `ProofUnavailable`. A proof that
cannot be read is refused: `Refused` with the check ``evm-form``.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from proofs import fields, rlp, trie
from proofs.errors import ProofUnavailable, Refused

__all__ = [
    "CHECK",
    "chain_id_of",
    "hex_bytes",
    "members",
    "node_data",
    "node_quantity",
    "nodes",
    "reading",
]

#: Name of the check that refuses a proof whose JSON is not of the form that its kind has.
CHECK: Final = "evm-form"

_QUANTITY: Final = re.compile(r"0x[0-9a-fA-F]{1,64}")
_DATA: Final = re.compile(r"0x[0-9a-fA-F]*")
_CAIP2: Final = re.compile(r"eip155:([1-9][0-9]{0,17})")


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn the errors of reading a node's answer into one that says what could not be read.

    Raises:
        ProofUnavailable: ``malformed_answer``.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        detail = f"{what} that cannot be read ({type(error).__name__}: {error})"
        raise ProofUnavailable("malformed_answer", detail) from None


def node_quantity(value: Any) -> int:
    """Return an integer that a node wrote.

    Raises:
        ValueError: it is none of at most 256 bits.
    """
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise ValueError("a quantity belongs here")
    return int(value, 16)


def node_data(value: Any, *sizes: int) -> bytes:
    """Return bytes that a node wrote; with ``sizes``, of one of these lengths.

    Raises:
        ValueError: it is not that.
    """
    if not isinstance(value, str) or not _DATA.fullmatch(value):
        raise ValueError("data belongs here")
    # An odd number of digits is an error of fromhex.
    data = bytes.fromhex(value[2:])
    if sizes and len(data) not in sizes:
        raise ValueError(f"data of {len(data)} bytes where {sizes} belong")
    return data


def members(proof: Any, kind: str, *names: str) -> list[Any]:
    """Return the members ``names`` of a proof of ``kind``, which has these and no other.

    Raises:
        Refused: it has others, or another kind.
    """
    record = fields.record(CHECK, proof, frozenset({"kind", *names}))
    fields.choice(CHECK, record["kind"], frozenset({kind}))
    return [record[name] for name in names]


def hex_bytes(value: Any, *, size: int | None = None, most: int = rlp.MAX_BYTES) -> bytes:
    """Return the bytes of a lower-case hex text, exactly ``size`` or at most ``most`` of them.

    Raises:
        Refused: it is not that.
    """
    return fields.data(CHECK, value, most=most, length=size)


def nodes(value: Any) -> tuple[bytes, ...]:
    """Return the nodes of a trie proof.

    Raises:
        Refused: no list, or more or longer texts than any proof needs.
    """
    texts = fields.items(CHECK, value, most=trie.MAX_NODES)
    if sum(len(text) for text in texts if isinstance(text, str)) > 4 * rlp.MAX_BYTES:
        raise Refused(CHECK, "the nodes of a path are larger than any path's")
    return tuple(hex_bytes(text) for text in texts)


def chain_id_of(chain: Any) -> int:
    """Return the EIP-155 chain id in a CAIP-2 name such as ``eip155:137``.

    Raises:
        Refused: it is no such name.
    """
    match = _CAIP2.fullmatch(chain) if isinstance(chain, str) else None
    if match is None:
        raise Refused(CHECK, "a chain is named like eip155:137")
    return int(match[1])
