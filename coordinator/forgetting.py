"""Tells chains which old blocks no saga needs any more: memory grows with what is open."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from coordinator.runner import Runner

__all__ = ["Forgetting"]

#: All sagas are gone through once in so many blocks.
_EVERY_BLOCKS: Final = 64


class Forgetting:
    """Looks for the oldest saga that this process drives or watches, chain by chain.

    Where a saga began is near enough: what lies below it, because a reorganisation moved it there,
    is within what adapters keep beyond a hint, or is read again.
    """

    def __init__(self, runner: "Runner") -> None:
        self._runner = runner
        self._due: dict[str, int] = {}

    def reached(self, chain: str, height: int) -> None:
        """A majority has shown the chain up to ``height``."""
        if height < self._due.get(chain, 0):
            return
        self._due[chain] = height + _EVERY_BLOCKS
        clocks = [live.state.clocks for live in self._runner.live.values()]
        clocks += self._runner.ended.clocks()
        began = [int(clock[chain]["height"]) for clock in clocks if chain in clock]
        self._runner.adapters[chain].keep_from(min(began, default=height))
