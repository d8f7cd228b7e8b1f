"""JSON from outside, parsed so that deep nesting is an error and never a crash.

py_ecc, which web3 and eth-account load, raises Python's recursion limit to 100000. Under that limit
the parser of the standard library overflows the C stack on a text of 100 kB (seen on CPython
3.11), and the process dies. So the limit is put back to a bearable one before each parse.
"""

import json
import sys
from collections.abc import Callable
from typing import Any, Final

__all__ = ["parse_json"]

#: Far above what any program here needs, far below what the C stack can bear.
_LIMIT: Final = 5_000


def parse_json(
    text: bytes | str, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """Return the value of a JSON text.

    Args:
        pairs: makes an object of its members, as ``json.loads`` takes it; it may raise ValueError.

    Raises:
        ValueError: it is no JSON, or nested beyond all reason.
    """
    if sys.getrecursionlimit() > _LIMIT:
        sys.setrecursionlimit(_LIMIT)
    try:
        return json.loads(text, object_pairs_hook=pairs)
    except RecursionError:
        raise ValueError("nested too deep") from None
