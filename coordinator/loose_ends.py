"""Ended sagas with a claim still to be burnt: how long a process stays for that, and what it tells.

The turn of such a saga burns the claim by itself. What is here only keeps the process from leaving
while that makes progress, and never for longer than a block should need.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from adapters.errors import Ambiguous, Transient
from coordinator.alarm import Notice
from coordinator.open_claims import OpenClaim, open_claims_of
from coordinator.patience import patience_s
from coordinator.saga import SagaState, has_open_claims
from coordinator.saga.table import ENDS

if TYPE_CHECKING:
    from coordinator.live import Live
    from coordinator.runner import Runner

__all__ = ["LooseEnds"]

#: So often a burn may be refused (its account can not pay, the node is away) before the process
#: leaves it to a later one.
_TRIES: Final = 4


class LooseEnds:
    """What one process knows of the open claims of ended sagas."""

    def __init__(self, runner: "Runner") -> None:
        self._runner = runner
        #: saga → host ms until which this process stays for its burn.
        self._stays_ms: dict[str, int] = {}
        self._claims: dict[str, tuple[OpenClaim, ...]] = {}
        #: burns whose account was last seen too empty for them.
        self._unpaid: set[str] = set()
        #: replaced as a whole, for a reader in another thread.
        self.notices: tuple[Notice, ...] = ()

    async def turned(self, live: "Live") -> None:
        """A turn of an ended saga is over and left a claim open."""
        state, now_ms = live.state, self._runner.clock.now_ms()
        self.see(state)
        await self._see_unpaid(state)
        untils_ms = [claim.until_s * 1000 for claim in self._claims[state.saga]]
        if state.saga not in self._stays_ms:
            # The turn that wrote the end did nothing else: the burn is for the next one.
            live.dirty = True
            steps = (state.step(claim.step) for claim in self._claims[state.saga])
            untils_ms += [now_ms + patience_s(step.slow_ms) * 1000 for step in steps]
        stay_ms = max(self._stays_ms.get(state.saga, 0), *untils_ms)
        self._stays_ms[state.saga] = stay_ms
        if now_ms < stay_ms:
            self._runner.waking.at(state.saga, stay_ms)

    def see(self, state: SagaState) -> None:
        """Remember the open claims of an ended saga, whether or not it is driven here."""
        claims = open_claims_of(self._runner.journal, state)
        if claims != self._claims.get(state.saga):
            self._claims[state.saga] = claims
            self._tell()

    def keep(self, sagas: Collection[str]) -> None:
        """Forget all but ``sagas`` and what is driven here: others have burnt their claims."""
        for saga in self._claims.keys() - set(sagas) - self._runner.live.keys():
            self.forget(saga)

    def forget(self, saga: str) -> None:
        """Its claims are burnt, or the saga is not driven here any more."""
        self._stays_ms.pop(saga, None)
        claims = self._claims.pop(saga, ())
        self._unpaid -= {claim.burn or "" for claim in claims}
        if claims:
            self._tell()

    def stays_for(self, live: "Live") -> bool:
        """Whether the process stays for this ended saga: a burn is on its way, or may be soon."""
        state = live.state
        if state.state not in ENDS or not has_open_claims(state):
            return False
        stay_ms = self._stays_ms.get(state.saga)
        if stay_ms is None:
            return True
        if self._runner.clock.now_ms() >= stay_ms:
            return False
        return any(
            claim.burn not in self._unpaid
            if claim.burn is not None
            else live.retries.get((claim.step, "forward"), (0, 0))[0] < _TRIES
            for claim in self._claims[state.saga]
        )

    async def _see_unpaid(self, state: SagaState) -> None:
        """Send durable burns again: what a node says to them tells whether they can be paid."""
        for claim in self._claims[state.saga]:
            if claim.burn is None:
                continue
            raw = self._runner.journal.raw(claim.burn)
            try:
                said = await self._runner.adapters[claim.chain].submit(claim.burn, raw)
            except (Transient, Ambiguous):
                continue
            if said.fund is None:
                self._unpaid.discard(claim.burn)
            else:
                self._unpaid.add(claim.burn)

    def _tell(self) -> None:
        self.notices = tuple(claim.notice() for claims in self._claims.values() for claim in claims)
