"""``--on-stuck``: the operator's command gets what it needs, and its failure changes nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from coordinator.alarm import Alarm, split_command

STUCK = {"reason": "fee cap hit", "question": "raise it?", "until_s": 1_800_000_000}


def test_the_command_gets_saga_state_reason_question_and_time(tmp_path: Path) -> None:
    target = tmp_path / "told.json"
    code = (
        "import json, os, sys; json.dump({k: v for k, v in os.environ.items() if "
        "k.startswith('COORDINATOR_')}, open(sys.argv[1], 'w'))"
    )
    told: list[str] = []
    alarm = Alarm([sys.executable, "-c", code, str(target)], told.append)
    alarm.ring("01SAGA", "undoing", STUCK)
    alarm.drain(30)

    found = json.loads(target.read_text())
    found.pop("COORDINATOR_CONFIG", None)
    assert found == {
        "COORDINATOR_SAGA": "01SAGA",
        "COORDINATOR_STATE": "undoing",
        "COORDINATOR_REASON": "fee cap hit",
        "COORDINATOR_QUESTION": "raise it?",
        "COORDINATOR_UNTIL": "1800000000",
    }
    assert told == []


@pytest.mark.parametrize(
    ("command", "complaint"),
    [([sys.executable, "-c", "raise SystemExit(3)"], "ended with 3"), (["/nowhere/x"], "failed:")],
)
def test_a_command_that_fails_is_reported_and_not_fatal(command: list[str], complaint: str) -> None:
    told: list[str] = []
    alarm = Alarm(command, told.append)
    alarm.ring("01SAGA", "running", STUCK)
    alarm.drain(30)

    assert len(told) == 1
    assert complaint in told[0]
    assert "the saga goes on" in told[0]


def test_no_shell_reads_the_command(tmp_path: Path) -> None:
    target = tmp_path / "made"
    alarm = Alarm(split_command(f"echo 'a b' ; touch {target}"), lambda _: None)
    alarm.ring("01SAGA", "running", STUCK)
    alarm.drain(30)

    assert split_command("page 'two words' x") == ["page", "two words", "x"]
    assert not target.exists()


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "no command"), ("  ", "no command"), ("page 'open", "No closing quotation")],
)
def test_a_command_that_can_not_be_read_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        split_command(text)
