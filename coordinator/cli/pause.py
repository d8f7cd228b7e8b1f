"""``coordinator pause``: hold back what has not begun: of a saga, a signer, a chain, or all."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli.options import options_of
from coordinator.cli.pausing import Target, parse_target

if TYPE_CHECKING:
    from coordinator.cli.options import Options
    from coordinator.config import Config
    from coordinator.journal.pauses import Pause
    from coordinator.journal.sqlite import SqliteJournal
    from coordinator.saga import SagaState

app = typer.Typer(add_completion=False)


@app.command()
def pause(
    context: typer.Context,
    saga: Annotated[str | None, typer.Argument(help="Id, its beginning or its end.")] = None,
    *,
    reason: Annotated[str, typer.Option(help="Why; it stands in the audit log.")],
    by: Annotated[str | None, typer.Option(help="Who; default: the login name.")] = None,
    signer: Annotated[
        str | None, typer.Option(metavar="NAME", help="What this signer (or address) would begin.")
    ] = None,
    chain: Annotated[
        str | None, typer.Option(metavar="NAME", help="What would begin on this chain.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Everything.")] = False,
) -> None:
    """Hold back forward steps that have not begun, and the pivot; and new plans that need them.

    Nothing else is ever held back: confirms, undos, burns and what was begun go on. A saga that is
    paused at its deadline rolls back. Effective in every process as soon as it is recorded.
    """
    target = parse_target(saga, signer, chain, by, reason, everything=all_)
    asyncio.run(_pause(options_of(context), target))


async def _pause(options: "Options", target: Target) -> None:
    from coordinator.app import open_journal
    from coordinator.cli.pausing import accounts_of
    from coordinator.pausing import pause, pause_saga
    from coordinator.service import find_saga

    config = options.load_run() if target.scope == "saga" else options.load()
    accounts = accounts_of(config, target)
    journal = open_journal(config, create=True)
    try:
        if target.scope == "saga":
            name = find_saga(journal, target.name)
            row = journal.saga(name)
            was = row is not None and row.paused
            state = await pause_saga(journal, name, by=target.by, reason=target.reason)
            assert state.pause is not None
            _tell(options, journal, config, state.pause, recorded=not was, states=[state])
            return
        made, recorded = await pause(
            journal, target.scope, target.name, accounts=accounts, by=target.by,
            reason=target.reason,
        )  # fmt: skip
        _tell(options, journal, config, made, recorded=recorded, states=_touched(journal))
    finally:
        await journal.close()


def _touched(journal: "SqliteJournal") -> "list[SagaState]":
    from coordinator.service import load

    rows = journal.sagas(open_only=True)
    return [load(journal, row.saga) for row in rows if row.state == "running"]


def _tell(
    options: "Options",
    journal: "SqliteJournal",
    config: "Config",
    made: "Pause",
    *,
    recorded: bool,
    states: "list[SagaState]",
) -> None:
    """Say what was asked for and, apart from it, how far it is effective."""
    from coordinator.journal.liveness import live
    from coordinator.pause_view import letting_go, pause_item, pause_view
    from coordinator.pausing import pauses_in

    pauses = pauses_in(journal)
    views = {state.saga: pause_view(state, pauses) for state in states}
    touched = {saga: view for saga, view in views.items() if view and _is_by(view, made)}
    out = {saga: view["still_out"] for saga, view in touched.items() if view["still_out"]}
    unattended = [
        row.saga
        for row in journal.sagas(open_only=True)
        if row.saga in touched and not (row.driver and live(config.journal_path, row.driver))
    ]
    value: dict[str, Any] = {"v": 1, "type": "pause", **pause_item(made), "recorded": recorded}
    value |= {"effective": not out, "still_out": out}
    value |= {"held": {saga: view["held"] for saga, view in touched.items()}}
    options.out.document(value | {"unattended": unattended})
    options.out.data(made.words if recorded else f"{made.words} already; nothing was recorded")
    options.out.say(
        f"running sagas that are held back: {len(touched)}. No step of them begins from now on, in "
        f"any process, and no new plan there. To go on: {letting_go(made)}"
        if made.scope != "saga"
        else f"no step of it begins from now on, in any process. To go on: {letting_go(made)}"
    )
    for saga, steps in out.items():
        options.out.say(
            f"not effective yet for saga {saga}: {', '.join(steps)} began before and may still land"
        )
    for saga in unattended:
        options.out.say(
            f"nobody drives saga {saga}; its deadline stands: coordinator resume {saga}"
        )


def _is_by(view: dict[str, Any], made: "Pause") -> bool:
    about = (made.scope, made.name)
    return any((pause["scope"], pause["name"]) == about for pause in view["requested"])
