"""Several nodes in front of one simulated chain: they lag, lie, lose replies, hang.

A `Panel` is what an adapter makes of the nodes of its chain (`disturbance.Node`): it is pinned to
one, sets laggards aside, moves on from one that does not answer or that the others contradict,
sends to all, and calls an outcome final only when a majority of the configured nodes does
(DESIGN.md §7). One honest node costs nothing: then there is no panel at all.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from adapters.base import Attempt, Consumed, Found, Observation, Submission, Task
from adapters.errors import Transient
from tests.sim.chain import SimChain
from tests.sim.disturbance import Node
from tests.sim.looking import observe, touches

__all__ = ["FORGED_BLOCK", "Panel"]

#: A node this many blocks behind the best one is set aside.
LAG_LIMIT: Final = 3
#: So long a call to a node that hangs is waited for.
TIMEOUT_S: Final = 1.5
#: The block that a lying node invents.
FORGED_BLOCK: Final = "f0" * 32


class Panel:
    """What one adapter makes of its chain's nodes.

    Args:
        trust_one: negative control: believe the pinned node alone.
    """

    def __init__(self, chain: SimChain, *, trust_one: bool = False) -> None:
        self._chain = chain
        self._trust_one = trust_one
        self._pin = 0
        #: keys of what was answered wrongly, for those who look when the pin has moved.
        self._doubtful: set[str] = set()
        self.moved = False

    # ------------------------------------------------------------ which node

    def seen(self) -> int:
        """Return how many entries of the chain's feed the pinned node shows."""
        return self._shown(self._node())

    def height(self, node: Node | None = None) -> int:
        """Return the newest height that a node (the pinned one) shows."""
        feed, shown = self._chain.feed, self._shown(node or self._node())
        if not shown:
            return 0
        block, removed = feed[shown - 1]
        return block.height - removed

    def _shown(self, node: Node) -> int:
        return max(0, len(self._chain.feed) - node.lag)

    def _node(self) -> Node:
        nodes = self._chain.nodes
        if not nodes[self._pin].lag:
            return nodes[self._pin]  # nobody can be further
        best = max((self._shown(n) for n in nodes if not n.hangs), default=0)
        for offset in range(len(nodes)):
            node = nodes[(self._pin + offset) % len(nodes)]
            if self._shown(node) >= best - LAG_LIMIT:
                self._pin_to((self._pin + offset) % len(nodes))
                return node
        return nodes[self._pin]

    def _pin_to(self, index: int) -> None:
        if index != self._pin:
            self._pin, self.moved = index, True

    def _next(self) -> None:
        self._pin_to((self._pin + 1) % len(self._chain.nodes))

    def doubts(self) -> set[str]:
        """Return, once, the keys that are to be looked at again."""
        self.moved = False
        doubtful, self._doubtful = self._doubtful, set()
        for block, _ in self._chain.feed[-2 * LAG_LIMIT :]:
            for receipt in block.receipts:
                doubtful |= touches(receipt.tx)
        return doubtful

    async def ask(self) -> Node:
        """Return the pinned node once it answers.

        Raises:
            Transient: it hangs; the next call asks another one.
        """
        node = self._node()
        if node.hangs:
            self._chain.fired["node hangs"] += 1
            self._next()
            await asyncio.sleep(TIMEOUT_S)
            raise Transient("the node did not answer in time")
        return node

    # ------------------------------------------------------------ looking

    async def observe(
        self, task: Task, attempts: Sequence[Attempt], keys: frozenset[str]
    ) -> Observation:
        """Look as the pinned node shows it; final is what a majority calls final."""
        node = await self.ask()
        seen = self._answer(node, task, attempts)
        told = seen.found or seen.consumed
        if node.lies:
            self._chain.fired[f"node {node.lies}"] += 1
            self._doubtful |= keys
        if told is None or not told.final or self._trust_one:
            return seen
        nodes = self._chain.nodes
        votes = Counter(
            # Who shows as much and lies alike, says the same.
            self._vote(seen if other.like(node) else self._answer(other, task, attempts))
            for other in nodes
            if not other.hangs
        )
        majority = len(nodes) // 2 + 1
        if votes[self._vote(seen)] >= majority:
            return seen
        if len(nodes) - sum(other.hangs for other in nodes) >= majority:
            self._next()
        if seen.found is not None:
            return replace(seen, found=replace(seen.found, final=False))
        assert seen.consumed is not None
        return replace(seen, consumed=replace(seen.consumed, final=False))

    def _answer(self, node: Node, task: Task, attempts: Sequence[Attempt]) -> Observation:
        height = self.height(node)
        if node.lag:
            self._chain.fired["node lags"] += 1
        if node.lies == "denies":
            return Observation(height)
        seen = observe(self._chain, task, attempts, upto=height)
        if seen.found is not None or seen.consumed is not None or not attempts:
            return seen
        newest = attempts[-1]
        facts = {"fee": newest.fee["fee"], "time": self._chain.tip.time_s, **newest.facts}
        if node.lies == "forges" and newest.purpose == "effect":
            found = Found(newest.tx_id, FORGED_BLOCK, height, final=True, facts=facts)
            return Observation(height, found=found)
        if node.lies == "reverts":
            gone = Consumed(
                newest.tx_id, FORGED_BLOCK, height, final=True, reason="reverted", facts=facts
            )
            return Observation(height, consumed=gone)
        return seen

    @staticmethod
    def _vote(seen: Observation) -> tuple[str, str, str] | None:
        told = seen.found or seen.consumed
        if told is None or not told.final:
            return None
        return ("done" if seen.found else "not_done", told.tx_id, told.block_hash)

    # ------------------------------------------------------------ sending

    async def submit(self, tx_id: str, raw: bytes) -> Submission:
        """Send to all; the first answer that is not a refusal counts."""
        nodes = self._chain.nodes
        if all(node.hangs for node in nodes):
            await asyncio.sleep(TIMEOUT_S)
            return Submission(accepted=False, hint="timeout; whether it was sent is not known")
        hint, fund = self._chain.submit(tx_id, raw)
        if all(node.hangs or node.mute for node in nodes):
            self._chain.fired["node mute"] += 1
            await asyncio.sleep(TIMEOUT_S)
            return Submission(accepted=False, hint="timeout after the request was sent")
        return Submission(not hint, hint, fund)
