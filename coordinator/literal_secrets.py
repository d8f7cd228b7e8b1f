"""Walk a configuration for keys and passwords that stand where only references belong.

Findings name the place and the kind of secret and never carry the text.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from coordinator.signers.literals import looks_like_secret

__all__ = ["secrets_in"]

_HASH: Final = re.compile(r"(?:0[xX])?[0-9a-fA-F]{64}")
#: 32-byte values that are public by nature.
_PUBLIC: Final = frozenset({"genesis", "code_hash"})
#: A path segment or query value this long, with letters and digits, is an access token.
_TOKEN: Final = re.compile(r"(?=[^/]*[0-9])(?=[^/]*[A-Za-z])[A-Za-z0-9_-]{24,}")


def secrets_in(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Yield ``(place, kind of secret)`` for every text in ``value`` that looks like a secret."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if kind := looks_like_secret(key):
                yield f"a key of {where or 'the top level'}", kind
            elif not (key in _PUBLIC and isinstance(item, str) and _HASH.fullmatch(item)):
                yield from secrets_in(item, f"{where}.{key}" if where else key)
    elif isinstance(value, str):
        if kind := looks_like_secret(value) or _url_secret(value):
            yield where, kind
    elif isinstance(value, Sequence):
        for number, item in enumerate(value, start=1):
            yield from secrets_in(item, f"{where}[{number}]")


def _url_secret(text: str) -> str | None:
    try:
        url = urlsplit(text)
    except ValueError:
        return None
    if "://" not in text:
        return None
    if "@" in url.netloc:
        return "a user name in a URL"
    parts = url.path.split("/") + re.split("[=&]", url.query)
    return "an access token in a URL" if any(map(_TOKEN.fullmatch, parts)) else None
