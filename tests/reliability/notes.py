"""What a test tells the report: one JSON line per kind of fault, mutant or other figure.

A test that is not asked (``RELIABILITY_OUT`` is not set) tells nothing. Workers that run at the
same time write to files of their own, so a line is never torn.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["AREAS", "FOLDER", "broken_rules", "note", "noted", "story"]

#: The environment variable that names the folder.
FOLDER: Final = "RELIABILITY_OUT"
AREAS: Final = ("sim", "crash", "disk", "adversity", "mutants", "soak")
#: Longest story of a failure, in characters.
_STORY: Final = 8_000
#: A judge's word on a rule: its number and what is wrong, as in ``K11 the preimage of …``.
_RULE: Final = re.compile(r"\b[IK]\d+(?= )")


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


@contextmanager
def noted(area: str, kind: str, **more: Any) -> Iterator[None]:
    """Tell of the one run in the ``with``: it ended well, or wrong by the rules that are named in
    what it raises, which goes on.
    """
    try:
        yield
    except Exception as error:
        rules = broken_rules([str(error)])
        note(area, kind, fired=1, bad=1, runs=1, rules=rules, said=story(error), **more)
        raise
    note(area, kind, fired=1, bad=0, runs=1, **more)


def story(error: BaseException) -> str:
    """Return what an error says, with the notes that tell how to replay it: a run that is
    interrupted prints no failures any more.
    """
    if isinstance(error, BaseExceptionGroup):
        return "\n".join(story(each) for each in error.exceptions)[:_STORY]
    notes = getattr(error, "__notes__", ())
    return "\n".join([f"{type(error).__name__}: {error}", *notes])[:_STORY]


def broken_rules(wrong: Iterable[str]) -> list[str]:
    """Return the numbers of the judges' rules that are named: I of the simulation's checker, K of
    the judge on real nodes.
    """
    return sorted({rule for text in wrong for rule in _RULE.findall(text)})
