"""What a test tells the report: one JSON line per kind of fault, mutant or other figure.

A test that is not asked (``RELIABILITY_OUT`` is not set) tells nothing. Workers that run at the
same time write to files of their own, so a line is never torn.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

__all__ = ["AREAS", "FOLDER", "note"]

#: The environment variable that names the folder.
FOLDER: Final = "RELIABILITY_OUT"
AREAS: Final = ("sim", "crash", "disk", "adversity", "mutants", "soak")


def note(area: str, kind: str, *, fired: int, bad: int, runs: int, **more: Any) -> None:
    """Add one line to the report.

    Args:
        area: one of `AREAS`.
        kind: of the fault, or the name of what was counted; lines of one kind are summed.
        fired: how often it really happened; a fault that never fires shows nothing.
        bad: how many of the runs ended wrong.
        runs: how many runs there were.
        more: figures and words of the area's own, JSON values.
    """
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    if area not in AREAS:
        raise ValueError(f"{area} is no area of the report: {', '.join(AREAS)}")
    counts = {"fired": int(fired), "bad": int(bad), "runs": int(runs)}
    line = {"area": area, "kind": kind, **counts, **more}
    path = Path(folder, f"{area}-{os.getpid()}.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as out:
        out.write(json.dumps(line, sort_keys=True) + "\n")
