"""The Debian mirrors that this machine already uses, read from apt's own source files.

Formats: sources.list(5), both the one-line style and the deb822 style. No mirror is named here, so
a machine that may only reach its own mirror keeps to it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from adapters.devnode.fetch import FetchFailed, run_tool

__all__ = ["MirrorUnknown", "debian_mirrors", "one_line_uris", "stanza_uris"]

# Shell names for apt-config(8), each with the setting that it gets.
_PATHS = ("LIST", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d")
_ONE_LINE = re.compile(
    r"^deb\s+(?:\[[^]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)$"
)


class MirrorUnknown(Exception):
    """apt's source files name no mirror with the component main."""


def debian_mirrors() -> list[str]:
    """URIs of all binary sources with the component main, the likeliest Debian archive first.

    A foreign repository in the list costs one refused try: only Debian's keyring is accepted.

    Raises:
        MirrorUnknown: there is none.
    """
    found: dict[str, None] = {}
    for path in _source_files():
        text = path.read_text(encoding="utf-8", errors="replace")
        uris = stanza_uris(text) if path.suffix == ".sources" else one_line_uris(text)
        found.update(dict.fromkeys(uris))
    if not found:
        msg = "apt's source files name no mirror with the component main"
        raise MirrorUnknown(msg)
    return sorted(found, key=lambda uri: not uri.rstrip("/").endswith("/debian"))


def one_line_uris(text: str) -> Iterator[str]:
    """URIs in the one-line style: ``deb [options] URI SUITE COMPONENT...``."""
    for line in text.splitlines():
        match = _ONE_LINE.match(line.partition("#")[0].strip())
        if match and "main" in match["components"].split() and _is_release(match["suite"]):
            yield match["uri"]


def stanza_uris(text: str) -> Iterator[str]:
    """URIs in the deb822 style: stanzas of ``Field: value`` parted by empty lines."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        unfolded = re.sub(r"\n[ \t]+", " ", stanza)
        pairs = (line.partition(":") for line in unfolded.splitlines())
        fields = {name.strip().lower(): value.split() for name, _, value in pairs}
        if fields.get("enabled") == ["no"] or "deb" not in fields.get("types", []):
            continue
        suites = fields.get("suites", [])
        if "main" in fields.get("components", []) and any(map(_is_release, suites)):
            yield from fields.get("uris", [])


def _is_release(suite: str) -> bool:
    """True for a main archive (``bookworm``), false for ``bookworm-security`` and path sources."""
    return re.fullmatch(r"[a-z]+", suite) is not None


def _source_files() -> list[Path]:
    try:
        answer = run_tool(["apt-config", "shell", *_PATHS], doing="reading apt's configuration")
    except FetchFailed as error:
        raise MirrorUnknown(str(error)) from error
    values = dict(word.split("=", 1) for word in shlex.split(answer))
    parts = Path(values.get("PARTS", "/etc/apt/sources.list.d"))
    files = [Path(values.get("LIST", "/etc/apt/sources.list"))]
    if parts.is_dir():
        files += sorted(p for p in parts.iterdir() if p.suffix in {".list", ".sources"})
    return [path for path in files if path.is_file()]
