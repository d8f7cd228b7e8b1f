"""The journal's SQL, read once from the .sql files beside this module."""

import re
from pathlib import Path
from typing import Final

__all__ = ["MIGRATIONS", "QUERIES", "SCHEMA"]

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
#: Script n brings a journal of version n to version n + 1; version 0 is an empty database. A script
#: that was released never changes.
MIGRATIONS: Final = tuple(
    (_HERE / name).read_text(encoding="utf-8") for name in ("schema.sql", "schema_2.sql")
)
#: The script that makes an empty database a journal of this version.
SCHEMA: Final = "\n".join(MIGRATIONS)
