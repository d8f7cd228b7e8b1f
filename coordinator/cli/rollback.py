"""``coordinator rollback``: ask that everything be taken back."""

import asyncio
from typing import Annotated

import typer

from coordinator.cli.arguments import login_name
from coordinator.cli.mistakes import WrongUsage
from coordinator.cli.options import Options, options_of

app = typer.Typer(add_completion=False)


@app.command()
def rollback(
    context: typer.Context,
    saga: Annotated[str, typer.Argument(help="Id, its beginning or its end.")],
    reason: Annotated[str, typer.Option(help="Why; it stands in the audit log.")],
    by: Annotated[str | None, typer.Option(help="Who asks; default: the login name.")] = None,
) -> None:
    """Ask that a saga be rolled back; refused (exit 11) once its commit is decided.

    This records the wish. Whoever drives the saga acts on it: a live process at once, else the
    next resume.
    """
    options = options_of(context)
    if not reason.strip():
        raise WrongUsage("--reason is empty; it stands in the audit log. Nothing was recorded.")
    asyncio.run(_ask(options, saga, by or login_name(), reason))


async def _ask(options: Options, saga: str, by: str, reason: str) -> None:
    from coordinator.app import open_journal
    from coordinator.journal.liveness import is_attended
    from coordinator.service import ask_rollback, find_saga, load

    config = options.load_run()
    journal = open_journal(config)
    try:
        name = find_saga(journal, saga)
        state = load(journal, name)
        if state.asked is None or state.state != "running":
            state = await ask_rollback(journal, name, by=by, reason=reason)
        attended = is_attended(journal, name)
    finally:
        await journal.close()
    assert state.asked is not None
    asked = {"v": 1, "type": "asked", "saga": name, **state.asked, "attended": attended}
    options.out.document(asked)
    options.out.data(f"asked to roll back {name}: {state.asked['reason']}")
    effective = (
        "the process that drives it acts on this now"
        if attended
        else f"nobody drives it: coordinator resume {name}"
    )
    options.out.say(effective)
