"""Which blocks somebody needed lately: others may be forgotten, and are read again if asked for."""

from typing import Final

__all__ = ["NeededLately"]

#: A height that no chain reaches.
_NOTHING: Final = 2**62


class NeededLately:
    """The lowest block that was needed, stretch of blocks by stretch of blocks.

    Attributes:
        lowest: height from which on blocks were needed in this stretch; beyond all chains if none.
    """

    def __init__(self) -> None:
        self.lowest = _NOTHING
        self._ends_at = 0

    def need(self, low: int) -> None:
        """Somebody needs the blocks from height ``low`` on."""
        self.lowest = min(self.lowest, low)

    def end_by(self, height: int) -> None:
        """Let this stretch be over at ``height``, if it would last longer."""
        self._ends_at = min(self._ends_at, height)

    def floor(self, top: int, length: int) -> int | None:
        """Return once in ``length`` blocks, when a stretch is over, the height below which nobody
        needed anything in it, at most ``length`` below ``top``; None while it lasts.
        """
        if top < self._ends_at:
            return None
        floor = min(self.lowest, top - length)
        if self._ends_at:  # else the first one begins here
            self.lowest = _NOTHING
        self._ends_at = top + length
        return floor
