"""Many sagas in one call: which are taken up, which can not be, and how they stand in the end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

from coordinator.alarm import Notice
from coordinator.cli import exits
from coordinator.cli.output import Output
from coordinator.cli.readable import headline
from coordinator.cli.text import amounts, now_ms
from coordinator.driving import Driver
from coordinator.errors import Conflict, PreflightError
from coordinator.held_back import held_back_in
from coordinator.journal.base import SagaRow
from coordinator.late_chains import LateChains
from coordinator.open_claims import open_claims_of
from coordinator.saga.table import ENDS
from coordinator.service import load
from coordinator.views import VIEW_VERSION, saga_view

__all__ = ["Sweep"]

#: Sagas taken over in one go: their records share commits.
_BATCH: Final = 128
#: How often a service looks for what ended sagas left open, and for sagas that others ended.
_SWEEP_S: Final = 60.0
_LOOK_S: Final = 1.0


class Sweep:
    """What nobody drives, taken up once, or again and again.

    Args:
        out: where talk goes.
        late: the chains that do not answer yet.
        follow: stay, and take up new sagas.
    """

    def __init__(self, out: Output, late: LateChains, *, follow: bool) -> None:
        self._out = out
        self._late = late
        self._follow = follow
        self._names: list[str] = []
        #: saga that can not be driven here → why; replaced as a whole, for another thread.
        self._refused: dict[str, Notice] = {}
        #: digest of a plan → its chains.
        self._chains: dict[str, frozenset[str]] = {}

    def notices(self) -> Sequence[Notice]:
        """Return what keeps sagas from being driven here; from any thread."""
        return (*self._late.notices(), *self._refused.values())

    async def sagas(self, driver: Driver, stop: asyncio.Event) -> AsyncIterator[str]:
        """Yield what nobody drives: once, or until ``stop`` is set."""
        if not self._follow and not driver.unattended():
            self._out.say("no saga is waiting for a driver")
        loop = asyncio.get_running_loop()
        swept_s = loop.time() - _SWEEP_S
        while not stop.is_set():
            if self._opens(driver) or loop.time() >= swept_s + _SWEEP_S:
                swept_s = loop.time()
                # What another process ended, or ends meanwhile, may be reorganised away, too.
                for saga in driver.recently_ended() if self._follow else ():
                    yield saga
                for saga in driver.loose_ends():
                    yield saga
            again = False
            rows = self._able(driver)
            for first in range(0, len(rows), _BATCH):
                taken, moved = await self._take_over(driver, rows[first : first + _BATCH])
                again = again or moved
                for saga in taken:
                    yield saga
            if not (self._follow or again):
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await stop.wait()

    def code(self, driver: Driver) -> int:
        """Print how the sagas stand that were taken up, for a service those that it leaves open;
        return the call's exit code.
        """
        journal, codes = driver.journal, []
        held = held_back_in(journal)
        for name in driver.driven() if self._follow else self._names:
            state = load(journal, name)
            codes.append(exits.DONE if state.state in ENDS else exits.of_saga(state))
            view = saga_view(state, now_ms=now_ms(), held=held)
            end = {"v": VIEW_VERSION, "type": "end", "exit": exits.of_saga(state), "saga": view}
            self._out.line(end)
            word, fees = headline(state, held), amounts(state, state.fees)
            self._out.data(f"{name}  {state.name}  {word}  fees {fees}")
        for state in driver.ended_with_open_claims():
            for claim in open_claims_of(journal, state):
                self._out.warn(claim.sentence())
        if self._refused:
            return exits.PREFLIGHT
        if exits.STUCK in codes:
            return exits.STUCK
        return max(codes, default=exits.DONE)

    # ------------------------------------------------------------ chains

    def _opens(self, driver: Driver) -> bool:
        """Drive sagas on the chains that have begun to answer; False: there are none."""
        opened = self._late.opened()
        for name, adapter in opened.items():
            driver.runner.open_chain(name, adapter)
            self._out.say(f"{name} answers now: what waits for it goes on")
        return bool(opened)

    def _able(self, driver: Driver) -> list[SagaRow]:
        """Return what nobody drives and may be driven here now."""
        rows = driver.unattended()
        waiting = {row.saga for row in rows if self._away(driver, row)} if self._late.away else ()
        if not self._follow:
            for row in rows:
                if row.saga in waiting and row.saga not in self._refused:
                    away = ", ".join(sorted(self._away(driver, row)))
                    self._refuse(row, f"it needs {away}, whose nodes do not answer")
        self._keep(row.saga for row in rows)
        return [row for row in rows if row.saga not in self._refused and row.saga not in waiting]

    def _away(self, driver: Driver, row: SagaRow) -> frozenset[str]:
        """Return the chains that a saga needs and that do not answer yet."""
        chains = self._chains.get(row.digest)
        if chains is None:
            chains = frozenset(load(driver.journal, row.saga).plan["chains"])
            self._chains[row.digest] = chains
        return chains & self._late.away

    # ------------------------------------------------------------ taking up

    async def _take_over(self, driver: Driver, rows: list[SagaRow]) -> tuple[list[str], bool]:
        """Take sagas over side by side; one that can not be driven here holds up no other.

        Returns:
            Those taken, and whether one moved too fast and is to be tried again.
        """
        taken, again = [], False
        work = (driver.take_over(row) for row in rows)
        results = await asyncio.gather(*work, return_exceptions=True)
        for row, result in zip(rows, results, strict=True):
            if isinstance(result, PreflightError):
                self._refuse(row, str(result))
            elif isinstance(result, Conflict):
                again = True
            elif isinstance(result, BaseException):
                raise result
            elif result:
                taken.append(row.saga)
        if not self._follow:  # a service takes up too many, in years, to name them all
            self._names += taken
        return taken, again

    def _refuse(self, row: SagaRow, why: str) -> None:
        """Leave a saga alone for as long as nobody else drives it, and let a person know."""
        notice = Notice(
            saga=row.saga,
            state=row.state,
            reason=f"saga {row.saga} is left alone: {why}",
            question=f"can chains.toml be mended? Then: coordinator resume {row.saga}",
        )
        self._refused = {**self._refused, row.saga: notice}
        if not self._follow:  # a service lives long enough to alarm
            self._out.warn(notice.reason)

    def _keep(self, sagas: Iterable[str]) -> None:
        """What others drive now is no trouble here."""
        waiting = set(sagas)
        if not self._refused.keys() <= waiting and self._follow:
            self._refused = {s: notice for s, notice in self._refused.items() if s in waiting}
