"""Waiting for a condition with a deadline; a test never sleeps instead."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def wait_until(probe: Callable[[], T | None], *, what: str, timeout_s: float = 60.0) -> T:
    """Call probe until it returns something true, which is returned; fail after timeout_s."""
    deadline_s = time.monotonic() + timeout_s
    while not (answer := probe()):
        assert time.monotonic() < deadline_s, f"waited {timeout_s:g} s for {what}"
        time.sleep(0.01)
    return answer
