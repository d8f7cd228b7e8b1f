"""Where the node binaries are: anvil (Foundry) and bitcoind (Bitcoin Core 28+ or Knots).

Both are looked for in the same order: the environment variable, PATH, the tools folder that
``python -m adapters.devnode`` fills. Nothing here downloads anything.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

__all__ = [
    "BinaryMissing",
    "NamedBinaryMissing",
    "anvil",
    "bitcoind",
    "platform_name",
    "tools_dir",
    "version_text",
]

_PROJECT_ROOT = Path(__file__).resolve().parents[2]


class BinaryMissing(Exception):
    """A node binary is not on this machine. The message says how to get it."""


class NamedBinaryMissing(BinaryMissing):
    """The environment names a binary that is not there. Only its author can mend that."""


def tools_dir() -> Path:
    """The folder for downloaded binaries: in the checkout, or in the user's cache for a wheel."""
    if (_PROJECT_ROOT / "pyproject.toml").is_file():
        return _PROJECT_ROOT / ".tools"
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "coordinator" / "tools"


def platform_name() -> str:
    """This machine in the words of Foundry's packages, for example ``linux-amd64``."""
    machine = platform.machine().lower()
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    return f"{platform.system().lower()}-{arch}"


def anvil() -> Path:
    """The anvil to run, or BinaryMissing."""
    return _find("anvil", "ANVIL")


def bitcoind() -> Path:
    """The bitcoind to run, or BinaryMissing."""
    return _find("bitcoind", "BITCOIND")


def version_text(binary: Path) -> str:
    """What the binary answers to ``--version``.

    Raises:
        BinaryMissing: it cannot even say that, so it does not run on this machine.
    """
    # bitcoind makes its data folder in the user's home even when only asked for its version.
    with tempfile.TemporaryDirectory(prefix="version-") as home:
        try:
            answer = subprocess.run(
                [binary, "--version"],
                env={**os.environ, "HOME": home},
                capture_output=True,
                text=True,
                timeout=30,
                check=True,
            )
        except (subprocess.SubprocessError, OSError) as error:
            msg = f"{binary} does not run on this machine: {error}"
            raise BinaryMissing(msg) from error
    return answer.stdout


def _find(name: str, variable: str) -> Path:
    named = os.environ.get(variable)
    if named:
        found = shutil.which(named)
        if found is None:
            # A named binary that is absent must not be replaced silently by another one.
            msg = f"${variable} is set to {named}, which is no executable file"
            raise NamedBinaryMissing(msg)
        return Path(found).absolute()
    on_path = shutil.which(name)
    if on_path is not None:
        return Path(on_path).absolute()
    fetched = tools_dir() / "bin" / name
    if os.access(fetched, os.X_OK):
        return fetched
    msg = f"{name} is not on this machine: run `make setup`, or put it on PATH or into ${variable}"
    raise BinaryMissing(msg)
