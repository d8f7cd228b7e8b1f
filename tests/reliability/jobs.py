"""Runs the jobs of a depth and keeps what each came to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from tests.reliability.lines import RETOLD
from tests.reliability.notes import FOLDER

if TYPE_CHECKING:
    from tests.reliability.depths import Job

__all__ = ["ROOT", "Ran", "remaining", "run_all"]

ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a job.

    Attributes:
        code: how its process ended; 0 is well.
        skipped: test and reason, for each that was left out.
        broken: ids of the tests that failed.
    """

    name: str
    command: str
    code: int
    seconds: float
    tests: int = 0
    failed: int = 0
    skipped: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()


def run_all(
    jobs: Sequence[Job], folder: Path, common: Mapping[str, str], say: Callable[[str], None]
) -> list[Ran]:
    """Run what is timed, then the others one after the other, and beside them what mostly waits;
    return all in the order of ``jobs``. What is over in ``folder`` is taken as it was.
    """
    left = remaining(jobs, folder)
    ran = {job.name: _recalled(job, folder) for job in jobs if job not in left}
    ran |= {job.name: run(job, folder, common, say) for job in left if job.alone}
    beside = [job for job in left if job.beside]
    with ThreadPoolExecutor(max_workers=len(beside) + 1) as threads:
        begun = {job.name: threads.submit(run, job, folder, common, say) for job in beside}
        rest = [job for job in jobs if job.name not in ran | begun]
        ran |= {job.name: run(job, folder, common, say) for job in rest}
        return [ran[job.name] if job.name in ran else begun[job.name].result() for job in jobs]


def remaining(jobs: Sequence[Job], folder: Path) -> list[Job]:
    """Return those of ``jobs`` that have not come to an end in ``folder``."""
    return [job for job in jobs if not _ended(job, folder).exists()]


def _ended(job: Job, folder: Path) -> Path:
    return folder / f"{job.name}.json"


def _recalled(job: Job, folder: Path) -> Ran:
    form = json.loads(_ended(job, folder).read_text(encoding="utf-8"))
    return Ran(**{**form, **{name: tuple(form[name]) for name in ("skipped", "broken")}})


def run(job: Job, folder: Path, common: Mapping[str, str], say: Callable[[str], None]) -> Ran:
    """Run a job; its output, its lines for the report and how it ended go to ``folder``."""
    ran = _run(job, folder, common, say)
    _ended(job, folder).write_text(json.dumps(asdict(ran)), encoding="utf-8")
    return ran


def _run(job: Job, folder: Path, common: Mapping[str, str], say: Callable[[str], None]) -> Ran:
    results = folder / f"{job.name}.xml"
    arguments = [*job.arguments]
    if job.is_pytest:
        arguments.append(f"--junitxml={results}")
    told = (folder / RETOLD if job.retold else folder) / job.name
    # What an interrupted one had told would count twice.
    shutil.rmtree(told, ignore_errors=True)
    environment = {**common, **job.environment}
    settings = " ".join(f"{name}={value}" for name, value in environment.items())
    command = f"{settings} python {' '.join(job.arguments)}"
    say(f"{job.name}: {command}")
    started_s = time.monotonic()
    with (folder / f"{job.name}.log").open("wb") as log:
        code = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT, env={**os.environ, **environment, FOLDER: str(told)},
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False,
        ).returncode  # fmt: skip
    seconds = time.monotonic() - started_s
    say(f"{job.name}: ended with {code} after {seconds:.0f} s")
    if not job.is_pytest or not results.exists():
        return Ran(job.name, command, code, seconds)
    return _read(results, Ran(job.name, command, code, seconds))


def _read(results: Path, ran: Ran) -> Ran:
    """Add what the test report says."""
    tests = 0
    skipped: list[str] = []
    broken: list[str] = []
    for case in ET.parse(results).iter("testcase"):
        tests += 1
        name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
        reason = case.find("skipped")
        if reason is not None:
            skipped.append(f"{name}: {reason.get('message')}")
        if case.find("failure") is not None or case.find("error") is not None:
            broken.append(name)
    return Ran(
        ran.name, ran.command, ran.code, ran.seconds, tests, len(broken), tuple(skipped),
        tuple(broken),
    )  # fmt: skip
