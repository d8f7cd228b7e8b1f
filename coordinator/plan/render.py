"""A lock and its report as plain text for a terminal or a file."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from adapters.assets import format_amount
from coordinator.plan.check import Report
from coordinator.plan.value import fees_of

__all__ = ["duration", "render_findings", "render_report", "reversibility"]

#: An address or a hash in one of the notations of chains.
_LONG_WORD: Final = re.compile(r"\b[0-9A-Za-z]{24,}\b")

_Lock = Mapping[str, Any]
_Step = Mapping[str, Any]


def render_report(
    lock: _Lock, digest: str, report: Report, simulated: Mapping[str, str] | None = None
) -> str:
    """Return the whole page: steps, order, value, what happens if, worst case, findings.

    ``simulated``: step id → ``ok``, ``not simulated: …`` or why it would fail today.
    """
    verdict = "" if report.valid else "   REFUSED"
    names = _Names(lock, report)
    head = (
        f"PLAN {lock['name']}   digest {digest[:4]}…{digest[-4:]}   "
        f"deadline {duration(lock['deadline_s'])}   NOTHING SENT{verdict}"
    )
    parts = [
        head,
        *_columns([[names.cut(cell) for cell in row] for row in _rows(lock, simulated or {})]),
        "",
    ]
    if report.failure_table:
        parts += [*_orders(lock, report), "", *_value(lock, report), "", *_failures(lock, report)]
        parts.append("")
    parts += render_findings(report)
    parts = [names.cut(part).rstrip() for part in parts]
    parts += [f" {short} = {full}" for short, full in names.in_full.items()]
    return "\n".join((*parts, f"digest {digest}")) + "\n"


class _Names:
    """Cuts long addresses and hashes in the middle; two that would then look the same stay whole.

    Attributes:
        in_full: what was cut, by its short form.
    """

    def __init__(self, lock: _Lock, report: Report) -> None:
        texts = [text for step in lock["steps"] for text in (step["text"], step["undo_text"])]
        texts += [change.holder for change in report.changes]
        texts += render_findings(report)
        words = dict.fromkeys(word for text in texts for word in _LONG_WORD.findall(text))
        cut = {full: f"{full[:6]}…{full[-4:]}" for full in words}
        shorts = list(cut.values())
        self._cut = {full: short for full, short in cut.items() if shorts.count(short) == 1}
        self.in_full = {short: full for full, short in self._cut.items()}

    def cut(self, text: str) -> str:
        """Return ``text`` with the known long words cut."""
        return _LONG_WORD.sub(lambda match: self._cut.get(match[0], match[0]), text)


def render_findings(report: Report) -> list[str]:
    """Return one line for each finding, errors first."""
    return [str(finding) for finding in report.findings]


def reversibility(step: _Step) -> str:
    """Return how the step can be taken back, in one word.

    ``void``: cancelled on the chain; ``refund@+N`` after N blocks or seconds; ``counter``: by a
    transaction of its own; ``none``: not at all; ``retried``: runs after the point of no return.
    """
    if step["class"] == "pivot":
        return "none"
    if step["class"] == "retriable":
        return "retried"
    if step["expiry"] is not None:
        unit = "" if "blocks" in step["expiry"] else "s"
        return f"refund@+{next(iter(step['expiry'].values()))}{unit}"
    return "void" if step["unique_by"] == "operation" else "counter"


def duration(seconds: int) -> str:
    """Return seconds as people say them: ``2h``, ``1h30m``, ``45s``."""
    if seconds == 0:
        return "0s"
    rest, text = seconds, ""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        text += f"{count}{unit}" if count else ""
    return text


def _rows(lock: _Lock, simulated: Mapping[str, str]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("#", "step", "chain", "effect", "reversible", "undo", "fee max", "today")
    ]
    for number, step in enumerate(lock["steps"], start=1):
        fee = fees_of(step, ("forward", "burn")) + max(
            fees_of(step, ("undo",)), fees_of(step, ("confirm",))
        )
        rows.append((
            str(number), step["id"], step["chain"], step["text"], reversibility(step),
            step["undo_text"] if step["undo"] else "–", _amount(lock, step["fee_asset"], fee),
            simulated.get(step["id"], "not simulated"),
        ))  # fmt: skip
    return rows


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        " " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]


def _orders(lock: _Lock, report: Report) -> Iterator[str]:
    undone = [step["id"] for step in reversed(lock["steps"]) if step["undo"]]
    yield f" confirm order: {', '.join(lock['confirm_order']) or 'nothing to confirm'}"
    yield f" rollback order: {' → '.join(undone) or 'nothing to undo'}"
    least, longest = report.forward_s
    yield (
        f" time: all final after {duration(least)} to {duration(longest)}; a rollback ends "
        f"{duration(report.rollback_s)} after the start at the latest"
    )


def _value(lock: _Lock, report: Report) -> Iterator[str]:
    for asset in sorted({change.asset for change in report.changes}):
        parts = [
            f"{change.holder} {'+' if change.amount > 0 else ''}"
            f"{format_amount(change.amount, lock['assets'][asset])}"
            for change in report.changes
            if change.asset == asset
        ]
        yield f" value {asset}: {' | '.join(parts)}"
    every, conserved = report.paths
    yield f" conserved on {conserved} of {every} rollback paths, fees apart"


def _failures(lock: _Lock, report: Report) -> Iterator[str]:
    yield " if the next step"
    step = None
    for row in report.failure_table:
        if row.step != step:
            step = row.step
            yield f"  {row.after + 1} {step}"
            yield f"    worst case: {_worst(lock, report, row.after)}"
        when = "if it ends badly undo" if row.end == "committed" else "undo"
        back = f"; {when} {' → '.join(row.undone)}" if row.undone else ""
        yield f"    {row.outcome}: {row.action}{back}"
    yield f"  with everything done, worst case: {_worst(lock, report, len(lock['steps']))}"


def _worst(lock: _Lock, report: Report, after: int) -> str:
    case = report.worst_case[after]
    parts = [f"fees {_amounts(lock, case.fees)}"]
    if case.bound:
        parts.append(f"bound until undone or confirmed {_amounts(lock, case.bound)}")
    if case.irreversible:
        parts.append(f"not to be had back {_amounts(lock, case.irreversible)}")
    return "; ".join(parts)


def _amounts(lock: _Lock, values: Mapping[str, int]) -> str:
    return ", ".join(_amount(lock, asset, n) for asset, n in values.items() if n) or "none"


def _amount(lock: _Lock, asset: str, amount: int) -> str:
    return f"{format_amount(amount, lock['assets'][asset])} {asset}"
