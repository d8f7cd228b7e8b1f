"""How deep the reliability jobs go: what ``make test`` does, a night, a release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from tests.mutants.table import MUTANTS

__all__ = ["DEPTHS", "Depth", "Job"]

#: Tests are run once. What fails is a defect, not a reason to run it again.
_PYTEST: Final = ("-m", "pytest", "-q", "-p", "no:cacheprovider")


@dataclass(frozen=True, slots=True)
class Job:
    """One command.

    Attributes:
        arguments: of the Python interpreter.
        environment: what makes the tests go deeper.
        is_pytest: whether it writes a test report that is to be read.
        beside: whether it runs beside the others, because it mostly waits.
        alone: whether it runs before all others, because it is timed.
        retold: whether other jobs do the same and more: of what it tells, only what is wrong counts
            (`tests.reliability.lines.read`).
    """

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    is_pytest: bool = True
    beside: bool = False
    alone: bool = False
    retold: bool = False


@dataclass(frozen=True, slots=True)
class Depth:
    """Jobs, and the least that the bars ask of them.

    Attributes:
        least: bar → the least count; a bar that is absent is not asked for at this depth.
    """

    name: str
    jobs: tuple[Job, ...]
    least: Mapping[str, int]


def _tests(name: str, *folders: str, workers: str = "2", **environment: str) -> Job:
    paths = folders or (f"tests/{name}",)
    spread = ("--numprocesses", workers, "--maxprocesses", "8", "--dist", "worksteal")
    return Job(name, (*_PYTEST, *spread, *paths), environment)


def _soak(minutes: int) -> Job:
    arguments = ("-m", "tests.soak", "--minutes", str(minutes))
    return Job("soak", arguments, is_pytest=False, beside=True)


#: The longest part of the simulation is a job of its own: an interrupted run loses less.
_SCHEDULES: Final = "tests/sim/test_random_schedules.py"
_ALL_BUT_SCHEDULES: Final = ("tests/sim", f"--ignore={_SCHEDULES}")

#: The same as `make test`, and timed: that it stays short is one of the bars.
_EVERYTHING: Final = _tests("everything", "tests", workers="auto")
#: It comes first, and the jobs after it go deeper in all that it tells.
_GATE: Final = replace(_EVERYTHING, alone=True, retold=True)

_PR: Final = Depth(
    "pr",
    (_EVERYTHING,),
    {
        "single faults": 5_500,
        "pairs of faults": 8_000,
        "simulated sagas": 20_000,
        "power-loss states": 600,
        "writes and syncs failed": 700,
        "mutants killed": len(MUTANTS),
    },
)

_NIGHTLY: Final = Depth(
    "nightly",
    (
        _GATE,
        _tests("mutants"),
        _tests("crash", CRASH_ALL="1", CRASH_PAIRS="110"),
        _tests(
            "disk",
            "tests/disk",
            "tests/unit/test_journal_faults.py",
            DISK_ALL="1",
            DISK_STATES="10000",
            DISK_FLIPS="10000",
        ),
        _tests("adversity", ADVERSITY_ALL="1"),
        _tests(
            "sim",
            *_ALL_BUT_SCHEDULES,
            SIM_PAIRS="all",
            SIM_STATEFUL="20000",
            SIM_STATEFUL_STEPS="50",
            SIM_RULES_SEEDS="400",
        ),
        _tests("schedules", _SCHEDULES, SIM_SAGAS="300000", SIM_SEEDS="2400", SIM_STRANGERS="800"),
        _soak(60),
    ),
    {
        **_PR.least,
        "pairs of faults": 14_000,
        "simulated sagas": 300_000,
        "real kills": 2_000,
        "fault points on real nodes": 600,
        "reorganisation cases": 200,
        "minutes of soak": 60,
    },
)

_RELEASE: Final = Depth(
    "release",
    (
        _GATE,
        _tests("mutants"),
        _tests("crash", CRASH_ALL="1", CRASH_PAIRS="1400"),
        _tests(
            "disk",
            "tests/disk",
            "tests/unit/test_journal_faults.py",
            DISK_ALL="1",
            DISK_STATES="100000",
            DISK_FLIPS="100000",
        ),
        _tests("adversity", ADVERSITY_ALL="1", ADVERSITY_REORGS="1000"),
        _tests(
            "sim",
            *_ALL_BUT_SCHEDULES,
            SIM_PAIRS="all",
            SIM_STATEFUL="100000",
            SIM_STATEFUL_STEPS="50",
            SIM_RULES_SEEDS="4000",
        ),
        _tests(
            "schedules", _SCHEDULES, SIM_SAGAS="5000000", SIM_SEEDS="24000", SIM_STRANGERS="8000"
        ),
        _soak(24 * 60),
    ),
    {
        **_NIGHTLY.least,
        "simulated sagas": 5_000_000,
        "real kills": 20_000,
        "reorganisation cases": 1_000,
        "minutes of soak": 24 * 60,
    },
)

DEPTHS: Final[Mapping[str, Depth]] = {depth.name: depth for depth in (_PR, _NIGHTLY, _RELEASE)}
