"""``coordinator resolve``: an operator's verdict on a step that can not go on by itself."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.mistakes import WrongUsage
from coordinator.cli.options import Options, options_of
from coordinator.cli.verdicts import Asked, give, persons
from coordinator.errors import Irreversible, PlanError

if TYPE_CHECKING:
    from coordinator.config import Config
    from coordinator.saga import SagaState, Step
    from coordinator.saga.state import Direction

app = typer.Typer(add_completion=False)

_CAP_PCT_MAX = 1000
_PHASES = {
    "idle": "not started",
    "included": "in a block already",
    "done": "final",
    "not_done": "not done for good",
    "written_off": "written off",
}


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
    args = {"tx": adopt} if adopt else {"pct": cap.rstrip("%")} if cap else {}
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
    """Refuse a verdict that the chain, the plan or the saga's state contradicts; return what is
    recorded in place of its arguments, None for the arguments themselves.
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
        _check_cap(state.cap_pct(step.id), asked.args["pct"])
        require_priced(state, step, direction)
        return {"pct": int(asked.args["pct"])}
    elif asked.verdict == "burn":
        _check_burn(state, step, direction)
    elif asked.verdict == "reclaim":
        _check_reclaim(state, step)
        await _check_expired(options, config, state, step)
    elif asked.verdict == "write_off":
        _check_write_off(state, step, direction)
    return None


def _check_cap(now_pct: int, text: str) -> None:
    """A cap is only ever raised, and a slip of the finger must not make it a hundredfold."""
    valid = text.isascii() and text.isdigit() and now_pct < int(text[:6]) <= _CAP_PCT_MAX
    if not valid:
        raise WrongUsage(
            f"--cap takes per cent of the plan's caps, above {now_pct} and at most "
            f"{_CAP_PCT_MAX}, not {text!r}. Nothing was recorded."
        )


def require_priced(state: "SagaState", step: "Step", direction: str) -> None:
    """A cap prices what is sent from now on; there must be something that we pay for."""
    phase = state.effort(step.id, direction).phase
    if phase in ("included", "done", "written_off"):
        raise Irreversible(
            f"the {direction} of step {step.id} is {phase.replace('_', ' ')}: no fee of it is left "
            "to raise. Nothing was recorded."
        )
    if direction == "confirm" and step.reveals and step.deliver != "calldata":
        raise PlanError(
            f"the payee of step {step.id} pays for the redeem, not we. Nothing was recorded."
        )


def _check_burn(state: "SagaState", step: "Step", direction: str) -> None:
    """A burn consumes the claim of a forward that waits for its block; there must be one."""
    if direction != "forward":
        raise WrongUsage(
            f"only a forward can be burnt; the {direction} of step {step.id} is tried until it "
            "succeeds. Nothing was recorded."
        )
    if "burn" not in step.kill:
        raise PlanError(f"step {step.id} can not be burnt. Nothing was recorded.")
    phase = state.effort(step.id, "forward").phase
    if phase != "unknown":
        back = (
            f" To take everything back: coordinator rollback {state.saga} --reason TEXT."
            if state.state == "running"
            else ""
        )
        raise Irreversible(
            f"step {step.id} is {_PHASES[phase]}: nothing of it waits for a block that a burn "
            f"could overtake.{back} Nothing was recorded."
        )
    if state.state != "running":
        raise Irreversible(
            f"saga {state.saga} is {state.state}: it ends what still waits by itself, and sends it "
            "again where it must land. Nothing was recorded."
        )


def _check_reclaim(state: "SagaState", step: "Step") -> None:
    """A revealed hold may be refunded only past its expiry, and only while nobody redeemed it."""
    effort = state.effort(step.id, "confirm")
    if not step.reveals or not effort.revealed:
        raise PlanError(f"step {step.id} is no revealed hold. Nothing was recorded.")
    if effort.phase in ("included", "done"):
        raise Irreversible(f"the payee has redeemed step {step.id}. Nothing was recorded.")


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


def _check_write_off(state: "SagaState", step: "Step", direction: str) -> None:
    phase = state.effort(step.id, direction).phase
    if phase in ("done", "written_off"):
        raise Irreversible(
            f"the {direction} of step {step.id} is {phase.replace('_', ' ')}; there is nothing to "
            "write off. Nothing was recorded."
        )
