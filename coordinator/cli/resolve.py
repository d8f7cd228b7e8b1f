"""``coordinator resolve``: an operator's verdict on a step that can not go on by itself."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.mistakes import WrongUsage
from coordinator.cli.options import Options, options_of
from coordinator.cli.verdicts import Asked, give, persons
from coordinator.errors import Irreversible

if TYPE_CHECKING:
    from coordinator.config import Config
    from coordinator.saga import SagaState, Step
    from coordinator.saga.state import Direction

app = typer.Typer(add_completion=False)


@app.command()
def resolve(
    context: typer.Context,
    saga: Annotated[str, typer.Argument(help="Id, its beginning or its end.")],
    step: Annotated[str, typer.Argument(help="The step's id.")],
    *,
    reason: Annotated[str, typer.Option(help="Why; it stands in the audit log.")],
    by: Annotated[list[str], typer.Option(help="Who decides; given twice for two persons.")],
    adopt: Annotated[
        str | None, typer.Option(metavar="TX", help="This transaction made the effect; checked.")
    ] = None,
    burn: Annotated[bool, typer.Option("--burn", help="Consume the step's claim.")] = False,
    cap: Annotated[
        str | None,
        typer.Option(
            metavar="PERCENT", help="Raise the step's fee caps to this share of the plan's."
        ),
    ] = None,
    reclaim: Annotated[
        bool, typer.Option("--reclaim", help="Refund a revealed hold past its expiry; 2 persons.")
    ] = False,
    write_off: Annotated[
        bool, typer.Option("--write-off", help="Give the step's value up; 2 persons.")
    ] = False,
    direction: Annotated[
        str | None, typer.Option(help="forward, confirm or undo; default: what is open.")
    ] = None,
) -> None:
    """Record a verdict on a step; whoever drives the saga acts on it.

    No verdict turns an unknown outcome into "not done": only the chain can. A saga with a reclaim
    or a write-off ends as closed_by_operator.
    """
    chosen = [
        name
        for name, given in (
            ("adopt", adopt), ("burn", burn), ("cap", cap), ("reclaim", reclaim),
            ("write_off", write_off),
        )
        if given
    ]  # fmt: skip
    if len(chosen) != 1:
        raise WrongUsage(
            "give exactly one of --adopt TX, --burn, --cap PERCENT, --reclaim, --write-off. "
            "Nothing was recorded."
        )
    args = {"tx": adopt} if adopt else {"text": f"{cap.rstrip('%')}%"} if cap else {}
    asked = Asked(chosen[0], args, persons(by, chosen[0]), reason, direction)
    options = options_of(context)
    asyncio.run(give(options, saga, step, asked, partial(_check, options)))


async def _check(
    options: Options,
    config: "Config",
    state: "SagaState",
    step: "Step",
    direction: "Direction",
    asked: Asked,
) -> dict[str, int] | None:
    """Refuse a verdict that the chain or the plan contradicts; return what is recorded in place of
    its arguments, None for the arguments themselves.
    """
    if asked.verdict == "adopt":
        from coordinator.adoption import require_effect_in
        from coordinator.app import open_adapters, passphrases_for

        passphrases = passphrases_for(config, interactive=not options.no_input)
        async with open_adapters(
            config, {step.chain}, passphrases=passphrases, sign=False
        ) as adapters:
            adapter = adapters[step.chain]
            await require_effect_in(state, step, direction, asked.args["tx"], adapter)
    elif asked.verdict == "cap":
        from coordinator.bumping import wanted_pct

        return {"pct": wanted_pct(state, step, direction, asked.args["text"], "--cap")}
    elif asked.verdict == "reclaim":
        await _check_expired(options, config, state, step)
    return None


async def _check_expired(
    options: Options, config: "Config", state: "SagaState", step: "Step"
) -> None:
    """Permission to refund is the chain's own time."""
    from coordinator.app import open_adapters, passphrases_for

    passphrases = passphrases_for(config, interactive=not options.no_input)
    async with open_adapters(config, {step.chain}, passphrases=passphrases, sign=False) as adapters:
        clock = adapters[step.chain].clock()
    expiry = state.expiries[step.id]
    now, then = (
        (clock.height, expiry["height"]) if "height" in expiry else (clock.time_s, expiry["time"])
    )
    if now < then:
        raise Irreversible(
            f"step {step.id} is not past its expiry: {step.chain} is at {now}, it expires at "
            f"{then}. Until then only the payee may take it. Nothing was recorded."
        )
