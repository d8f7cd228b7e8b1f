"""``coordinator replace``: a dearer attempt under the same claim, now."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli.options import options_of
from coordinator.cli.verdicts import Asked, give, persons

if TYPE_CHECKING:
    from coordinator.config import Config
    from coordinator.saga import SagaState, Step
    from coordinator.saga.state import Direction

app = typer.Typer(add_completion=False)


@app.command()
def replace(
    context: typer.Context,
    saga: Annotated[str, typer.Argument(help="Id, its beginning or its end.")],
    step: Annotated[str, typer.Argument(help="The step's id.")],
    *,
    reason: Annotated[str, typer.Option(help="Why; it stands in the audit log.")],
    by: Annotated[list[str], typer.Option(help="Who decides.")],
    direction: Annotated[
        str | None, typer.Option(help="forward, confirm or undo; default: what is open.")
    ] = None,
) -> None:
    """Replace what waits for a block by an attempt that pays more, without waiting for its turn.

    It spends the same nonce or coins, so that at most one of them counts, and stays within the fee
    cap; where that leaves no room, a person is told, and: coordinator bump.
    """
    asked = Asked("cap", {}, persons(by, "cap"), reason, direction)
    asyncio.run(give(options_of(context), saga, step, asked, _check))


async def _check(
    _config: "Config",
    state: "SagaState",
    step: "Step",
    direction: "Direction",
    _asked: Asked,
) -> Mapping[str, Any]:
    from coordinator.bumping import require_replaceable

    require_replaceable(state, step, direction)
    return {"pct": state.cap_pct(step.id), "replace": True}
