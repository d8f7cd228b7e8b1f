"""Driving from the command line: signals, progress, alarms, and how a call says goodbye."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from signal import SIGINT, SIGTERM, Signals
from typing import Any, Final

from adapters.base import Adapter
from coordinator.alarm import Alarm, Notice
from coordinator.app import LazySecrets, open_driver
from coordinator.cli import exits
from coordinator.cli.announcing import Announcer
from coordinator.cli.arguments import parse_command
from coordinator.cli.mistakes import WrongUsage
from coordinator.cli.options import Options
from coordinator.cli.progress import Progress
from coordinator.cli.readable import goes_on, summary_lines
from coordinator.cli.text import now_ms
from coordinator.config import Config
from coordinator.driving import Driver, Ending
from coordinator.errors import CoordinatorError
from coordinator.held_back import held_back_in
from coordinator.journal.sqlite import SqliteJournal
from coordinator.open_claims import open_claims_of
from coordinator.saga import SagaState
from coordinator.saga.table import ENDS
from coordinator.service import load
from coordinator.views import VIEW_VERSION, saga_view

__all__ = [
    "Stop",
    "drive_one",
    "finish",
    "open_session",
    "parse_on_stuck",
    "parse_wait",
    "run_until_done",
]

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
#: How long a driver may take to finish a commit that is under way.
_GOODBYE_S: Final = 10.0


class Interrupted(CoordinatorError):
    """A signal came before there was anything to leave in order."""

    exit_code = exits.DETACHED


@dataclass
class Stop:
    """Whether somebody asked this process to let go, and by which signal."""

    event: asyncio.Event = field(default_factory=asyncio.Event)
    signal: Signals | None = None
    #: a driver runs: it watches the event and leaves in order.
    driving: bool = False

    def ask(self, number: Signals) -> None:
        """Let go at the next chance; the same signal again ends the process the hard way."""
        self.signal = number
        self.event.set()
        asyncio.get_running_loop().remove_signal_handler(number)


def run_until_done(work: Callable[[Stop], Awaitable[int]]) -> int:
    """Run ``work`` in a loop of its own; SIGINT and SIGTERM set its `Stop`."""

    async def main() -> int:
        stop = Stop()
        loop = asyncio.get_running_loop()
        for number in (SIGINT, SIGTERM):
            loop.add_signal_handler(number, stop.ask, number)
        return await _unless_stopped(asyncio.ensure_future(work(stop)), stop)

    return asyncio.run(main())


async def _unless_stopped(task: "asyncio.Future[int]", stop: Stop) -> int:
    """Wait for the work; after a signal only for a driver, and not for ever."""
    asked = asyncio.create_task(stop.event.wait())
    either: set[asyncio.Future[Any]] = {task, asked}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and stop.driving:
            await asyncio.wait({task}, timeout=_GOODBYE_S)
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise Interrupted(
                "interrupted before any saga was driven; this call sent nothing. See: coordinator "
                "status"
            )
        return task.result()
    finally:
        asked.cancel()


def parse_wait(text: str | None) -> float | None:
    """Return the seconds that ``90``, ``90s``, ``30m``, ``2h`` or ``1d`` mean.

    Raises:
        WrongUsage: it is none of these.
    """
    if text is None:
        return None
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    if not (number.isascii() and number.isdigit()) or len(number) > 9:
        raise WrongUsage(f"--wait {text!r} is no time such as 90s, 30m or 2h. Nothing was sent.")
    return float(int(number) * _UNITS[unit])


def parse_on_stuck(text: str | None) -> list[str] | None:
    """Return the words of the command for alarms, which must be there before it is needed.

    Raises:
        WrongUsage: there is no such program, or its quotes are wrong.
    """
    return parse_command("--on-stuck", text)


@dataclass(frozen=True, slots=True)
class Session:
    """A driver with what the call shows of it."""

    driver: Driver
    progress: Progress


@asynccontextmanager
async def open_session(
    options: Options,
    config: Config,
    journal: SqliteJournal,
    adapters: dict[str, Adapter],
    secrets: LazySecrets,
    *,
    stop: Stop,
    on_stuck: list[str] | None,
    table: bool,
    beside: Callable[[], Sequence[Notice]] = tuple,
) -> AsyncIterator[Session]:
    """Open a driver whose records are shown, and whose alarms reach the operator's command.

    Args:
        beside: what the call waits for beside its driver; called from another thread.
    """
    out = options.out
    alarm = Alarm(on_stuck, out.warn)
    with Progress(out, table=table) as progress:
        announcer = Announcer(out, alarm, progress)
        try:
            async with open_driver(
                config, journal, adapters, secrets,
                observer=announcer.observe, alarm=announcer.bark, beside=beside,
            ) as driver:  # fmt: skip
                stop.driving = True
                progress.held = lambda: driver.runner.held
                yield Session(driver, progress)
        finally:
            # The driver may alarm on its way out, too.
            await asyncio.to_thread(alarm.drain)


async def drive_one(
    session: Session, saga: str, *, stop: Stop, wait_s: float | None
) -> tuple[SagaState, Ending]:
    """Drive a saga to its end, or follow it as long as another live process drives it.

    Raises:
        PreflightError: a chain is not the one the saga began on.
        JournalBroken: the journal failed; nothing new was sent after that.
    """
    driver = session.driver
    loop = asyncio.get_running_loop()
    give_up_s = None if wait_s is None else loop.time() + wait_s
    while True:
        left_s = None if give_up_s is None else max(0.0, give_up_s - loop.time())
        row = driver.row(saga)
        if row.state not in ENDS and driver.driven_by_other(row):
            await _follow(session, saga, stop, left_s)
        elif await driver.take_over(row):
            session.progress.shows(load(driver.journal, saga))
            ending = await driver.run(driver.with_loose_ends(saga), stop=stop.event, wait_s=left_s)
            return load(driver.journal, saga), ending
        state = load(driver.journal, saga)
        if state.state in ENDS:
            return state, Ending.ENDED
        if stop.event.is_set():
            return state, Ending.STOPPED
        if give_up_s is not None and loop.time() >= give_up_s:
            return state, Ending.ELAPSED


async def _follow(session: Session, saga: str, stop: Stop, wait_s: float | None) -> None:
    driver, seen = session.driver, 0
    async for state in driver.follow(saga, stop=stop.event, wait_s=wait_s):
        records = driver.journal.read(f"saga:{saga}", seen)
        session.progress.shows(state)
        for record in records if seen else ():
            session.progress.saw(state, record)
        seen = state.seq


def finish(
    options: Options, state: SagaState, ending: Ending, stop: Stop, journal: SqliteJournal
) -> int:
    """Print the result of one saga and return the exit code."""
    out, at_ms = options.out, now_ms()
    claims = open_claims_of(journal, state)
    code = exits.of_saga(state)
    if ending is Ending.STOPPED:
        code = exits.DETACHED
    held = held_back_in(journal)
    view = saga_view(state, now_ms=at_ms, open_claims=claims, held=held)
    out.line({"v": VIEW_VERSION, "type": "end", "exit": code, "saga": view})
    out.data(f"saga {state.saga}  {state.name}  digest {state.digest[:4]}…{state.digest[-4:]}")
    out.data("\n".join(summary_lines(state, now_ms=at_ms, held=held)))
    for claim in claims:
        out.warn(claim.sentence())
    go_on = f"{goes_on(state)} Go on with: coordinator resume {state.saga}"
    if ending is Ending.STOPPED:
        name = stop.signal.name if stop.signal is not None else "a signal"
        out.warn(f"detached by {name}: nothing was rolled back, it stands where it is. {go_on}")
    elif ending is Ending.ELAPSED:
        out.warn(f"--wait is over and the saga is not; nobody drives it now. {go_on}")
    return code
