"""``coordinator resume``: go on with sagas that nobody drives."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli import exits
from coordinator.cli.mistakes import WrongUsage
from coordinator.cli.options import Options, has_run, options_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from coordinator.cli.launch import Session, Stop
    from coordinator.config import Config
    from coordinator.journal.base import SagaRow
    from coordinator.journal.sqlite import SqliteJournal

app = typer.Typer(add_completion=False)

#: Sagas taken over in one go: their records share commits.
_BATCH = 128
#: How often a service looks for claims that ended sagas left open.
_SWEEP_S = 60.0


@app.command()
def resume(
    context: typer.Context,
    saga: Annotated[str | None, typer.Argument(help="Id, its beginning or its end.")] = None,
    *,
    all_: Annotated[
        bool, typer.Option("--all", help="Every saga that no live process drives.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="With --all: stay and take up new ones, until SIGTERM.")
    ] = False,
    wait: Annotated[str | None, typer.Option(help="Leave after 90s, 30m, 2h … (exit 21).")] = None,
    on_stuck: Annotated[
        str | None, typer.Option(help="Command to run when a person is needed.")
    ] = None,
) -> None:
    """Look at the chains, then go on in the direction that the journal has.

    Safe at any time and any number of times. With one SAGA the exit code is that of its end; with
    --all it is 0 when every saga that was taken up has ended, 20 when one is stuck, else 21.
    """
    if (saga is None) != all_ or (follow and not all_):
        raise WrongUsage("resume takes a SAGA, or --all (with or without --follow).")
    from coordinator.cli.launch import parse_on_stuck, parse_wait, run_until_done

    command = parse_on_stuck(on_stuck)
    call = _Call(options_of(context), saga, parse_wait(wait), command, follow=follow)
    raise typer.Exit(run_until_done(call.work))


class _Call:
    """One ``resume``."""

    def __init__(
        self,
        options: Options,
        saga: str | None,
        wait_s: float | None,
        on_stuck: list[str] | None,
        *,
        follow: bool,
    ) -> None:
        self._options = options
        self._saga = saga
        self._wait_s = wait_s
        self._on_stuck = on_stuck
        self._follow = follow
        self._names: list[str] = []
        #: sagas that can not be driven with this configuration; told once.
        self._refused: set[str] = set()

    async def work(self, stop: "Stop") -> int:
        """Open what the sagas need, drive them, and say how they stand."""
        from coordinator.app import LazySecrets, open_adapters, open_journal, passphrases_for
        from coordinator.cli.launch import drive_one, finish, open_session
        from coordinator.service import find_saga
        from coordinator.signers import forbid_core_dumps

        forbid_core_dumps()
        config = self._options.load() if self._saga is None else self._options.load_run()
        if not (has_run(config) or self._follow):
            self._options.out.say("no saga is waiting for a driver: nothing was ever run here")
            return exits.DONE
        # A service may be started before the first saga is.
        journal = open_journal(config, create=self._follow)
        try:
            one = None if self._saga is None else find_saga(journal, self._saga)
            passphrases = passphrases_for(config, interactive=not self._options.no_input)
            chains = self._chains(config, journal, one)
            async with (
                open_adapters(
                    config, chains, passphrases=passphrases, sign=True, patient=True
                ) as adapters,
                open_session(
                    self._options, config, journal, adapters, LazySecrets(config, passphrases),
                    stop=stop, on_stuck=self._on_stuck, table=one is not None,
                ) as session,
            ):  # fmt: skip
                if one is None:
                    return await self._drive_all(session, stop)
                state, ending = await drive_one(session, one, stop=stop, wait_s=self._wait_s)
            return finish(self._options, state, ending, stop, journal)
        finally:
            await journal.close()

    def _chains(self, config: "Config", journal: "SqliteJournal", one: str | None) -> set[str]:
        """Return the chains to open: those of the sagas; a service opens all that are enabled."""
        from coordinator.driving import loose_ends
        from coordinator.service import load

        enabled = {name for name, chain in config.chains.items() if chain.enabled}
        if self._follow:
            return enabled
        if one is not None:
            return set(load(journal, one).plan["chains"])
        by_plan = {row.digest: row.saga for row in journal.sagas(open_only=True)}
        names = [*by_plan.values(), *(state.saga for state in loose_ends(journal))]
        # A saga that needs another chain is told about when its turn comes; the rest goes on.
        return enabled & {chain for name in names for chain in load(journal, name).plan["chains"]}

    # ------------------------------------------------------------ many

    async def _drive_all(self, session: "Session", stop: "Stop") -> int:
        from coordinator.driving import Ending

        out = self._options.out
        ending = await session.driver.run(
            self._sagas(session, stop), stop=stop.event, wait_s=self._wait_s
        )
        code = self._code(session)
        if self._follow and ending is Ending.STOPPED:
            out.say("left in order; the sagas stand where they are: coordinator resume --all")
            return exits.DONE
        if ending is Ending.STOPPED:
            out.warn("detached; nothing was rolled back. Go on with: coordinator resume --all")
            return exits.DETACHED
        return code

    async def _sagas(self, session: "Session", stop: "Stop") -> "AsyncIterator[str]":
        """Yield what nobody drives: once, or again and again while following."""
        import asyncio
        import contextlib

        driver = session.driver
        if not self._follow and not driver.unattended():
            self._options.out.say("no saga is waiting for a driver")
        if self._follow:
            for saga in driver.recently_ended():
                yield saga
        swept_s = -_SWEEP_S
        while not stop.event.is_set():
            if time.monotonic() >= swept_s + _SWEEP_S:
                swept_s = time.monotonic()
                for saga in driver.loose_ends():
                    yield saga
            rows = [row for row in driver.unattended() if row.saga not in self._refused]
            for first in range(0, len(rows), _BATCH):
                batch = rows[first : first + _BATCH]
                for saga in await self._take_over(session, batch):
                    yield saga
            if not self._follow:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await stop.event.wait()

    async def _take_over(self, session: "Session", rows: "list[SagaRow]") -> list[str]:
        """Take sagas over side by side; one that can not be driven here holds up no other."""
        import asyncio

        from coordinator.errors import Conflict, PreflightError

        work = (session.driver.take_over(row) for row in rows)
        taken = []
        for row, result in zip(
            rows, await asyncio.gather(*work, return_exceptions=True), strict=True
        ):
            if isinstance(result, (PreflightError, Conflict)):
                self._refused.add(row.saga)
                self._options.out.warn(f"saga {row.saga} is left alone: {result}")
            elif isinstance(result, BaseException):
                raise result
            elif result:
                taken.append(row.saga)
        self._names += taken
        return taken

    def _code(self, session: "Session") -> int:
        from coordinator.cli.readable import headline
        from coordinator.cli.text import amounts, now_ms
        from coordinator.driving import loose_ends
        from coordinator.open_claims import open_claims_of
        from coordinator.pausing import pauses_in
        from coordinator.saga.table import ENDS
        from coordinator.service import load
        from coordinator.views import saga_view

        out, codes, pauses = self._options.out, [], pauses_in(session.driver.journal)
        for name in self._names:
            state = load(session.driver.journal, name)
            codes.append(exits.DONE if state.state in ENDS else exits.of_saga(state))
            view = saga_view(state, now_ms=now_ms(), pauses=pauses)
            out.line({"v": 1, "type": "end", "exit": exits.of_saga(state), "saga": view})
            word, fees = headline(state, pauses), amounts(state, state.fees)
            out.data(f"{name}  {state.name}  {word}  fees {fees}")
        for state in loose_ends(session.driver.journal):
            for claim in open_claims_of(session.driver.journal, state):
                out.warn(claim.sentence())
        if self._refused:
            return exits.PREFLIGHT
        if exits.STUCK in codes:
            return exits.STUCK
        return max(codes, default=exits.DONE)
