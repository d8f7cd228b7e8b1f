"""Fetching node binaries: where apt's sources are read from, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adapters.devnode import anvil_package, binaries, debian_package
from adapters.devnode.apt_sources import one_line_uris, stanza_uris
from adapters.devnode.fetch import FetchFailed, InstallByHand

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("line", "uris"),
    [
        ("deb http://mirror.example/debian bookworm main", ["http://mirror.example/debian"]),
        (
            "deb [arch=amd64 signed-by=/k.gpg] http://m.example/debian sid contrib main",
            ["http://m.example/debian"],
        ),
        ("deb mirror+file:/etc/apt/list bookworm main # ours", ["mirror+file:/etc/apt/list"]),
        ("# deb http://mirror.example/debian bookworm main", []),
        ("deb-src http://mirror.example/debian bookworm main", []),
        ("deb http://mirror.example/security bookworm-security main", []),
        ("deb http://mirror.example/debian bookworm contrib", []),
        ("deb http://mirror.example/flat ./", []),
    ],
)
def test_mirrors_are_read_from_one_line_sources(line: str, uris: list[str]) -> None:
    assert list(one_line_uris(line)) == uris


STANZAS = """\
# the archive
Types: deb deb-src
URIs: http://one.example/debian
  http://two.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
"""


def test_mirrors_are_read_from_stanzas() -> None:
    assert list(stanza_uris(STANZAS)) == ["http://one.example/debian", "http://two.example/debian"]


def test_a_mirror_without_debians_signature_is_refused_and_nothing_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = tmp_path / "mirror"
    for suite in ("testing", "unstable"):
        (mirror / "dists" / suite).mkdir(parents=True)
        (mirror / "dists" / suite / "Release").write_text(f"Suite: {suite}\nComponents: main\n")
    (tmp_path / "sources.list").write_text(f"deb file:{mirror} testing main\n")
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{tmp_path}/sources.list";\nDir::Etc::sourceparts "/dev/null";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    tools = tmp_path / "tools"
    tools.mkdir()

    # A machine that is no Debian gets as far as being told so.
    with pytest.raises(
        (FetchFailed, InstallByHand), match=r"not signed|cannot be fetched|no Debian"
    ):
        debian_package.fetch(tools)
    assert list(tools.iterdir()) == []


def test_without_npm_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(InstallByHand, match="apt install nodejs npm"):
        anvil_package.fetch(tmp_path)


def test_an_anvil_other_than_the_pinned_one_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    # An npm that installs something else, as a compromised registry would.
    npm = tmp_path / "npm"
    package = f"node_modules/@foundry-rs/anvil-{binaries.platform_name()}/bin"
    npm.write_text(f'#!/bin/sh\nmkdir -p "$3/{package}" && echo bad > "$3/{package}/anvil"\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    tools = tmp_path / "tools"
    tools.mkdir()

    with pytest.raises(FetchFailed, match="not installed"):
        anvil_package.fetch(tools)
    assert list(tools.iterdir()) == []


def test_a_binary_named_in_the_environment_is_not_replaced_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANVIL", str(tmp_path / "absent"))

    with pytest.raises(binaries.BinaryMissing, match="ANVIL"):
        binaries.anvil()
