"""The readable log: phase 1 the executions, phase 2 the proofs, or the failure and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass

from coordinator.report.efforts import EffortFacts
from coordinator.report.facts import ReportFacts, StepFacts
from coordinator.report.ladder_svg import PHASE_WORDS
from coordinator.report.sheets import proof_count, short_moment
from coordinator.report.step_sheets import evidence_words
from coordinator.report.words import short_hash, span_ms

__all__ = ["Phase", "not_verified", "phases", "verify_commands"]


@dataclass(frozen=True, slots=True)
class Phase:
    """A heading, its lines, and the line that sums it up."""

    title: str
    lines: tuple[str, ...]
    result: str


def phases(facts: ReportFacts) -> tuple[Phase, ...]:
    """Return the saga's story in phases."""
    told = [_executions(facts)]
    if facts.rolls_back:
        told += [_failure(facts), _proofs(facts, "Proofs")]
    else:
        told.append(_proofs(facts, "Phase 2: proofs"))
        if facts.decision == "commit":
            told.append(_confirms(facts))
    return tuple(told)


def _executions(facts: ReportFacts) -> Phase:
    lines = []
    for step in facts.steps:
        forward = step.forward
        if step.effect_class == "retriable":
            lines.append(f"{step.number} {step.chain}: {step.text} (after the decision)")
            continue
        sign, words = PHASE_WORDS[forward.phase]
        at_ms = forward.included_ms or forward.final_ms or forward.intent_ms
        when = f"{short_moment(facts, at_ms)} " if at_ms is not None else ""
        if forward.failure:
            words = f"FAILED: {forward.failure}"
        lines.append(f"{sign} {step.number} {when}{step.chain}: {step.id}, {step.text}: {words}")
    acting = [step for step in facts.steps if step.effect_class != "retriable"]
    done = sum(step.forward.phase == "done" for step in acting)
    return Phase(
        "Phase 1: executions, chain by chain", tuple(lines), f"executed: {done}/{len(acting)}"
    )


def _proofs(facts: ReportFacts, title: str) -> Phase:
    efforts = [effort for step in facts.told_steps for effort in _told(facts, step)]
    lines = [
        f"{effort.direction} of {effort.step} on {effort.chain}: {_proof_words(effort)}"
        for effort in efforts
        if effort.evidence.status != "nothing"
    ]
    if lines and all(effort.evidence.status in ("nothing", "not asked") for effort in efforts):
        lines = ["none was asked for: the plan's chains have proof none"]
    return Phase(title, tuple(lines), f"proofs: {proof_count(facts)}")


def _proof_words(effort: EffortFacts) -> str:
    """Return kinds and short hashes; the whole hashes are with the step."""
    if effort.evidence.status == "proved":
        return "; ".join(f"{kind} {short_hash(digest)}" for kind, digest in effort.evidence.proofs)
    return "; ".join(word for word in evidence_words(effort.evidence) if word)


def _told(facts: ReportFacts, step: StepFacts) -> Sequence[EffortFacts]:
    return tuple(reversed(step.efforts)) if facts.rolls_back else step.efforts


def _failure(facts: ReportFacts) -> Phase:
    lines = [f"failure: {facts.verdict.cause}"]
    for step in facts.told_steps:
        undo = step.undo
        if undo is None:
            lines.append(f"· {step.number} {step.id} on {step.chain}: {step.not_undone}")
            continue
        sign, words = PHASE_WORDS[undo.phase]
        about = f"{sign} {step.number} {step.id} on {step.chain}"
        if undo.undo is None:
            lines.append(f"{about}: undo {words}")
            continue
        record = undo.undo
        lines.append(
            f"{about}: {step.undo_text}; executed {short_moment(facts, record.executed_ms)}, "
            f"rolled back {short_moment(facts, record.undone_ms)} ({span_ms(record.delay_ms)}); "
            f"{record.reason}: {record.cause}; {record.result}"
        )
    word = "completed" if facts.state == "rolled_back" else "so far"
    result = f"rollback {word}: {facts.undone}/{facts.to_undo}"
    return Phase("Phase 2: failure and rollback", tuple(lines), result)


def _confirms(facts: ReportFacts) -> Phase:
    by_id = {step.id: step for step in facts.steps}
    wanted = [by_id[name] for name in facts.confirm_order if name in by_id]
    lines, done = [], 0
    for step in wanted:
        confirm = step.confirm
        if confirm is None:
            continue
        sign, words = PHASE_WORDS[confirm.phase]
        when = f"{short_moment(facts, confirm.final_ms)} " if confirm.final_ms is not None else ""
        text = f"{step.id}, {step.confirm_text}: {words}"
        lines.append(f"{sign} {step.number} {when}{step.chain}: {text}")
        done += confirm.phase == "done"
    word = "completed" if facts.state == "committed" else "so far"
    return Phase("Confirms", tuple(lines), f"confirms {word}: {done}/{len(lines)}")


# ---------------------------------------------------------------- verification


def not_verified(facts: ReportFacts) -> tuple[str, ...]:
    """Return what a reader must not take from this page alone."""
    found = []
    verification = facts.verification
    if verification is None:
        found.append(
            "Nothing was verified for this page. It repeats what the records say; whether the "
            "chains say so too, and whether the log is whole, is for the verifier below."
        )
    else:
        found += [
            f"{check.status.upper()}: {f'{check.name} {check.subject}'.strip()}: {check.reason}"
            for check in verification.sorted_checks
            if check.status != "passed"
        ]
        bundled = verification.records
        if bundled is not None and bundled != facts.records:
            found.append(
                f"The bundle ends with record {bundled} of {facts.records}: what came after it was "
                "not verified. Export it anew."
            )
    for step in facts.told_steps:
        found += [
            f"{effort.direction} of {step.id} on {step.chain}: no proof is recorded "
            f"({_why(effort)})"
            for effort in step.efforts
            if effort.evidence.status in ("unproved", "missing", "not asked")
            and (verification is None or not verification.about(step.id, effort.direction))
        ]
    single = [chain.name for chain in facts.chains if chain.nodes == 1]
    if single:
        found.append(f"Finality on {', '.join(single)} rests on the word of a single node.")
    found.append("The coordinator's clock: times of records are its own.")
    found.append(
        "Amounts are those of the plan for effects that the records call done; a proof binds them "
        "to a transaction, this page does not."
    )
    return tuple(found)


def _why(effort: EffortFacts) -> str:
    evidence = effort.evidence
    if evidence.status == "unproved":
        return evidence.reason
    return "none asked by the plan" if evidence.status == "not asked" else "none yet"


def verify_commands(facts: ReportFacts) -> tuple[str, ...]:
    """Return the commands that verify the saga, offline, without trusting whoever made the page."""
    given = "--bundle bundle.json --trust trust.json"
    return (
        f"coordinator audit export {facts.saga} --out bundle.json",
        "python -m proofs bundle.json --trust trust.json",
        f"coordinator report {facts.saga} {given} --out report.html",
    )
