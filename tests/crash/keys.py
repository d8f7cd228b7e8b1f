"""Keystores that open at once: their key derivation costs more than all else that a life does."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from coordinator.devnet.identities import secret_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["make_cheap"]


def make_cheap(folder: Path) -> None:
    """Encrypt the keystores of a development network again, with one round of PBKDF2.

    The files and the ways to open them stay the same.
    """
    limit = sys.getrecursionlimit()
    from eth_keyfile import keyfile

    sys.setrecursionlimit(limit)  # a dependency of it raises the limit when it is imported
    passphrase = (folder / "passphrase").read_bytes().strip()
    for path in folder.glob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        made = keyfile.create_keyfile_json(
            secret_of(path.stem), passphrase, kdf="pbkdf2", iterations=1
        )
        content["crypto"] = made["crypto"]
        path.write_text(json.dumps(content), encoding="utf-8")
