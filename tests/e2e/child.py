"""A process of its own without the price of starting one: forked after all imports."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_a_child"]


def in_a_child(work: Callable[[], object]) -> int:
    """Run ``work`` in a forked process and return the signal that ended it, 0 for none.

    Nothing may be open here that must not be shared: no database, no event loop, no thread.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - the parent is told by the missing signal
            traceback.print_exc()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
