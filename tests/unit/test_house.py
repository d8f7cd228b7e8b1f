"""The rules of the house, each shown to fail when it is broken.

Import contracts are run on a copy of the packages with one offending line added; the rules about
the tree's text and shape run on the tree itself.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("proofs", "adapters", "coordinator")
LONGEST_FUNCTION = 70
# What make or git brings in; everything else in the tree is ours.
FOREIGN = frozenset(
    {".git", ".venv", ".tools", ".devnet", ".bench", ".hypothesis", ".mypy_cache", ".ruff_cache"}
    | {".pytest_cache", ".import_linter_cache", "__pycache__", "build", "dist"}
)


def tree(suffix: str = "") -> Iterator[Path]:
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(set(folders) - FOREIGN)
        yield from (Path(folder, name) for name in sorted(files) if name.endswith(suffix))


def lint_imports(folder: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    chosen = (f"--contract={contract}" for contract in contracts)
    return subprocess.run(
        [program, "--no-cache", *chosen],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Copy the packages, so that a test may break them."""
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_import_contracts_hold_as_long_as_nobody_breaks_them(packages: Path) -> None:
    verdict = lint_imports(packages)

    assert verdict.returncode == 0, verdict.stdout
    assert " 0 broken" in verdict.stdout


OFFENCES = [
    ("layers", "adapters/errors.py", "import coordinator.errors"),
    ("layers", "proofs/__init__.py", "import adapters.errors"),
    ("chains-apart", "adapters/evm/__init__.py", "import adapters.bitcoin"),
    ("chains-apart", "adapters/bitcoin/__init__.py", "import adapters.evm"),
    ("pure-core", "coordinator/saga/__init__.py", "import time"),
    ("pure-core", "coordinator/saga/__init__.py", "from random import random"),
    ("pure-core", "coordinator/saga/__init__.py", "def later():\n    import sqlite3"),
    ("pure-core", "proofs/__init__.py", "import web3"),
    ("composition-root", "coordinator/errors.py", "import adapters.evm"),
    ("composition-root", "coordinator/errors.py", "import adapters.bitcoin.devnode"),
    ("one-home-of-retries", "adapters/base.py", "import tenacity"),
]


@pytest.mark.parametrize(("contract", "module", "line"), OFFENCES)
def test_an_import_contract_fails_when_it_is_broken(
    packages: Path, contract: str, module: str, line: str
) -> None:
    with (packages / module).open("a") as file:
        file.write(f"\n{line}\n")
    verdict = lint_imports(packages, contract)

    assert verdict.returncode == 1, verdict.stdout
    assert "0 kept, 1 broken" in verdict.stdout


def test_the_pure_core_may_not_reach_the_clock_by_a_detour(packages: Path) -> None:
    (packages / "coordinator/detour.py").write_text("import time\n")
    with (packages / "coordinator/saga/__init__.py").open("a") as file:
        file.write("\nimport coordinator.detour\n")

    assert lint_imports(packages, "pure-core").returncode == 1


def test_every_import_contract_has_an_offence_that_breaks_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = {contract["id"] for contract in project["tool"]["importlinter"]["contracts"]}

    assert contracts == {contract for contract, _, _ in OFFENCES}


# Written so that no pattern matches its own line.
FORBIDDEN_TEXT = {
    "host of a package registry": r"(?:pypi|pythonhosted|npmjs|deb\.debian)\.(?:org|com)",
    "path of one machine": r"(?<![\w.~-])/(?:home|root|Users|work)/\w",
    "unfinished work": r"\b(?:TO[D]O|FIX[M]E|XX[X])\b",
}


def offences_in(text: str) -> list[str]:
    return [what for what, pattern in FORBIDDEN_TEXT.items() if re.search(pattern, text)]


def test_no_file_names_a_registry_or_a_machine_or_is_unfinished() -> None:
    offences = {}
    for path in tree():
        text = path.read_text(encoding="utf-8", errors="replace")
        if found := offences_in(text):
            offences[str(path.relative_to(ROOT))] = found

    assert offences == {}


@pytest.mark.parametrize(
    "text",
    [
        "--index-url https://" + "pypi" + ".org/simple",
        "open('/" + "home/somebody/plan.toml')",
        "# TO" + "DO: finish",
    ],
)
def test_forbidden_text_is_noticed(text: str) -> None:
    assert len(offences_in(text)) == 1


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


def test_no_function_is_longer_than_a_screen() -> None:
    too_long = {
        f"{path.relative_to(ROOT)}:{name}": lines
        for path in tree(".py")
        for name, lines in functions(path)
        if lines > LONGEST_FUNCTION
    }

    assert too_long == {}


def test_no_module_has_a_name_that_says_nothing() -> None:
    empty_names = {"common", "helper", "helpers", "manager", "misc", "util", "utils"}

    assert [path for path in tree(".py") if path.stem in empty_names] == []


def pins(name: str) -> dict[str, str]:
    """Package names and versions of a lock file."""
    text = (ROOT / "requirements" / name).read_text()
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE))


@pytest.mark.parametrize("name", ["runtime.txt", "dev.txt"])
def test_every_locked_package_has_hashes_and_the_lock_names_no_index(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text()
    entries = re.sub(r"\\\n\s*", "", text).splitlines()
    packages = [entry for entry in entries if entry and not entry.startswith("#")]

    assert len(packages) == len(pins(name))
    assert all("--hash=sha256:" in entry for entry in packages)
    assert "://" not in text


def test_tests_run_with_the_versions_that_operators_install() -> None:
    runtime, dev = pins("runtime.txt"), pins("dev.txt")

    assert {package: dev.get(package) for package in runtime} == runtime


def test_the_wheel_asks_for_exactly_what_the_runtime_lock_was_made_from() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {re.split(r"[<>=\[]", line)[0] for line in project["dependencies"]}
    chosen = (ROOT / "requirements" / "runtime.in").read_text().splitlines()

    assert asked == {re.split(r"[<>=\[]", line)[0] for line in chosen if not line.startswith("#")}


def test_set_up_runs_before_any_dependency_is_installed() -> None:
    # -I -S: no site-packages and no current directory, as with a Python that has nothing yet.
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import adapters.devnode.__main__"

    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


def test_the_wheel_carries_every_file_of_the_three_packages(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    carried = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    ours = {path.relative_to(ROOT).as_posix() for path in tree()}

    assert carried == {name for name in ours if name.startswith(tuple(f"{p}/" for p in PACKAGES))}
    assert {f"{package}/py.typed" for package in PACKAGES} <= carried
