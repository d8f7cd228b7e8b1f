"""How often a process that drives sagas looks for cyclic garbage."""

import gc
from typing import Final

__all__ = ["collect_seldom"]

#: Objects made and still there before the youngest are looked through; Python's own value is 700.
_YOUNG: Final = 20_000
_RARER: Final = (20, 50)


def collect_seldom() -> None:
    """Look for cyclic garbage less often.

    Sagas are folds of plain values, which reference counts free; cycles come from failures alone.
    With Python's own thresholds the collector takes a tenth of a busy process's time.
    """
    gc.set_threshold(_YOUNG, *_RARER)
