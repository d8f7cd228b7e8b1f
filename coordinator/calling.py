"""What a turn leaves behind: everything that will call for the saga's next turn.

A saga that is waited for by nothing sleeps for ever. So whatever came while the turn was busy with
slow nodes (a height, a time, a command that was not wanted before) calls for a turn at once.
"""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final

from coordinator.saga import (
    Act,
    Decision,
    Deliver,
    Now,
    Prove,
    SagaState,
    Send,
    Wait,
    decide,
    has_open_claims,
)
from coordinator.saga.table import ENDS

if TYPE_CHECKING:
    from coordinator.live import Live
    from coordinator.runner import Runner
    from coordinator.sending import Sending

__all__ = ["Calling", "Decided"]

#: A decision, with the fold and the clocks that it was made from.
Decided = tuple[SagaState, Now, Decision]

#: What came while a turn was busy has its turn this soon.
_SOON_MS: Final = 20


class Calling:
    """Made when a turn of ``live``'s saga begins, used once when it ends."""

    __slots__ = ("_began", "_live", "_runner", "_sending")

    def __init__(self, runner: "Runner", live: "Live", sending: "Sending") -> None:
        self._runner = runner
        self._live = live
        self._sending = sending
        self._began = runner.now()

    def leave(self, decided: Decided | None, away: Collection[str]) -> None:
        """Leave behind everything that will call for the next turn.

        Args:
            decided: what the turn acted on last.
            away: chains that did not answer when it looked.
        """
        runner, state = self._runner, self._live.state
        self._sending.watch(state)
        if state.state in ENDS and not has_open_claims(state) and not self._live.recheck:
            return
        now = runner.now()
        before, then, acted = decided or (None, now, Decision())
        still = before is state and then.chains is now.chains
        newest = acted if still else decide(state, now)
        dues = [*self._repeats(newest, now), *self._looks(away)]
        # Bytes have a pace of their own, by which they are sent again.
        if any(not isinstance(c, Send) and c not in acted.commands for c in newest.commands):
            dues.append(now.host_ms)
        for wait in newest.waits:
            dues += self._of_wait(wait, state, then, now)
        if state.state == "running" and state.deadline_s >= then.host_s:
            dues.append((state.deadline_s + 1) * 1000)
        if dues:
            runner.waking.at(state.saga, max(min(dues), now.host_ms + _SOON_MS))

    def _of_wait(self, wait: Wait, state: SagaState, then: Now, now: Now) -> Iterator[int]:
        """Yield when to look again for ``wait`` (host Unix ms), its height apart."""
        if wait.chain is not None:
            if self._has_come(wait.chain, wait.height, now):
                yield now.host_ms
            else:
                self._runner.waking.at_height(state.saga, wait.chain, wait.height)
        stuck_s = state.stuck["until_s"] if state.stuck else 0
        alarm_at_s = wait.until_s if wait.urgent else max(wait.until_s, stuck_s)
        for at_s in (alarm_at_s, wait.next_s, wait.look_s, stuck_s):
            if at_s > then.host_s:
                yield at_s * 1000

    def _has_come(self, chain: str, height: int, now: Now) -> bool:
        """Whether ``chain`` has been read up to ``height`` since the turn began to look."""
        before, after = self._began.chains.get(chain), now.chains.get(chain)
        return after is not None and after.height >= height > (before.height if before else -1)

    def _looks(self, away: Collection[str]) -> Iterator[int]:
        """Yield when chains that did not answer are asked again."""
        for chain in away:
            retry = self._live.retries.get(("look", chain))
            if retry is not None:
                yield retry[1]

    def _repeats(self, newest: Decision, now: Now) -> Iterator[int]:
        """Yield when to try or send again what ``newest`` wants."""
        live = self._live
        for command in newest.commands:
            retry: tuple[int, int] | None = None
            if isinstance(command, Act):
                retry = live.retries.get((command.step.id, command.direction))
            elif isinstance(command, Prove):
                retry = live.retries.get(("prove", command.step.id, command.direction))
            elif isinstance(command, Deliver) and command.step.id not in live.delivered:
                retry = live.retries.get((command.step.id, "confirm"))
            elif isinstance(command, Send):
                sent_ms = live.sent_ms.get((command.step.id, command.direction))
                pause_ms = self._sending.pause_ms(command.step)
                yield now.host_ms if sent_ms is None else sent_ms + pause_ms
            if retry is not None:
                yield retry[1]
