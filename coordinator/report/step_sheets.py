"""The tables about steps: all of them at a glance, and each with everything that is known."""

from collections.abc import Iterator

from coordinator.report.cells import Cell, Sheet, code_cell, text_cell
from coordinator.report.efforts import EffortFacts, Evidence
from coordinator.report.facts import ReportFacts, StepFacts
from coordinator.report.ladder_svg import PHASE_WORDS
from coordinator.report.sheets import short_moment
from coordinator.report.words import NO_TIME, amount_words, moment_ms, moment_s, plural, span_ms

__all__ = ["attempts_sheets", "evidence_words", "overview_sheet", "step_sheet"]


def overview_sheet(facts: ReportFacts) -> Sheet:
    """Return all steps on one line each, in the order in which they are told."""
    ending = "taken back" if facts.rolls_back else "confirmed"
    heads = ("step", "chain", "executed", ending, "delay", "result", "proofs")
    rows = []
    for step in facts.told_steps:
        end = step.undo if facts.rolls_back else step.confirm
        rows.append(
            (
                text_cell(f"{step.number} {step.id}"),
                text_cell(step.chain),
                text_cell(short_moment(facts, _executed_ms(step))),
                text_cell(short_moment(facts, end.final_ms if end is not None else None)),
                text_cell(_delay(step)),
                text_cell(_result(step)),
                text_cell(*(_evidence_short(effort) for effort in step.efforts)),
            )
        )
    return Sheet("Steps at a glance", heads, tuple(rows))


def _executed_ms(step: StepFacts) -> int | None:
    if step.undo is not None and step.undo.undo is not None:
        return step.undo.undo.executed_ms
    return step.forward.included_ms


def _delay(step: StepFacts) -> str:
    if step.undo is not None and step.undo.undo is not None:
        return span_ms(step.undo.undo.delay_ms)
    confirm = step.confirm
    if confirm is None or confirm.final_ms is None or step.forward.included_ms is None:
        return NO_TIME
    return span_ms(confirm.final_ms - step.forward.included_ms)


def _result(step: StepFacts) -> str:
    for effort in (step.undo, step.confirm):
        if effort is not None and effort.undo is not None:
            return effort.undo.result
        if effort is not None and (effort.incidents or effort.direction == "undo"):
            return f"{effort.direction}: {PHASE_WORDS[effort.phase][1]}"
    if step.forward.phase == "not_done":
        return "failed; not reverted"
    return PHASE_WORDS[step.forward.phase][1]


def _evidence_short(effort: EffortFacts) -> str:
    """Return one effort's proof in a few words."""
    words = {
        "proved": f"✓ {plural(len(effort.evidence.proofs), 'proof')}",
        "unproved": f"none: {effort.evidence.reason}",
        "missing": "none yet",
        "not asked": "none asked",
        "nothing": "",
    }[effort.evidence.status]
    return f"{effort.direction}: {words}" if words else ""


def step_sheet(facts: ReportFacts, step: StepFacts) -> Sheet:
    """Return everything about one step: a column for each direction that it has."""
    efforts = step.efforts
    rows: list[tuple[Cell, ...]] = []

    def row(name: str, cells: Iterator[Cell]) -> None:
        made = tuple(cells)
        if any(cell.lines != (NO_TIME,) for cell in made):
            rows.append((text_cell(name), *made))

    row("what", (text_cell(effort.text) for effort in efforts))
    row("state", (text_cell(*_state_lines(effort)) for effort in efforts))
    row("intent durable", (text_cell(*_intent_lines(effort)) for effort in efforts))
    row("transaction", (code_cell(effort.tx) for effort in efforts))
    row("block", (_block(effort) for effort in efforts))
    row("block time (evidence)", (text_cell(moment_s(effort.block_s)) for effort in efforts))
    row("seen in a block", (text_cell(moment_ms(effort.included_ms)) for effort in efforts))
    row("final", (text_cell(moment_ms(effort.final_ms)) for effort in efforts))
    row("intent to final", (text_cell(span_ms(effort.took_ms)) for effort in efforts))
    row("attempts", (text_cell(*_attempt_lines(effort)) for effort in efforts))
    row("fee", (text_cell(*_fee_lines(effort)) for effort in efforts))
    row("proof", (_proof(effort) for effort in efforts))
    if facts.verification is not None:
        row("verified here", (text_cell(*_verified_lines(facts, effort)) for effort in efforts))
    title = f"{step.number} {step.id} on {step.chain}"
    heads = ("", *(effort.direction for effort in efforts))
    return Sheet(title, heads, (*rows, *_rollback_rows(step)))


def _state_lines(effort: EffortFacts) -> tuple[str, ...]:
    sign, words = PHASE_WORDS[effort.phase]
    if effort.direction == "confirm" and effort.phase == "unknown" and not effort.intents:
        words = "preimage revealed, not redeemed yet"
    record = f" (record {effort.outcome_seq})" if effort.outcome_seq else ""
    return (f"{sign} {words}{record}", effort.failure or "")


def _intent_lines(effort: EffortFacts) -> tuple[str, ...]:
    if not effort.attempts:
        return ()
    first = effort.attempts[0]
    what = "preimage may leave" if first.tx is None else ""
    return (f"{moment_ms(first.at_ms)} (record {first.seq})", what)


def _block(effort: EffortFacts) -> Cell:
    if effort.block is None:
        return text_cell()
    return code_cell(str(effort.height), effort.block)


def _attempt_lines(effort: EffortFacts) -> tuple[str, ...]:
    if not effort.attempts:
        return ()
    counts: dict[str, int] = {}
    for attempt in effort.attempts:
        counts[attempt.purpose] = counts.get(attempt.purpose, 0) + 1
    kinds = ", ".join(f"{count} {purpose}" for purpose, count in counts.items())
    newest = effort.attempts[-1].generation
    return (f"{len(effort.attempts)} ({kinds})", f"generation {newest}" if newest > 1 else "")


def attempts_sheets(step: StepFacts) -> tuple[Sheet, ...]:
    """Return the step's transactions that are not the one that counts, as one table, or none."""
    rows = [
        (
            text_cell(str(attempt.seq)),
            text_cell(moment_ms(attempt.at_ms)),
            text_cell(effort.direction),
            text_cell(f"{attempt.purpose}, generation {attempt.generation}"),
            code_cell(attempt.tx),
        )
        for effort in step.efforts
        for attempt in effort.intents
        if attempt.tx != effort.tx
    ]
    title = "Attempts whose transaction is not the one above"
    heads = ("record", "intent durable", "direction", "purpose", "transaction")
    return (Sheet(title, heads, tuple(rows)),) if rows else ()


def _fee_lines(effort: EffortFacts) -> tuple[str, ...]:
    if effort.phase not in ("done", "not_done", "included") or effort.tx is None:
        return ()
    amount = amount_words(effort.fee_asset, effort.fee, effort.fee_decimals)
    return (amount, f"{effort.fee} base units") if effort.fee else ("none of ours",)


def evidence_words(evidence: Evidence) -> tuple[str, ...]:
    """Return a proof's kinds and hashes, or why there is none."""
    if evidence.status == "proved":
        return tuple(f"{kind} {sha256}" for kind, sha256 in evidence.proofs)
    if evidence.status == "unproved":
        return (f"no proof: {evidence.reason}", evidence.detail)
    if evidence.status == "missing":
        return (f"asked for ({evidence.reason}), none in the records",)
    return ("none asked",) if evidence.status == "not asked" else ()


def _proof(effort: EffortFacts) -> Cell:
    words = evidence_words(effort.evidence)
    if effort.evidence.status == "proved":
        return code_cell(*words)
    if effort.evidence.status == "nothing" and effort.phase == "not_done":
        return text_cell("nothing was sent: nothing to prove")
    return text_cell(*words)


def _verified_lines(facts: ReportFacts, effort: EffortFacts) -> tuple[str, ...]:
    assert facts.verification is not None
    found = facts.verification.about(effort.step, effort.direction)
    shown = facts.verification.shown.get(f"{effort.step}/{effort.direction}", ())
    if not found:
        return ("no check of this proof",) if effort.evidence.status == "proved" else ()
    lines = []
    for check in found:
        by = f" by {check.by}" if check.by else ""
        why = f": {check.reason}" if check.reason and check.reason not in shown else ""
        lines.append(f"{check.status}{by}{why}")
    return (*lines, *shown)


def _rollback_rows(step: StepFacts) -> tuple[tuple[Cell, ...], ...]:
    """Return SYSTEMS.md A's traceability of one undo; the last column is the undo's."""
    undo = step.undo
    if undo is None or undo.undo is None:
        return ()
    record = undo.undo
    delay = [span_ms(record.delay_ms)]
    if step.forward.block_s is not None and undo.block_s is not None:
        delay.append(f"{span_ms((undo.block_s - step.forward.block_s) * 1000)} by block times")
    told = (
        ("original execution", (moment_ms(record.executed_ms),)),
        ("rolled back", (moment_ms(record.undone_ms),)),
        ("delay", tuple(delay)),
        ("reason", (record.reason,)),
        ("cause", (record.cause,)),
        ("result", (record.result,)),
    )
    blank = Cell(("",))
    before = (blank,) * (len(step.efforts) - 1)
    return tuple((text_cell(name), *before, text_cell(*lines)) for name, lines in told)
