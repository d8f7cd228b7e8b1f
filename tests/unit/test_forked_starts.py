"""A process that is forked off imports is what a fresh interpreter would have been."""

from __future__ import annotations

import json
import os
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.forked import Forked, would_start_alike
from tests.program import finished, started
from tests.unit.cli_scene import CliScene, Tale
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

ENDED, OPEN = "01AAAAAAAAAAAAAAAAAAAAAAAA", "01CCCCCCCCCCCCCCCCCCCCCCCC"
PATIENCE_S = 30.0
#: The console script's work; what stands before it is done in either way.
FACTS: Final = """\
import gc, json, locale, os, random, signal, sys, threading, time, warnings
os.umask(mask := os.umask(0))
def stream(s):
    return [s.name, s.mode, s.encoding, s.errors, s.line_buffering, s.write_through, s.newlines,
            s.isatty(), s.fileno(), s.seekable(), type(s.buffer).__name__]
told = {
    "streams": [stream(s) for s in (sys.stdin, sys.stdout, sys.stderr)],
    "originals": [sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__],
    "signals": {int(n): str(signal.getsignal(n)).split(" at ")[0]
                for n in signal.valid_signals()},
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "wakeup": signal.set_wakeup_fd(-1),
    "files": sorted(os.listdir("/proc/self/fd")),
    "environment": dict(os.environ),
    "seen by its own children": sorted(os.popen("env").read().splitlines()),
    "folder": os.getcwd(), "argv": sys.argv, "path": sys.path[0],
    "group": [os.getpgrp(), os.getsid(0), os.nice(0), mask],
    "threads": [threading.active_count(), len(os.listdir("/proc/self/task"))],
    "flags": str(sys.flags), "warnings": [str(f) for f in warnings.filters],
    "limits": [sys.getrecursionlimit(), sys.getswitchinterval(), *gc.get_threshold()],
    "locale": [locale.setlocale(locale.LC_ALL), time.tzname], "collects": gc.isenabled(),
}
print(json.dumps(told, indent=1))
"""
#: Ways in which a script may end; each prints on both streams.
ENDS: Final = {
    "returns": "",
    "code": "sys.exit(7)",
    "a large code": "sys.exit(1000)",
    "text": "sys.exit('told')",
    "nothing": "sys.exit(None)",
    "error": "{}['missing']",
    "interrupt": "raise KeyboardInterrupt",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "terminated": "os.kill(os.getpid(), signal.SIGTERM)",
    "broken pipe": "os.kill(os.getpid(), signal.SIGPIPE); print('lives')",
    "at exit": "import atexit; atexit.register(print, 'last'); sys.exit(3)",
    "thread": "import threading, time\n"
    "threading.Thread(target=lambda: (time.sleep(0.05), print('thread'))).start()",
    "cycle": "class A:\n def __del__(self): print('gone')\na = A(); a.a = a; del a",
    "full": "sys.stdout = open('/dev/full', 'w'); print('lost')",
    "full, and code": "sys.stdout = open('/dev/full', 'w'); print('lost'); sys.exit(9)",
    "closed": "sys.stdout.close()",
    "warning": "import warnings; warnings.warn('told', DeprecationWarning)",
    "input": "print(list(sys.stdin))",
}


@pytest.fixture
def scene(tmp_path: Path) -> CliScene:
    scene = CliScene(tmp_path)
    scene.tell(Tale(ENDED).committed(), Tale(OPEN, key="open").executed("lock"))
    return scene


def _both(script: Path, **options: Any) -> list[tuple[int, str, str]]:
    """Run a script by a fresh interpreter, then forked; return code and texts of each."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    options = pipes | options
    fresh = subprocess.Popen([sys.executable, str(script), "an", "argument"], text=True, **options)
    first = fresh.communicate(timeout=PATIENCE_S)
    if not isinstance(options["stdin"], int):
        options["stdin"].seek(0)  # it is one open file, and the first has read it
    forked = Forked(
        runpy.run_path, str(script), None, "__main__",
        program=(str(script), "an", "argument"), **options,
    )  # fmt: skip
    second = forked.communicate(timeout=PATIENCE_S)
    return [(fresh.returncode, *first), (forked.returncode, *second)]


def test_a_forked_process_is_in_the_state_in_which_a_fresh_one_begins(tmp_path: Path) -> None:
    script = tmp_path / "facts.py"
    script.write_text(FACTS)
    environment = os.environ | {"COORDINATOR_CONFIG": "elsewhere", "NO_COLOR": "1"}
    environment.pop("HOME", None)
    (code, out, errors), forked = _both(script, cwd=tmp_path, env=environment)
    assert (code, errors) == (0, "")
    fresh = json.loads(out)

    assert json.loads(forked[1]) == fresh
    assert (forked[0], forked[2]) == (0, "")
    assert "COORDINATOR_CONFIG=elsewhere" in fresh["seen by its own children"]


def test_it_knows_a_terminal_when_it_writes_to_one(tmp_path: Path) -> None:
    script = tmp_path / "facts.py"
    script.write_text(FACTS.replace("print(", "open('told', 'w').write("))
    told = []
    for number in range(2):
        ours, theirs = os.openpty()
        found = _both(script, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs)[number:]
        told.append((found[0][0], (tmp_path / "told").read_text()))
        os.close(ours)
        os.close(theirs)
    assert told[0] == told[1]


@pytest.mark.parametrize("end", ENDS)
def test_a_forked_process_ends_as_a_fresh_one_does(tmp_path: Path, end: str) -> None:
    script = tmp_path / "script.py"
    begin = "import os, signal, sys\nsys.stdout.write('out ')\nsys.stderr.write('err ')\n"
    script.write_text(f"{begin}{ENDS[end]}\n")
    given = tmp_path / "input"
    given.write_text("one\r\ntwo\rthree\n", newline="")
    with given.open() as stdin:
        fresh, forked = _both(script, stdin=stdin)

    assert _comparable(forked) == _comparable(fresh)


def _comparable(ended: tuple[int, str, str]) -> tuple[int, str, list[str]]:
    """Leave out the frames of a traceback: who called the script is another in each."""
    code, out, err = ended
    return code, out, [line for line in err.splitlines() if not line.startswith("  ")]


COMMANDS: Final = (
    ("--version",),
    ("--help",),
    ("run", "--help"),
    ("frobnicate",),
    ("status", "--nonsense"),
    ("show", ENDED),
    ("--json", "show", ENDED),
    ("--json", "status", "--state", "committed"),
    ("show", "01NOBODY"),
    ("audit", "show", ENDED),
    ("audit", "verify"),
    ("journal", "check"),
    ("watch", ENDED),
    ("secret", OPEN, "hold"),
    ("doctor", "--offline"),
    ("resume", OPEN),
    ("run", "nowhere.toml", "--execute"),
    ("verify", "nowhere.json"),
    ("keys", "list"),
    ("report", ENDED),
    ("plan", "check", "nowhere.toml"),
    ("export-recovery", "--out", "/nowhere/at/all"),
    ("schema", "--json"),
)


#: What a command measures, and the time left to a deadline, is another figure each time.
MEASURED: Final = re.compile(r"[\d.]+ (?=ms$|MiB free)|(?<=\"left_s\": )\d+", re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_forked_command_says_and_answers_what_a_fresh_one_does(
    scene: CliScene, command: tuple[str, ...]
) -> None:
    fresh, forked = (
        finished(*command, cwd=scene.folder, env=_settings(scene), fresh=fresh)
        for fresh in (True, False)
    )

    assert forked.returncode == fresh.returncode
    assert MEASURED.sub("", forked.stdout) == MEASURED.sub("", fresh.stdout)
    assert forked.stderr == fresh.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGPIPE])
def test_a_signal_ends_a_forked_command_as_it_ends_a_fresh_one(
    scene: CliScene, number: signal.Signals
) -> None:
    told = []
    for fresh in (True, False):
        with started(
            "watch", OPEN, fresh=fresh, cwd=scene.folder, env=_settings(scene),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(3)]
            assert " done lock forward " in lines[-1], "all that the journal has"
            assert process.poll() is None
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.01)
            if number == signal.SIGPIPE:  # ignored, as by every Python: the next one ends it
                process.send_signal(number)
                process.terminate()
            else:
                process.send_signal(number)
            out, errors = process.communicate(timeout=PATIENCE_S)
        assert process.poll() == process.returncode
        process.kill()  # nobody is there any more
        told.append((process.returncode, lines, out, errors))

    assert told[1] == told[0]
    expected = {signal.SIGINT: 130, signal.SIGKILL: -signal.SIGKILL}
    assert told[0][0] == expected.get(number, -signal.SIGTERM)


def test_ctrl_c_that_comes_before_anything_is_not_lost() -> None:
    with Forked(_sleep_for_ever, stderr=subprocess.PIPE) as process:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == -signal.SIGINT
    assert errors.endswith("KeyboardInterrupt\n")


def _sleep_for_ever() -> None:
    while True:
        signal.pause()


def test_what_is_read_before_the_first_line_asks_for_a_fresh_start(scene: CliScene) -> None:
    here = dict(os.environ)
    assert would_start_alike(here | {"COORDINATOR_CONFIG": "x", "COLUMNS": "3", "NO_COLOR": "1"})
    assert not would_start_alike(here | {"PYTHONIOENCODING": "latin-1"})

    for name, text, forked in (("COLUMNS", "70", True), ("PYTHONIOENCODING", "latin-1", False)):
        with started(
            "status", cwd=scene.folder, env=_settings(scene) | {name: text},
            stdout=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            assert isinstance(process, Forked) == forked
        assert process.returncode == 0


def test_what_can_not_be_called_is_told_on_its_own_stderr() -> None:
    with Forked(_Unreadable(), stderr=subprocess.PIPE) as process:
        _, errors = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 1
    assert "ZeroDivisionError" in errors


class _Unreadable:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[int, int]]:
        return divmod, (1, 0)

    def __call__(self) -> None:
        raise AssertionError


def test_the_server_ends_with_who_started_it_however_that_ended() -> None:
    code = """
import os, signal
from tests.forked import Forked
with Forked(signal.pause) as process:
    print(open(f"/proc/{process.pid}/stat").read().rpartition(")")[2].split()[1], flush=True)
    process.kill()
os.kill(os.getpid(), signal.SIGKILL)
"""
    asker = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], text=True, check=False,
        stdout=subprocess.PIPE, timeout=PATIENCE_S,
    )  # fmt: skip

    server = Path("/proc", asker.stdout.split()[0])
    wait_until(lambda: not server.exists(), what="the server's end", timeout_s=PATIENCE_S)


def _settings(scene: CliScene) -> dict[str, str]:
    return os.environ | {"COORDINATOR_CONFIG": str(scene.config), "COLUMNS": "90"}
