"""Where the preimages of a saga's holds can be found: on the disk, and with any node.

They are derived here once more, from the documented formula: HMAC-SHA256 of the seed over the
hold's canonical name.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

from tests.crash.evidence import raw_transactions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.crash.evidence import Scene

__all__ = ["exposed", "leaks", "preimages"]

#: Folders in which bitcoind scrambles what it writes; what is in there its answers show.
_SCRAMBLED = {"blocks", "chainstate", "indexes"}


def preimages(started: Mapping[str, Any], seed: bytes) -> dict[str, bytes]:
    """Return the preimage of every hold of a saga, by step."""
    found = {}
    for step in started["plan"]["steps"]:
        if step["reveals"]:
            name = {"generation": 1, "hold": 1, "saga": started["saga"], "step": step["id"]}
            text = json.dumps(name, sort_keys=True, separators=(",", ":"))
            found[step["id"]] = hmac.digest(seed, text.encode(), "sha256")
    return found


def leaks(scene: Scene) -> list[str]:
    """Return everything by which a preimage could be known although no commit was decided.

    Asked while the process is dead, and in the end, this is R9 itself.
    """
    return list(_early(scene)) + list(_lying_about(scene))


def _early(scene: Scene) -> Iterator[str]:
    """Nobody took a preimage out before; what nobody has can be in no message either."""
    for note in scene.notes:
        if note["what"] == "preimage" and note["decided"] != ["commit"]:
            yield f"K10 life {note['life']} took the preimage of {note['step']} out undecided"


def _lying_about(scene: Scene) -> Iterator[str]:
    records = scene.journal.records()
    if any(r["kind"] == "decided" and r["data"]["decision"] == "commit" for r in records):
        return
    for place in exposed(scene):
        yield f"K10 undecided, and {place}"


def exposed(scene: Scene) -> Iterator[str]:
    """Yield every place that holds a preimage of the saga."""
    records = scene.journal.records()
    if not records:
        return
    secrets = preimages(records[0]["data"], scene.seed)
    for record in records:
        step = record["data"].get("step")
        hashlock = record["data"].get("hashlock")
        if hashlock and hashlock != hashlib.sha256(secrets[step]).hexdigest():
            yield f"its hashlock of {step} is of another preimage than what is searched for"
    forms = {step: _forms(secret) for step, secret in secrets.items()}
    if not forms:
        return
    for path, content in _files(scene):
        for step, texts in forms.items():
            if any(text in content for text in texts):
                yield f"{path} has the preimage of {step}"
    for chain, tx, raw in raw_transactions(scene):
        for step, secret in secrets.items():
            if secret.hex() in raw:
                yield f"{chain} has the preimage of {step} in {tx}"


def _forms(secret: bytes) -> list[bytes]:
    """Every way in which 32 bytes are usually written."""
    text = secret.hex()
    return [secret, text.encode(), text.upper().encode(), base64.b64encode(secret)[:-1]]


def _files(scene: Scene) -> Iterator[tuple[Path, bytes]]:
    for folder in scene.folders:
        for path in sorted(folder.rglob("*")):
            if _SCRAMBLED.isdisjoint(path.parts) and path.is_file():
                try:
                    yield path.relative_to(folder), path.read_bytes()
                except FileNotFoundError:
                    continue  # a node has just put another in its place
