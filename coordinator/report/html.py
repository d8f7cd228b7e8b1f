"""The report as one HTML file: no script, nothing from outside, a policy that forbids both."""

import base64
import hashlib
from collections.abc import Callable
from typing import Final

from coordinator.report.cells import Cell, Sheet
from coordinator.report.facts import ReportFacts
from coordinator.report.html_forms import (
    card_table,
    isolated_text,
    note_line,
    own_lines,
    pairs_table,
    section,
    sheet_table,
)
from coordinator.report.ladder_svg import draw_ladder
from coordinator.report.legends import bars_legend, places_legend
from coordinator.report.markup import Markup, element, join
from coordinator.report.sheets import (
    CLOCK_NOTE,
    acts_sheets,
    chains_sheet,
    log_rows,
    value_sheet,
    who_rows,
)
from coordinator.report.step_sheets import attempts_sheets, overview_sheet, step_sheet
from coordinator.report.story import Phase, not_verified, phases, verify_commands
from coordinator.report.style import STYLE
from coordinator.report.timeline_svg import draw_timeline
from coordinator.report.value_strip_svg import draw_value_strip

__all__ = ["render_html"]

_WIDE: Final = 860
_NARROW: Final = 360

_Draw = Callable[..., Markup | None]


def render_html(facts: ReportFacts) -> str:
    """Return the page; the same facts give the same bytes."""
    style_hash = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{style_hash}'; base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="robots", content="noindex"),
        element("title", f"{facts.title}: {facts.plan} {facts.saga}"),
        Markup(f"<style>{STYLE}</style>"),
    )
    body = element("body", _header(facts), element("main", *_sections(facts)), _footer(facts))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _sections(facts: ReportFacts) -> list[Markup]:
    return [
        _open_items(facts),
        section("Who, what, when", pairs_table(who_rows(facts)), note_line(CLOCK_NOTE)),
        _timeline(facts),
        _ladder(facts),
        _value(facts),
        section("The log in plain words", *(_phase(phase) for phase in phases(facts))),
        _steps(facts),
        section("Acts and incidents", *(_acts(sheet) for sheet in acts_sheets(facts))),
        _not_verified(facts),
        section(
            "Place in the log",
            pairs_table(log_rows(facts)),
            sheet_table(chains_sheet(facts), "wordy"),
        ),
    ]


# ---------------------------------------------------------------- parts


def _header(facts: ReportFacts) -> Markup:
    verdict = facts.verdict
    banner = element(
        "div",
        element("strong", f"{_SIGNS[verdict.kind]} {verdict.word}"),
        element("span", verdict.sentence),
        element("span", _cause_label(facts), isolated_text(verdict.cause)),
        class_=f"verdict {verdict.kind}",
    )
    return element(
        "header",
        element("h1", f"{facts.title}: ", isolated_text(facts.plan)),
        element("p", "saga ", element("code", facts.saga), class_="soft"),
        _alarm(facts),
        banner,
        _glance(facts),
    )


def _alarm(facts: ReportFacts) -> Markup | None:
    """Return what a reader must see before the verdict: that its verification failed."""
    if facts.verification is None or facts.verification.verdict != "invalid":
        return None
    return element(
        "div",
        element("strong", "✗ VERIFICATION FAILED"),
        element("span", "Do not rely on this page: see what was not verified."),
        class_="verdict stuck",
        role="alert",
    )


_SIGNS: Final = {
    "committed": "✓",
    "rolled_back": "↩",
    "closed_by_operator": "!",
    "stuck": "!",
    "open": "…",
}


def _cause_label(facts: ReportFacts) -> str:
    return "Cause: " if facts.rolls_back else "Decision: "


def _glance(facts: ReportFacts) -> Markup:
    nets = [
        element(
            "dd", f"{'+' if flow.net > 0 else ''}{flow.words(flow.net)} ".replace("-", "−"),
            isolated_text(f"{flow.asset} on {flow.chain}"),
        )
        for flow in facts.flows
        if flow.origin == "ours"
    ]  # fmt: skip
    urgent = len(facts.open_items)
    opened = "none" if not urgent else f"{urgent}, listed below"
    verification = facts.verification
    verified = "nothing, see below"
    if verification is not None:
        verified = (
            f"{verification.verdict.upper()}: {verification.count('passed')} passed, "
            f"{verification.count('failed')} failed, "
            f"{verification.count('not verified')} not verified"
        )
    return element(
        "dl",
        element("div", element("dt", "Net, our accounts"), *(nets or [element("dd", "nothing")])),
        element("div", element("dt", "Open items"), element("dd", opened)),
        element("div", element("dt", "Verified for this page"), element("dd", verified)),
        class_="glance",
    )


def _open_items(facts: ReportFacts) -> Markup:
    if not facts.open_items:
        return section("Open items", element("p", "None."))
    items = [
        element(
            "li",
            element("strong", f"{item.kind}: "),
            isolated_text(item.text),
            join(" → ", element("code", item.command)) if item.command else None,
        )
        for item in facts.open_items
    ]
    return section("Open items", element("ul", *items, class_="plain needs"))


def _timeline(facts: ReportFacts) -> Markup:
    note = (
        "Drawn by the coordinator's clock (UTC). The strong vertical line is the decision, the "
        "dashed one the deadline; where ≈ stands, a long time without records was cut out."
    )
    return section("Timeline", _figure(facts, "timeline", draw_timeline, bars_legend(), note))


def _ladder(facts: ReportFacts) -> Markup:
    if facts.rolls_back:
        name = "Rollback ladder"
        note = "Read down the left side, then up the right side. Numbers after # are records."
    else:
        name = "Ladder"
        note = "Left: the steps in the plan's order. Right: what ends each of them."
    return section(name, _figure(facts, "ladder", draw_ladder, note))


def _value(facts: ReportFacts) -> Markup:
    note = (
        "Each strip is all that the plan moves of one asset on one chain, from record to record; "
        "its upper edge is the sum, which can not change. Numbers after # are records."
    )
    strip = _figure(facts, "value", draw_value_strip, places_legend(facts), note)
    return section("Value", strip, sheet_table(value_sheet(facts), "stack"), note_line(
        "Below each amount: base units. Net = returned − taken − fees. Amounts are the plan's, for "
        "effects that the records call done."
    ))  # fmt: skip


def _steps(facts: ReportFacts) -> Markup:
    order = "Steps, the last one first" if facts.rolls_back else "Steps"
    cards = [
        element(
            "section",
            element("h3", isolated_text(sheet.title)),
            card_table(sheet),
            *(sheet_table(attempts, "stack", "wordy") for attempts in attempts_sheets(step)),
        )
        for step, sheet in ((step, step_sheet(facts, step)) for step in facts.told_steps)
    ]
    return section(order, sheet_table(overview_sheet(facts), "stack", "brief"), *cards)


def _acts(sheet: Sheet) -> Markup:
    if sheet.rows:
        return sheet_table(sheet, "stack", "wordy")
    return element("p", element("strong", f"{sheet.title}: "), "none.")


def _not_verified(facts: ReportFacts) -> Markup:
    items = element("ul", *(element("li", line) for line in not_verified(facts)), class_="plain")
    parts = [items]
    verification = facts.verification
    if verification is not None:
        rows = tuple(
            tuple(
                Cell((value or "–",))
                for value in (c.status, f"{c.name} {c.subject}".strip(), c.reason, c.by)
            )
            for c in verification.sorted_checks
        )
        heads = ("status", "check", "reason", "trust input that carried it")
        title = f"Verifier's checks: {verification.verdict}"
        parts.append(sheet_table(Sheet(title, heads, rows), "stack", "checks"))
    commands = "\n".join(verify_commands(facts))
    parts += [element("p", "Verify it yourself, offline:"), element("pre", own_lines(commands))]
    return section("What was not verified", *parts)


def _footer(facts: ReportFacts) -> Markup:
    return element(
        "footer",
        element(
            "p",
            f"Made from {facts.records} records alone, up to record hash ",
            element("code", facts.head),
            ". The same records give the same page. It is not signed: what counts is the log.",
            class_="soft",
        ),
    )


def _figure(facts: ReportFacts, name: str, draw: _Draw, *notes: object) -> Markup | None:
    """Return a picture twice, for wide and for narrow screens; only one is ever shown."""
    wide = draw(facts, prefix=f"{name}-w", width=_WIDE)
    narrow = draw(facts, prefix=f"{name}-n", width=_NARROW)
    if wide is None or narrow is None:
        return None
    captions = [note if isinstance(note, Markup) else element("p", note) for note in notes]
    return element(
        "figure",
        element("div", wide, class_="wide"),
        element("div", narrow, class_="narrow"),
        element("figcaption", *captions),
    )


def _phase(phase: Phase) -> Markup:
    lines = [element("li", line) for line in phase.lines]
    return element(
        "section",
        element("h3", phase.title),
        element("ol", *lines, class_="log") if lines else None,
        element("p", phase.result, class_="result"),
    )
