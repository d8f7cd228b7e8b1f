"""Evidence of a bundle: each outcome bound to its step, each block carried by the verifier's trust.

A bundle brings proofs and never the reason to believe a block: what the trust file does not cover
is "not verified", whatever the bundle says about it.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from proofs import canonical
from proofs.bundle_payload import chain_name, settled
from proofs.errors import Refused
from proofs.report import Check, failed, passed, unverified
from proofs.saga_plan import Step
from proofs.saga_state import Course, Effort
from proofs.step import BlockRef, StepContext
from proofs.trust import ChainTrust, Trust

__all__ = ["Evidence", "check_evidence"]

_STEP: Final = "evidence.step"
_HEADER: Final = "header.trusted"
#: Refusals of Bitcoin's policy that mean "not covered by what the verifier knows".
_UNCOVERED: Final = frozenset({"anchor-missing"})


@dataclass(slots=True)
class Evidence:
    """What evidence showed.

    Attributes:
        shown: ``step/direction`` → one line for people.
        blocks: ``step/direction`` → the blocks that its evidence rests on, with what carries them.
    """

    checks: list[Check] = field(default_factory=list)
    shown: dict[str, str] = field(default_factory=dict)
    blocks: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    #: (chain, block) → what was found; a block that carries several outcomes is told once.
    _headers: dict[tuple[str, str], Check] = field(default_factory=dict)

    def header(self, chain: str, ref: BlockRef, trust: ChainTrust | None) -> Check:
        """Return whether a block is trusted, telling it once."""
        return self.tell(chain, ref.hash, lambda: _believed(chain, ref, trust))

    def tell(self, chain: str, block: str, check: Callable[[], Check]) -> Check:
        """Return what was found of a block, making the check if it is the first time."""
        key = (chain, block)
        if key not in self._headers:
            self._headers[key] = check()
            self.checks.append(self._headers[key])
        return self._headers[key]

    def derived(self, chain: str, block: str, height: int, check: Check) -> None:
        """Tell of a block that the evidence itself ties to another one."""
        other = check.subject.rpartition(" ")[2]
        by = f"ancestor of {other} ({check.by})" if check.by else ""
        subject, reason = f"{chain} {height} {block}", f"an ancestor of {other}"
        self.tell(chain, block, lambda: Check(_HEADER, subject, check.status, reason, by))


def check_evidence(
    course: Course,
    records: Sequence[Mapping[str, Any]],
    evidence: Mapping[str, Mapping[str, Any]],
    trust: Trust | None,
) -> Evidence:
    """Check every outcome's evidence.

    Args:
        course: the state after all records.
        evidence: SHA-256 → a proof's form, its hash checked.
    """
    found = Evidence()
    outcomes = settled(course)
    found.checks.append(_complete(outcomes, evidence))
    for step, direction, effort in outcomes:
        _check(found, course, records, evidence, trust, step, direction, effort)
    return found


def _complete(outcomes: Sequence[tuple[Step, str, Effort]], evidence: Mapping[str, Any]) -> Check:
    """Check that the bundle has the proofs that its records name, and no other."""
    name = "evidence.complete"
    named = {
        proof["sha256"]
        for _, _, effort in outcomes
        if effort.evidence is not None
        for proof in effort.evidence["evidence"]
    }
    missing, surplus = sorted(named - evidence.keys()), sorted(evidence.keys() - named)
    if missing:
        return failed(name, f"the proof {missing[0]} that a record names is missing")
    if surplus:
        return failed(name, f"no record names the proof {surplus[0]}")
    return passed(name, f"{len(named)} proofs, exactly those that the records name")


def _check(
    found: Evidence,
    course: Course,
    records: Sequence[Mapping[str, Any]],
    evidence: Mapping[str, Mapping[str, Any]],
    trust: Trust | None,
    step: Step,
    direction: str,
    effort: Effort,
) -> None:
    """Check the evidence of one outcome, and the blocks that it rests on."""
    subject = f"{step.id}/{direction}"
    if effort.evidence is None:
        found.checks.append(unverified(_STEP, _why_none(step, effort), subject))
        return
    terms = course.plan["chains"][step.chain]
    if terms["kind"] not in {"evm", "bitcoin"}:
        text = f"no verifier for chains of kind {terms['kind']}"
        found.checks.append(unverified(_STEP, text, subject))
        return
    listed = effort.evidence["evidence"]
    forms = [evidence.get(entry["sha256"]) for entry in listed]
    if any(form is None for form in forms):
        found.checks.append(failed(_STEP, "a proof that its record names is missing", subject))
        return
    if [entry["kind"] for entry in listed] != [form.get("kind") for form in forms if form]:
        found.checks.append(
            failed(_STEP, "step-kinds: its proofs are of other kinds than its record says", subject)
        )
        return
    check = _on_evm if terms["kind"] == "evm" else _on_bitcoin
    try:
        chain = chain_name(step.chain, terms)
        known = trust.chains.get(chain) if trust is not None else None
        check(found, course, records, (step, direction, effort), forms, chain, known)
    except Refused as refused:
        if refused.check in _UNCOVERED:
            found.checks.append(unverified(_STEP, str(refused), subject))
        else:
            found.checks.append(failed(_STEP, refused, subject))


def _on_evm(
    found: Evidence,
    course: Course,
    _records: Sequence[Mapping[str, Any]],
    outcome: tuple[Step, str, Effort],
    forms: Sequence[Any],
    chain: str,
    trust: ChainTrust | None,
) -> None:
    from proofs.step_evm import check_step

    step, direction, effort = outcome
    subject = f"{step.id}/{direction}"
    terms = course.plan["chains"][step.chain]
    shown = check_step(
        step.raw,
        terms,
        direction,
        operation_id(course.saga, step.id),
        saga_id32(course.saga),
        _context(course, step, direction, effort),
        effort.evidence,
        forms,
    )
    found.shown[subject] = shown.text
    found.checks.append(_accepted(forms, chain, trust, shown.text, subject))
    checks = [found.header(chain, ref, trust) for ref in shown.blocks]
    found.blocks[subject] = [
        _block(chain, ref.hash, ref.height, ref.time_s, check)
        for ref, check in zip(shown.blocks, checks, strict=True)
    ]
    block = str(effort.block).removeprefix("0x")
    if block not in {ref.hash for ref in shown.blocks}:
        found.derived(chain, block, effort.height, checks[0])


def _on_bitcoin(
    found: Evidence,
    course: Course,
    records: Sequence[Mapping[str, Any]],
    outcome: tuple[Step, str, Effort],
    forms: Sequence[Any],
    chain: str,
    trust: ChainTrust | None,
) -> None:
    from proofs.step_bitcoin import check_step
    from proofs.step_bitcoin_context import context_of

    step, direction, effort = outcome
    subject = f"{step.id}/{direction}"
    if trust is None or trust.policy is None:
        found.checks.append(unverified(_STEP, f"the trust file knows no block of {chain}", subject))
        return
    assert effort.evidence is not None
    shown = check_step(
        step.raw,
        course.plan["chains"][step.chain],
        direction,
        operation_id(course.saga, step.id),
        saga_id32(course.saga),
        context_of(records, effort.evidence),
        effort.evidence,
        forms,
        trust.policy,
    )
    run = shown.spv.run
    _contradicted(forms[0], run.height, trust)
    found.shown[subject] = shown.text
    found.checks.append(_accepted(forms, chain, trust, shown.text, subject))
    carried = trust.carries(run.anchor)
    if run.anchor != shown.spv.block:
        after = "it comes before" if run.pinned else f"work {run.work} after"
        carried = f"{carried}: {after} {run.anchor}"
    ref = BlockRef(shown.spv.block, run.height, run.block.time_s)
    depth, place = f"{run.confirmations} blocks deep", f"{chain} {ref.height} {ref.hash}"
    known = found.tell(chain, ref.hash, lambda: passed(_HEADER, depth, place, by=carried))
    found.blocks[subject] = [_block(chain, ref.hash, ref.height, ref.time_s, known)]


def _contradicted(form: Mapping[str, Any], height: int, trust: ChainTrust) -> None:
    """Raise `Refused` if the verifier knows another block in the place of one of the run's."""
    from proofs.bitcoin_tx import sha256d, shown

    for number, header in enumerate(form["headers"]):
        trust.believes(shown(sha256d(bytes.fromhex(header))), height + number - form["at"])


def _accepted(
    forms: Sequence[Any], chain: str, trust: ChainTrust | None, text: str, subject: str
) -> Check:
    """Return whether the verifier takes evidence of these kinds on this chain."""
    if trust is None:
        why = f"the trust file knows nothing of {chain}; the proof itself shows: {text}"
        return unverified(_STEP, why, subject)
    others = sorted({form["kind"] for form in forms} - trust.schemes)
    if others:
        why = f"the trust file does not accept {', '.join(others)} on {chain}"
        return unverified(_STEP, why, subject)
    return passed(_STEP, text, subject)


def _believed(chain: str, ref: BlockRef, trust: ChainTrust | None) -> Check:
    subject = f"{chain} {ref.height} {ref.hash}"
    if trust is None:
        return unverified(_HEADER, f"the trust file knows nothing of {chain}", subject)
    try:
        by = trust.believes(ref.hash, ref.height)
    except Refused as refused:
        return failed(_HEADER, refused, subject)
    if by is None:
        return unverified(_HEADER, "no input of the trust file knows this block", subject)
    return passed(_HEADER, "the chain's", subject, by=by)


def _block(chain: str, block: str, height: int, time_s: int, check: Check) -> dict[str, Any]:
    return {"chain": chain, "hash": block, "height": height, "time_s": time_s, "by": check.by}


def _why_none(step: Step, effort: Effort) -> str:
    if effort.proof:
        return f"its record says why there is no proof: {effort.proof}"
    if step.proof == "none":
        return f"the plan asks for no evidence on {step.chain}"
    return "no record of its proof"


def _context(course: Course, step: Step, direction: str, effort: Effort) -> StepContext:
    forward = course.effort(step.id, "forward")
    attempts = [attempt for attempt in effort.attempts if attempt.purpose != "tombstone"]
    if effort.phase == "not_done":
        attempts = [one for one in attempts if one.generation == effort.generation]
    return StepContext(
        deadline_s=course.started["deadline_s"],
        expiry=course.started["expiries"].get(step.id),
        forward=None if direction == "forward" else _forward_facts(forward),
        hashlock=forward.hashlock,
        claims=frozenset(claim for attempt in attempts for claim in attempt.claim),
    )


def _forward_facts(forward: Effort) -> Mapping[str, Any] | None:
    """Return what the forward's intent knew, overlaid by what its block showed."""
    attempts = [attempt for attempt in forward.attempts if attempt.purpose == "effect"]
    if not attempts:
        return None
    chosen = next((one for one in attempts if one.tx == forward.tx), attempts[-1])
    seen = forward.facts if forward.phase in {"included", "done"} else {}
    return {**chosen.facts, **seen, "tx": forward.tx or chosen.tx}


def operation_id(saga: str, step: str) -> str:
    """Return the 32 bytes (hex) that name a step on chain."""
    return canonical.digest({"op": 1, "saga": saga, "step": step})


def saga_id32(saga: str) -> str:
    """Return the 32 bytes (hex) that stand for the saga on chain."""
    return hashlib.sha256(b"saga:" + saga.encode("ascii")).hexdigest()
