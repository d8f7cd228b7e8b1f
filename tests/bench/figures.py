"""What a bench reports: figures with their spread, and the machine they were taken on."""

import json
import os
import platform
import statistics
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import apsw

__all__ = ["Figure", "Options", "lines_of", "machine", "save"]

_FOLDER: Final = Path(".bench")
_PACKAGES: Final = ("aiohttp", "apsw", "coincurve", "web3")


@dataclass(frozen=True, slots=True)
class Options:
    """How long to measure, and where files of a measured journal lie."""

    short: bool
    folder: Path

    def rounds(self, full: int, short: int) -> int:
        """Return the number of rounds: a short run shows an order of magnitude."""
        return short if self.short else full


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured quantity.

    Attributes:
        values: one per round, in the order taken.
        goal: what it should be, if anything; ``least`` and ``most`` are in its unit.
        facts: more of the same rounds, for people and for JSON.
    """

    name: str
    unit: str
    values: Sequence[float]
    least: float | None = None
    most: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median reaches its goal; None without one."""
        if self.least is not None:
            return self.median >= self.least
        if self.most is not None:
            return self.median <= self.most
        return None

    def as_json(self) -> dict[str, Any]:
        """Return everything about it."""
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "values": list(self.values),
            "least": self.least,
            "most": self.most,
            "met": self.met,
            **self.facts,
        }


def machine() -> dict[str, Any]:
    """Return what the figures depend on and the project does not."""
    optimised = "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS"))
    return {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.machine(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": [round(load, 1) for load in os.getloadavg()],
        "system": platform.platform(),
        "python": platform.python_version() + (" (optimised build)" if optimised else " (plain)"),
        "sqlite": apsw.sqlite_lib_version(),
        **{package: version(package) for package in _PACKAGES},
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), "")


def lines_of(figure: Figure) -> list[str]:
    """Return the figure as people read it."""
    digits = 0 if figure.median >= 100 else 2
    goal = ""
    if figure.least is not None:
        goal = f"  goal ≥ {figure.least:g}"
    elif figure.most is not None:
        goal = f"  goal ≤ {figure.most:g}"
    mark = {True: "✓", False: "✗", None: " "}[figure.met]
    spread = f"{min(figure.values):,.{digits}f} … {max(figure.values):,.{digits}f}"
    value = f"{figure.median:>9,.{digits}f} {figure.unit:<8}"
    lines = [f"{mark} {figure.name:<52} {value} ({spread}, n={len(figure.values)}){goal}"]
    if figure.facts:
        lines.append("    " + ", ".join(f"{key} {value}" for key, value in figure.facts.items()))
    return lines


def save(figures: Sequence[Figure], about: Mapping[str, Any]) -> Path:
    """Write the run to the ignored folder, under its time and as the latest; return the path."""
    _FOLDER.mkdir(exist_ok=True)
    content = {
        "v": 1,
        "command": sys.argv[1:],
        "machine": dict(about),
        "figures": [figure.as_json() for figure in figures],
    }
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    path = _FOLDER / f"{str(about['taken']).replace(':', '')[:17]}.json"
    path.write_text(text, encoding="utf-8")
    (_FOLDER / "latest.json").write_text(text, encoding="utf-8")
    return path
