"""Sending: stored bytes to their chain, revealed preimages to their channel, again whenever due.

Everything that leaves here is durable already (R1), so saying it twice is harmless.
"""

from typing import TYPE_CHECKING

from adapters.base import Direction
from adapters.errors import Ambiguous, Transient
from coordinator.saga import Deliver, SagaState, Send, Step
from coordinator.tasks import forward_facts

if TYPE_CHECKING:
    from coordinator.live import Live
    from coordinator.runner import Runner

__all__ = ["Fund", "Sending"]

#: What an account lacks: (address, asset, base units).
Fund = tuple[str, str, int]


class Sending:
    """Sends for one turn of ``live``'s saga."""

    __slots__ = ("_live", "_runner")

    def __init__(self, runner: "Runner", live: "Live") -> None:
        self._runner = runner
        self._live = live

    async def send(self, step: Step, direction: Direction, tx_id: str, raw: bytes) -> Fund | None:
        """Send stored bytes; what the node says is a hint at most.

        Returns what the payer lacks, where the node said so.
        """
        adapter = self._runner.adapters[step.chain]
        self._live.sent_ms[step.id, direction] = self._runner.clock.now_ms()
        try:
            said = await adapter.submit(tx_id, raw)
        except (Transient, Ambiguous):
            said = None
        adapter.nudge()
        if said is None:
            return None
        if said.hint:
            self._live.said[step.id, direction] = said.hint
        else:
            self._live.said.pop((step.id, direction), None)
        return said.fund

    async def repeat(self, state: SagaState, command: Send) -> Fund | None:
        """Send again what makes the effect, or what ends it, if that is due."""
        step, direction = command.step, command.direction
        last_ms = self._live.sent_ms.get((step.id, direction))
        if last_ms is not None and self._runner.clock.now_ms() < last_ms + self.pause_ms(step):
            return None
        # Also where there is nothing to send: its pace must not become that of the turns.
        self._live.sent_ms[step.id, direction] = self._runner.clock.now_ms()
        effort = state.effort(step.id, direction)
        newest = {a.purpose: a for a in effort.attempts if a.generation == effort.generation}
        effect = newest.pop("effect", None)
        fund: Fund | None = None
        for attempt in newest.values() if command.kill else (effect,):
            if attempt is not None:
                raw = self._runner.journal.raw(attempt.tx_id)
                fund = await self.send(step, direction, attempt.tx_id, raw) or fund
        return fund

    def deliver(self, state: SagaState, command: Deliver) -> None:
        """Put a revealed preimage on its channel, once a process."""
        live, runner, step = self._live, self._runner, command.step
        if step.id in live.delivered:
            return
        facts = forward_facts(state.effort(step.id, "forward")) or {}
        preimage = live.asking.preimage(step)
        try:
            runner.deliver(state.saga, step.id, step.deliver or "secret", preimage, facts)
        except OSError:
            # Tried again; the wait for the payee raises the alarm in its time.
            live.back_off((step.id, "confirm"), runner.settings, runner.clock.now_ms())
            return
        live.delivered.add(step.id)

    def watch(self, state: SagaState) -> None:
        """Let the followers report every key that concerns an effort of this saga."""
        live = self._live
        if live.watched is state.efforts:
            return
        known = live.effort_keys
        for key, effort in state.efforts.items():
            size = len(effort.attempts) + effort.revealed
            if size and known.get(key) != size:
                step = state.step(key[0])
                asked = live.asking.of(state, live.state, step, key[1])
                keys = self._runner.adapters[step.chain].keys(asked.task, asked.attempts)
                self._runner.waking.watch(state.saga, keys)
                known[key] = size
        live.watched = state.efforts

    def pause_ms(self, step: Step) -> int:
        """How long to wait for a block before bytes are sent again."""
        settings = self._runner.settings
        return max(settings.resend_ms_min, settings.resend_slow_blocks * step.slow_ms)
