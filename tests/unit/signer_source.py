"""A ``[signer.NAME]`` table as tests write it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    type: str
    path: Path | None = None
    passphrase: str | None = None
    variable: str | None = None
