"""The pytest plugin as users have it: in a project of their own, nothing declared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"

USERS_TEST = """
import pytest

PLAN = {plan!r}


def test_a_plan_commits(coordinator_devnet, tmp_path):
    before = coordinator_devnet.balances()

    result = coordinator_devnet.run(PLAN, journal=tmp_path, sets={{"amount": "5"}})

    assert result.state == "committed", result.stuck
    moved = coordinator_devnet.changes(before)
    assert moved["ethereum", "ALZ", "receiver"] == 5 * 10**18
    assert moved["bitcoin", "BTC", "settlement_btc"] == 1_500_000
    assert moved["polygon", "POL", "treasury_evm"] == -result.fees["POL"]
    assert result.records[-1].kind == "closed"


def test_the_same_key_attaches(coordinator_devnet, tmp_path):
    first = coordinator_devnet.run(PLAN, journal=tmp_path, key="one")
    before = coordinator_devnet.balances()
    again = coordinator_devnet.run(PLAN, journal=tmp_path, key="one")

    assert again.saga == first.saga
    assert coordinator_devnet.changes(before) == {{}}


def test_a_plan_that_can_not_run_is_refused(coordinator_devnet, tmp_path):
    from coordinator.errors import CoordinatorError

    coordinator_devnet.pause_token("ethereum")
    before = coordinator_devnet.balances()
    try:
        with pytest.raises(CoordinatorError, match="nothing was sent"):
            coordinator_devnet.run(PLAN, journal=tmp_path)
    finally:
        coordinator_devnet.unpause_token("ethereum")
    assert coordinator_devnet.changes(before) == {{}}


def test_chains_can_be_moved(coordinator_devnet):
    height = coordinator_devnet.mine("bitcoin", 2)
    coordinator_devnet.reorganise("bitcoin", 2)
    assert coordinator_devnet.mine("bitcoin") == height + 2
    assert set(coordinator_devnet.urls) == {{"polygon", "ethereum", "bitcoin"}}
    assert coordinator_devnet.config.is_file()
"""


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_a_users_own_tests_get_a_network_without_declaring_anything(tmp_path: Path) -> None:
    text = USERS_TEST.format(plan=str(EXAMPLES / "alz-transfer.toml"))
    (tmp_path / "test_mine.py").write_text(text, encoding="utf-8")

    run = pytest_in(tmp_path, "-q", "-W", "error", f"--basetemp={tmp_path / 'base'}")

    assert run.returncode == 0, run.stdout + run.stderr
    assert "4 passed" in run.stdout
    # Everything ended with the session.
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(tmp_path / "base") not in left.stdout


def test_the_plugin_costs_a_users_test_session_nothing_until_a_fixture_is_used(
    tmp_path: Path,
) -> None:
    code = (
        "import sys, coordinator.pytest_plugin\n"
        "heavy = {'web3', 'aiohttp', 'eth_account', 'apsw', 'typer', 'bitcoin', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules) - BEFORE))\n"
    )
    program = f"import sys, pytest\nBEFORE = set(sys.modules)\n{code}"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_the_fixture_is_listed_with_its_first_line(tmp_path: Path) -> None:
    run = pytest_in(tmp_path, "--fixtures", "-q")
    assert "coordinator_devnet [session scope]" in run.stdout
