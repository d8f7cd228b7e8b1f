"""The refund recipe of a hold: what anybody with the payer's key needs when all else is lost.

Written before the hold's bytes leave `prepare`, one file per attempt, and beside it once the tool
that signs by it with nothing but Python (`sign_return`). They hold no secret.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from adapters.bitcoin import sign_return

__all__ = ["write_recipe"]

_TOOL: Final = Path(sign_return.__file__)
_HOW: Final = (
    "After block `locktime` spend `outpoint` (P2WSH, `amount_sat` satoshi) to any address with "
    "nLockTime = locktime, an input sequence below 0xffffffff, and the witness "
    "[signature of the payer's key, empty, witness_script] (BIP-65, BIP-143). With the payer's key "
    "(64 hex digits or WIF) in KEYFILE: python3 sign_return.py THIS_FILE --fee-sat FEE < KEYFILE, "
    "then bitcoin-cli sendrawtransaction. VOID ONCE COMMIT IS DECIDED: from then on it is the "
    "payee's."
)


def write_recipe(folder: Path, saga: str, step: str, tx_id: str, facts: Mapping[str, Any]) -> Path:
    """Write a recipe and return its path; it is on disk when this returns.

    Args:
        facts: what `adapters.bitcoin.recipe.refund_facts` returns, and payer (address), hashlock.

    Raises:
        OSError: it could not be written; the hold must not be sent then.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    tool = folder / _TOOL.name
    if not _holds(tool, _TOOL.read_bytes()):
        _write(tool, _TOOL.read_bytes())
    path = folder / f"{saga}-{step}-{tx_id[:16]}.json"
    recipe = {"version": 2, "saga": saga, "step": step, "tx": tx_id, **facts, "how": _HOW}
    _write(path, json.dumps(recipe, indent=2, sort_keys=True).encode() + b"\n")
    return path


def _holds(path: Path, body: bytes) -> bool:
    """Tell whether a file has these bytes; one of an earlier version of this program has others."""
    try:
        return path.read_bytes() == body
    except FileNotFoundError:
        return False


def _write(path: Path, body: bytes) -> None:
    """Write a 0600 file durably, whole or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
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
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
