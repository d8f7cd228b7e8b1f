"""Fetch anvil: the binary that Foundry publishes per platform as an npm package.

The platform's package is installed directly and with scripts ignored. The wrapper package would
put a node process between us and anvil (a kill -9 of it leaves anvil running) and downloads from
a post-install script.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from adapters.devnode.binaries import platform_name
from adapters.devnode.fetch import FetchFailed, InstallByHand, run_tool

__all__ = ["VERSION", "fetch"]

VERSION = "1.7.1"
_PLATFORMS = frozenset({"linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64"})
# SHA-256 of the binary inside the package. Where there is none, the integrity hash that npm checks
# against the registry's own metadata is all we have.
_BINARY_SHA256 = {
    "linux-amd64": "10c1c727d6c1de973aeb160e59875b9a9a23464d6e74149ee8abb30b3500311b",
}


def fetch(tools: Path) -> None:
    """Install anvil as ``bin/anvil`` in tools.

    Raises:
        InstallByHand: no npm, or a platform without a package.
        FetchFailed: npm failed, or the binary is not the pinned one.
    """
    name = platform_name()
    if name not in _PLATFORMS:
        msg = f"Foundry has no anvil package for {name}: build anvil and set ANVIL to it"
        raise InstallByHand(msg)
    npm = shutil.which("npm")
    if npm is None:
        msg = (
            "npm is missing: install Node.js with npm (Debian: apt install nodejs npm), "
            f"or put Foundry's anvil {VERSION} on PATH or into $ANVIL"
        )
        raise InstallByHand(msg)
    package = f"@foundry-rs/anvil-{name}"
    print(f"anvil: fetching {package} {VERSION} with npm", flush=True)
    with tempfile.TemporaryDirectory(prefix="anvil-", dir=tools) as scratch:
        # A cache of its own: the user's home may be read-only or absent.
        quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
        options = ["--ignore-scripts", "--no-save", f"--cache={scratch}/cache", *quiet]
        run_tool(
            [npm, "install", "--prefix", scratch, *options, f"{package}@{VERSION}"],
            doing=f"npm install of {package}@{VERSION}",
        )
        binary = Path(scratch) / "node_modules" / package / "bin" / "anvil"
        _check(binary, name)
        target = tools / "bin" / "anvil"
        target.parent.mkdir(exist_ok=True)
        binary.chmod(0o755)
        binary.replace(target)


def _check(binary: Path, name: str) -> None:
    if not binary.is_file():
        msg = f"the npm package of anvil {VERSION} holds no bin/anvil"
        raise FetchFailed(msg)
    expected = _BINARY_SHA256.get(name)
    if expected is None:
        return
    with binary.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != expected:
        msg = f"anvil {VERSION} for {name} has SHA-256 {actual}, expected {expected}; not installed"
        raise FetchFailed(msg)
