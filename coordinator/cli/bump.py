"""``coordinator bump``: let the present effort of a step cost more."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli.options import Options, options_of
from coordinator.cli.verdicts import Asked, give, persons

if TYPE_CHECKING:
    from coordinator.config import Config
    from coordinator.saga import SagaState, Step
    from coordinator.saga.state import Direction

app = typer.Typer(add_completion=False)


@app.command()
def bump(
    context: typer.Context,
    saga: Annotated[str, typer.Argument(help="Id, its beginning or its end.")],
    step: Annotated[str, typer.Argument(help="The step's id.")],
    *,
    fee_cap: Annotated[
        str,
        typer.Option(
            metavar="AMOUNT|PERCENT",
            help="The most that an attempt may cost: whole coins (0.004), or 250% of the plan's.",
        ),
    ],
    reason: Annotated[str, typer.Option(help="Why; it stands in the audit log.")],
    by: Annotated[list[str], typer.Option(help="Who decides.")],
    direction: Annotated[
        str | None, typer.Option(help="forward, confirm or undo; default: what is open.")
    ] = None,
) -> None:
    """Raise the fee cap of a step; what waits is replaced under its own claim at once.

    A forward may be raised to ten times the plan's cap, its burn with it, so that the burn can
    still overtake it. What brings value home may cost up to the value at stake.
    """
    asked = Asked("cap", {"text": fee_cap}, persons(by, "cap"), reason, direction)
    options = options_of(context)
    asyncio.run(give(options, saga, step, asked, partial(_check, options)))


async def _check(
    options: Options,
    _config: "Config",
    state: "SagaState",
    step: "Step",
    direction: "Direction",
    asked: Asked,
) -> Mapping[str, Any]:
    from adapters.assets import format_amount
    from coordinator.bumping import caps_now, wanted_pct

    pct = wanted_pct(state, step, direction, asked.args["text"], "--fee-cap")
    caps, decimals = caps_now(state, step, direction), int(state.plan["assets"][step.fee_asset])
    raised = format_amount(caps.plan * pct // 100, decimals)
    burn = ""
    if caps.burn is not None:
        most = format_amount(caps.burn * pct // caps.pct, decimals)
        burn = f"; its burn {most}"
    options.out.say(
        f"the {direction} of step {step.id} may cost {raised} {caps.asset} ({pct}% of the plan's "
        f"cap){burn}"
    )
    return {"pct": pct}
