"""Run the reliability jobs and write tests/REPORT.md: ``python -m tests.reliability DEPTH``."""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from adapters.devnode import binaries
from tests.bench.figures import machine
from tests.reliability.bars import bars_of
from tests.reliability.depths import DEPTHS
from tests.reliability.heat import heat_map
from tests.reliability.jobs import ROOT, Ran, run_all
from tests.reliability.lines import read
from tests.reliability.report import Findings, markdown

_REPORT: Final = ROOT / "tests" / "REPORT.md"
_PICTURE: Final = ROOT / "tests" / "REPORT.svg"
#: Logs and lines of each run; git-ignored.
_RUNS: Final = ROOT / ".bench" / "reliability"


def main() -> int:
    """Run the jobs of a depth, or some of them; write the report; fail if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("depth", choices=DEPTHS)
    parser.add_argument("--seed", type=int, help="repeats a run's choices")
    parser.add_argument("--only", nargs="+", metavar="JOB", help="leave the other jobs out")
    parser.add_argument("--again", type=Path, metavar="FOLDER", help="report a run that is over")
    arguments = parser.parse_args()
    depth = DEPTHS[arguments.depth]
    names = arguments.only or [job.name for job in depth.jobs]
    unknown = sorted(set(names) - {job.name for job in depth.jobs})
    if unknown:
        parser.error(f"{depth.name} has no job {', '.join(unknown)}")
    if arguments.again:
        folder = arguments.again
        about, jobs = _recalled(folder)
    else:
        seed = random.randrange(2**32) if arguments.seed is None else arguments.seed
        folder = _RUNS / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}-{depth.name}"
        folder.mkdir(parents=True)
        common = {
            "RELIABILITY_DEPTH": depth.name,
            **dict.fromkeys(("RELIABILITY_SEED", "CRASH_SEED", "ADVERSITY_SEED"), str(seed)),
        }
        about = _about(seed)
        wanted = [job for job in depth.jobs if job.name in names]
        jobs = run_all(wanted, folder, common, _say)
        (folder / "jobs.json").write_text(json.dumps([about, [asdict(job) for job in jobs]]))
    lines = read(folder)
    found = Findings(depth.name, about, lines, jobs, bars_of(lines, jobs, depth.least))
    _REPORT.write_text(markdown(found), encoding="utf-8")
    _PICTURE.write_text(heat_map(lines), encoding="utf-8")
    missed = [bar.name for bar in found.bars if bar.holds is False]
    _say(f"{_REPORT.relative_to(ROOT)}: {', '.join(missed) or 'no bar'} missed; logs in {folder}")
    return 1 if missed else 0


def _recalled(folder: Path) -> tuple[dict[str, Any], list[Ran]]:
    about, jobs = json.loads((folder / "jobs.json").read_text())
    tuples = ("skipped", "broken")
    return about, [Ran(**{**job, **{name: tuple(job[name]) for name in tuples}}) for job in jobs]


def _about(seed: int) -> dict[str, Any]:
    """Return what the figures depend on."""
    wanted = machine()
    dirty = " with changes that are not committed" if _git("status", "--porcelain") else ""
    return {
        "commit": _git("rev-parse", "HEAD") + dirty,
        "seed": seed,
        **{name: wanted[name] for name in ("taken", "system", "cpu", "cores", "python", "sqlite")},
        "anvil": _first_line(binaries.version_text(binaries.anvil())),
        "bitcoind": _first_line(binaries.version_text(binaries.bitcoind())),
    }


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def _say(text: str) -> None:
    print(text, flush=True)


sys.exit(main())
