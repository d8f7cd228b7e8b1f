"""What tests told the report, read back and summed.

Areas tell what they have in words of their own; `_PLACES` says where in the report it belongs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["RETOLD", "Line", "Sum", "by_kind", "read", "select", "summed"]

#: Where jobs tell what other jobs of the same run tell, too.
RETOLD: Final = "retold"


@dataclass(frozen=True, slots=True)
class Line:
    """One line, as `tests.reliability.notes.note` wrote it."""

    area: str
    kind: str
    fired: int
    bad: int
    runs: int
    more: Mapping[str, Any]

    @property
    def suite(self) -> str:
        """The bar that it counts for, if it says."""
        return str(self.more.get("suite", ""))

    @property
    def is_detail(self) -> bool:
        """Whether another line counts the same runs, all kinds of fault together."""
        return self.suite.endswith(", in detail")

    @property
    def point(self) -> str:
        """The kind of place at which the fault fired, if it says."""
        return str(self.more.get("point", ""))


@dataclass(frozen=True, slots=True)
class Sum:
    """Counts of several lines."""

    fired: int
    bad: int
    runs: int


def read(folder: Path) -> list[Line]:
    """Read every line that jobs have left in ``folder``, each in one of its own; of those that are
    retold only what is wrong, for what is well would count twice.

    Raises:
        ValueError: a line is not what `note` writes; a report must not leave it out in silence.
    """
    paths = sorted(folder.rglob("*.jsonl"))
    retold = [path for path in paths if folder / RETOLD in path.parents]
    told = [line for path in paths if path not in retold for line in _lines_in(path)]
    return told + [line for path in retold for line in _lines_in(path) if line.bad]


def _lines_in(path: Path) -> list[Line]:
    found = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            found.append(_line(json.loads(text)))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number} is none of the report's: {error}") from error
    return found


def _line(form: dict[str, Any]) -> Line:
    area, kind = str(form.pop("area")), str(form.pop("kind"))
    fired, bad = int(form.pop("fired")), int(form.pop("bad"))
    runs = int(form.pop("runs", fired))
    for place in _PLACES.get(area, ()):
        form = {**place(kind, form), **form}
    return Line(area, str(form.pop("way", kind)), fired, bad, runs, form)


def _simulated(kind: str, _form: Mapping[str, Any]) -> dict[str, str]:
    """``FAMILY`` sums all worlds of a family; ``FAMILY: CALL/WAY`` is one kind of fault in them."""
    family, _, detail = kind.partition(": ")
    suite = _FAMILIES.get(family, family)
    if not detail:
        return {"suite": suite}
    call, _, way = detail.partition("/")
    if not way:
        return {"suite": f"{suite}, in detail", "way": call, "point": "the world around it"}
    return {"suite": f"{suite}, in detail", "way": way, "point": call}


def _on_disk(kind: str, _form: Mapping[str, Any]) -> dict[str, str]:
    what, _, plan = kind.partition(", ")
    suite = next((suite for words, suite in _DISK if words in what), what)
    return {"suite": suite, "way": what, "point": plan or "journal"}


def _on_nodes(kind: str, form: Mapping[str, Any]) -> dict[str, str]:
    if "method" in form:
        return {"suite": "calls", "point": form["method"]}
    suite = "reorganisations" if kind == "blocks replaced" else "weather"
    return {"suite": suite, "point": str(form.get("chain") or form.get("phase") or "")}


#: Families of simulated worlds, and the bar that each counts for.
_FAMILIES: Final = {
    "single": "singles",
    "pair": "pairs",
    "wild": "random",
    "stranger": "random",
    "seed": "random",
    "operator": "machine",
}
_DISK: Final = (
    ("power loss", "power loss"),
    ("at every operation", "write failed"),
    ("bit flips", "bit flips"),
    ("backup", "old backup"),
    ("driven on", "old journals"),
    ("disk full", "disk full"),
)
_PLACES: Final[Mapping[str, Sequence[Callable[[str, Mapping[str, Any]], dict[str, str]]]]] = {
    "sim": (_simulated,),
    "disk": (_on_disk,),
    "adversity": (_on_nodes,),
}


def select(lines: Iterable[Line], area: str, suite: str | None = None) -> list[Line]:
    """Return the lines of an area, or of one of its suites."""
    return [line for line in lines if line.area == area and suite in (None, line.suite)]


def summed(lines: Iterable[Line]) -> Sum:
    """Add lines up."""
    fired = bad = runs = 0
    for line in lines:
        fired, bad, runs = fired + line.fired, bad + line.bad, runs + line.runs
    return Sum(fired, bad, runs)


def by_kind(lines: Iterable[Line]) -> dict[str, Sum]:
    """Add lines of the same kind up, the kinds in alphabetical order."""
    lines = list(lines)
    kinds = sorted(Counter(line.kind for line in lines))
    return {kind: summed(line for line in lines if line.kind == kind) for kind in kinds}
