"""The payload of a settlement bundle: what happened, recomputed from the records alone.

Exporter and verifier call the same function, so a payload that says other than its records is
refused by comparison.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from proofs import canonical
from proofs.caip2 import caip2
from proofs.errors import Refused
from proofs.saga_plan import Step
from proofs.saga_rules import course_of
from proofs.saga_state import ENDS, Course, Effort

__all__ = ["OPEN", "chain_name", "evidence_names", "payload_of", "settled"]

#: The outcome of a saga that has not ended.
OPEN: Final = "open"
_ESCROWS: Final = frozenset({"lock", "hold", "mint"})
_CONFIRMED: Final[Mapping[str, str]] = {"lock": "released", "hold": "redeemed", "mint": "credited"}
_UNDONE: Final[Mapping[str, str]] = {"lock": "refunded", "hold": "refunded", "mint": "cancelled"}


def payload_of(
    records: Sequence[Mapping[str, Any]], hashes: Sequence[str] | None = None
) -> dict[str, Any]:
    """Return the payload that the records of a saga make.

    Args:
        records: as parsed from their stored bytes, all of the stream, in order.
        hashes: of their stored bytes, where the caller has them already.

    Raises:
        Refused: ``record-form``, ``plan-steps``, ``saga-transition``: they are no saga's.
    """
    course = course_of(records)
    ends = records[0], records[-1]
    first, last = (hashes[0], hashes[-1]) if hashes else map(canonical.digest, ends)
    return {
        "v": 1,
        "saga": course.saga,
        "name": course.plan["name"],
        "digest": course.started["digest"],
        "outcome": course.state if course.state in ENDS else OPEN,
        "records": len(records),
        "first": first,
        "last": last,
        "effects": [_effect(course, *found) for found in settled(course)],
        "finality": {name: _finality(name, terms) for name, terms in _chains(course)},
        "participants": dict(course.plan.get("participants", {})),
    }


def evidence_names(records: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the SHA-256 of every proof that belongs into the bundle, each once.

    Proofs of outcomes that were withdrawn, or shown again otherwise, stay out.

    Raises:
        Refused: as `payload_of`.
    """
    found = settled(course_of(records))
    return tuple(dict.fromkeys(name for _, _, effort in found for name in _names(effort)))


def settled(course: Course) -> list[tuple[Step, str, Effort]]:
    """Return every effort whose outcome a transaction shows, in the order of those records."""
    found = [
        (course.by_name[name], direction, effort)
        for (name, direction), effort in course.efforts.items()
        if effort.settled and effort.tx is not None
    ]
    return sorted(found, key=lambda one: one[2].outcome_seq)


def chain_name(name: str, terms: Mapping[str, Any]) -> str:
    """Return the CAIP-2 name of a chain; for kinds without one, kind and name in the plan."""
    if terms["kind"] not in {"evm", "bitcoin"}:
        return f"{terms['kind']}:{name}"
    return caip2(terms)


def _effect(course: Course, step: Step, direction: str, effort: Effort) -> dict[str, Any]:
    before, after = _states(step, direction, effort.phase)
    unproved = effort.proof if effort.proof not in {"", "proved"} else None
    return {
        "step": step.id,
        "dir": direction,
        "gen": effort.generation,
        "chain": chain_name(step.chain, course.plan["chains"][step.chain]),
        "tx": effort.tx,
        "block": effort.block,
        "height": effort.height,
        "outcome": effort.phase,
        "before": before,
        "after": after,
        "evidence": _names(effort),
        "unproved": unproved,
    }


def _names(effort: Effort) -> list[str]:
    return [proof["sha256"] for proof in effort.evidence["evidence"]] if effort.evidence else []


def _states(step: Step, direction: str, outcome: str) -> tuple[str, str]:
    """Return the state of the step's own effect before and after."""
    made = "open" if step.kind in _ESCROWS else "made"
    before = "none" if direction == "forward" or not step.forward else made
    if outcome == "not_done":
        return before, before
    if direction == "undo":
        return before, _UNDONE.get(step.kind, "reversed")
    if direction == "forward" or not step.forward:
        return before, made
    return before, _CONFIRMED.get(step.kind, "made")


def _chains(course: Course) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the chains that steps run on."""
    for name in sorted({step.chain for step in course.steps}):
        yield name, course.plan["chains"][name]


def _finality(name: str, terms: Mapping[str, Any]) -> dict[str, Any]:
    rule, nodes = terms.get("finality"), terms.get("nodes", 1)
    if (rule is not None and type(rule) is not str) or type(nodes) is not int or nodes < 1:
        raise Refused("record-form", f"chain {name} of the plan has no proper finality or nodes")
    return {
        "chain": chain_name(name, terms),
        "rule": rule if rule is not None else f"{terms['finality_blocks']} blocks",
        "nodes": nodes,
        # Both adapters call nothing final with fewer; how many agreed no record says.
        "quorum": nodes // 2 + 1,
        "single_node": nodes == 1,
    }
