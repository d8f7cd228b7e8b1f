"""``coordinator devnet demo`` and the other devnet commands, as a user types them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from coordinator.devnet.network import Devnet

PROGRAM = "from coordinator.cli import main; main()"


def coordinator(
    folder: Path, *arguments: str, timeout_s: float = 100
) -> subprocess.CompletedProcess[str]:
    """Run the command line in ``folder``."""
    environment = {k: v for k, v in os.environ.items() if k != "COORDINATOR_CONFIG"}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=folder,
        env=environment | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


def processes_of(folder: Path) -> list[str]:
    """Command lines of the processes that name the folder."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if str(folder) in line]


@pytest.mark.parametrize(("arguments", "why"), [((), "paused"), (("--fail", "gas"), "lacks")])
def test_the_demo_shows_success_rollback_and_resume_and_leaves_nothing_running(
    tmp_path: Path, arguments: tuple[str, ...], why: str
) -> None:
    run = coordinator(tmp_path, "devnet", "demo", *arguments)

    assert run.returncode == 0, run.stdout + run.stderr
    shown = run.stdout
    first, second, third = re.split(r"\n(?=[123]  (?:Success|Rollback|Crash))", shown)[1:]
    assert "COMMITTED in" in first
    assert "ROLLED_BACK in" in second
    assert why in second
    assert "rolling back 2 → 1" in second
    assert "Every chain is as it was, but for the fees that the saga lists" in second
    assert "kill -9" in third
    assert "nobody drives it: coordinator resume" in third
    assert "COMMITTED in" in third
    assert "Look closer" in third
    # Nothing for terminals where there is none.
    assert "\x1b[" not in shown
    assert processes_of(tmp_path) == []
    if not arguments:
        look_closer(tmp_path, third)


def look_closer(folder: Path, shown: str) -> None:
    """Every command that the demo names at its end works, with the network gone."""
    config = re.search(r"export COORDINATOR_CONFIG=(\S+)", shown)
    assert config is not None
    named = re.findall(r"^  coordinator ((?:show|audit|journal) .*?)(?:  |$)", shown, re.MULTILINE)
    assert [command.split()[0] for command in named] == ["show", "audit", "audit", "journal"]
    for command in named:
        again = coordinator(folder, "--config", config[1], *command.split())
        assert again.returncode == 0, (command, again.stdout, again.stderr)


def test_a_network_goes_up_mines_reorganises_and_goes_down_and_every_command_may_be_repeated(
    tmp_path: Path,
) -> None:
    folder = tmp_path / ".devnet"
    try:
        first = coordinator(tmp_path, "devnet", "up")
        assert first.returncode == 0, first.stderr
        assert f"export COORDINATOR_CONFIG={folder / 'chains.toml'}" in first.stdout
        again = coordinator(tmp_path, "devnet", "up")
        assert again.returncode == 0
        assert "runs already" in again.stdout
        before = Devnet.load(folder)

        mined = coordinator(tmp_path, "--json", "devnet", "mine", "bitcoin", "3")
        height = json.loads(mined.stdout)["height"]
        moved = json.loads(
            coordinator(tmp_path, "devnet", "reorg", "bitcoin", "2", "--json").stdout
        )
        assert moved["height"] > height - 2
        wrong = coordinator(tmp_path, "devnet", "mine", "dogecoin")
        assert wrong.returncode == 6
        assert "polygon, ethereum, bitcoin" in wrong.stderr

        reset = coordinator(tmp_path, "devnet", "reset", "--evm-block-s", "0")
        assert reset.returncode == 0, reset.stderr
        after = Devnet.load(folder)
        assert after.contracts["polygon"]["genesis"] != before.contracts["polygon"]["genesis"]
        assert (after.options["evm_block_s"], after.options["confirmations"]) == (0, 1)
        assert not before.alive()
    finally:
        down = coordinator(tmp_path, "devnet", "down")
    assert down.returncode == 0
    assert "ended agent, bitcoin, ethereum, polygon" in down.stdout
    assert processes_of(tmp_path) == []
    nothing = coordinator(tmp_path, "devnet", "down")
    assert (nothing.returncode, "nothing runs" in nothing.stdout) == (0, True)


def test_a_folder_that_is_no_network_is_never_emptied(tmp_path: Path) -> None:
    precious = tmp_path / "work" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("years", encoding="utf-8")

    run = coordinator(tmp_path, "devnet", "up", "--folder", "work")

    assert run.returncode == 7
    assert "was left as it is" in run.stderr
    assert precious.read_text(encoding="utf-8") == "years"
