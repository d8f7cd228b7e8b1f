"""``coordinator resume``: go on with sagas that nobody drives."""

from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli import exits
from coordinator.cli.mistakes import WrongUsage
from coordinator.cli.options import Options, has_run, options_of

if TYPE_CHECKING:
    from coordinator.cli.launch import Stop
    from coordinator.config import Config
    from coordinator.journal.sqlite import SqliteJournal
    from coordinator.signers import Passphrases

app = typer.Typer(add_completion=False)


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
            if one is None:
                return await self._work_all(config, journal, passphrases, chains, stop)
            async with (
                open_adapters(
                    config, chains, passphrases=passphrases, sign=True, patient=True
                ) as adapters,
                open_session(
                    self._options, config, journal, adapters, LazySecrets(config, passphrases),
                    stop=stop, on_stuck=self._on_stuck, table=True,
                ) as session,
            ):  # fmt: skip
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

    async def _work_all(
        self,
        config: "Config",
        journal: "SqliteJournal",
        passphrases: "Passphrases",
        chains: set[str],
        stop: "Stop",
    ) -> int:
        """Drive what nobody drives; a chain that does not answer holds up its own sagas only."""
        from coordinator.app import LazySecrets, open_what_answers
        from coordinator.cli.launch import open_session
        from coordinator.cli.sweep import Sweep
        from coordinator.driving import Ending

        out = self._options.out
        async with open_what_answers(config, chains, passphrases=passphrases) as (adapters, late):
            sweep = Sweep(out, late, follow=self._follow)
            for notice in late.notices():
                out.warn(f"{notice.reason} ({notice.question})")
            async with open_session(
                self._options, config, journal, adapters, LazySecrets(config, passphrases),
                stop=stop, on_stuck=self._on_stuck, table=False, beside=sweep.notices,
            ) as session:  # fmt: skip
                driver = session.driver
                sagas = sweep.sagas(driver, stop.event)
                ending = await driver.run(sagas, stop=stop.event, wait_s=self._wait_s)
                code = sweep.code(driver)
        if self._follow and ending is Ending.STOPPED:
            out.say("left in order; the sagas stand where they are: coordinator resume --all")
            return exits.DONE
        if ending is Ending.STOPPED:
            out.warn("detached; nothing was rolled back. Go on with: coordinator resume --all")
            return exits.DETACHED
        return code
