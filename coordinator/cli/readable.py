"""A saga as a person reads it: the result after a run, and the whole log (``show``)."""

from collections.abc import Iterator, Sequence
from typing import Final

from coordinator.cli.asking import asking_lines
from coordinator.cli.text import amounts, cause, clock, moment, short, span
from coordinator.held_back import NOTHING_HELD, HeldBack
from coordinator.journal.base import Record
from coordinator.pause_view import pause_of, pause_view
from coordinator.saga import Effort, SagaState, Step
from coordinator.saga.table import ENDS
from coordinator.views import advice, waiting

__all__ = ["goes_on", "headline", "log_lines", "safe_now_lines", "step_line", "summary_lines"]

_PHASES: Final = {
    "idle": ("·", "not started"),
    "unknown": ("?", "sent, not in a block yet"),
    "included": ("…", "in a block, not final"),
    "done": ("✓", "final"),
    "not_done": ("✗", "not done"),
    "written_off": ("!", "written off"),
}
_VERB: Final = {"confirm": "confirm", "undo": "undo"}


def headline(state: SagaState, held: HeldBack = NOTHING_HELD) -> str:
    """Return the state's word for people, with what stands in its way."""
    word = state.state.upper()
    if state.stuck is not None:
        word += " STUCK"
    return f"{word} PAUSED" if pause_of(state, held.pauses) else word


def step_line(state: SagaState, step: Step, direction: str) -> str:
    """Return one effort on one line."""
    effort = state.effort(step.id, direction)
    mark, words = _PHASES[effort.phase]
    if direction == "confirm" and effort.phase == "unknown" and effort.revealed:
        words = "preimage revealed, not redeemed yet"
    if effort.phase == "not_done":
        words = effort.reason or words
    if effort.proof:
        words += ", proved" if effort.proof == "proved" else f", no proof ({effort.proof})"
    name = step.id if direction == "forward" else f"{_VERB[direction]} {step.id}"
    width = max(len(each.id) for each in state.steps) + 8
    chains = max(len(each.chain) for each in state.steps)
    tx = effort.tx or (effort.attempts[-1].tx_id if effort.attempts else None)
    place = f"tx {short(tx)}" if tx else ""
    if effort.phase in ("included", "done"):
        place += f"  block {effort.height}"
    parts = [f" {mark} {step.index + 1} {name.ljust(width)}", step.chain.ljust(chains), place]
    return "  ".join(part for part in [*parts, words] if part).rstrip()


def _undone_order(state: SagaState) -> str:
    """Return the numbers of the steps that a rollback takes back, in its order."""
    numbers = [
        str(step.index + 1)
        for step in reversed(state.steps)
        if step.forward
        and state.effort(step.id, "forward").phase not in ("idle", "not_done", "written_off")
    ]
    return " → ".join(numbers)


def _efforts(state: SagaState, direction: str) -> list[tuple[Step, Effort]]:
    steps = reversed(state.steps) if direction == "undo" else iter(state.steps)
    return [
        (step, state.efforts[step.id, direction])
        for step in steps
        if (step.id, direction) in state.efforts
    ]


def summary_lines(state: SagaState, *, now_ms: int, held: HeldBack = NOTHING_HELD) -> list[str]:
    """Return the result of a run: one line for each effort, the end, the fees, where to look."""
    lines = [step_line(state, step, "forward") for step, _ in _efforts(state, "forward")]
    if state.state in ("undoing", "rolled_back"):
        order = _undone_order(state)
        lines.append(f"   rolling back {order}" if order else "   nothing to take back")
        lines.append(f"   because {cause(state)}")
    for direction in ("confirm", "undo"):
        lines += [step_line(state, step, direction) for step, _ in _efforts(state, direction)]
    took = span((state.updated_ms - state.started_ms) // 1000)
    fees = amounts(state, state.fees)
    if state.state in ENDS:
        lines.append(f"{headline(state)} in {took}. fees: {fees}. coordinator show {state.saga}")
    else:
        lines += [f"{headline(state, held)} since {took}. fees so far: {fees}."]
        lines += safe_now_lines(state, now_ms=now_ms, held=held)
    return lines


def safe_now_lines(state: SagaState, *, now_ms: int, held: HeldBack = NOTHING_HELD) -> list[str]:
    """Answer: where is the value, what is irreversible, what is the next safe command."""
    told = advice(state, now_ms=now_ms, held=held)
    lines = ["What is safe now"]
    lines += asking_lines(state)
    lines += _pause_lines(state, held)
    places = [
        f"{place['value']} {place['asset']} ({place['base_units']} base units): "
        f"{place['holder']} on {place['chain']} (step {place['step']})"
        for place in told["where"]
    ]
    for number, place in enumerate(places or ["nothing of this saga is out of its accounts"]):
        lines.append(f"  {'value' if not number else '':<12}  {place}")
    lines.append(f"  irreversible  {told['irreversible']}")
    lines.append(f"  next          {told['next']}")
    if state.state == "running":
        left = told["left_s"]
        when = f"{span(left)} left" if left >= 0 else f"passed {span(-left)} ago"
        lines.append(f"  deadline      {moment(state.deadline_s * 1000)} ({when})")
    for wait in waiting(state, now_ms, held):
        about = f"step {wait['step']}: " if wait["step"] else ""
        lines.append(f"  waits for     {about}{wait['reason']}")
        lines.append(f"                alarms at {moment(wait['until_s'] * 1000)}")
    return lines


def _pause_lines(state: SagaState, held: HeldBack) -> list[str]:
    """Return who holds what back, and what is on its way in spite of it."""
    view = pause_view(state, held.pauses)
    lines = [
        f"  paused        {pause.words} (since {moment(pause.at_ms)})"
        for pause in pause_of(state, held.pauses)
    ]
    if view is not None and view["held"]:
        lines.append(f"  held back     {', '.join(view['held'])}; at the deadline it rolls back")
    if view is not None and view["still_out"]:
        out = ", ".join(view["still_out"])
        lines.append(f"  not effective {out} began before the pause and may still land")
    return lines


def goes_on(state: SagaState) -> str:
    """Return what becomes of a live saga that nobody drives, in one sentence."""
    if state.state == "running":
        return f"Its deadline is {moment(state.deadline_s * 1000)}; after that it rolls back."
    word = "commit" if state.state == "confirming" else "roll back"
    return f"It has decided to {word} and can only go on with that."


# ---------------------------------------------------------------- the log


def log_lines(
    state: SagaState, records: Sequence[Record], *, now_ms: int, held: HeldBack = NOTHING_HELD
) -> list[str]:
    """Return the readable log: executions, decision or failure, confirms or undos, what is safe."""
    lines = [
        f"SAGA {state.saga}  {state.name}  {headline(state, held)}",
        f"digest {state.digest}",
        f"key {state.key}   started {moment(state.started_ms)}   records {state.seq}",
        "",
        "Phase 1: executions",
        *(line for step in state.steps for line in _execution(state, step)),
        "",
    ]
    lines += _decision(state, records)
    if state.state in ("undoing", "rolled_back") or _efforts(state, "undo"):
        lines += ["", "Phase 2: rollback", *_rollback(state, records)]
    if state.state in ("confirming", "committed") or _efforts(state, "confirm"):
        lines += ["", "Phase 2: confirms", *_confirms(state)]
    lines += [f"verdict: {_verdict(record)}" for record in records if record.kind == "verdict"]
    lines += ["", f"fees paid: {amounts(state, state.fees)}"]
    if state.state in ENDS:
        took = span((state.updated_ms - state.started_ms) // 1000)
        lines.append(f"{headline(state)} at {moment(state.updated_ms)}, after {took}")
    return [*lines, "", *safe_now_lines(state, now_ms=now_ms, held=held)]


def _execution(state: SagaState, step: Step) -> Iterator[str]:
    effort = state.effort(step.id, "forward")
    mark, words = _PHASES[effort.phase]
    if not step.forward:
        name = f"{step.index + 1} {step.id} on {step.chain}"
        yield f" {mark} {name}: {step.text} (after the decision)"
        return
    at = clock(effort.executed_ms or effort.updated_ms) if effort.updated_ms else "        –"
    failed = effort.phase == "not_done"
    words = f"FAILED: {effort.reason}" if failed else words
    yield f" {mark} {step.index + 1} {at} {step.id} on {step.chain}: {step.text} – {words}"
    yield from _transactions(effort)


def _transactions(effort: Effort) -> Iterator[str]:
    if effort.tx is not None:
        yield f"      tx {effort.tx} block {effort.height} {effort.block}"
    for attempt in effort.attempts:
        if attempt.tx_id != effort.tx:
            yield f"      tx {attempt.tx_id} ({attempt.purpose}, generation {attempt.generation})"


def _decision(state: SagaState, records: Sequence[Record]) -> Iterator[str]:
    decided = [record for record in records if record.kind == "decided"]
    if not decided:
        yield "Decision: none yet"
        return
    word = "commit" if decided[-1].data["decision"] == "commit" else "ROLLBACK"
    yield f"Decision at {moment(decided[-1].at_ms)}: {word}, {cause(state)}"


def _rollback(state: SagaState, records: Sequence[Record]) -> Iterator[str]:
    undone = {
        record.data["step"]: record
        for record in records
        if record.kind == "done" and record.data["dir"] == "undo"
    }
    wanted = [
        step
        for step in reversed(state.steps)
        if step.undo and state.effort(step.id, "forward").phase in ("unknown", "included", "done")
    ]
    for step in wanted:
        effort = state.effort(step.id, "undo")
        record = undone.get(step.id)
        if record is None or effort.phase != "done":
            mark, words = _PHASES[effort.phase]
            yield f" {mark} undo of {step.index + 1} {step.id} on {step.chain}: {words}"
        else:
            data = record.data
            yield f" ✓ undo of {step.index + 1} {step.id} on {step.chain}: {step.undo_text}"
            yield (
                f"      executed {moment(data['executed_ms'])}   undone "
                f"{moment(data['undone_ms'])}   result {data['result']}"
            )
            yield f"      reason {data['reason']}: {data['cause'].get('text', 'unknown')}"
        yield from _transactions(effort)
    count = sum(state.effort(step.id, "undo").phase == "done" for step in wanted)
    word = "completed" if state.state == "rolled_back" else "so far"
    yield f"rollback {word}: {count}/{len(wanted)}"


def _confirms(state: SagaState) -> Iterator[str]:
    wanted = [state.step(name) for name in state.plan["confirm_order"]]
    wanted = [step for step in wanted if step.confirm]
    for step in wanted:
        effort = state.effort(step.id, "confirm")
        mark, words = _PHASES[effort.phase]
        if effort.revealed and effort.phase == "unknown":
            words = "preimage revealed, waiting for the payee"
        yield f" {mark} {step.index + 1} {step.id} on {step.chain}: {step.confirm_text} – {words}"
        yield from _transactions(effort)
    count = sum(state.effort(step.id, "confirm").phase == "done" for step in wanted)
    word = "completed" if state.state == "committed" else "so far"
    yield f"confirms {word}: {count}/{len(wanted)}" if wanted else "nothing to confirm"


def _verdict(record: Record) -> str:
    data = record.data
    return (
        f"{moment(record.at_ms)} {data['verdict']} of {data['step']} {data['dir']} by "
        f"{', '.join(data['by'])}: {data['reason']}"
    )
