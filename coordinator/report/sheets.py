"""The tables about the saga as a whole: who, what, when, value, acts, chains, its place."""

from typing import Final

from coordinator.report.cells import Cell, Sheet, code_cell, text_cell
from coordinator.report.facts import ReportFacts
from coordinator.report.value import Flow
from coordinator.report.words import moment_ms, moment_s, plural, span_ms

__all__ = [
    "CLOCK_NOTE",
    "acts_sheets",
    "chains_sheet",
    "log_rows",
    "proof_count",
    "short_moment",
    "value_sheet",
    "who_rows",
]

CLOCK_NOTE: Final = (
    "Times of records are the coordinator's own clock: a claim. Block times come from the chains: "
    "evidence, once their headers are trusted."
)


# ---------------------------------------------------------------- who, what, when


def who_rows(facts: ReportFacts) -> tuple[tuple[str, Cell], ...]:
    """Return plan, ids and times."""
    ended = facts.closed_ms if facts.closed_ms is not None else facts.last_ms
    end = "closed" if facts.closed_ms is not None else "last record"
    late = facts.decided_ms is not None and facts.decided_ms > facts.deadline_s * 1000
    decided = moment_ms(facts.decided_ms) if facts.decided_ms is not None else "not yet"
    if facts.decision is not None:
        decided += f" ({facts.decision}{', after the deadline' if late else ''})"
    return (
        ("plan", text_cell(facts.plan)),
        ("saga", code_cell(facts.saga)),
        ("plan digest", code_cell(facts.digest)),
        ("key", code_cell(facts.key)),
        ("started", text_cell(moment_ms(facts.started_ms))),
        ("deadline", text_cell(moment_s(facts.deadline_s))),
        ("decided", text_cell(decided)),
        (
            end,
            text_cell(f"{moment_ms(ended)}, {span_ms(ended - facts.started_ms)} after the start"),
        ),
        ("driven by", code_cell(*facts.instances)),
    )


def chains_sheet(facts: ReportFacts) -> Sheet:
    """Return each chain's finality and who told it."""
    rows = [
        (
            text_cell(chain.name),
            text_cell(chain.network),
            text_cell(chain.finality),
            text_cell("one node, its word alone" if chain.nodes == 1 else f"{chain.nodes} nodes"),
            text_cell(chain.proof),
        )
        for chain in facts.chains
    ]
    heads = ("chain", "network", "final after", "told by", "proof asked")
    return Sheet("Chains and finality, as the plan fixed them", heads, tuple(rows))


def log_rows(facts: ReportFacts) -> tuple[tuple[str, Cell], ...]:
    """Return where the saga stands in the log."""
    first, last = facts.positions
    return (
        ("records", text_cell(str(facts.records))),
        (
            "positions in the log",
            text_cell(f"{first} to {last} (other sagas' records lie between)"),
        ),
        ("hash of the first record", code_cell(facts.first_hash)),
        ("hash of the last record", code_cell(facts.head)),
        *_checkpoint_rows(facts),
    )


def _checkpoint_rows(facts: ReportFacts) -> tuple[tuple[str, Cell], ...]:
    verification = facts.verification
    if verification is None:
        return ()
    rows = [
        (
            "checkpoint verified",
            code_cell(verification.log) if verification.log else text_cell("none"),
        )
    ]
    if verification.records is not None:
        rows.append(
            ("records in the bundle", text_cell(f"{verification.records} of {facts.records}"))
        )
    return tuple(rows)


# ---------------------------------------------------------------- value


def value_sheet(facts: ReportFacts) -> Sheet:
    """Return what was taken, returned, paid, and what is left of it all, exact."""
    shown = [name for name in _SOMETIMES if any(getattr(f, name) for f in facts.flows)]
    heads = ["asset", "taken", "returned", *(_SOMETIMES[name] for name in shown)]
    rows = []
    for flow in facts.flows:
        amounts = [flow.taken, flow.returned, *(getattr(flow, name) for name in shown)]
        name = f"{flow.asset} on {flow.chain}"
        if flow.origin != "ours":
            name += " (new coins)" if flow.origin == "issued" else " (from outside)"
        cells = [_amount(flow, amount) for amount in [*amounts, flow.fees]]
        rows.append((text_cell(name), *cells, _amount(flow, flow.net, signed=True)))
    return Sheet("Value", (*heads, "fees", "net"), tuple(rows))


#: Columns that are left out where they would be zero all the way down.
_SOMETIMES: Final = {
    "kept": "with us elsewhere",
    "delivered": "delivered",
    "out": "still out",
    "doubt": "in doubt",
    "given_up": "given up",
}


def _amount(flow: Flow, base_units: int, *, signed: bool = False) -> Cell:
    plus = "+" if signed and base_units > 0 else ""
    value = f"{plus}{flow.words(base_units)}".replace("-", "−")
    return Cell((value, f"{plus}{base_units}".replace("-", "−")), "number")


def short_moment(facts: ReportFacts, at_ms: int | None) -> str:
    """Return a moment, without its day while that is the day of the start."""
    whole = moment_ms(at_ms)
    same_day = whole[:10] == moment_ms(facts.started_ms)[:10]
    return whole[11:] if same_day else whole


# ---------------------------------------------------------------- acts


def acts_sheets(facts: ReportFacts) -> tuple[Sheet, ...]:
    """Return operator acts, and incidents that nobody ordered."""
    sheets = []
    for by_person, title in ((True, "Operator acts"), (False, "Incidents and alarms")):
        rows = [
            (
                text_cell(moment_ms(act.at_ms)),
                text_cell(str(act.seq)),
                text_cell(act.kind),
                text_cell(act.who),
                text_cell(act.text),
            )
            for act in facts.acts
            if act.by_person is by_person
        ]
        if rows or by_person:
            sheets.append(Sheet(title, ("when", "record", "kind", "who", "what"), tuple(rows)))
    return tuple(sheets)


def proof_count(facts: ReportFacts) -> str:
    """Return how many outcomes have a proof, of how many there are."""
    outcomes = [
        effort
        for step in facts.steps
        for effort in step.efforts
        if effort.evidence.status != "nothing"
    ]
    proved = sum(effort.evidence.status == "proved" for effort in outcomes)
    return f"{proved} of {plural(len(outcomes), 'outcome')}"
