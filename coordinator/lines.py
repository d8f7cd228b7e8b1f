"""Each account's line: the smallest value of its sequence that no block has consumed, as read last.

One reader for all who look at lines, so that a look asks a chain for each of them once.
"""

from typing import TYPE_CHECKING

from adapters.errors import Transient

if TYPE_CHECKING:
    from coordinator.runner import Runner

__all__ = ["Line", "Lines"]

#: (chain, resource)
Line = tuple[str, str]


class Lines:
    """The heads of all lines, as of the newest answers."""

    def __init__(self, runner: "Runner") -> None:
        self._runner = runner
        #: line → its smallest value that no block had consumed when it was read; only lines in
        #: which something is claimed are ever read.
        self.heads: dict[Line, int] = {}
        #: what was read during this look.
        self._fresh: set[Line] = set()

    def begin(self) -> None:
        """A new look begins: what is needed in it is read anew."""
        self._fresh.clear()

    async def read(self, line: Line) -> bool:
        """Ask the chain once a look; False while it does not answer."""
        if line not in self._fresh:
            chain, resource = line
            try:
                head = await self._runner.adapters[chain].unused(resource)
            except Transient:
                return False
            self.heads[line] = head
            self._fresh.add(line)
        return True
