"""``coordinator plan``: resolve, check, simulate and print a plan; nothing is sent."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli import exits
from coordinator.cli.mistakes import WrongUsage
from coordinator.cli.options import Options, options_of
from coordinator.cli.output import Output

if TYPE_CHECKING:
    from coordinator.config import Config
    from coordinator.journal.base import ReservationRow
    from coordinator.plan import Lock
    from coordinator.planning import Examined, Source

app = typer.Typer(add_completion=False)


def parse_sets(pairs: list[str]) -> dict[str, str]:
    """Return ``name=value`` arguments as a mapping.

    Raises:
        WrongUsage: one has no ``=``, or a name comes twice.
    """
    sets: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise WrongUsage(f"--set {pair!r} is not NAME=VALUE. Nothing was sent.")
        if name in sets:
            raise WrongUsage(f"--set {name} is given twice. Nothing was sent.")
        sets[name] = value
    return sets


@app.command()
def plan(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Plan (TOML or JSON) or lock.")],
    *,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Set an input.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the resolved plan (the lock).")] = None,
) -> None:
    """Resolve a plan, check it, simulate it on today's chains and print what would happen.

    Nothing is sent.
    """
    options = options_of(context)
    raise typer.Exit(asyncio.run(report(options, file, parse_sets(set_ or []), out)))


async def report(options: Options, file: Path, sets: dict[str, str], target: Path | None) -> int:
    """Print the report of a plan or lock, write the lock to ``target``, and judge it.

    Raises:
        PlanRefused: the plan is wrong.
        PreflightError: a chain is away, or the plan can not run today.
    """
    from coordinator.app import open_adapters, passphrases_for
    from coordinator.plan import write_lock
    from coordinator.planning import examine, lock_of, read_source, require_runnable

    config = options.load()
    source = read_source(file, sets)
    chains = chains_of(source, config)
    passphrases = passphrases_for(config, interactive=not options.no_input)
    async with open_adapters(config, chains, passphrases=passphrases, sign=False) as adapters:
        lock = await lock_of(source, adapters, config)
        examined = await examine(lock, adapters, reserved(options, config, chains))
    show_report(options.out, lock, examined)
    if target is not None and examined.report.valid:
        write_lock(lock, target)
        options.out.say(f"wrote {target}")
    require_runnable(lock, examined)
    return exits.DONE


def chains_of(source: "Source", config: "Config") -> set[str]:
    """Return the chains to open; what is missing is told with the plan's other findings."""
    return {name for name in source.chains if name in config.chains and config.chains[name].enabled}


def reserved(options: Options, config: "Config", chains: set[str]) -> "list[ReservationRow]":
    """Return what open sagas have set aside; nothing where there is no journal yet."""
    if not config.journal_path.exists():
        return []
    reader = options.read_journal()
    try:
        return [row for chain in sorted(chains) for row in reader.reservations(chain)]
    finally:
        reader.shut()


def show_report(out: Output, lock: "Lock", examined: "Examined") -> None:
    """Print the plan report, the same for ``plan`` and for ``run`` without ``--execute``."""
    from coordinator.plan import render_report

    out.document(
        {
            "v": 1,
            "type": "plan",
            "digest": lock.digest,
            "lock": dict(lock.data),
            "report": examined.report.as_json(lock.data["assets"]),
            "simulated": dict(examined.simulated),
            "sent": "nothing",
        }
    )
    out.data(
        render_report(lock.data, lock.digest, examined.report, examined.simulated).rstrip("\n")
    )
