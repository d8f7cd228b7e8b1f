"""Changes of one member that every verifier must refuse; a vector for other languages too.

``path`` leads to a member of the bundle; ``do`` is ``set``, ``drop`` or ``insert`` (into a list).
The file stays canonical JSON: what is refused is what it says.
"""

from typing import Any, Final

__all__ = ["REFUSED"]


def _attack(name: str, do: str, *path: str | int, **more: Any) -> dict[str, Any]:
    return {"name": name, "of": more.pop("of", "committed"), "do": do, "path": list(path)} | more


_ZERO: Final = "0" * 64
_OTHER: Final = "01JDMZXW7C3N5Q8R2T4V6Y9ABD"
_NOTE: Final = "log.example/other\n1\nAAAA\n\n"

REFUSED: Final[tuple[dict[str, Any], ...]] = (
    _attack("an edited time", "set", "records", 3, "at", value=1),
    _attack("an edited height", "set", "records", 3, "data", "height", value=1),
    _attack("a dropped record", "drop", "records", 5),
    _attack("a truncated tail", "drop", "records", 26),
    _attack("another saga's stream", "set", "records", 2, "stream", value="saga:OTHER"),
    _attack("another saga's name", "set", "records", 0, "data", "saga", value=_OTHER),
    _attack("a later format", "set", "records", 0, "v", value=2),
    _attack("an edited plan", "set", "records", 0, "data", "plan", "name", value="other"),
    _attack("another outcome", "set", "payload", "outcome", value="rolled_back"),
    _attack("another transaction", "set", "payload", "effects", 0, "tx", value=_ZERO),
    _attack("a forgotten effect", "drop", "payload", "effects", 1),
    _attack("a better finality", "set", "payload", "finality", "east", "nodes", value=5),
    _attack("a member that nobody knows", "set", "payload", "note", value="trust me"),
    _attack("a surplus part", "insert", "parts", 0, value="AAAA"),
    _attack("a dropped part", "drop", "parts", 0),
    _attack("no proofs at all", "set", "evidence", value={}),
    _attack("another leaf's position", "set", "log", "positions", 4, value=12),
    _attack("a dropped node of the log", "drop", "log", "nodes", 0),
    _attack("another checkpoint", "set", "log", "checkpoint", value=_NOTE),
    _attack("another consistency proof", "set", "log", "consistency", "path", value=[]),
    _attack("a dropped participant", "drop", "signatures", 0),
    _attack("another's address", "set", "signatures", 0, "address", value="11" * 20),
    _attack("another's signature", "set", "signatures", 0, "signature", value="11" * 64 + "1b"),
    _attack("a role that looks alike", "set", "signatures", 0, "role", value="buyеr"),
    _attack("an undo that never was", "drop", "records", 20, of="rolled-back"),
    _attack("undone by a wish", "set", "records", 19, "data", "reason", of="rolled-back", value=""),
    _attack("a bundle of another version", "set", "v", value=2),
    _attack("a bundle that brings trust", "set", "trust", value={}),
)  # fmt: skip
