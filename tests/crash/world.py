"""The world around a life, played from inside it: a refusal, a request, blocks.

Everything happens between two points, so no kill cuts it in half, and what is due when a life
begins is done then.
"""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING

from coordinator import service
from coordinator.devnet.control import mine_until, pause_token
from tests.crash.ends import ENDS

if TYPE_CHECKING:
    from coordinator.journal.sqlite import SqliteJournal
    from coordinator.saga import SagaState
    from tests.crash.kill_points import Orders

__all__ = ["World"]


class World:
    """What happens to a saga beside what its coordinator does."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._devnet = orders.devnet
        self._end = ENDS[orders.end]

    def prepared(self, name: str) -> None:
        """An attempt is signed; nobody knows of it yet."""
        if self._end.mint_refused and name == "mint.forward":
            self._refuse_the_mint()
        if self._end.asked_back and name == "pay.forward":
            (self._devnet.folder / "bitcoin.paused").touch()

    def _refuse_the_mint(self) -> None:
        """The token's owner stops new mints: what is signed by now, only the chain will refuse.

        Once for all lives of a run; nobody goes on before it is so.
        """
        with (self._orders.folder / "paused").open("a+", encoding="utf-8") as marker:
            fcntl.flock(marker, fcntl.LOCK_EX)
            if marker.tell() == 0:
                pause_token(self._devnet, "ethereum")
                marker.write("ethereum")

    async def look(self, journal: SqliteJournal, saga: str) -> None:
        """Do what is due by what is durable; doing it again changes nothing."""
        state = service.load(journal, saga)
        if state.state == "undoing":
            self._let_refunds_open(state)
        paying = self._end.asked_back and state.effort("pay", "forward").attempts
        if paying and state.state == "running" and state.asked is None:
            await service.ask_rollback(journal, saga, by="test", reason="second thoughts")

    def sent(self, name: str) -> None:
        """A node has it."""
        if name == "burn:pay.forward":
            (self._devnet.folder / "bitcoin.paused").unlink(missing_ok=True)

    def _let_refunds_open(self, state: SagaState) -> None:
        """Mine up to the heights from which on holds can be refunded."""
        for step, expiry in state.expiries.items():
            mine_until(self._devnet, state.step(step).chain, expiry["height"])
