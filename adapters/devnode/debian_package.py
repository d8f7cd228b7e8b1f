"""Fetch bitcoind: Debian's package bitcoin-knots, with the libraries it was linked against.

Knots is in Debian's testing or unstable only. The machine's own mirror and apt fetch it: apt checks
the suite's signature against Debian's archive keyring and each package against the signed index.
apt works in a private folder with an empty package database, so nothing of the system is read or
changed, no root is needed, and the answer includes glibc. The binary runs through that glibc's own
loader, because the host's may be older.
"""

from __future__ import annotations

import platform
import shutil
import tempfile
from pathlib import Path

from adapters.devnode.apt_sources import MirrorUnknown, debian_mirrors
from adapters.devnode.fetch import FetchFailed, InstallByHand, run_tool

__all__ = ["fetch"]

_SUITES = ("testing", "unstable")
_KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
)
# bitcoin-knots wants to create a system user. The small package satisfies that dependency; without
# it apt would choose systemd itself and fetch 7 MB more.
_PACKAGES = ("bitcoin-knots", "systemd-standalone-sysusers")
_BY_HAND = "install Bitcoin Core 28+ or Bitcoin Knots, on PATH or with BITCOIND set to its bitcoind"

# The loader is exec'ed, so the process keeps this script's pid and signals reach bitcoind.
_WRAPPER = """\
#!/bin/sh
root=$(dirname "$(readlink -f "$0")")/../{folder}
exec "$root/{loader}" --library-path "$root/lib" --argv0 bitcoind "$root/bitcoind" "$@"
"""


def fetch(tools: Path) -> None:
    """Install bitcoind as ``bin/bitcoind`` in tools, its files as ``bitcoin-knots/``.

    Raises:
        InstallByHand: this is no Debian, or its mirrors or keyring are not to be found.
        FetchFailed: no mirror has the package, or a signature or hash is wrong.
    """
    keyring = _keyring()
    try:
        mirrors = debian_mirrors()
    except MirrorUnknown as error:
        msg = f"bitcoind is missing and {error}: {_BY_HAND}"
        raise InstallByHand(msg) from error
    print("bitcoind: fetching Debian's bitcoin-knots with apt (about 20 MB)", flush=True)
    refusals = []
    for suite in _SUITES:
        for mirror in mirrors:
            with tempfile.TemporaryDirectory(prefix="bitcoind-", dir=tools) as scratch:
                try:
                    _fetch_from(mirror, suite, keyring, Path(scratch), tools)
                except FetchFailed as error:
                    refusals.append(f"{suite}: {error}")
                else:
                    return
    msg = "no bitcoin-knots could be fetched and verified.\n{}\nTry again, or {}".format(
        "\n".join(refusals), _BY_HAND
    )
    raise FetchFailed(msg)


def _keyring() -> Path:
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            msg = f"bitcoind is missing and this is no Debian (no {tool}): {_BY_HAND}"
            raise InstallByHand(msg)
    try:
        distribution = platform.freedesktop_os_release().get("ID", "unknown")
    except OSError:
        distribution = "unknown"
    if distribution != "debian":
        msg = f"bitcoind is missing and cannot be fetched on '{distribution}': {_BY_HAND}"
        raise InstallByHand(msg)
    for keyring in _KEYRINGS:
        if keyring.is_file():
            return keyring
    msg = f"bitcoind is missing; install the package debian-archive-keyring, or {_BY_HAND}"
    raise InstallByHand(msg)


def _fetch_from(mirror: str, suite: str, keyring: Path, scratch: Path, tools: Path) -> None:
    apt = _private_apt(mirror, suite, keyring, scratch)
    run_tool([*apt, "update"], doing=f"apt-get update of Debian {suite}")
    run_tool(
        [*apt, "install", "--yes", "--download-only", *_PACKAGES],
        doing=f"apt-get download of bitcoin-knots from Debian {suite}",
    )
    unpacked = scratch / "unpacked"
    for package in sorted((scratch / "archives").glob("*.deb")):
        run_tool(["dpkg-deb", "--extract", package, unpacked], doing=f"unpacking {package.name}")
    _install(unpacked, scratch, tools)


def _private_apt(mirror: str, suite: str, keyring: Path, scratch: Path) -> list[str]:
    """An apt-get that knows this source, this keyring and an empty package database only."""
    for folder in ("lists/partial", "archives/partial"):
        (scratch / folder).mkdir(parents=True)
    (scratch / "status").touch()
    (scratch / "sources.list").write_text(f"deb [signed-by={keyring}] {mirror} {suite} main\n")
    options = {
        "Dir::State": scratch,
        "Dir::State::lists": scratch / "lists",
        "Dir::State::status": scratch / "status",
        "Dir::Cache": scratch,
        "Dir::Cache::archives": scratch / "archives",
        "Dir::Etc::sourcelist": scratch / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "APT::Default-Release": "",
        "APT::Install-Recommends": "false",
        # As root apt would otherwise download as a user that may not enter this folder.
        "APT::Sandbox::User": "root",
        "APT::Get::AllowUnauthenticated": "false",
        "Acquire::AllowInsecureRepositories": "false",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "Debug::NoLocking": "true",
    }
    return ["apt-get", "--quiet", *(f"-o{name}={value}" for name, value in options.items())]


def _install(unpacked: Path, scratch: Path, tools: Path) -> None:
    """Keep bitcoind, its loader and the libraries that the loader resolves; drop the rest."""
    binary = unpacked / "usr/bin/bitcoind"
    loaders = sorted(unpacked.glob("**/ld-linux-*.so.*"))
    if not binary.is_file() or not loaders:
        msg = "the package bitcoin-knots holds no bitcoind or no loader"
        raise FetchFailed(msg)
    folders = {path.parent for path in unpacked.glob("**/*.so.*")}
    search_path = ":".join(sorted(str(folder) for folder in folders))
    listing = run_tool(
        [loaders[0], "--library-path", search_path, "--list", binary],
        doing="resolving the libraries of bitcoind",
    )
    keep = scratch / "keep"
    (keep / "lib").mkdir(parents=True)
    for line in listing.splitlines():
        _, arrow, resolved = line.partition(" => ")
        source = Path(resolved.rsplit(" (", 1)[0])
        if not arrow:
            continue  # the loader itself and the kernel's vdso have no file to copy
        if not source.is_relative_to(unpacked):
            msg = f"bitcoind would use a library of this machine ({line.strip()})"
            raise FetchFailed(msg)
        shutil.copy(source, keep / "lib" / source.name)
    shutil.copy(loaders[0], keep / loaders[0].name)
    shutil.copy(binary, keep / "bitcoind")
    folder = "bitcoin-knots"
    shutil.rmtree(tools / folder, ignore_errors=True)
    keep.replace(tools / folder)
    wrapper = scratch / "wrapper"
    wrapper.write_text(_WRAPPER.format(folder=folder, loader=loaders[0].name))
    wrapper.chmod(0o755)
    (tools / "bin").mkdir(exist_ok=True)
    wrapper.replace(tools / "bin" / "bitcoind")
