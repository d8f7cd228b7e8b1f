"""The channels of preimages after their reveal (R9)."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["FileDelivery"]


class FileDelivery:
    """Implements `coordinator.ports.Channel`.

    ``file`` writes ``SAGA.STEP.json`` (0600, whole or not at all) with the preimage and what the
    payee needs to redeem. ``secret`` writes nothing: the operator asks for the preimage with
    ``coordinator secret SAGA STEP``. ``calldata`` travels in a transaction of ours.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(
        self, saga: str, step: str, deliver: str, preimage: bytes, facts: Mapping[str, Any]
    ) -> None:
        """Put the preimage on the channel; an existing file is left as it is."""
        if deliver != "file":
            return
        path = self._folder / f"{saga}.{step}.json"
        if path.exists():
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = json.dumps(
            {"saga": saga, "step": step, "preimage": preimage.hex(), "hold": dict(facts)},
            indent=2,
        )
        partial = path.with_suffix(".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
