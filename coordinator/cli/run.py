"""``coordinator run``: start a saga, or attach to the one that this plan started already."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.mistakes import WrongUsage
from coordinator.cli.options import Options, options_of
from coordinator.cli.plan import chains_of, parse_sets, report
from coordinator.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adapters.base import Adapter
    from coordinator.app import LazySecrets
    from coordinator.cli.launch import Stop
    from coordinator.config import Config
    from coordinator.journal.sqlite import SqliteJournal
    from coordinator.plan import Lock

app = typer.Typer(add_completion=False)


@app.command()
def run(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Plan (TOML or JSON) or lock.")],
    *,
    execute: Annotated[bool, typer.Option("--execute", help="Really send.")] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Set an input.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Names the saga for ever; default: the plan digest.")
    ] = None,
    wait: Annotated[
        str | None, typer.Option(help="Leave after 90s, 30m, 2h … (exit 21, or 20 if stuck).")
    ] = None,
    on_stuck: Annotated[
        str | None, typer.Option(help="Command to run when a person is needed.")
    ] = None,
) -> None:
    """Execute a plan: every step done, or every effect taken back.

    Without --execute the plan's report is shown and nothing is sent. The same command again
    attaches to the same saga.
    """
    options = options_of(context)
    sets = parse_sets(set_ or [])
    if not execute:
        code = asyncio.run(report(options, file, sets, None))
        options.out.say("NOTHING SENT. To send it, add --execute")
        raise typer.Exit(code)
    from coordinator.cli.launch import parse_on_stuck, parse_wait, run_until_done

    if key is not None and not key.strip():
        # As a variable that is not set would leave it: that would attach to the plan's own saga.
        raise WrongUsage("--key is empty. Nothing was sent.")
    call = _Call(options, file, sets, key, parse_wait(wait), parse_on_stuck(on_stuck))
    raise typer.Exit(run_until_done(call.work))


class _Call:
    """One ``run --execute``."""

    def __init__(
        self,
        options: Options,
        file: Path,
        sets: dict[str, str],
        key: str | None,
        wait_s: float | None,
        on_stuck: list[str] | None,
    ) -> None:
        self._options = options
        self._file = file
        self._sets = sets
        self._key = key
        self._wait_s = wait_s
        self._on_stuck = on_stuck

    async def work(self, stop: "Stop") -> int:
        """Resolve, check, start or attach, drive, and print the result."""
        from coordinator.app import LazySecrets, open_adapters, open_journal, passphrases_for
        from coordinator.planning import lock_of, read_source
        from coordinator.signers import forbid_core_dumps

        forbid_core_dumps()
        config = self._options.load()
        source = read_source(self._file, self._sets)
        passphrases = passphrases_for(config, interactive=not self._options.no_input)
        chains = chains_of(source, config)
        async with open_adapters(config, chains, passphrases=passphrases, sign=True) as adapters:
            lock = await lock_of(source, adapters, config)
            secrets = LazySecrets(config, passphrases)
            if any(step["reveals"] for step in lock.data["steps"]):
                secrets.open()
            journal = open_journal(config, create=True)
            try:
                return await self._drive(config, journal, adapters, secrets, lock, stop)
            finally:
                await journal.close()

    async def _drive(
        self,
        config: "Config",
        journal: "SqliteJournal",
        adapters: "dict[str, Adapter]",
        secrets: "LazySecrets",
        lock: "Lock",
        stop: "Stop",
    ) -> int:
        from coordinator.cli.launch import drive_one, finish, open_session
        from coordinator.cli.text import now_ms
        from coordinator.service import start

        key = self._key or lock.digest
        fresh = journal.saga_of_key(key) is None
        if fresh:
            await self._admit(journal, adapters, lock)
        async with open_session(
            self._options, config, journal, adapters, secrets,
            stop=stop, on_stuck=self._on_stuck, table=True,
        ) as session:  # fmt: skip
            begun = await start(
                journal, adapters, lock.data, lock.digest,
                key=key, instance=session.driver.instance.name, now_ms=now_ms(),
            )  # fmt: skip
            word = "started" if begun.fresh else "attached to"
            self._options.out.say(f"{word} saga {begun.saga} ({lock.data['name']})")
            state, ending = await drive_one(session, begun.saga, stop=stop, wait_s=self._wait_s)
        return finish(self._options, state, ending, stop, journal)

    async def _admit(
        self, journal: "SqliteJournal", adapters: "Mapping[str, Adapter]", lock: "Lock"
    ) -> None:
        """Refuse what must not start: a changed plan without a key of its own, a bad plan."""
        from coordinator.planning import examine, require_runnable

        if self._key is None:
            _refuse_changed(journal, lock)
        others = [row for chain in lock.data["chains"] for row in journal.reservations(chain)]
        examined = await examine(lock, adapters, others)
        for finding in examined.report.findings:
            if not finding.refuses:
                self._options.out.say(f"warning: {finding}")
        require_runnable(lock, examined)


def _refuse_changed(journal: "SqliteJournal", lock: "Lock") -> None:
    """A saga of this plan's name under another digest: its configuration or inputs changed.

    Raises:
        Conflict: naming that saga.
    """
    name = lock.data["name"]
    former = [row for row in journal.sagas() if row.plan == name and row.digest != lock.digest]
    if former:
        row = former[-1]
        raise Conflict(
            f"plan {name} has run before as saga {row.saga} ({row.state}) with digest "
            f"{row.digest[:12]}…; now it resolves to {lock.digest[:12]}… (its inputs or the "
            "configuration changed since). Nothing was sent. To go on with that saga: coordinator "
            f"resume {row.saga}. To start another one, name it: --key KEY"
        )
