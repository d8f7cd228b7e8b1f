"""Run the reliability jobs and write tests/REPORT.md: ``python -m tests.reliability DEPTH``."""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from adapters.devnode import binaries
from tests.bench.figures import machine
from tests.reliability.bars import bars_of
from tests.reliability.depths import DEPTHS
from tests.reliability.heat import heat_map
from tests.reliability.jobs import ROOT, remaining, run_all
from tests.reliability.lines import read
from tests.reliability.report import Findings, markdown

_REPORT: Final = ROOT / "tests" / "REPORT.md"
_PICTURE: Final = ROOT / "tests" / "REPORT.svg"
#: Logs and lines of each run; git-ignored.
_RUNS: Final = ROOT / ".bench" / "reliability"
#: Follows a commit's name; nobody can tell whether it is the same changes the next time.
_CHANGED: Final = " with changes that are not committed"
#: What a run's figures depend on; it is there from the start.
_ABOUT: Final = "about.json"


def main() -> int:
    """Run the jobs of a depth, or some of them; write the report; fail if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("depth", choices=DEPTHS)
    parser.add_argument("--seed", type=int, help="repeats a run's choices")
    parser.add_argument("--only", nargs="+", metavar="JOB", help="leave the other jobs out")
    parser.add_argument(
        "--again", type=Path, metavar="FOLDER",
        help="go on with a run that was interrupted, or report one that is over",
    )  # fmt: skip
    arguments = parser.parse_args()
    depth = DEPTHS[arguments.depth]
    names = arguments.only or [job.name for job in depth.jobs]
    unknown = sorted(set(names) - {job.name for job in depth.jobs})
    if unknown:
        parser.error(f"{depth.name} has no job {', '.join(unknown)}")
    wanted = [job for job in depth.jobs if job.name in names]
    seed = random.randrange(2**32) if arguments.seed is None else arguments.seed
    if arguments.again:
        folder = arguments.again
        if not (folder / _ABOUT).exists():
            parser.error(f"{folder} holds no run")
        about = json.loads((folder / _ABOUT).read_text())
        now = _about(about["seed"])
        if remaining(wanted, folder):
            if now["commit"] != about["commit"] or _CHANGED in now["commit"]:
                parser.error(f"{folder} is of {about['commit']}, and this is {now['commit']}")
            about["gone on"] = ", ".join(filter(None, [about.get("gone on"), now["taken"]]))
    else:
        folder = _RUNS / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}-{depth.name}"
        folder.mkdir(parents=True)
        about = _about(seed)
    (folder / _ABOUT).write_text(json.dumps(about))
    seeds = ("RELIABILITY_SEED", "CRASH_SEED", "ADVERSITY_SEED")
    common = {"RELIABILITY_DEPTH": depth.name, **dict.fromkeys(seeds, str(about["seed"]))}
    jobs = run_all(wanted, folder, common, _say)
    lines = read(folder)
    found = Findings(depth.name, about, lines, jobs, bars_of(lines, jobs, depth.least))
    _REPORT.write_text(markdown(found), encoding="utf-8")
    _PICTURE.write_text(heat_map(lines), encoding="utf-8")
    missed = [bar.name for bar in found.bars if bar.holds is False]
    _say(f"{_REPORT.relative_to(ROOT)}: {', '.join(missed) or 'no bar'} missed; logs in {folder}")
    return 1 if missed else 0


def _about(seed: int) -> dict[str, Any]:
    """Return what the figures depend on."""
    wanted = machine()
    dirty = _CHANGED if _git("status", "--porcelain") else ""
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
