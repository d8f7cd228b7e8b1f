"""I12 of the checker: evidence belongs to the outcome it is recorded for, and is there when due."""

import hashlib
from collections.abc import Iterator
from typing import Any

from msgspec import json

from tests.sim.evidence import Evidence, Line, SagaView, op_id

__all__ = ["proven"]

#: What a record of evidence is about.
_ABOUT = ("tx", "block", "height", "gen")
_OUTCOMES = ("done", "not_done")


def proven(saga: SagaView, evidence: Evidence) -> Iterator[str]:
    """Name every breach of I12."""
    # A plan that was resolved before there was evidence asks for none.
    asked = {name: chain.get("proof", "none") for name, chain in saga.plan["chains"].items()}
    chains = {step["id"]: step["chain"] for step in saga.plan["steps"]}
    #: (step, direction) → its present outcome, and what is recorded of its evidence.
    outcomes: dict[tuple[str, str], Line] = {}
    said: dict[tuple[str, str], str] = {}
    turn = _point_of_no_return(saga)
    for line in saga.lines:
        key = str(line.data.get("step")), str(line.data.get("dir"))
        if line is turn:
            for step in saga.plan["steps"]:
                required = asked[step["chain"]] == "required"
                exempt = step["class"] in ("pivot", "retriable")
                if required and not exempt and said.get((step["id"], "forward")) != "proved":
                    yield f"I12 {saga.id}: no way back without the required proof of {step['id']}"
        begins = line.kind == "intent" and line.data["purpose"] == "effect"
        if begins or line.kind in ("withdrawn", "orphaned"):
            outcomes.pop(key, None)
            said.pop(key, None)
        elif line.kind in _OUTCOMES:
            outcomes[key] = line
            said.pop(key, None)
        elif line.kind in ("proved", "unproved"):
            yield from _belongs(saga, line, outcomes.get(key))
            said[key] = line.kind
            if line.kind == "proved":
                yield from _shows(saga, line, evidence)
        elif line.kind == "closed":
            for key, outcome in outcomes.items():
                wanted = asked[chains[key[0]]] != "none" and outcome.data["tx"] is not None
                if wanted and key not in said:
                    yield f"I12 {saga.id}: closed, and nothing is said of evidence of {key}"


def _point_of_no_return(saga: SagaView) -> Line | None:
    """The pivot's first intent, or without a pivot the decision to commit."""
    pivots = {step["id"] for step in saga.plan["steps"] if step["class"] == "pivot"}
    for line in saga.lines:
        if line.kind == "intent" and line.data["step"] in pivots:
            return line
        if line.kind == "decided" and line.data["decision"] == "commit" and not pivots:
            return line
    return None


def _belongs(saga: SagaView, line: Line, outcome: Line | None) -> Iterator[str]:
    """A record of evidence repeats the outcome that stands."""
    if outcome is None:
        yield f"I12 {saga.id}: record {line.position} is about no outcome"
    elif line.data["outcome"] != outcome.kind or any(
        line.data[name] != outcome.data[name] for name in _ABOUT
    ):
        yield f"I12 {saga.id}: record {line.position} is about another outcome"


def _shows(saga: SagaView, line: Line, evidence: Evidence) -> Iterator[str]:
    """Each proof is stored under its hash, and shows this effort's transaction in its block."""
    for named in line.data["evidence"]:
        body = evidence.proofs.get(named["sha256"], b"")
        if hashlib.sha256(body).hexdigest() != named["sha256"]:
            yield f"I12 {saga.id}: record {line.position} names a proof that is not stored"
            continue
        shown: dict[str, Any] = json.decode(body)
        expected = {
            "block": line.data["block"],
            "tx": line.data["tx"],
            "op": op_id(saga.id, line.data["step"]),
            "dir": line.data["dir"],
        }
        if any(shown[name] != value for name, value in expected.items()):
            yield f"I12 {saga.id}: record {line.position} names the proof of something else"
    if not line.data["evidence"]:
        yield f"I12 {saga.id}: record {line.position} names no proof"
