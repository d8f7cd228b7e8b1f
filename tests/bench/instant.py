"""A chain that does next to nothing: what is measured is the engine, not the simulation.

Accounts with nonces and balances, transfers between them, one block for each transaction as soon as
its nonce is next. No mempool rules, no reorganisations, no contract: `tests.sim` has those.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from adapters.base import (
    Attempt,
    BlockEvent,
    ChainClock,
    ClaimBook,
    Consumed,
    Found,
    Observation,
    Prepared,
    Purpose,
    Submission,
    Task,
)
from adapters.errors import Rejected
from tests.sim.adapter import SimAdapter
from tests.sim.chain import SimChain
from tests.sim.plans import ASSETS

__all__ = ["InstantAdapter"]

_FEE: Final = 10
_FEES: Final = {"fee": str(_FEE), "cap": "1000"}
_TAKEN: Final = Submission(accepted=True)


class _Block(Struct):
    """The one transaction of a block."""

    height: int
    ok: bool
    time_s: int


class InstantAdapter(SimAdapter):
    """`adapters.base.Adapter` on the accounts of ``chain``, whose blocks it makes itself.

    Args:
        fails: every forward effect reverts in its block.
    """

    def __init__(self, chain: SimChain) -> None:
        super().__init__(chain, ASSETS)
        self.fails = False
        self._height = 0
        self._time_s = chain.time_s()
        self._blocks: dict[str, _Block] = {}
        #: (sender, nonce) → transaction whose turn has not come.
        self._early: dict[tuple[str, int], tuple[str, bytes]] = {}
        self._touched: set[str] = set()
        self._news = asyncio.Event()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_moved": None, "_news": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = {**state, "_moved": asyncio.Event(), "_news": asyncio.Event()}

    # ------------------------------------------------------------ following

    def terms(self) -> Mapping[str, Any]:
        return {**super().terms(), "proof": "none"}

    def clock(self) -> ChainClock:
        return ChainClock(self._height, self._time_s)

    async def follow(self, since: int) -> AsyncIterator[BlockEvent]:  # noqa: ARG002
        while True:
            await self._news.wait()
            self._news.clear()
            touched, self._touched = self._touched, set()
            yield BlockEvent(self.clock(), frozenset(touched))

    def keys(self, task: Task, attempts: Sequence[Attempt]) -> frozenset[str]:  # noqa: ARG002
        sender, nonce = attempts[-1].claim[0]
        return frozenset((f"{sender}/{nonce}",))

    # ------------------------------------------------------------ acting

    async def preflight(self, task: Task) -> None:
        action, balances = task.action, self._chain.ledger.balances
        sender = action["from"]
        if balances[sender, action["asset"]] < int(action["amount"]):
            raise Rejected("too little", code="unfunded")
        if balances[sender, self._chain.native] < _FEE:
            raise Rejected("no money for gas", code="unfunded")

    async def prepare(
        self, task: Task, purpose: Purpose, book: ClaimBook, former: Sequence[Attempt]
    ) -> Prepared:
        assert purpose == "effect", "nothing needs an end here"
        assert not former, "nothing is replaced here"
        action = task.action
        sender, target = action["from"], action["to"]
        if task.direction == "undo":
            sender, target = target, sender
        nonce = book.take_next(sender, self._chain.ledger.nonces[sender])
        asset, amount = action["asset"], action["amount"]
        raw = f"{self.chain} {sender} {nonce} {target} {asset} {amount}".encode()
        tx_id = hashlib.sha256(raw).hexdigest()
        facts: dict[str, Any] = {"gen": 1}
        if task.direction == "forward":
            facts["brings"] = [target, asset, amount]
        return Prepared(tx_id, raw, ((sender, nonce),), self._height, _FEES, facts)

    async def submit(self, tx_id: str, raw: bytes) -> Submission:
        _, sender, number, _ = raw.decode().split(" ", 3)
        nonce, nonces = int(number), self._chain.ledger.nonces
        if nonce >= nonces[sender]:
            self._early[sender, nonce] = (tx_id, raw)
            while (due := self._early.pop((sender, nonces[sender]), None)) is not None:
                self._mine(*due)
        return _TAKEN

    def _mine(self, tx_id: str, raw: bytes) -> None:
        """Make a block of one transaction."""
        _, sender, nonce, target, asset, amount = raw.decode().split(" ")
        ledger = self._chain.ledger
        ledger.nonces[sender] += 1
        ledger.move(sender, "fees", self._chain.native, _FEE)
        ok = not (self.fails and sender == "ops")
        if ok:
            ledger.move(sender, target, asset, int(amount))
        self._height += 1
        self._time_s = self._chain.time_s()
        self._blocks[tx_id] = _Block(self._height, ok, self._time_s)
        self._touched.add(f"{sender}/{nonce}")
        self._news.set()

    async def observe(self, task: Task, attempts: Sequence[Attempt]) -> Observation:  # noqa: ARG002
        tx_id = attempts[-1].tx_id
        block = self._blocks.get(tx_id)
        if block is None:
            return Observation(self._height)
        height = block.height
        final = self._height - height + 1 >= self._chain.confirmations
        name, facts = f"{height:064x}", {"fee": str(_FEE), "time": block.time_s}
        if block.ok:
            return Observation(self._height, Found(tx_id, name, height, final, facts))
        reverted = Consumed(tx_id, name, height, final, "reverted", facts)
        return Observation(self._height, consumed=reverted)
