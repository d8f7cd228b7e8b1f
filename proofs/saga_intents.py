"""Rules of intents: durable before the effect (R1), one effect each (R2), own claims (R3)."""

from collections.abc import Mapping

from proofs.caip2 import caip2
from proofs.errors import Refused
from proofs.saga_form import Line
from proofs.saga_plan import Step
from proofs.saga_state import Attempt, Course

__all__ = ["Claims", "Intents", "OneEffect"]

#: (step, direction)
_Key = tuple[str, str]


class Intents:
    """An effect has a durable intent, or a reveal, before any block shows it (R1)."""

    name = "intents"

    def __init__(self) -> None:
        #: transaction → the attempt, of which effort.
        self._known: dict[str, tuple[_Key, Attempt]] = {}
        #: transaction → number of the record that first showed it in a block.
        self._seen: dict[tuple[str, str], int] = {}

    def see(self, course: Course, line: Line) -> None:
        """Check one record against the course before it."""
        if line.kind == "intent":
            self._intend(course, line)
        elif line.kind in {"included", "done", "not_done"}:
            self._show(course, line)

    def _intend(self, course: Course, line: Line) -> None:
        data = line.data
        step, effort = course.by_name[data["step"]], course.effort(data["step"], data["dir"])
        if data["chain"] != step.chain:
            raise _refused(line, f"step {step.id} is on {step.chain}")
        if data["n"] != len(effort.attempts) + 1:
            raise _refused(line, f"attempt {data['n']} after {len(effort.attempts)}")
        if data["tx"] in self._known:
            raise _refused(line, "another intent names its transaction")
        if (step.chain, data["tx"]) in self._seen:
            shown = self._seen[step.chain, data["tx"]]
            raise _refused(line, f"record {shown} shows its transaction in a block before it")
        if data["purpose"] == "effect" and data["dir"] == "forward":
            self._forward(course, line, step)
        claim = frozenset((resource, value) for resource, value in data["claim"])
        attempt = Attempt(line.seq, data["gen"], data["purpose"], data["tx"], claim, data["facts"])
        self._known[data["tx"]] = ((step.id, data["dir"]), attempt)

    def _forward(self, course: Course, line: Line, step: Step) -> None:
        if line.data["gen"] > 1 and course.state != "confirming":
            raise _refused(line, "a forward effect is made anew after a commit only")
        before, hashlock = course.effort(step.id, "forward").hashlock, line.data.get("hashlock")
        if step.reveals and (hashlock is None or before not in {None, hashlock}):
            raise _refused(line, "the hold's hashlock is missing, or another than before")

    def _show(self, course: Course, line: Line) -> None:
        data = line.data
        step, effort = course.by_name[data["step"]], course.effort(data["step"], data["dir"])
        self._seen.setdefault((step.chain, data["tx"]), line.seq)
        if not effort.attempts and not effort.revealed:
            raise _refused(line, "no intent and no reveal of this effort is before it")
        if line.kind == "not_done":
            return
        owner = self._known.get(data["tx"])
        if owner is not None and not _may_serve(step, data["dir"], *owner):
            (other, direction), attempt = owner
            what = f"{attempt.purpose} of the {direction} of step {other}"
            raise _refused(line, f"its transaction is the {what}")


def _may_serve(step: Step, direction: str, key: _Key, attempt: Attempt) -> bool:
    """Whether an attempt of ours can hold the effect: it serves the effort that it was made for.

    A tombstone of a mint that lands after the mint takes it back: then it is the undo. What joins
    small coins pays all to ourselves, and so does its burn.
    """
    if key == (step.id, direction):
        return attempt.purpose == "effect" or step.kind == "consolidate"
    late = (step.id, "forward") == key and direction == "undo" and step.kind == "mint"
    return late and attempt.purpose == "tombstone"


class OneEffect:
    """At most one effect per step and direction, and none is counted twice (R2).

    That an effort is ``done`` again only after it was withdrawn is a matter of transitions. One
    transaction serves one effort, but for what others make: a payee may redeem several holds at
    once, and each is bound to its own id or output.
    """

    name = "one-effect"

    def __init__(self) -> None:
        self._served: dict[tuple[str, str], set[_Key]] = {}
        #: (chain, outpoint) → the step whose effect that output is.
        self._outputs: dict[tuple[str, str], str] = {}

    def see(self, course: Course, line: Line) -> None:
        """Check one record against the course before it."""
        if line.kind not in {"included", "done"}:
            return
        data = line.data
        step, key = course.by_name[data["step"]], (data["step"], data["dir"])
        served = self._served.setdefault((_place(course, step), _bare(data["tx"])), set())
        for other in sorted(served - {key}):
            if other[0] == step.id or not (step.own_id and course.by_name[other[0]].own_id):
                both = f"the {other[1]} of step {other[0]}"
                raise _refused(line, f"its transaction is counted for {both} already")
        served.add(key)
        self._one_output(course, line, step)

    def _one_output(self, course: Course, line: Line, step: Step) -> None:
        """Refuse an output that is the effect of two steps, though each has its own id."""
        outpoint = line.data["facts"].get("outpoint")
        if line.data["dir"] != "forward" or outpoint is None:
            return
        owner = self._outputs.setdefault((_place(course, step), str(outpoint)), step.id)
        if owner != step.id:
            raise _refused(line, f"its output {outpoint} is the effect of step {owner} already")


def _place(course: Course, step: Step) -> str:
    """Return what is the same for two names of one chain: all that evidence can show of it."""
    terms: Mapping[str, object] = course.plan["chains"][step.chain]
    try:
        return caip2(terms)
    except Refused:
        return f"{terms['kind']}:{step.chain}"  # no evidence of such a chain is ever accepted


def _bare(tx: str) -> str:
    return tx.removeprefix("0x")


class Claims:
    """All attempts of a generation share their claim, and no two efforts share any (R2, R3)."""

    name = "claims"

    def __init__(self) -> None:
        self._owners: dict[tuple[str, str, int], _Key] = {}
        #: (effort, generation) → what all its attempts consume, tombstones excepted.
        self._claims: dict[tuple[_Key, int], frozenset[tuple[str, int]]] = {}

    def see(self, course: Course, line: Line) -> None:
        """Check one record against the course before it."""
        if line.kind != "intent":
            return
        data = line.data
        step, key = course.by_name[data["step"]], (data["step"], data["dir"])
        claim = frozenset((resource, value) for resource, value in data["claim"])
        if len(claim) != len(data["claim"]):
            raise _refused(line, "it claims one thing twice")
        for resource, value in sorted(claim):
            owner = self._owners.setdefault((_place(course, step), resource, value), key)
            if owner != key:
                raise _refused(line, f"{resource} {value} is claimed by {owner[1]} of {owner[0]}")
        if data["purpose"] == "tombstone":
            return
        if self._claims.setdefault((key, data["gen"]), claim) != claim:
            raise _refused(line, "another attempt of this generation claims otherwise")
        reserved = _reserved(course, step)
        first = data["gen"] == 1 and data["dir"] == "forward"
        if reserved and first and {resource for resource, _ in claim} != reserved:
            raise _refused(line, "it spends other coins than were reserved for it")


def _reserved(course: Course, step: Step) -> set[str]:
    return {coin for name, _chain, coin in course.started.get("coins", ()) if name == step.id}


def _refused(line: Line, why: str) -> Refused:
    return Refused("rule", f"record {line.seq} ({line.kind}): {why}")
