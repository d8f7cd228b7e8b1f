"""Random damage with a seed that a failure names, so that it can be done again."""

import os
import random
from collections.abc import Callable
from typing import Any, Final

import pytest

from proofs.errors import ProofError

__all__ = ["damaged", "fuzz", "ways_into"]

_CASES: Final = int(os.environ.get("FUZZ_CASES", "10000"))


def fuzz(test: str, attempt: Callable[[random.Random], object]) -> None:
    """Run ``attempt`` many times; it may end well or in an error of ours, and in no other.

    Args:
        test: name of the calling test, for the command that repeats a failure. More cases come
            with ``FUZZ_CASES``, the same with ``FUZZ_SEED``.
    """
    seed = int(os.environ.get("FUZZ_SEED") or random.SystemRandom().getrandbits(48))
    for case in range(_CASES):
        try:
            attempt(random.Random(f"{seed}/{case}"))
        except ProofError:
            continue
        except Exception as error:  # noqa: BLE001 - any other error is what is looked for
            again = f"FUZZ_SEED={seed} FUZZ_CASES={case + 1} .venv/bin/pytest tests/unit -k {test}"
            pytest.fail(f"case {case}: {type(error).__name__}: {error}\n{again}")


def damaged(raw: bytes, chance: random.Random) -> bytes:
    """A copy with some bytes changed, dropped or repeated."""
    text = bytearray(raw)
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(len(text) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            text[at : at + 1] = bytes([chance.choice((0, 0x7F, 0x80, 0xB8, 0xC0, 0xF8, 0xFF))])
        elif kind == 1:
            text[at : at + 1] = bytes([chance.randrange(256)])
        elif kind == 2:
            del text[at : at + chance.randint(1, 40)]
        else:
            text[at:at] = text[at : at + chance.randint(1, 40)]
    return bytes(text)


def ways_into(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to every member and element of a JSON value."""
    found = [way] if way else []
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        found += ways_into(inner, (*way, key))
    return found
