"""What a recovery stands on: open chains and the journal, its sagas, and their way into it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from adapters.base import Adapter, Task
from adapters.errors import Ambiguous, Transient
from adapters.survey import Surveyor
from coordinator.journal.base import Entry, Raw, Record
from coordinator.journal.sqlite import SqliteJournal
from coordinator.live import Live
from coordinator.preparing import alarm_s
from coordinator.runner import Runner
from coordinator.saga import Effort, Step, apply, fold, judge
from coordinator.tasks import Asking, since

__all__ = ["Ground"]

#: Phases in which the chain may still show something new of an effort.
_OPEN: Final = frozenset({"unknown", "included"})


class Ground:
    """One recovery's hold on sagas and chains; the runner in it never runs.

    Args:
        begun: the record ``recovery``.
        say: tells a person what happens.
        pause_s: between two looks.
    """

    def __init__(
        self,
        runner: Runner,
        journal: SqliteJournal,
        surveyors: Mapping[str, Surveyor],
        begun: Record,
        say: Callable[[str], None],
        pause_s: float = 1.0,
    ) -> None:
        self.runner = runner
        self.journal = journal
        self.surveyors = surveyors
        self.begun = begun
        self.say = say
        self.pause_s = pause_s
        self.sagas: dict[str, Live] = {}
        #: (chain, effort) of ended sagas whose claim is being burnt.
        self.loose: list[tuple[str, Effort]] = []
        #: bytes → host ms at which this process last sent them.
        self._sent_ms: dict[str, int] = {}
        for row in self.journal.sagas(open_only=True):
            state = fold(self.journal.read(f"saga:{row.saga}"))
            asking = Asking(row.saga, runner.secrets, runner.clock)
            self.sagas[row.saga] = Live(state, asking)

    @property
    def adapters(self) -> Mapping[str, Adapter]:
        """The open adapters by chain."""
        return self.runner.adapters

    def undecided(self) -> list[Live]:
        """Return the sagas that are not decided yet."""
        return [live for live in self.sagas.values() if live.state.state == "running"]

    def height(self, chain: str) -> int:
        """Return the newest height read."""
        return self.adapters[chain].clock().height

    def finality(self, chain: str) -> int:
        """Return how many blocks make a block final."""
        return int(self.adapters[chain].terms()["finality_blocks"])

    def task(self, live: Live, step: Step, direction: str, generation: int | None = None) -> Task:
        """Return what the adapter is asked about an effort."""
        return live.asking.of(live.state, live.state, step, direction, generation).task

    async def append(self, live: Live, entries: Sequence[Entry], raws: Sequence[Raw] = ()) -> None:
        """Make records of a saga durable and fold them."""
        now_ms = self.runner.clock.now_ms()
        dated = [Entry(entry.kind, entry.data, entry.at_ms or now_ms) for entry in entries]
        state = live.state
        for record in await self.journal.append(f"saga:{state.saga}", state.seq, dated, raws):
            state = apply(state, record)
        live.state = state

    async def look(self, live: Live) -> None:
        """Write what the chains show of the saga's open efforts."""
        for (step_id, direction), effort in tuple(live.state.efforts.items()):
            if effort.phase not in _OPEN:
                continue
            step = live.state.step(step_id)
            adapter = self.adapters[step.chain]
            try:
                await adapter.cover(since(live.state, step.chain))
                asked = live.asking.of(live.state, live.state, step, direction)
                seen = await adapter.observe(asked.task, asked.attempts)
            except Transient:
                continue  # looked at again
            now_ms = self.runner.clock.now_ms()
            until_s = alarm_s(step, step.finality_blocks + 2, now_ms)
            entries = judge(live.state, step, direction, seen, at_ms=now_ms, until_s=until_s)
            if entries:
                await self.append(live, entries)

    async def send(self, chain: str, tx_id: str) -> None:
        """Send stored bytes, and again only after a while."""
        now_ms = self.runner.clock.now_ms()
        if now_ms < self._sent_ms.get(tx_id, 0) + self.runner.settings.resend_ms_min:
            return
        self._sent_ms[tx_id] = now_ms
        with suppress(Transient, Ambiguous):  # sent again in its time
            await self.adapters[chain].submit(tx_id, self.journal.raw(tx_id))
        self.adapters[chain].nudge()

    async def rest(self) -> None:
        """Wait a moment before the next look."""
        due_ms = self.runner.clock.now_ms() + int(self.pause_s * 1000)
        await self.runner.clock.sleep_until(due_ms, asyncio.Event())

    async def follow(self, chain: str) -> None:
        """Keep the adapter's view of a chain in step with it, for ever."""
        adapter = self.adapters[chain]
        while True:
            try:
                async for _event in adapter.follow(adapter.clock().height):
                    pass
            except Transient:
                await self.rest()
