"""What the stream ``operator`` says of recoveries and of what nobody explains: a fold. Pure.

The kinds are told in `coordinator.journal.recoveries`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from coordinator.journal.base import Record

__all__ = ["Answer", "Operator", "Unexplained", "fold_operator", "question_of"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person said: ``commit``, ``rollback``, a transaction, or ``none``."""

    answer: str
    by: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Unexplained:
    """A transaction of ours that no record explains."""

    chain: str
    tx: str
    block: str
    height: int
    claim: tuple[tuple[str, int], ...]
    accounts: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(slots=True)
class Operator:
    """The fold.

    Attributes:
        begun: the newest ``recovery``, None if there never was one.
        over: whether that has come to its end.
        answers: question → newest answer, since that recovery began.
        unexplained: by (chain, transaction), of all recoveries.
        accepted: those that a person has looked at.
        seq: of the newest record, for the fence.
    """

    begun: Record | None = None
    over: bool = True
    answers: dict[str, Answer] = field(default_factory=dict)
    unexplained: dict[tuple[str, str], Unexplained] = field(default_factory=dict)
    accepted: set[tuple[str, str]] = field(default_factory=set)
    seq: int = 0

    @property
    def open(self) -> list[Unexplained]:
        """What nobody has accepted yet."""
        return [item for key, item in self.unexplained.items() if key not in self.accepted]

    @property
    def halted(self) -> dict[tuple[str, str], list[Unexplained]]:
        """(chain, account) → why nothing new may take anything from it."""
        found: dict[tuple[str, str], list[Unexplained]] = {}
        for item in self.open:
            for account in item.accounts:
                found.setdefault((item.chain, account), []).append(item)
        return found


def question_of(saga: str, step: str | None = None, direction: str | None = None) -> str:
    """Return the name of a question: a saga's way, or what made one of its effects."""
    return saga if step is None else f"{saga}/{step}/{direction}"


def fold_operator(records: Iterable[Record]) -> Operator:
    """Return what ``operator`` says; records of other concerns are passed over."""
    state = Operator()
    for record in records:
        state.seq = record.seq
        data = record.data
        if record.kind == "recovery":
            state.begun, state.over, state.answers = record, False, {}
        elif record.kind == "recovered":
            state.over = True
        elif record.kind == "answered":
            state.answers[data["question"]] = Answer(
                data["answer"], tuple(data["by"]), data["reason"]
            )
        elif record.kind == "unexplained":
            item = _unexplained(data)
            state.unexplained[item.chain, item.tx] = item
        elif record.kind == "accepted":
            state.accepted |= {(chain, tx) for chain, tx in data["txs"]}
    return state


def _unexplained(data: Mapping[str, Any]) -> Unexplained:
    return Unexplained(
        chain=data["chain"],
        tx=data["tx"],
        block=data["block"],
        height=data["height"],
        claim=tuple((resource, value) for resource, value in data["claim"]),
        accounts=tuple(data["accounts"]),
        texts=tuple(data["texts"]),
    )
