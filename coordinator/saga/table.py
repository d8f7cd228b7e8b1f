"""The one transition table: which record may follow which state, and where it leads.

Two machines share the table. A *saga* moves between the states that every view shows; each of its
*efforts* (one step in one direction) moves between phases. A record that the table does not name
for the present state is an error and changes nothing. Everything else about a saga is data.

The diagrams in ``coordinator/README.md`` are generated from these tables (`diagram`).
"""

from typing import Final

__all__ = [
    "ENDS",
    "INTENTS",
    "LIVE",
    "PHASES",
    "SAGA",
    "diagram",
]

#: (saga state, record kind) → saga state. ``None`` is the state before the first record.
#: Kinds that end in ``:commit`` and the like are refined by the record's own data.
SAGA: Final[dict[tuple[str | None, str], str]] = {
    (None, "started"): "running",
    ("running", "decided:commit"): "confirming",
    ("running", "decided:rollback"): "undoing",
    ("confirming", "closed:committed"): "committed",
    ("confirming", "closed:closed_by_operator"): "closed_by_operator",
    ("undoing", "closed:rolled_back"): "rolled_back",
    ("undoing", "closed:closed_by_operator"): "closed_by_operator",
    ("committed", "reopened"): "confirming",
    ("rolled_back", "reopened"): "undoing",
}

#: (effort phase, record kind) → effort phase.
#:
#: ``unknown`` is the phase of every durable intent: it counts as sent from the moment it is
#: durable, and only what a block shows leads out of it. ``withdrawn`` is finality that broke.
PHASES: Final[dict[tuple[str, str], str]] = {
    ("idle", "refused"): "not_done",
    ("idle", "intent"): "unknown",
    ("idle", "reveal"): "unknown",
    ("unknown", "intent"): "unknown",
    ("unknown", "intent:kill"): "unknown",
    ("unknown", "included"): "included",
    ("unknown", "done"): "done",
    ("unknown", "not_done"): "not_done",
    ("included", "included"): "included",
    ("included", "orphaned"): "unknown",
    ("included", "done"): "done",
    ("done", "proved"): "done",
    ("done", "unproved"): "done",
    ("done", "withdrawn"): "unknown",
    ("not_done", "intent"): "unknown",
    ("not_done", "intent:kill"): "not_done",
    ("not_done", "not_done"): "not_done",
    ("not_done", "proved"): "not_done",
    ("not_done", "unproved"): "not_done",
    ("not_done", "withdrawn"): "unknown",
    ("idle", "verdict:write_off"): "written_off",
    ("unknown", "verdict:write_off"): "written_off",
    ("included", "verdict:write_off"): "written_off",
    ("not_done", "verdict:write_off"): "written_off",
}

#: (saga state, direction) → purposes for which an intent may be written.
#:
#: Ending a forward effort while the saga is running is the pivot's only way back, and an
#: operator's verdict. A forward effect after the commit repairs a finality that broke. An undo
#: while confirming is the refund that a recorded ``reclaim`` verdict allows. A burn after the end
#: frees a claim that a tombstone left unused.
INTENTS: Final[dict[tuple[str, str], frozenset[str]]] = {
    ("running", "forward"): frozenset({"effect", "burn", "tombstone"}),
    ("undoing", "forward"): frozenset({"burn", "tombstone"}),
    ("undoing", "undo"): frozenset({"effect"}),
    ("confirming", "confirm"): frozenset({"effect"}),
    ("confirming", "forward"): frozenset({"effect"}),
    ("confirming", "undo"): frozenset({"effect"}),
    ("rolled_back", "forward"): frozenset({"burn"}),
    ("closed_by_operator", "forward"): frozenset({"burn"}),
}

LIVE: Final = frozenset({"running", "confirming", "undoing"})
ENDS: Final = frozenset({"committed", "rolled_back", "closed_by_operator"})


def diagram() -> str:
    """Return both machines as Mermaid state diagrams, in table order."""
    lines = ["```mermaid", "stateDiagram-v2"]
    for (state, kind), after in SAGA.items():
        lines.append(f"    {state or '[*]'} --> {after}: {_label(kind)}")
    lines += [f"    {end} --> [*]" for end in sorted(ENDS)]
    lines += ["```", "", "```mermaid", "stateDiagram-v2", "    [*] --> idle"]
    for (phase, kind), target in PHASES.items():
        lines.append(f"    {phase} --> {target}: {_label(kind)}")
    lines.append("```")
    return "\n".join(lines)


def _label(kind: str) -> str:
    """Mermaid ends a label at a second colon."""
    return kind.replace(":", " ")


if __name__ == "__main__":
    print(diagram())  # noqa: T201 - for coordinator/README.md
