"""A last round before a process leaves that can not write any more (DESIGN.md R1).

Nothing new may be sent then. What is durable may leave again, and must: nobody else sends it, and
after a reveal our own confirms and the preimage have to reach their chains before others' refunds.
So every saga that this process drives, or was about to take up, has its stored bytes sent and its
revealed preimages delivered once more. Whoever starts it again, as long as the disk is full, makes
such a round with each start.
"""

import asyncio
from typing import TYPE_CHECKING, Final

from coordinator.live import Live
from coordinator.saga import Deliver, SagaState, Send, decide
from coordinator.saga.table import ENDS
from coordinator.sending import Sending
from coordinator.tasks import Asking

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coordinator.runner import Runner

__all__ = ["LastPass"]

#: How long the round may take beside nodes that hang; the process has to end and say why.
_MOST_S: Final = 30.0


class LastPass:
    """What ``runner`` still sends after its journal has failed; once for each saga."""

    def __init__(self, runner: "Runner") -> None:
        self._runner = runner
        self._done: set[str] = set()
        #: attempts that were sent and preimages that were delivered.
        self.sent = 0
        self.delivered = 0

    async def take(self, states: "Mapping[str, SagaState]") -> None:
        """Send what is durable of the sagas driven here, and of those with these folds.

        Each fold holds acknowledged records only. A saga whose stored bytes can not be read, or
        whose chain does not answer, keeps no other one from leaving.
        """
        runner = self._runner
        lives = {
            saga: Live(state, Asking(saga, runner.secrets, runner.clock))
            for saga, state in states.items()
        }
        lives |= runner.live
        due = [
            self._resend(live)
            for saga, live in lives.items()
            if saga not in self._done and live.state.state not in ENDS
        ]
        self._done |= lives.keys()
        work = asyncio.gather(*due, return_exceptions=True)
        try:
            async with asyncio.timeout(_MOST_S):
                await work
        except TimeoutError:
            work.cancel()

    async def _resend(self, live: Live) -> None:
        runner, state = self._runner, live.state
        sending = Sending(runner, live)
        # Sent lately or not, nobody knows when the next process comes.
        live.sent_ms.clear()
        sends: list[Send] = []
        for command in decide(state, runner.now()).commands:
            if isinstance(command, Deliver):
                sending.deliver(state, command)
                self.delivered += command.step.id in live.delivered
            elif isinstance(command, Send) and command.step.chain in runner.adapters:
                sends.append(command)
        for command in sends:
            await sending.repeat(state, command)
            self.sent += (command.step.id, command.direction) in live.sent_ms

    def sentence(self) -> str:
        """Say what left, for people."""
        if not (self.sent or self.delivered):
            return "nothing that is durable was due"
        return (
            f"what is durable was sent once more: {self.sent} attempts, {self.delivered} preimages"
        )
