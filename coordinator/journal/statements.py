"""The journal's SQL, read once from the .sql files beside this module."""

import re
from pathlib import Path
from typing import Final

__all__ = ["QUERIES", "SCHEMA"]

_HERE: Final = Path(__file__).parent
_NAME: Final = re.compile(r"^-- name: ([a-z_]+)$", re.MULTILINE)


def _load(text: str) -> dict[str, str]:
    """Return the statements of ``text`` by the name in the comment above each."""
    parts = _NAME.split(text)
    # Comments go: SQLite would keep them in its cache and compare them on every call.
    return {
        name: re.sub(r"^--.*\n", "", statement, flags=re.MULTILINE).strip()
        for name, statement in zip(parts[1::2], parts[2::2], strict=True)
    }


#: Statement text by name.
QUERIES: Final = _load((_HERE / "queries.sql").read_text(encoding="utf-8"))
#: The script that makes an empty database a journal of schema version 1.
SCHEMA: Final = (_HERE / "schema.sql").read_text(encoding="utf-8")
