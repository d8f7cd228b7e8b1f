"""``coordinator unpause``: let what was paused go on."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli.options import options_of
from coordinator.cli.pausing import Target, parse_target
from coordinator.journal.pauses import Pause

if TYPE_CHECKING:
    from coordinator.cli.options import Options

app = typer.Typer(add_completion=False)


@app.command()
def unpause(
    context: typer.Context,
    saga: Annotated[str | None, typer.Argument(help="Id, its beginning or its end.")] = None,
    *,
    reason: Annotated[str, typer.Option(help="Why; it stands in the audit log.")],
    by: Annotated[str | None, typer.Option(help="Who; default: the login name.")] = None,
    signer: Annotated[str | None, typer.Option(metavar="NAME", help="As it was paused.")] = None,
    chain: Annotated[str | None, typer.Option(metavar="NAME", help="As it was paused.")] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="The pause of everything; others stay.")
    ] = False,
) -> None:
    """Let what was paused go on. Each pause ends by itself; others may hold the same steps."""
    target = parse_target(saga, signer, chain, by, reason, everything=all_)
    asyncio.run(_unpause(options_of(context), target))


async def _unpause(options: "Options", target: Target) -> None:
    from coordinator.app import open_journal
    from coordinator.pausing import pauses_in, unpause, unpause_saga
    from coordinator.service import find_saga, load

    journal = open_journal(options.load_run())
    try:
        if target.scope == "saga":
            name = find_saga(journal, target.name)
            ended = load(journal, name).pause
            await unpause_saga(journal, name, by=target.by, reason=target.reason)
        else:
            name = target.name
            ended = await unpause(
                journal, target.scope, name, by=target.by, reason=target.reason
            )  # fmt: skip
        others = pauses_in(journal).standing
    finally:
        await journal.close()
    _tell(options, target, name, ended, others)


def _tell(
    options: "Options",
    target: Target,
    name: str,
    ended: Pause | None,
    others: tuple[Pause, ...],
) -> None:
    from coordinator.pause_view import pause_item

    value: dict[str, Any] = {"v": 1, "type": "unpause", "scope": target.scope, "name": name}
    value |= {"recorded": ended is not None, "by": target.by, "reason": target.reason}
    options.out.document(value | {"standing": [pause_item(pause) for pause in others]})
    what = Pause(target.scope, name, target.by, target.reason, 0).what
    if ended is None:
        options.out.data(f"{what} was not paused; nothing was recorded")
    else:
        options.out.data(f"{what} goes on; it was paused by {ended.by}: {ended.reason}")
        options.out.say("whoever drives a saga of it looks at once; nothing was sent by this call")
    for pause in others:
        options.out.say(f"still: {pause.words}")
