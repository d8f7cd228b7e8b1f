"""The report as Markdown: the same tables and lines, without the pictures."""

from coordinator.report.cells import Cell, Sheet
from coordinator.report.facts import ReportFacts
from coordinator.report.markup import code, prose
from coordinator.report.sheets import (
    CLOCK_NOTE,
    acts_sheets,
    chains_sheet,
    log_rows,
    value_sheet,
    who_rows,
)
from coordinator.report.step_sheets import attempts_sheets, overview_sheet, step_sheet
from coordinator.report.story import not_verified, phases, verify_commands

__all__ = ["render_markdown"]


def render_markdown(facts: ReportFacts) -> str:
    """Return the page; the same facts give the same bytes."""
    verdict = facts.verdict
    cause = "Cause" if facts.rolls_back else "Decision"
    lines = [
        f"# {facts.title}: {prose(facts.plan)}",
        "",
        *_alarm(facts),
        f"**{verdict.word}** {prose(verdict.sentence)}  ",
        f"{cause}: {prose(verdict.cause)}",
        "",
        "## Open items",
        "",
        *_open_items(facts),
        "",
        "## Who, what, when",
        "",
        *_pairs(who_rows(facts)),
        "",
        CLOCK_NOTE,
        "",
        *_phases(facts),
        "## Value",
        "",
        *_table(value_sheet(facts)),
        "",
        "Second amount: base units. Net = returned − taken − fees.",
        "",
        "## Steps, the last one first" if facts.rolls_back else "## Steps",
        "",
        *_table(overview_sheet(facts)),
        "",
    ]
    for step in facts.told_steps:
        sheet = step_sheet(facts, step)
        lines += [f"### {prose(sheet.title)}", "", *_table(sheet), ""]
        for attempts in attempts_sheets(step):
            lines += [f"{attempts.title}:", "", *_table(attempts), ""]
    lines += ["## Acts and incidents", ""]
    for sheet in acts_sheets(facts):
        body = _table(sheet) if sheet.rows else ["None."]
        lines += [f"### {sheet.title}", "", *body, ""]
    lines += [*_not_verified(facts), "## Place in the log", "", *_pairs(log_rows(facts)), ""]
    chains = chains_sheet(facts)
    lines += [f"### {chains.title}", "", *_table(chains), ""]
    lines += ["Made from the records alone. It is not signed: what counts is the log."]
    return "\n".join(lines) + "\n"


def _alarm(facts: ReportFacts) -> list[str]:
    if facts.verification is None or facts.verification.verdict != "invalid":
        return []
    return ["**VERIFICATION FAILED** Do not rely on this page: see what was not verified.", ""]


def _open_items(facts: ReportFacts) -> list[str]:
    if not facts.open_items:
        return ["None."]
    return [
        f"- **{item.kind}**: {prose(item.text)}"
        + (f" → {code(item.command)}" if item.command else "")
        for item in facts.open_items
    ]


def _phases(facts: ReportFacts) -> list[str]:
    lines = []
    for phase in phases(facts):
        lines += [f"## {phase.title}", ""]
        lines += [f"- {prose(line)}" for line in phase.lines]
        lines += ["", f"**{prose(phase.result)}**", ""]
    return lines


def _not_verified(facts: ReportFacts) -> list[str]:
    lines = ["## What was not verified", ""]
    lines += [f"- {prose(line)}" for line in not_verified(facts)]
    verification = facts.verification
    if verification is not None:
        lines += ["", f"Verifier's verdict: **{prose(verification.verdict)}**", ""]
        rows = tuple(
            tuple(
                Cell((value or "–",))
                for value in (c.status, f"{c.name} {c.subject}".strip(), c.reason, c.by)
            )
            for c in verification.sorted_checks
        )
        heads = ("status", "check", "reason", "trust input that carried it")
        lines += _table(Sheet("", heads, rows))
    lines += ["", "Verify it yourself, offline:", ""]
    return [*lines, *(f"    {command}" for command in verify_commands(facts)), ""]


def _pairs(rows: tuple[tuple[str, Cell], ...]) -> list[str]:
    made = tuple((Cell((name,)), cell) for name, cell in rows)
    return _table(Sheet("", ("", ""), made))


def _table(sheet: Sheet) -> list[str]:
    kinds = [cell.kind for cell in sheet.rows[0]] if sheet.rows else [""] * len(sheet.heads)
    rules = ["--:" if kind == "number" else "---" for kind in kinds]
    heads = [prose(head) or " " for head in sheet.heads]
    rows = [[_cell(cell) for cell in row] for row in sheet.rows]
    return [f"| {' | '.join(cells)} |" for cells in (heads, rules, *rows)]


def _cell(cell: Cell) -> str:
    write = code if cell.kind == "code" else prose
    return "<br>".join(write(line) for line in cell.lines) or " "
