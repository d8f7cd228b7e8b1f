"""How long a chain is waited for before a person is told."""

from typing import Final

__all__ = ["PATIENCE_BLOCKS", "patience_s"]

#: A block should take a transaction within so many slow blocks.
PATIENCE_BLOCKS: Final = 10
#: A person is told no sooner than this.
_PATIENCE_S_MIN: Final = 60


def patience_s(slow_ms: int, blocks: int = PATIENCE_BLOCKS) -> int:
    """Return for how long ``blocks`` are waited for before a person is told, in seconds.

    Args:
        slow_ms: of the chain's slowest usual block time.
    """
    return max(_PATIENCE_S_MIN, blocks * slow_ms // 1000)
