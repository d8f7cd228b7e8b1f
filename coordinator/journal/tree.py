"""The audit log's Merkle tree (RFC 6962) over the records' stored bytes, kept beside them.

Leaf ``index`` is the record at position ``index + 1``. The tree is derived: it grows lazily, in
batches apart from appends (`extend`), and a reader hashes in memory whatever is not stored yet, so
proofs are to be had from any copy of the journal, also one that can not be written. What comes out
is only as true as a signed checkpoint that it leads to: `differences` reads every record again.

For many proofs take one ``read = nodes(reader)`` and hand it to ``proofs.log.build_*``: it keeps
what it had to hash.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import apsw

from coordinator.errors import JournalError
from coordinator.journal.database import reading
from coordinator.journal.reading import JournalReader
from coordinator.journal.statements import QUERIES
from proofs.log import (
    Frontier,
    append,
    build_consistency,
    build_inclusion,
    frontier_at,
    leaf_hash,
)

__all__ = [
    "BATCH",
    "Head",
    "Nodes",
    "consistency",
    "delete",
    "differences",
    "extend",
    "inclusion",
    "nodes",
    "root",
    "root_from_records",
    "write",
]


@dataclass(frozen=True, slots=True)
class Head:
    """A claim about the log, which ``what`` names in findings."""

    size: int
    root: bytes
    what: str


#: Records in one step of whatever walks over many: some milliseconds, and little memory.
BATCH: Final = 1024
_HASH_BYTES: Final = 32
_NODE_HASH: Final = QUERIES["node_hash"]
_BODY_AT: Final = QUERIES["body_at"]


def inclusion(reader: JournalReader, index: int, size: int) -> list[bytes]:
    """Return the path of leaf ``index`` (position − 1) in the tree of ``size`` records.

    Raises:
        Refused: ``log-index``: there is no such leaf.
        JournalError: as `Nodes`.
    """
    return build_inclusion(index, size, nodes(reader))


def consistency(reader: JournalReader, old: int, new: int) -> list[bytes]:
    """Return the proof that the log of ``old`` records is how the one of ``new`` begins.

    Raises:
        Refused: ``log-size``: ``old`` is the larger one.
        JournalError: as `Nodes`.
    """
    return build_consistency(old, new, nodes(reader))


def root(reader: JournalReader, size: int) -> bytes:
    """Return the root over the first ``size`` records.

    Raises:
        JournalError: as `Nodes`.
    """
    return frontier_at(size, nodes(reader)).root()


def nodes(reader: JournalReader) -> "Nodes":
    """Return what reads nodes by name, as `proofs.log.Read` does; nothing is written."""
    return Nodes(reader)


class Nodes:
    """Reads nodes ``(level, index)`` of the tree: stored ones, leaves from their records, and ones
    that are not stored yet from memory (32 bytes a record, made when first asked for).

    Raises:
        JournalError: a record or a stored node is missing; what is asked lies beyond the log.
    """

    def __init__(self, reader: JournalReader) -> None:
        self._path = reader.path
        self._connection = reader.connection
        self._run = reader.connection.cursor().execute
        with reading(self._path):
            self._stored = _stored(reader.connection)
        self._frontier: Frontier | None = None
        #: Hashes of each level from 1 up, one after the other, behind those that are stored.
        self._levels: list[bytearray] = []

    def __call__(self, names: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the hashes of ``names`` in their order."""
        with reading(self._path):
            most = max(((index + 1) << level for level, index in names if level), default=0)
            if most > self._stored:
                self._hash_up_to(most)
            return [self._hash(level, index) for level, index in names]

    def _hash(self, level: int, index: int) -> bytes:
        if level == 0:
            body = self._run(_BODY_AT, (index + 1,)).get
            if body is None:
                raise _lacking(self._path, f"record {index + 1}")
            return leaf_hash(body)
        behind = index - (self._stored >> level)
        if behind >= 0:
            kept = self._levels[level - 1]
            return bytes(kept[behind * _HASH_BYTES : (behind + 1) * _HASH_BYTES])
        found = self._run(_NODE_HASH, (level, index)).get
        if found is None:
            raise _lacking(self._path, f"node {index} of level {level}")
        return bytes(found)

    def _hash_up_to(self, size: int) -> None:
        frontier = self._frontier
        if frontier is None:
            frontier = frontier_at(self._stored, self._stored_nodes)
        if size <= frontier.size:
            return
        rows = self._connection.execute(QUERIES["bodies_from"], (frontier.size + 1,))
        wanted = islice(_leaves(rows), size - frontier.size)
        while batch := list(islice(wanted, BATCH)):
            made, frontier = append(frontier, batch)
            for level, _index, digest in made:
                if level > len(self._levels):
                    self._levels.append(bytearray())
                if level:
                    self._levels[level - 1] += digest
        rows.close()  # its snapshot would keep the database's log from being checkpointed
        self._frontier = frontier
        if frontier.size < size:
            raise _lacking(self._path, f"record {frontier.size + 1}")

    def _stored_nodes(self, names: Sequence[tuple[int, int]]) -> list[bytes]:
        return [self._hash(level, index) for level, index in names]


# ---------------------------------------------------------------- growing


def extend(connection: apsw.Connection, path: Path, most: int = BATCH) -> int:
    """Store the nodes of up to ``most`` more records; return how many records are still to come.

    Records are read and hashed before the lock for writing is taken, and nobody waits for the disk
    while it is held: a power cut may take the nodes back, and they are derived again. Of two
    processes that do this at once one does it in vain.

    Raises:
        JournalError: a record or node is missing, or a node is there that should not be.
        apsw.BusyError: another process writes just now.
    """
    before = _stored(connection)
    made, size = _next_nodes(connection, path, before, most)
    if made:
        connection.pragma("synchronous", "normal")
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                if _stored(connection) == before:
                    _insert(connection, path, made)
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
        finally:
            connection.pragma("synchronous", "full")
    return int(connection.execute(QUERIES["last_position"]).get) - size


def write(connection: apsw.Connection, path: Path) -> int:
    """Store the nodes of all records inside the caller's transaction; return the log's size.

    Raises:
        JournalError: a record or node is missing, or a node is there that should not be.
    """
    while True:
        made, _size = _next_nodes(connection, path, _stored(connection), BATCH)
        if not made:
            return int(connection.execute(QUERIES["last_position"]).get)
        _insert(connection, path, made)


def delete(connection: apsw.Connection) -> None:
    """Forget the tree, inside the caller's transaction; `write` makes it anew."""
    connection.execute(QUERIES["nodes_delete"])


def _next_nodes(
    connection: apsw.Connection, path: Path, stored: int, most: int
) -> tuple[list[tuple[int, int, bytes]], int]:
    """Return nodes to store and the size they lead to: pairs of records, a last odd one waits."""

    def read(names: Sequence[tuple[int, int]]) -> list[bytes]:
        found = [connection.execute(_NODE_HASH, name).get for name in names]
        for name, digest in zip(names, found, strict=True):
            if digest is None:
                raise _lacking(path, f"node {name[1]} of level {name[0]}")
        return found

    rows = connection.execute(QUERIES["bodies_from"], (stored + 1,))
    leaves = list(islice(_leaves(rows), most & ~1))
    rows.close()  # its snapshot would stand in the way of the write that follows
    leaves = leaves[: len(leaves) & ~1]
    if not leaves:
        return [], stored
    made, frontier = append(frontier_at(stored, read), leaves)
    return [node for node in made if node[0]], frontier.size


def _insert(
    connection: apsw.Connection, path: Path, made: Sequence[tuple[int, int, bytes]]
) -> None:
    try:
        connection.executemany(QUERIES["node_insert"], made)
    except apsw.ConstraintError as error:
        raise JournalError(
            f"the log's tree in {path} holds nodes of records that were not in it ({error}). Run "
            "'coordinator journal check', then 'coordinator journal rebuild'."
        ) from error


def _stored(connection: apsw.Connection) -> int:
    """Return how many records the stored tree covers; always an even number."""
    return 2 * int(connection.execute(QUERIES["tree_pairs"]).get)


def _leaves(rows: apsw.Cursor) -> Iterator[bytes]:
    return (leaf_hash(body) for (body,) in rows)


def _lacking(path: Path, what: str) -> JournalError:
    return JournalError(
        f"the audit log in {path} lacks {what}. Run 'coordinator journal check'; if it says that "
        "the tree alone is damaged: coordinator journal rebuild"
    )


# ---------------------------------------------------------------- checking


def root_from_records(reader: JournalReader, size: int, newest: int) -> bytes:
    """Return the root over ``size`` records, of which the ``newest`` are read and hashed again.

    What lies before them is taken from the tree, so the time this takes has a bound.

    Raises:
        JournalError: as `Nodes`.
    """
    first = max(0, size - newest) // BATCH * BATCH
    read = nodes(reader)
    frontier = frontier_at(first, read)
    with reading(reader.path):
        leaves = _leaves(reader.connection.execute(QUERIES["bodies_from"], (first + 1,)))
        wanted = islice(leaves, size - first)
        while batch := list(islice(wanted, BATCH)):
            _, frontier = append(frontier, batch)
    if frontier.size != size:
        raise _lacking(reader.path, f"record {frontier.size + 1}")
    return frontier.root()


def differences(reader: JournalReader, heads: Iterator[Head]) -> Iterator[str]:
    """Yield what is wrong with the stored tree and with heads, from every record read again.

    Args:
        reader: inside a transaction, so that nothing moves meanwhile.
        heads: by size, the smallest first.

    The walk holds one batch in memory, however long the log is.
    """
    connection = reader.connection
    stored = _stored(connection)
    leaves = _leaves(connection.execute(QUERIES["bodies_from"], (1,)))
    frontier = Frontier.empty()
    head = next(heads, None)
    limit = 0
    while frontier.size == limit:
        limit += BATCH
        made: list[tuple[int, int, bytes]] = []
        while head is not None and head.size <= limit:
            frontier = _advance(leaves, frontier, head.size, made)
            if problem := _head_problem(head, frontier):
                yield problem
            head = next(heads, None)
        frontier = _advance(leaves, frontier, limit, made)
        yield from _wrong_nodes(connection, made, stored)
    while head is not None:
        yield _head_problem(head, frontier) or ""
        head = next(heads, None)
    yield from _surplus_nodes(connection, min(stored, frontier.size & ~1))


def _advance(
    leaves: Iterator[bytes], frontier: Frontier, size: int, made: list[tuple[int, int, bytes]]
) -> Frontier:
    """Take leaves up to ``size``, as far as there are; the nodes go to the end of ``made``."""
    more, frontier = append(frontier, islice(leaves, max(0, size - frontier.size)))
    made += more
    return frontier


def _head_problem(head: Head, frontier: Frontier) -> str | None:
    if frontier.size < head.size:
        return (
            f"{head.what} covers {head.size} records, the log ends at {frontier.size}: records "
            "were taken away (a backup restored?)"
        )
    if frontier.root() != head.root:
        return (
            f"{head.what} of {head.size} records has root {head.root.hex()}, the records have "
            f"{frontier.root().hex()}: what was signed was exchanged"
        )
    return None


def _wrong_nodes(
    connection: apsw.Connection, made: Sequence[tuple[int, int, bytes]], stored: int
) -> Iterator[str]:
    """Compare a batch of nodes with those that are stored, level by level."""
    levels: dict[int, dict[int, bytes]] = {}
    for level, index, digest in made:
        if level and index < stored >> level:
            levels.setdefault(level, {})[index] = digest
    for level, wanted in levels.items():
        rows = connection.execute(
            QUERIES["nodes_between"], (level, min(wanted), max(wanted) + 1)
        ).fetchall()
        kept = {index: digest for index, digest in rows}  # noqa: C416 - mypy types it only so
        for index, digest in wanted.items():
            if kept.get(index) != digest:
                state = "differs from" if index in kept else "is missing, as demanded by"
                yield f"node {index} of level {level} of the log's tree {state} its records"


def _surplus_nodes(connection: apsw.Connection, size: int) -> Iterator[str]:
    """Yield the stored nodes that a tree over ``size`` records does not have."""
    highest = max(0, size.bit_length() - 1)
    for level, index in connection.execute(QUERIES["nodes_outside"], (highest,)):
        yield f"node {index} of level {level} of the log's tree is explained by no record"
    for level in range(1, highest + 1):
        for (index,) in connection.execute(QUERIES["nodes_from"], (level, size >> level)):
            yield f"node {index} of level {level} of the log's tree is explained by no record"
