"""Everything that brings a saga's value home without the coordinator, as files. Pure but for reads.

What is written holds no preimage and no private key, and names the keys that it needs. It is void
once the commit is decided: from then on the value is somebody else's, so it is refused then.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from adapters.errors import Rejected
from adapters.recipe import Recipe, Recipes, StoredUndo
from coordinator.adoption import task_of
from coordinator.errors import Irreversible
from coordinator.saga import SagaState, Step
from coordinator.saga.table import ENDS
from coordinator.views import standing

__all__ = ["VOID", "Exported", "export_recovery"]

#: Stands at the head of every text that is written.
VOID: Final = (
    "VOID ONCE COMMIT IS DECIDED. From then on the value belongs to others. Before anything of "
    "this is sent: if the journal can be read, `coordinator show SAGA` must not say commit; if it "
    "can not, no step below may be released, credited or redeemed on its chain, and no preimage "
    "of it may have been told to anybody."
)


class _Stored(Protocol):
    """The part of a journal that this needs."""

    def raw(self, tx_id: str) -> bytes:
        """Return an attempt's stored bytes."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What is written.

    Attributes:
        document: the whole as JSON.
        text: the whole for people.
        tools: files that the commands need, by name.
    """

    document: Mapping[str, Any]
    text: str
    tools: Mapping[str, bytes]


def export_recovery(
    state: SagaState,
    journal: _Stored,
    recipes_of: Callable[[str], Recipes | None],
    *,
    signers: Mapping[str, Sequence[str]],
    head: str,
    now_ms: int,
) -> Exported:
    """Return the way back of every effect of ``state`` that may stand, in the order of undoing.

    Args:
        recipes_of: by a chain's kind.
        signers: address → names of the signers in chains.toml whose key it is.
        head: hash of the saga's newest record, so that it is known what this was made from.

    Raises:
        Irreversible: the commit is decided, or nothing of the saga is out.
    """
    steps = _standing(state)
    parts: list[dict[str, Any]] = []
    tools: dict[str, bytes] = {}
    for step in reversed(steps):
        part, recipe = _part(state, step, journal, recipes_of, signers)
        parts.append(part)
        tools.update(recipe.tools if recipe is not None else {})
    document = {
        "v": 1,
        "type": "recovery",
        "void": VOID.replace("SAGA", state.saga),
        "saga": state.saga,
        "plan": state.name,
        "digest": state.digest,
        "state": state.state,
        "records": state.seq,
        "head": head,
        "made_ms": now_ms,
        "deadline_s": state.deadline_s,
        "steps": parts,
        "tools": sorted(tools),
    }
    return Exported(document, _text(document), tools)


def _standing(state: SagaState) -> list[Step]:
    """Return the steps whose forward effect may be there and that may be taken back."""
    reclaimed = [s for s in state.steps if state.verdict("reclaim", s.id) is not None]
    if state.state in ("confirming", "committed") and not reclaimed:
        raise Irreversible(
            f"saga {state.saga} has decided to commit: what is out belongs to others, and a "
            "preimage may be public. Nothing was written. A hold past its expiry that nobody "
            f"redeems: coordinator resolve {state.saga} STEP --reclaim --by A --by B "
            "--reason TEXT."
        )
    pivot = state.pivot
    if (
        pivot is not None
        and state.state == "running"
        and state.effort(pivot.id, "forward").attempts
    ):
        raise Irreversible(
            f"step {pivot.id} may be paid already and the decision follows it alone. Nothing was "
            f"written. First: coordinator rollback {state.saga} --reason TEXT, which burns it if "
            "it can be."
        )
    among = reclaimed if state.state in ("confirming", "committed") else state.steps
    found = [step for step in standing(state) if step.forward and step in among]
    if state.state in ENDS or not found:
        raise Irreversible(
            f"nothing of saga {state.saga} is out ({state.state}): there is nothing to bring home. "
            "Nothing was written."
        )
    return found


def _part(
    state: SagaState,
    step: Step,
    journal: _Stored,
    recipes_of: Callable[[str], Recipes | None],
    signers: Mapping[str, Sequence[str]],
) -> tuple[dict[str, Any], Recipe | None]:
    terms, effort = state.plan["chains"][step.chain], state.effort(step.id, "forward")
    part: dict[str, Any] = {
        "step": step.id,
        "chain": step.chain,
        "kind": terms["kind"],
        "what": step.text,
        "forward": effort.phase,
        "forward_tx": effort.tx or (effort.attempts[-1].tx_id if effort.attempts else None),
    }
    recipes = recipes_of(terms["kind"])
    if step.pivot or not step.undo:
        return part | {"no_way_back": "its effect can not be taken back"}, None
    if recipes is None:
        return part | {"no_way_back": f"no recipes are known for a {terms['kind']} chain"}, None
    undo = state.effort(step.id, "undo")
    stored = [
        StoredUndo(attempt.tx_id, journal.raw(attempt.tx_id), attempt.generation)
        for attempt in undo.attempts
        if attempt.generation == undo.generation
    ]
    try:
        recipe = recipes.undo_recipe(
            task_of(state, step, "undo"), terms, stored, certain=effort.phase != "unknown"
        )
    except Rejected as refusal:
        return part | {"no_way_back": str(refusal)}, None
    return part | {
        "where": recipe.where,
        "who": list(recipe.who),
        "key": recipe.key,
        "signers": list(signers.get(recipe.key.casefold(), ())),
        "opens": None if recipe.opens is None else dict(recipe.opens),
        "unique_by": step.unique_by,
        "transaction": dict(recipe.transaction),
        "signed": [item.tx_id for item in stored],
        "look": list(recipe.look),
        "send": list(recipe.send),
        "notes": list(recipe.notes),
    }, recipe


def _text(document: Mapping[str, Any]) -> str:
    lines = [
        f"RECOVERY OF SAGA {document['saga']} ({document['plan']}) WITHOUT THE COORDINATOR",
        "",
        *_wrapped(document["void"]),
        "",
        f"Made from {document['records']} records, the newest {document['head']}.",
        f"While the coordinator can run: coordinator rollback {document['saga']} --reason TEXT",
        "Take back one step after the other, in this order, each when the one before is final.",
    ]
    for number, part in enumerate(document["steps"], 1):
        lines += ["", f"{number}. {part['step']} on {part['chain']}: {part['what']}"]
        if "no_way_back" in part:
            lines.append(f"   no way back: {part['no_way_back']}")
            continue
        lines += [f"   where   {part['where']}", f"   valid   {_valid(part['opens'])}"]
        lines += [f"   who     {who}" for who in part["who"]]
        names = ", ".join(part["signers"]) or "none in chains.toml"
        lines.append(f"   key     of {part['key']} (signer: {names})")
        lines += [f"   note    {note}" for note in part["notes"]]
        lines += [f"   look    {command}" for command in part["look"]]
        lines += [f"   send    {command}" for command in part["send"]]
    return "\n".join(lines) + "\n"


def _valid(opens: Mapping[str, int] | None) -> str:
    if opens is None:
        return "at once"
    (unit, value) = next(iter(opens.items()))
    words = "height" if unit == "height" else "time (Unix seconds of the chain's blocks)"
    return f"from {words} {value} on"


def _wrapped(text: str, width: int = 96) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
