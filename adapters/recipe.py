"""How an effect is taken back without the coordinator: what a family of chains writes down.

A recipe needs no node, no key and no secret: it follows from the task and from what the journal
keeps of the attempts. Whoever has the key that it names can use it with standard tools.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from adapters.base import Task

__all__ = ["Recipe", "Recipes", "StoredUndo"]


@dataclass(frozen=True, slots=True)
class StoredUndo:
    """A signed undo that the journal holds already: sending it (again) is always harmless."""

    tx_id: str
    raw: bytes
    generation: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """One effect's way back.

    Attributes:
        where: where the value is, in words.
        who: who can take it, in words, one line each.
        key: the address whose key signs the way back.
        opens: ``{"height": n}`` or ``{"time": unix seconds}`` of the chain from which on it is
            valid; None: at once.
        transaction: JSON facts of the unsigned transaction.
        send: commands of standard tools, in order; ``$NODE`` and the like are explained in `notes`.
        look: commands that show whether it is needed still.
        notes: what to know before, one line each.
        tools: files that the commands need, by name.
    """

    where: str
    who: tuple[str, ...]
    key: str
    opens: Mapping[str, int] | None
    transaction: Mapping[str, Any]
    send: tuple[str, ...]
    look: tuple[str, ...]
    notes: tuple[str, ...]
    tools: Mapping[str, bytes] = field(default_factory=dict)


class Recipes(Protocol):
    """What a family of chains knows of going back; implemented by its module ``recipe``."""

    def undo_recipe(
        self, task: Task, terms: Mapping[str, Any], stored: Sequence[StoredUndo], *, certain: bool
    ) -> Recipe:
        """Return how the forward effect of ``task`` (whose direction is undo) is taken back.

        Args:
            terms: of the chain, as the plan fixed them (`Adapter.terms`).
            stored: undo attempts of the journal, oldest first.
            certain: the forward effect is in a block; else it may never have happened.

        Raises:
            Rejected: there is no way back, or what it needs is not known.
        """
