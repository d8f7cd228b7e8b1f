"""What one process does with the sagas of a journal: take them up, drive them, sign off.

Two processes on one journal are harmless (R4). What is here only keeps them from working on the
same saga at the same time.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final

from adapters.base import Adapter
from coordinator.errors import Conflict, Fenced, JournalError, PreflightError
from coordinator.journal.base import Entry, SagaRow
from coordinator.journal.liveness import Instance, live
from coordinator.journal.reading import open_readonly
from coordinator.journal.sqlite import SqliteJournal
from coordinator.open_claims import EndedWithOpenClaims
from coordinator.runner import Runner
from coordinator.saga import SagaState, apply, fold
from coordinator.saga.table import ENDS
from coordinator.watchdog import Watchdog

__all__ = ["Driver", "Ending", "loose_ends", "require_same_chains"]

#: How often a process looks at a saga that another one drives, and tells its watchdog to rest.
POLL_S: Final = 0.5
_TRIES: Final = 8
#: What makes a chain the same chain; every other term is fixed in the saga and may differ here.
_IDENTITY: Final = ("kind", "chain_id", "network", "genesis")


class Ending(Enum):
    """Why driving stopped."""

    ENDED = "ended"
    STOPPED = "stopped"
    ELAPSED = "elapsed"


def require_same_chains(plan: Mapping[str, Any], adapters: Mapping[str, Adapter]) -> None:
    """Refuse to drive a saga on chains other than those it was resolved for.

    Raises:
        PreflightError: naming the first difference.
    """
    for chain, terms in sorted(plan["chains"].items()):
        if chain not in adapters:
            raise PreflightError(
                f"the saga needs chain {chain}, which is not open in this configuration. Nothing "
                "new was sent."
            )
        now = adapters[chain].terms()
        for key in _IDENTITY:
            if terms.get(key) != now.get(key):
                raise PreflightError(
                    f"chain {chain} is another chain than the saga began on: {key} was "
                    f"{terms.get(key)}, is {now.get(key)}. Nothing new was sent. Put the former "
                    "node back into chains.toml."
                )


def loose_ends(
    journal: SqliteJournal, search: EndedWithOpenClaims | None = None
) -> list[SagaState]:
    """Return the ended sagas whose tombstone left a claim that is still to be burnt.

    Args:
        search: of an earlier call, which need not be done again.
    """
    reader = open_readonly(journal.path)
    try:
        return (search or EndedWithOpenClaims()).find(reader)
    finally:
        reader.shut()


class Driver:
    """One process's part: the runner and its sign of life.

    Args:
        journal: the open journal.
        instance: this process's sign of life beside it.
        runner: with the adapters of every chain that the sagas need.
        watchdog: is told that the loop moves.
    """

    def __init__(
        self,
        *,
        journal: SqliteJournal,
        instance: Instance,
        runner: Runner,
        watchdog: Watchdog,
    ) -> None:
        self.journal = journal
        self.instance = instance
        self.runner = runner
        self._watchdog = watchdog
        self._open_claims = EndedWithOpenClaims()

    @property
    def path(self) -> Path:
        """The journal's file."""
        return self.journal.path

    def driven_by_other(self, row: SagaRow) -> bool:
        """Whether another live process says that it drives the saga."""
        return (
            row.driver is not None
            and row.driver != self.instance.name
            and live(self.path, row.driver)
        )

    def row(self, saga: str) -> SagaRow:
        """Return the overview of one saga, which is there."""
        row = self.journal.saga(saga)
        assert row is not None
        return row

    # ------------------------------------------------------------ taking up

    async def take_over(self, row: SagaRow) -> bool:
        """Make this process the saga's driver by a record of its own; False: another was faster.

        Raises:
            PreflightError: a chain is not the one the saga began on.
        """
        state = fold(self.journal.read(f"saga:{row.saga}"))
        require_same_chains(state.plan, self.runner.adapters)
        if row.driver == self.instance.name or state.state in ENDS:
            self.runner.remember(state)
            return True
        data = {"instance": self.instance.name, "from": row.driver or "nobody"}
        for _ in range(_TRIES):
            try:
                (record,) = await self.journal.append(
                    f"saga:{row.saga}", state.seq, [Entry("taken_over", data)]
                )
                self.runner.remember(apply(state, record))
                return True
            except Fenced:
                row = self.row(row.saga)
                if self.driven_by_other(row):
                    return False
                state = fold(self.journal.read(f"saga:{row.saga}"))
        raise Conflict(
            f"saga {row.saga} moves too fast to be taken over; nothing new was sent, try again."
        )

    def driven(self) -> list[str]:
        """Return the open sagas that this process says it drives."""
        rows = self.journal.sagas(open_only=True)
        return [row.saga for row in rows if row.driver == self.instance.name]

    async def leave(self) -> None:
        """Say that this process drives nothing any more."""
        for saga in self.driven():
            await self.journal.drive(saga, None)

    async def send_durable(self) -> str:
        """After the journal has failed: let what is durable of every saga that is driven here, or
        by nobody, leave once more. Returns what left, for people.
        """
        for row in self.unattended():
            # What can not be read, or belongs to other chains, keeps no other saga from leaving.
            with contextlib.suppress(JournalError, PreflightError):
                state = fold(self.journal.read(f"saga:{row.saga}"))
                require_same_chains(state.plan, self.runner.adapters)
                self.runner.remember(state)
        await self.runner.send_durable()
        return self.runner.last_pass.sentence()

    # ------------------------------------------------------------ driving

    async def run(
        self, sagas: AsyncIterator[str], *, stop: asyncio.Event, wait_s: float | None = None
    ) -> Ending:
        """Drive ``sagas`` until they have ended, ``stop`` is set or ``wait_s`` has passed.

        Raises:
            JournalBroken: the journal failed; nothing new was sent after that.
            WrongChain: a node turned out to serve another chain.
        """
        work = asyncio.create_task(self.runner.run(sagas), name="runner")
        helpers = {
            asyncio.create_task(self._beat(), name="beat"),
            asyncio.create_task(stop.wait(), name="stop"),
        }
        try:
            done, _ = await asyncio.wait(
                {work, *helpers}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED
            )
            if work in done:
                await work
                return Ending.ENDED
            for task in done:
                task.result()
            return Ending.STOPPED if done else Ending.ELAPSED
        finally:
            for task in (work, *helpers):
                task.cancel()
            await asyncio.gather(work, *helpers, return_exceptions=True)

    async def follow(
        self, saga: str, *, stop: asyncio.Event, wait_s: float | None = None
    ) -> AsyncIterator[SagaState]:
        """Watch a saga that another process drives: its fold after every record.

        Ends when the saga has ended, its driver is gone, ``stop`` is set or ``wait_s`` has passed.
        """
        loop = asyncio.get_running_loop()
        give_up_s = None if wait_s is None else loop.time() + wait_s
        state = fold(self.journal.read(f"saga:{saga}"))
        yield state
        while state.state not in ENDS and self.driven_by_other(self.row(saga)):
            if stop.is_set() or (give_up_s is not None and loop.time() >= give_up_s):
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await stop.wait()
            if self.journal.read(f"saga:{saga}", state.seq):
                state = fold(self.journal.read(f"saga:{saga}"))
                yield state

    async def _beat(self) -> None:
        """Let the watchdog know that the loop moves."""
        while True:
            self._watchdog.beat()
            await asyncio.sleep(POLL_S)

    # ------------------------------------------------------------ which sagas

    async def with_loose_ends(self, saga: str) -> AsyncIterator[str]:
        """Yield ``saga`` after the ended sagas whose open claims its accounts would wait behind."""
        for ended in self.loose_ends():
            yield ended
        yield saga

    def loose_ends(self) -> list[str]:
        """Return the ended sagas with open claims that can be driven here.

        Those that need a chain that is not open here, or began on another one of its name, are only
        watched: the watchdog tells of them.
        """
        found = []
        states = self.ended_with_open_claims()
        self.runner.loose.keep([state.saga for state in states])
        for state in states:
            if self._is_for_these_chains(state):
                found.append(state.saga)
            else:
                self.runner.loose.see(state)
        return found

    def ended_with_open_claims(self) -> list[SagaState]:
        """Return the ended sagas whose tombstone left a claim that is still to be burnt."""
        return loose_ends(self.journal, self._open_claims)

    def recently_ended(self) -> list[str]:
        """Return ended sagas whose blocks may not be buried, as far as they can be driven here:
        their finality may have broken while nobody looked.
        """
        found = []
        for saga in self.runner.ended.recent():
            state = fold(self.journal.read(f"saga:{saga}"))
            if self._is_for_these_chains(state):
                self.runner.remember(state)
                found.append(saga)
        return found

    def _is_for_these_chains(self, state: SagaState) -> bool:
        """Whether a saga can be looked at here: chains of the same names, but others, would show
        nothing of it, and what had ended would be withdrawn and sent again.
        """
        try:
            require_same_chains(state.plan, self.runner.adapters)
        except PreflightError:
            return False
        return True

    def unattended(self) -> list[SagaRow]:
        """Return the open sagas that no live process drives."""
        alive: dict[str, bool] = {self.instance.name: True}
        found = []
        for row in self.journal.sagas(open_only=True):
            if row.driver is not None and row.driver not in alive:
                alive[row.driver] = live(self.path, row.driver)
            if row.driver is None or not alive[row.driver]:
                found.append(row)
        return found
