"""What became of an effort: looked up in the blocks that were read, confirmed by a majority.

The follower's blocks are one node's word. Before what they show of an effort counts as final, a
majority has to show it too; and what none of them shows is asked of every node from time to time,
because the node that blocks are read from may leave it out.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from msgspec.structs import replace

from adapters.base import Attempt, Consumed, Found, Observation, Task
from adapters.evm import outcome, preflight
from adapters.evm.actions import OPERATIONS, effect_of
from adapters.evm.blocks import Header, nonce_key, operation_key
from adapters.evm.follower import Follower
from adapters.evm.nodes import Nodes
from adapters.evm.quorum import Quorum, Vote
from adapters.evm.settings import EvmSettings
from adapters.retry import reading

__all__ = ["Observer"]

_DETAILS_MAX: Final = 10_000
#: What no block shows is asked of every node at most so often, and for so many attempts at once,
#: of which an effort adds its newest ones.
_HIDDEN_S: Final = 5.0
_HIDDEN_MAX: Final = 64
_HIDDEN_OF_ONE: Final = 16
_UNEXPLAINED_MAX: Final = 10_000


class Observer:
    """Observes efforts on one chain.

    Args:
        follower: whose blocks are looked at.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        nodes: Nodes,
        settings: EvmSettings,
        follower: Follower,
        clock: Callable[[], float],
    ) -> None:
        self._nodes = nodes
        self._settings = settings
        self._follower = follower
        self._clock = clock
        self._quorum = Quorum(nodes, settings.finality)
        #: by how much a block that is not final may be replaced by a lower one.
        self._margin = settings.finality.blocks
        #: why a transaction of ours reverted, once found out.
        self._details: OrderedDict[str, str] = OrderedDict()
        #: transactions that no block shows, those that were looked for longest ago first.
        self._unexplained: OrderedDict[str, None] = OrderedDict()
        #: monotonic time from which they may be looked for again.
        self._hidden_at_s = 0.0

    def keys(self, task: Task, attempts: Sequence[Attempt]) -> frozenset[str]:
        """Name what concerns this effort: its nonces, and its operation id."""
        claims = [claim for attempt in attempts for claim in attempt.claim]
        keys = {nonce_key(account, nonce) for account, nonce in claims}
        contracts = []
        if task.action["kind"] in OPERATIONS:
            contracts = [task.action["contract"]]
            keys.add(operation_key(task.action["contract"], task.op_id))
        # A saga may be older than the configuration: what it needs is followed all the same.
        self._follower.watch((account for account, _ in claims), contracts)
        self._follower.index.ask(keys)
        return frozenset(keys)

    async def cover(self, since: int) -> None:
        """Read blocks from ``since`` on, and below them as far as a reorganisation may have moved
        what was prepared at that height.
        """
        await self._reach(since - self._margin)

    def keep_from(self, height: int) -> None:
        """Let blocks be forgotten that no saga which began at ``height`` or later needs."""
        self._follower.keep_from(height - self._margin)

    async def _reach(self, low: int) -> None:
        if self._follower.need(low):
            await reading(lambda: self._follower.cover(low))

    async def observe(self, task: Task, attempts: Sequence[Attempt]) -> Observation:
        """Look for the effect, then at what became of the attempts."""
        self.keys(task, attempts)
        low = self._lowest(task, attempts)
        if low is not None:
            await self._reach(low)
        seen = outcome.observe(
            self._follower.index, task, attempts, effect_of(task), self._follower.final_height
        )
        seen = replace(seen, height=self._follower.sure_height)
        found = seen.found
        self._note(attempts, shown=found is not None or seen.consumed is not None)
        if found is None and seen.consumed is None:
            await self._look_for_hidden()
        if found is not None and found.final and not await self._agreed(task, attempts, found):
            return replace(seen, found=replace(found, final=False))
        if seen.consumed is not None:
            final = seen.consumed.final and await self._agreed(task, attempts, seen.consumed)
            return replace(seen, consumed=await self._explained(seen.consumed, final=final))
        return seen

    def _lowest(self, task: Task, attempts: Sequence[Attempt]) -> int | None:
        """Return the lowest block that can hold anything of an effort, as far as that is known."""
        heights = [attempt.since for attempt in attempts]
        if task.forward is not None and "height" in task.forward:
            heights.append(int(task.forward["height"]))
        return min(heights) - self._margin if heights else None

    def _note(self, attempts: Sequence[Attempt], *, shown: bool) -> None:
        """Remember the attempts of an effort while no block shows what became of it."""
        if len(self._nodes) == 1:
            return
        for attempt in attempts if shown else attempts[-_HIDDEN_OF_ONE:]:
            if shown:
                self._unexplained.pop(attempt.tx_id, None)
            else:
                self._unexplained.setdefault(attempt.tx_id)
        while len(self._unexplained) > _UNEXPLAINED_MAX:
            self._unexplained.popitem(last=False)

    async def _look_for_hidden(self) -> None:
        """See whether the node that blocks were read from left out what a majority shows, of any
        effort: each waits for its turn, whoever asks.
        """
        now_s = self._clock()
        if not self._unexplained or now_s < self._hidden_at_s:
            return
        self._hidden_at_s = now_s + min(_HIDDEN_S, self._settings.block_slow_ms / 1000)
        names = list(islice(self._unexplained, _HIDDEN_MAX))
        for name in names:
            self._unexplained.move_to_end(name)
        # Blocks that are read while the nodes are asked were not looked at before.
        final = self._follower.final_height

        def known(height: int) -> Header | None:
            return self._follower.covered_header(height) if height <= final else None

        height = await self._quorum.hidden(names, known)
        if height is not None:
            self._follower.reread(height, height)

    async def _agreed(
        self, task: Task, attempts: Sequence[Attempt], result: Found | Consumed
    ) -> bool:
        """Tell whether a majority of the nodes shows what the outcome rests on."""
        claimed = outcome.claimed(self._follower.index, effect_of(task), result)
        verdict = await self._quorum.vote(claimed)
        if verdict is Vote.CONTRADICTED:
            high = claimed.header.height
            # An effect that was hidden may be in any block since the first attempt.
            low = high if claimed.absent is None else self._lowest(task, attempts)
            self._follower.reread(self._follower.index.low if low is None else low, high)
        elif verdict is Vote.OPEN:
            self._follower.doubt(self.keys(task, attempts))
        return verdict is Vote.CONFIRMED

    async def _explained(self, consumed: Consumed, *, final: bool) -> Consumed:
        """Add the reason of a revert."""
        facts = dict(consumed.facts)
        if consumed.reason == "reverted" and "detail" not in facts:
            facts["detail"] = await self._revert_detail(consumed)
        return replace(consumed, final=final, facts=facts)

    async def _revert_detail(self, consumed: Consumed) -> str:
        key = consumed.tx_id + consumed.block_hash
        if key not in self._details:
            landed = self._follower.index.landed_as(consumed.tx_id, consumed.height)
            reason = None
            if landed is not None and landed.to is not None:
                reason = await preflight.replayed_reason(
                    self._nodes, landed, self._settings.abi_of(landed.to)
                )
            self._details[key] = reason or "the chain does not say why"
            if len(self._details) > _DETAILS_MAX:
                self._details.popitem(last=False)
        return self._details[key]
