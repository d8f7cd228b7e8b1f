"""The refund recipe of a hold: what anybody with the payer's key needs when all else is lost.

Written before the hold's bytes leave `prepare`, one file per attempt. It holds no secret.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["write_recipe"]

_HOW = (
    "After block `locktime` spend `outpoint` (P2WSH, `amount_sat` satoshi) to any address with "
    "nLockTime = locktime, an input sequence below 0xffffffff, and the witness "
    "[signature of the payer's key, empty, witness_script] (BIP-65, BIP-143)."
)


def write_recipe(folder: Path, saga: str, step: str, tx_id: str, facts: Mapping[str, Any]) -> Path:
    """Write a recipe and return its path; it is on disk when this returns.

    Args:
        facts: outpoint, amount_sat, witness_script (hex), locktime, payer (address), network.

    Raises:
        OSError: it could not be written; the hold must not be sent then.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{saga}-{step}-{tx_id[:16]}.json"
    recipe = {"version": 1, "saga": saga, "step": step, "tx": tx_id, **facts, "how": _HOW}
    body = json.dumps(recipe, indent=2, sort_keys=True).encode() + b"\n"
    partial = path.with_suffix(".partial")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return path
