"""How a call ends: exit codes, one clear line, no traceback, no secret in a crash report."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.errors import Transient, WrongChain
from coordinator.cli import arguments, exits
from coordinator.cli.entry import call
from coordinator.cli.failure import report
from coordinator.cli.lazy import COMMANDS
from coordinator.cli.options import Options
from coordinator.errors import (
    ConfigError,
    Conflict,
    CoordinatorError,
    Irreversible,
    JournalBroken,
    KeysError,
    PlanError,
    PreflightError,
)
from tests.story import Story, plan_step
from tests.unit.cli_scene import CliScene, Tale

CODES: list[tuple[BaseException, int]] = [
    (ConfigError("x"), 3),
    (PlanError("x"), 3),
    (KeysError("x"), 5),
    (PreflightError("x"), 6),
    (Transient("x"), 6),
    (WrongChain("x"), 6),
    (Conflict("x"), 7),
    (Irreversible("x"), 11),
    (JournalBroken("x"), 30),
    (OSError(28, "No space left on device", "journal.db"), 30),
    (KeyboardInterrupt(), 130),
    (SystemExit(2), 2),
    (CoordinatorError("x"), 1),
    (ZeroDivisionError("x"), 1),
]


@pytest.mark.parametrize(("error", "code"), CODES, ids=lambda value: type(value).__name__)
def test_every_kind_of_error_has_its_exit_code(
    error: BaseException, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert report(error, Options()) == code


def test_the_exit_code_of_a_saga_is_that_of_its_end() -> None:
    story = Story(plan_step("a"))
    assert exits.of_saga(story.fold) == 21
    story.add("stuck", reason="r", question="q", verdicts=[], until_s=0)
    assert exits.of_saga(story.fold) == 20
    story.executed("a").decided("commit").add("closed", state="committed", records=6, fees={})
    assert exits.of_saga(story.fold) == 0


@pytest.mark.parametrize(("end", "code"), [("rolled_back", 10), ("closed_by_operator", 20)])
def test_a_rollback_never_ends_with_0(end: str, code: int) -> None:
    story = Story(plan_step("a")).add("refused", step="a", code="refused", reason="no")
    story.decided("rollback").add("closed", state=end, records=4, fees={})

    assert exits.of_saga(story.fold) == code


def _bug() -> None:
    key = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
    raise RuntimeError(f"could not use {key}")


def test_an_unknown_error_is_one_line_and_a_report_without_any_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RuntimeError) as caught:
        _bug()
    assert report(caught.value, Options(crash_folder=tmp_path)) == 1
    told = capsys.readouterr()
    (path,) = tmp_path.glob("crash-*.txt")
    text = path.read_text()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "RuntimeError: could not use [masked]" in text
    assert "in _bug" in text
    assert "4c0883a69102" not in text + told.err
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    assert "internal error: RuntimeError" in told.err
    assert str(path) in told.err
    assert "Traceback" not in told.err


def test_errors_are_json_lines_too_where_that_was_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert report(Conflict("taken"), Options(json=True)) == 7
    assert json.loads(capsys.readouterr().out)["error"] == {"exit": 7, "message": "taken"}


def test_wrong_arguments_end_with_2(tmp_path: Path) -> None:
    scene = CliScene(tmp_path)
    for words in (["nonsense"], ["show"], ["status", "--limit", "x"], ["run", "a", "b"]):
        scene.run(*words, code=2)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_help_with_the_global_options(command: str, tmp_path: Path) -> None:
    text = CliScene(tmp_path).run(command, "--help").stdout

    assert f"coordinator {command}" in text
    if "COMMAND [ARGS]" not in text:
        assert "--json" in text


def test_the_version_and_the_list_of_commands_are_told(tmp_path: Path) -> None:
    scene = CliScene(tmp_path)

    assert scene.run("--version").stdout.startswith("coordinator 0.")
    text = scene.run("--help").stdout
    assert all(f" {command} " in text for command in COMMANDS)


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    scene = CliScene(tmp_path)
    scene.tell(Tale("01AAAAAAAAAAAAAAAAAAAAAAAA").committed())
    program = Path(sys.executable).with_name("coordinator")
    process = subprocess.Popen(
        [program, "audit", "show"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()

    assert process.wait(30) == 0
    assert errors == b""


def test_ctrl_c_while_watching_leaves_the_saga_alone(tmp_path: Path) -> None:
    scene = CliScene(tmp_path)
    saga = "01AAAAAAAAAAAAAAAAAAAAAAAA"
    scene.tell(Tale(saga).executed("lock"))
    program = Path(sys.executable).with_name("coordinator")
    process = subprocess.Popen(
        [program, "watch", saga], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    assert "started" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "the saga is not touched" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("version = 1\nversion = 1\n", "not valid TOML"),
        ("version = 2\n[chain.a]\n", "newer program"),
        ("version = 1\nchian = 1\n[chain.a]\nkind='evm'\n", "did you mean"),
        ("", "'version' is missing"),
    ],
)
def test_a_wrong_configuration_ends_with_3_and_its_first_mistake(
    tmp_path: Path, text: str, problem: str
) -> None:
    scene = CliScene(tmp_path)
    scene.config.write_text(text)

    error = scene.run("status", code=3).stderr
    assert problem in error
    assert "othing was sent" in error


def test_no_configuration_at_all_ends_with_3(tmp_path: Path) -> None:
    scene = CliScene(tmp_path)
    scene.config.unlink()

    error = scene.run("resume", "--all", code=3).stderr
    assert "there is no " in error
    assert "coordinator init" in error


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "01A"), ("watch", "01A"), ("audit", "show"), ("audit", "verify"),
        ("journal", "check"), ("journal", "backup", "copy.db"), ("journal", "migrate"),
        ("rollback", "01A", "--reason", "r"), ("resume", "01A"), ("secret", "01A", "hold"),
        ("resolve", "01A", "lock", "--burn", "--by", "ada", "--reason", "r"),
    ],
)  # fmt: skip
def test_where_nothing_was_ever_run_a_command_about_sagas_says_so(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    error = CliScene(tmp_path).run(*arguments, code=3).stderr

    assert "nothing was ever run" in error
    assert "coordinator run PLAN --execute" in error


def test_where_nothing_was_ever_run_there_is_nothing_to_resume(tmp_path: Path) -> None:
    scene = CliScene(tmp_path)

    assert "nothing was ever run here" in scene.run("resume", "--all").stderr
    assert not scene.journal.exists()


# ---------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "p.toml", "--execute", "--key", ""), "--key is empty"),
        (("run", "p.toml", "--execute", "--wait", "5x"), "no time such as"),
        (("run", "p.toml", "--execute", "--on-stuck", "no-such-program-here"), "no program"),
        (("run", "p.toml", "--execute", "--on-stuck", "page 'open"), "No closing quotation"),
        (("run", "p.toml", "--execute", "--on-stuck", " "), "names no command"),
        (("run", "p.toml", "--execute", "--set", "amount"), "not NAME=VALUE"),
        (("resume",), "takes a SAGA, or --all"),
        (("resume", "01A", "--all"), "takes a SAGA, or --all"),
        (("status", "--state", "runing"), "is none of confirming, running, undoing"),
        (("status", "--limit", "-5"), "-5 is out of range: at least 0"),
        (("status", "--limit", "many"), "'many' is not a whole number"),
        (("devnet", "mine", "polygon", "0"), "0 is out of range: 1 to 10000"),
        (("devnet", "reorg", "polygon", "101"), "101 is out of range: 1 to 100"),
        (("stattus",), "No such command"),
    ],
)
def test_wrong_arguments_end_with_2_and_with_json_as_an_object_too(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = CliScene(tmp_path).run(*arguments, "--json", code=2)

    error = json.loads(done.stdout)["error"]
    assert error["exit"] == 2
    assert words in error["message"]
    assert words in done.stderr


def test_ctrl_c_in_a_command_that_drives_nothing_says_that_nothing_was_sent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def interrupted(_path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("coordinator.config.load_config", interrupted)
    monkeypatch.setenv("COORDINATOR_CONFIG", str(CliScene(tmp_path).config))

    assert call(["status"]) == 130
    assert "sent nothing" in capsys.readouterr().err


def test_a_login_without_a_name_is_told_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)

    assert arguments.login_name() == "uid 54321"
