"""``judge``: which records an observation of the chain calls for. Pure.

The effect comes first, whoever caused it; then what became of the attempts; a silence of the chain
changes nothing but what an earlier block had shown.
"""

from typing import Any, Final

from msgspec.structs import replace

from adapters.base import Consumed, Found, Observation
from coordinator.journal.base import Entry
from coordinator.journal.derive import brought_lock
from coordinator.saga.state import Effort, SagaState, Step

__all__ = ["judge"]

_MOVED: Final = "what ended it is in another block now"


def judge(
    state: SagaState,
    step: Step,
    direction: str,
    seen: Observation,
    *,
    at_ms: int,
    until_s: int,
) -> tuple[Entry, ...]:
    """Return the records that ``seen`` adds to the saga, none if it adds nothing.

    Args:
        at_ms: host time of the observation, for the undo record.
        until_s: when an included effect should be final; passing it alarms.
    """
    effort = state.effort(step.id, direction)
    if effort.phase in ("idle", "written_off"):
        return ()
    about = {"step": step.id, "dir": direction}
    if step.deeper:
        seen = _deep_enough(step, seen)
    if seen.found is not None:
        return _found(state, step, direction, seen, about, at_ms, until_s)
    if seen.consumed is not None and seen.consumed.final:
        return _consumed(state, step, direction, seen.consumed, about)
    if seen.height < effort.height:
        return ()  # this view ends before the block that the journal names, and can not deny it
    if effort.phase == "included":
        return (_orphaned(about, effort.tx, effort.block, effort.height),)
    if effort.phase == "done":
        return (_withdrawn(state, step, about, "done", "the chain does not show it any more"),)
    if effort.phase == "not_done" and effort.attempts:
        if seen.consumed is None:
            why = "what ended it is gone from the chain"
            return (_withdrawn(state, step, about, "not_done", why),)
        if effort.block != seen.consumed.block_hash:
            return (_withdrawn(state, step, about, "not_done", _MOVED),)
    return ()


def _deep_enough(step: Step, seen: Observation) -> Observation:
    """Return what is seen, final only as deep as the plan asks for beyond its chain's finality."""

    def deep(height: int) -> bool:
        return seen.height - height + 1 >= step.finality_blocks

    if seen.found is not None and not deep(seen.found.height):
        return replace(seen, found=replace(seen.found, final=False))
    if seen.consumed is not None and not deep(seen.consumed.height):
        return replace(seen, consumed=replace(seen.consumed, final=False))
    return seen


def _found(
    state: SagaState,
    step: Step,
    direction: str,
    seen: Observation,
    about: dict[str, Any],
    at_ms: int,
    until_s: int,
) -> tuple[Entry, ...]:
    found = seen.found
    assert found is not None
    effort = state.effort(step.id, direction)
    same = _same(effort, found)
    before: tuple[Entry, ...] = ()
    if effort.phase == "done":
        if same:
            return ()
        before = (_withdrawn(state, step, about, "done", "it is in another block now"),)
    elif effort.phase == "not_done":
        before = (_withdrawn(state, step, about, "not_done", "the effect is there after all"),)
    elif effort.phase == "included" and same and not found.final:
        return ()
    data: dict[str, Any] = {
        **about,
        "tx": found.tx_id,
        "block": found.block_hash,
        "height": found.height,
        "facts": dict(found.facts),
    }
    if not found.final:
        return (*before, Entry("included", {**data, "until_s": until_s}))
    data["gen"] = effort.generation
    if direction == "undo":
        data |= {
            "executed_ms": state.effort(step.id, "forward").executed_ms,
            "undone_ms": at_ms,
            "reason": "atomicity_failure",
            "cause": dict(state.cause or {}),
            "result": "undone",
        }
    return (*before, Entry("done", data))


def _consumed(
    state: SagaState, step: Step, direction: str, consumed: Consumed, about: dict[str, Any]
) -> tuple[Entry, ...]:
    effort = state.effort(step.id, direction)
    before: tuple[Entry, ...] = ()
    if effort.phase == "not_done":
        if not effort.attempts:
            return ()
        if effort.claim_open == consumed.claim_open:
            if _same(effort, consumed):
                return ()
            before = (_withdrawn(state, step, about, "not_done", _MOVED),)
    elif effort.phase == "done":
        before = (_withdrawn(state, step, about, "done", "something else took its place"),)
    elif effort.phase == "included":
        before = (_orphaned(about, effort.tx, effort.block, effort.height),)
    data = {
        **about,
        "gen": effort.generation,
        "tx": consumed.tx_id,
        "block": consumed.block_hash,
        "height": consumed.height,
        "reason": consumed.reason
        if "detail" not in consumed.facts
        else f"{consumed.reason}: {consumed.facts['detail']}",
        "facts": dict(consumed.facts),
        "claim_open": consumed.claim_open,
    }
    return (*before, Entry("not_done", data))


def _same(effort: Effort, seen: Found | Consumed) -> bool:
    """Whether the journal names this transaction, in this block."""
    return (effort.tx, effort.block) == (seen.tx_id, seen.block_hash)


def _orphaned(about: dict[str, Any], tx: str | None, block: str | None, height: int) -> Entry:
    return Entry("orphaned", {**about, "tx": tx, "block": block, "height": height})


def _withdrawn(state: SagaState, step: Step, about: dict[str, Any], was: str, why: str) -> Entry:
    """Return that finality broke. What an undo had given back is ours again: it is kept for it."""
    kept = [
        brought_lock(state.saga, step.chain, step.id, attempt.facts["brings"])
        for attempt in state.effort(step.id, "forward").attempts
        if about["dir"] == "undo" and "brings" in attempt.facts
    ]
    # The same amount, whichever attempt brought it.
    more = {"kept": kept[:1]} if kept else {}
    return Entry("withdrawn", {**about, "was": was, "why": why, **more})
