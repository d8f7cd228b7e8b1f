"""Runs one test in a process of its own, on the tree as it is or on a broken one.

The process is forked from one that has imported every library and nothing of the project, so a run
costs the project's imports (0.2 s) and the test.
"""

from __future__ import annotations

import gc
import json
import os
import re
import select
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from tests.mutants.breaking import Breaking

if TYPE_CHECKING:
    from tests.mutants.mutant import Mutant

__all__ = ["Run", "Verdict", "judge", "preload", "run"]

#: A test that is named for a mutant is a fast one.
LONGEST_S: Final = 120.0
#: Read by pytest and its plugins, or asking for lines of the report that are not this run's.
_FOREIGN: Final = ("PYTEST_", "RELIABILITY_OUT", "COV_")
#: What a test says that waited in vain: that nothing came is no reason, a slow machine does it too.
_TIMED_OUT: Final = re.compile(r"waited [\d.]+ s for|Timeout")


@dataclass(frozen=True, slots=True)
class Run:
    """How one test went.

    Attributes:
        passed: whether it did.
        said: what failed, in its own words.
        seconds: wall clock, imports included.
        trouble: why this run says nothing either way; empty for an honest run.
    """

    passed: bool
    said: str
    seconds: float
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a mutant is dead, and of what."""

    name: str
    killed: bool
    why: str
    killer: str
    seconds: float


def preload() -> None:
    """Import what is not ours, once, for every run that is forked from here."""
    import aiohttp  # noqa: F401
    import apsw  # noqa: F401
    import bitcoin.core  # noqa: F401
    import coincurve  # noqa: F401
    import eth_account  # noqa: F401
    import hypothesis  # noqa: F401
    import msgspec  # noqa: F401
    import pytest  # noqa: F401
    import rich.console  # noqa: F401
    import tenacity  # noqa: F401
    import typer  # noqa: F401
    import web3  # noqa: F401

    # pytest collects garbage ten times a run: what is here to stay is not looked at again.
    gc.collect()
    gc.freeze()


def judge(mutant: Mutant, whole: Run) -> Verdict:
    """Run the mutant's test on the mutant; ``whole`` is how the same test went unbroken."""
    if not whole.passed:
        why = f"its test fails on the tree as it is: {_short(whole.trouble or whole.said)}"
        return Verdict(mutant.name, False, why, mutant.killer, whole.seconds)
    broken = run(mutant.killer, mutant)
    told = re.search(mutant.reason, broken.said, re.MULTILINE)
    if broken.trouble:
        killed, why = False, broken.trouble
    elif _TIMED_OUT.search(broken.said):
        killed, why = False, f"it timed out: {_short(broken.said)}"
    elif broken.passed:
        killed, why = False, "it survives: its test passes"
    elif told is None:
        said = _short(broken.said)
        killed, why = False, f"its test fails, but says nothing of /{mutant.reason}/: {said}"
    else:
        killed, why = True, _short(broken.said[told.start() :].strip().partition("\n")[0])
    return Verdict(mutant.name, killed, why, mutant.killer, broken.seconds)


def run(killer: str, mutant: Mutant | None = None) -> Run:
    """Run the test called ``killer`` in a child, on ``mutant`` if one is given."""
    started_s = time.monotonic()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _live(killer, mutant, writer)  # never returns
    os.close(writer)
    answer = _read_all(reader, started_s + LONGEST_S)
    if answer is None:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    seconds = time.monotonic() - started_s
    if answer is None:
        return Run(False, "", seconds, f"no end within {LONGEST_S:g} s")
    if not answer:
        return Run(False, "", seconds, "the process ended without a word")
    passed, said, trouble = json.loads(answer)
    return Run(passed, said, seconds, trouble)


def _read_all(reader: int, give_up_s: float) -> bytes | None:
    """Read until the other end closes; None if that takes too long."""
    parts: list[bytes] = []
    with open(reader, "rb", buffering=0) as pipe:
        while True:
            left_s = give_up_s - time.monotonic()
            if left_s <= 0 or not select.select([pipe], [], [], left_s)[0]:
                return None
            part = pipe.read(1 << 16)
            if not part:
                return b"".join(parts)
            parts.append(part)


def _live(killer: str, mutant: Mutant | None, writer: int) -> None:
    """Be the child: break, run, answer, end."""
    os.setpgid(0, 0)
    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        del os.environ[name]
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    folder = TemporaryDirectory(prefix="mutant-")
    breaking = Breaking(mutant.changes if mutant is not None else (), Path(folder.name))
    try:
        breaking.install()
        breaking.reach_into_children()
        passed, said = _outcome(killer, mutant.engine if mutant is not None else None, breaking)
    except BaseException as error:  # noqa: BLE001 - a test that failed, or a mutant that can not live
        passed, said = False, "".join(traceback.format_exception_only(error))
    with open(writer, "w", encoding="utf-8") as out:
        json.dump([passed, said, breaking.trouble], out)
    folder.cleanup()
    os._exit(0)


def _outcome(killer: str, engine: str | None, breaking: Breaking) -> tuple[bool, str]:
    kind, _, rest = killer.partition(" ")
    if kind in ("sim", "seed", "deep"):
        _simulate(kind, rest, engine)
        return True, ""
    if engine is not None:
        _break_worlds(engine)
    return _test(killer, breaking)


def _break_worlds(engine: str) -> None:
    """Give every simulated world of this process the broken parts."""
    from tests.sim.mutants import broken
    from tests.sim.world import World

    prepare, made = broken(engine), World.__post_init__
    worlds: Any = World

    def make_broken(world: World) -> None:
        made(world)
        prepare(world)

    worlds.__post_init__ = make_broken


def _simulate(kind: str, text: str, engine: str | None) -> None:
    """Run a case or a seed of tests/sim and check it.

    Raises:
        AssertionError: something is wrong with it.
    """
    from tests.sim.cases import parse
    from tests.sim.cases import run as run_case
    from tests.sim.mutants import broken
    from tests.sim.schedules import replay_seed

    prepare: Callable[[Any], None] | None = broken(engine) if engine is not None else None
    if kind == "sim":
        run_case(parse(text), prepare)
    else:
        replay_seed(int(text), deep=kind == "deep")


def _test(node: str, breaking: Breaking) -> tuple[bool, str]:
    """Run one test by its id; return whether it passed, and what the failure said."""
    import pytest

    class Told:
        def __init__(self) -> None:
            self.ran = 0
            self.words: list[str] = []

        @pytest.hookimpl(tryfirst=True)
        def pytest_load_initial_conftests(self) -> None:
            breaking.install()  # again: pytest has put a finder of its own in front

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            self.ran += report.when == "call" and report.passed
            if report.failed:
                crash = getattr(report.longrepr, "reprcrash", None)
                self.words.append(crash.message if crash else report.longreprtext)

        def pytest_collectreport(self, report: pytest.CollectReport) -> None:
            if report.failed:
                self.words.append(report.longreprtext)

    told = Told()
    options = ("cacheprovider", "xdist", "faulthandler")
    arguments = [node, "-q", *(f"-pno:{name}" for name in options)]
    # Its own modules and hypothesis's were imported before it could rewrite their assertions.
    code = pytest.main([*arguments, "-Wignore::pytest.PytestAssertRewriteWarning"], [told])
    if code == pytest.ExitCode.OK and told.ran:
        return True, ""
    return False, "\n".join(told.words) or f"pytest ended with {code!s} and ran {told.ran} tests"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:140]} … {line[-140:]}"
