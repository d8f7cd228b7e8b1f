"""``coordinator resolve``: an operator's verdict on a step that can not go on by itself."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from coordinator.cli.mistakes import ApprovalMissing, WrongUsage
from coordinator.cli.options import Options, options_of
from coordinator.errors import Irreversible, PlanError
from coordinator.saga.table import ENDS

if TYPE_CHECKING:
    from coordinator.config import Config
    from coordinator.saga import SagaState, Step

app = typer.Typer(add_completion=False)

#: Verdicts that give value up or move it against the protocol's own course.
_TWO_PERSONS = frozenset({"reclaim", "write_off"})
_CAP_PCT_MAX = 1000
_PHASES = {
    "idle": "not started",
    "included": "in a block already",
    "done": "final",
    "not_done": "not done for good",
    "written_off": "written off",
}
_Direction = Literal["forward", "confirm", "undo"]


@dataclass(frozen=True)
class _Asked:
    verdict: str
    args: dict[str, str]
    by: tuple[str, ...]
    reason: str
    direction: str | None


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
    if not reason.strip():
        raise WrongUsage("--reason is empty; it stands in the audit log. Nothing was recorded.")
    args = {"tx": adopt} if adopt else {"pct": cap.rstrip("%")} if cap else {}
    asked = _Asked(chosen[0], args, _persons(by, chosen[0]), reason, direction)
    asyncio.run(_resolve(options_of(context), saga, step, asked))


def _persons(by: list[str], verdict: str) -> tuple[str, ...]:
    """Return who decided; the same name in other letters is the same person."""
    names = {name.strip().casefold(): name.strip() for name in by if name.strip()}
    if not names:
        raise WrongUsage("--by names nobody. Nothing was recorded.")
    if verdict in _TWO_PERSONS and len(names) < 2:
        raise ApprovalMissing(
            f"{verdict.replace('_', '-')} gives value up, so it needs 2 different persons: --by A "
            "--by B. Nothing was recorded."
        )
    return tuple(names.values())


async def _resolve(options: Options, saga: str, step_id: str, asked: _Asked) -> None:
    from coordinator.app import open_journal
    from coordinator.journal.liveness import live
    from coordinator.service import find_saga, load, record_verdict

    config = options.load_run()
    journal = open_journal(config)
    try:
        name = find_saga(journal, saga)
        state = load(journal, name)
        if step_id not in {step.id for step in state.steps}:
            known = ", ".join(step.id for step in state.steps)
            raise PlanError(
                f"saga {name} has no step {step_id}; its steps: {known}. Nothing was recorded."
            )
        if state.state in ENDS:
            raise Irreversible(
                f"saga {name} has ended ({state.state}); a verdict changes nothing any more. "
                f"Nothing was recorded. See: coordinator show {name}"
            )
        step = state.step(step_id)
        direction = _chosen_direction(state, step, asked)
        await _check(options, config, state, step, direction, asked)
        state = await record_verdict(
            journal, name, step_id, direction=direction, verdict=asked.verdict,
            by=asked.by, reason=asked.reason, args=asked.args,
        )  # fmt: skip
        row = next(row for row in journal.sagas() if row.saga == name)
        attended = row.driver is not None and live(config.journal_path, row.driver)
    finally:
        await journal.close()
    value: dict[str, Any] = {"v": 1, "type": "verdict", "saga": name, **state.verdicts[-1]}
    options.out.document(value | {"attended": attended})
    options.out.data(f"recorded: {asked.verdict} of {step_id} {direction} in saga {name}")
    options.out.say(
        "this call sent nothing; the process that drives the saga acts on it now"
        if attended
        else f"nothing was sent: nobody drives the saga. Go on with: coordinator resume {name}"
    )


def _chosen_direction(state: "SagaState", step: "Step", asked: _Asked) -> _Direction:
    """Return the direction the verdict is about: as told, or the one that is open."""
    if asked.direction is not None:
        for known in ("forward", "confirm", "undo"):
            if asked.direction == known:
                return known
        raise WrongUsage("--direction is forward, confirm or undo. Nothing was recorded.")
    if asked.verdict == "burn":
        return "forward"
    if asked.verdict == "reclaim" or state.state == "confirming":
        return "confirm"
    forward_open = state.effort(step.id, "forward").phase in ("idle", "unknown", "included")
    return "undo" if state.state == "undoing" and not forward_open else "forward"


async def _check(
    options: Options,
    config: "Config",
    state: "SagaState",
    step: "Step",
    direction: _Direction,
    asked: _Asked,
) -> None:
    """Refuse a verdict that the chain, the plan or the saga's state contradicts."""
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
        _check_priced(state, step, direction)
    elif asked.verdict == "burn":
        _check_burn(state, step, direction)
    elif asked.verdict == "reclaim":
        _check_reclaim(state, step)
        await _check_expired(options, config, state, step)
    elif asked.verdict == "write_off":
        _check_write_off(state, step, direction)


def _check_cap(now_pct: int, text: str) -> None:
    """A cap is only ever raised, and a slip of the finger must not make it a hundredfold."""
    valid = text.isascii() and text.isdigit() and now_pct < int(text[:6]) <= _CAP_PCT_MAX
    if not valid:
        raise WrongUsage(
            f"--cap takes per cent of the plan's caps, above {now_pct} and at most "
            f"{_CAP_PCT_MAX}, not {text!r}. Nothing was recorded."
        )


def _check_priced(state: "SagaState", step: "Step", direction: str) -> None:
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
