"""What one node says of blocks: testimony that an auditor may put into a trust file.

Each kind of chain has a module ``statement`` with the same functions:

* ``chain_of(table)`` → the CAIP-2 name of a ``[chain.NAME]`` and its nodes, as configured;
* ``node_at(url, confirmations)`` → a node that somebody named, with no configuration at all;
* ``look(node, chain, blocks)`` → what that node says of these blocks;
* ``trust_entry(node)`` → the chain's entry of a trust file (proofs/README.md), still empty.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from adapters.tables import Table

__all__ = ["BlockAsked", "BlockSeen", "NodeAsked", "Statements", "Verdict"]

#: ``final``: in the node's chain and final; ``waiting``: in it, not final yet; ``other``: the node
#: has another block at that height, or holds this one beside its chain; ``absent``: it has none.
Verdict = Literal["final", "waiting", "other", "absent"]


@dataclass(frozen=True, slots=True)
class BlockAsked:
    """A block by hash (64 hex digits, as people write it, without 0x) and height."""

    hash: str
    height: int


@dataclass(frozen=True, slots=True)
class BlockSeen:
    """What a node said of one block; ``detail`` is for people."""

    hash: str
    height: int
    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True, slots=True)
class NodeAsked:
    """A node and when it counts a block as final.

    Attributes:
        url: never shown beyond host and port.
        confirmations: a block with so many blocks from itself to the head is final; None where the
            node's own ``tag`` says so.
        headers: gives the request headers with the credentials; None where the URL has them.
    """

    url: str
    confirmations: int | None
    tag: str | None = None
    timeout_s: float = 30.0
    headers: Callable[[], Mapping[str, str]] | None = None

    @property
    def name(self) -> str:
        """Host and port, by which statements name the node."""
        parts = urlsplit(self.url)
        host = parts.hostname or "unknown"
        return host if parts.port is None else f"{host}:{parts.port}"

    @property
    def rule(self) -> str:
        """The rule in words."""
        return self.tag or f"{self.confirmations} confirmations"


class Statements(Protocol):
    """The functions of a chain's module ``statement``."""

    def chain_of(self, table: Table) -> tuple[str, tuple[NodeAsked, ...]]:
        """Return the CAIP-2 name of a ``[chain.NAME]`` and its nodes.

        Raises:
            TableError: the table is wrong.
        """

    def node_at(self, url: str, confirmations: int | None) -> NodeAsked:
        """Return a node by its address alone; None takes the chain's most careful usual rule."""

    async def look(
        self, node: NodeAsked, chain: str, blocks: Sequence[BlockAsked]
    ) -> tuple[BlockSeen, ...]:
        """Ask one node for blocks of the chain with this CAIP-2 name.

        Raises:
            WrongChain: it serves another chain.
            Transient: it does not answer, or not with blocks.
        """

    def trust_entry(self, node: NodeAsked) -> dict[str, Any]:
        """Return a chain's entry of a trust file that believes nothing yet."""
