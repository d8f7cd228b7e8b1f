"""How the interpreter is set up in a process that drives many sagas."""

import gc
import sys
from typing import Final

__all__ = ["prepare_to_drive"]

#: Objects made and still there before the youngest are looked through; Python's own value is 700.
_YOUNG: Final = 5_000
_RARER: Final = (10, 10)
#: How long the loop may go on while the thread that commits waits for the interpreter.
_SWITCH_S: Final = 0.0005


def prepare_to_drive() -> None:
    """Look through less for cyclic garbage, and let the commit's thread in sooner.

    Sagas are folds of plain values, which reference counts free; cycles come from failures alone:
    an exception, and the frame that kept it to raise it later. What such frames hold is large, so
    they must not pile up; but with Python's own thresholds, and all that imports have made looked
    through each time, the collector takes a tenth of a busy process's time. A commit needs the
    interpreter for moments between two waits for the disk; with Python's own interval of 5 ms it
    would wait longer for the loop than for the disk.
    """
    gc.freeze()
    gc.set_threshold(_YOUNG, *_RARER)
    sys.setswitchinterval(_SWITCH_S)
