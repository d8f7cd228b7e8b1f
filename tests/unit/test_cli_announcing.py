"""A terminal that is gone, or a full disk under a log, stops neither a saga nor an alarm."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from coordinator.alarm import Alarm, Notice
from coordinator.cli import exits
from coordinator.cli.announcing import Announcer
from coordinator.cli.output import Output
from coordinator.cli.progress import Progress
from coordinator.journal.base import Record
from coordinator.watchdog import Watchdog
from tests.story import Story, plan_step
from tests.waiting import wait_until

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")
COMMAND = [sys.executable, "-c", "from coordinator.cli import main; main()"]


@pytest.fixture
def rung(tmp_path: Path) -> Path:
    return tmp_path / "rung"


@pytest.fixture
def alarm(rung: Path) -> Alarm:
    code = (
        "import os, sys; open(sys.argv[1], 'a').write("
        "os.environ['COORDINATOR_SAGA'] + ' ' + os.environ['COORDINATOR_REASON'] + '\\n')"
    )
    return Alarm([sys.executable, "-c", code, str(rung)], lambda _: None)


@contextmanager
def _full() -> Iterator[None]:
    """Both channels lie on a full disk."""
    with pytest.MonkeyPatch.context() as patch:
        streams = {name: FULL.open("w") for name in ("stdout", "stderr")}
        for name, stream in streams.items():
            patch.setattr(sys, name, stream)
        yield
    for stream in streams.values():
        with suppress(OSError):
            stream.close()


def test_the_command_for_alarms_is_run_though_stderr_can_not_be_written(
    alarm: Alarm, rung: Path
) -> None:
    out = Output(as_json=False, quiet=False)
    notice = Notice("01SAGA", "rolled_back", "nonce 7 is open", "can it pay?")
    with _full(), Progress(out, table=False) as progress:
        announcer = Announcer(out, alarm, progress)
        with Watchdog(lambda: None, announcer.bark, notices=lambda: [notice], poll_s=0.02):
            wait_until(rung.exists, what="the alarm")
    alarm.drain(30)

    assert rung.read_text() == "01SAGA nonce 7 is open\n"


@pytest.mark.parametrize("as_json", [True, False])
def test_a_record_that_can_not_be_shown_stops_nothing_and_rings(
    alarm: Alarm, rung: Path, *, as_json: bool
) -> None:
    state = Story(plan_step("lock")).fold
    data = {"reason": "fee cap hit", "question": "raise it?", "until_s": 1}
    record = Record(2, "saga:01STORY", 2, "stuck", 1, 0, data, "", "", b"")
    out = Output(as_json=as_json, quiet=False)
    with _full(), Progress(out, table=False) as progress:
        announcer = Announcer(out, alarm, progress)
        for _ in range(2):
            announcer.observe(state, record)
    alarm.drain(30)

    rang = [line.partition(" ")[2] for line in sorted(rung.read_text().splitlines())]
    assert rang[:2] == ["fee cap hit"] * 2
    assert len(rang[2:]) == as_json, "that records are not shown is told once"
    assert all("can not be written to stdout: No space left" in line for line in rang[2:])


def test_an_error_has_its_exit_code_when_it_can_not_be_told(tmp_path: Path) -> None:
    for name in ("/dev/null", "/dev/full"):
        with Path(name).open("w") as stream:
            done = subprocess.run(
                [*COMMAND, "--json", "show", "NOBODY"],
                stdout=stream, stderr=stream, cwd=tmp_path, timeout=60, check=False,
            )  # fmt: skip
        assert done.returncode == exits.CONFIG


def test_data_that_can_not_be_written_is_an_error_of_the_disk(tmp_path: Path) -> None:
    with FULL.open("w") as stdout:
        done = subprocess.run(
            [*COMMAND, "schema"],
            stdout=stdout, stderr=subprocess.PIPE, cwd=tmp_path, timeout=60, check=False, text=True,
        )  # fmt: skip

    assert done.returncode == 30
    assert "No space left on device" in done.stderr
