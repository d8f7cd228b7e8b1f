"""``coordinator audit fsck``: journal, log and chains held against each other, online."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli import exits
from coordinator.cli.log_head import key_history_of
from coordinator.cli.options import Options, options_of
from coordinator.errors import JournalError, PreflightError
from coordinator.saga.table import ENDS
from coordinator.service import find_saga, load

if TYPE_CHECKING:
    from coordinator.config import Config
    from coordinator.recheck import Deviation
    from coordinator.saga import SagaState

__all__ = ["fsck"]


def fsck(
    context: typer.Context,
    saga: Annotated[str | None, typer.Argument(help="Only this saga on the chains.")] = None,
) -> None:
    """Check the journal, its log, and what it says of ended sagas against the chains.

    Asks every configured node whether each final block is still in its chain, and builds the
    evidence of each outcome anew. Ends with 40 if anything is not as the journal says, with 41 if
    something could not be looked at. Sends nothing.
    """
    from coordinator.journal.verify import check

    options = options_of(context)
    config = options.load_run()
    reader = options.read_journal()
    chosen = None if saga is None else find_saga(reader, saga)
    witness = config.witness_path if config.witness_path.exists() else None
    history = key_history_of(config, reader)
    troubles = [finding.text for finding in check(reader, witness, history)]
    options.out.say(
        f"journal and log: {len(troubles)} troubles in {reader.last_position()} records"
    )
    states: list[SagaState] = []
    for row in reader.sagas():
        if row.state in ENDS and chosen in (None, row.saga):
            try:
                states.append(load(reader, row.saga))
            except JournalError as error:
                troubles += [] if str(error) in troubles else [str(error)]
    if chosen is not None and not states and not troubles:
        options.out.say(f"saga {chosen} has not ended: its outcomes are watched by its driver")
    found, away = asyncio.run(_recheck(options, config, states)) if states else ([], [])
    raise typer.Exit(_tell(options, troubles, len(states), found, away))


async def _recheck(
    options: Options, config: "Config", states: "list[SagaState]"
) -> "tuple[list[Deviation], list[str]]":
    """Hold every saga against the chains; chains that can not be opened are named."""
    from contextlib import AsyncExitStack

    from coordinator.app import open_adapters, passphrases_for
    from coordinator.families import configured_nodes, statements_of
    from coordinator.recheck import Nodes, recheck

    nodes = Nodes(configured_nodes(config), statements_of)
    passphrases = passphrases_for(config, interactive=False)
    wanted = sorted({chain for state in states for chain in state.chains})
    adapters: dict[str, Any] = {}
    away: list[str] = []
    found: list[Deviation] = []
    async with AsyncExitStack() as stack:
        for name in wanted:
            if name not in config.chains or not config.chains[name].enabled:
                continue
            try:
                opening = open_adapters(config, [name], passphrases=passphrases, sign=False)
                adapters |= await stack.enter_async_context(opening)
            except PreflightError as error:
                away.append(str(error))
        for state in states:
            options.out.say(f"saga {state.saga} {state.state}: asking {', '.join(state.chains)}")
            found += [one async for one in recheck(state, adapters, nodes)]
    return found, away


def _tell(
    options: Options,
    troubles: list[str],
    sagas: int,
    found: "list[Deviation]",
    away: list[str],
) -> int:
    wrong = [one for one in found if one.wrong]
    unknown = [one for one in found if not one.wrong]
    code = exits.UNVERIFIED if troubles or wrong else exits.DONE
    if code == exits.DONE and (unknown or away):
        code = exits.UNDECIDED
    options.out.document(
        {
            "v": 1,
            "type": "fsck",
            "ok": code == exits.DONE,
            "exit": code,
            "sagas": sagas,
            "journal": troubles,
            "deviations": [_view(one) for one in wrong],
            "not_verified": [*map(_view, unknown), *({"text": text} for text in away)],
        }
    )
    lines = [f"✗ {trouble}" for trouble in troubles]
    lines += [f"✗ {one.saga} {one.step} {one.direction}: {one.text}" for one in wrong]
    lines += [f"? {one.saga} {one.step} {one.direction}: {one.text}" for one in unknown]
    lines += [f"? {text}" for text in away]
    ended = f"{sagas} ended saga{'' if sagas == 1 else 's'}"
    options.out.data("\n".join(lines) or f"✓ journal, log and chains agree on {ended}")
    return code


def _view(one: "Deviation") -> dict[str, str]:
    return {"saga": one.saga, "step": one.step, "dir": one.direction, "text": one.text}
