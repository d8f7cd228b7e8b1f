"""``coordinator secret``: the preimage of a hold, once its reveal is durable."""

import asyncio
import hashlib
from typing import Annotated

import typer

from coordinator.cli.options import Options, options_of
from coordinator.errors import Irreversible, KeysError, PlanError
from coordinator.saga import SagaState
from coordinator.service import find_saga, load

app = typer.Typer(add_completion=False)


@app.command()
def secret(
    context: typer.Context,
    saga: Annotated[str, typer.Argument(help="Id, its beginning or its end.")],
    step: Annotated[str, typer.Argument(help="The hold's step.")],
) -> None:
    """Print the preimage of a hold (64 hex digits) for its payee.

    Refused (exit 11) until the commit is decided: who has the preimage can take the held value,
    and that can not be taken back.
    """
    options = options_of(context)
    config = options.load()
    name, hashlock = asyncio.run(_hashlock(options, saga, step))
    from coordinator.app import LazySecrets, admit_environment, passphrases_for

    passphrases = passphrases_for(config, interactive=not options.no_input)
    if config.secrets is not None and config.secrets.passphrase.startswith("env:"):
        asyncio.run(admit_environment(config, passphrases))
    secrets = LazySecrets(config, passphrases)
    preimage = secrets.preimage(saga=name, step=step, generation=1).reveal()
    if hashlib.sha256(preimage).hexdigest() != hashlock:
        raise KeysError(
            f"the configured seed is not the one that step {step} of saga {name} was made with; "
            "its preimage is not known. Restore the keystore of that seed. Nothing was printed."
        )
    value = {"saga": name, "step": step, "preimage": preimage.hex(), "hashlock": hashlock}
    options.out.document({"v": 1, "type": "secret", **value})
    options.out.data(preimage.hex())


async def _hashlock(options: Options, saga: str, step: str) -> tuple[str, str]:
    """Return the saga's id and the hold's hashlock.

    Read through a journal that is open for writing: reading the reveal tells the second place of
    it, should its writer have died before (R12). A preimage that is out must never be forgotten.
    """
    from coordinator.app import open_journal

    journal = open_journal(options.load_run())
    try:
        name = find_saga(journal, saga)
        return name, _revealed(load(journal, name), step)
    finally:
        await journal.close()


def _revealed(state: SagaState, step: str) -> str:
    """Return the hashlock of a hold whose reveal intent is durable.

    Raises:
        PlanError: the step is none, or no hold.
        Irreversible: the preimage must not be known to anybody yet, or ever.
    """
    if step not in {each.id for each in state.steps} or not state.step(step).reveals:
        holds = ", ".join(each.id for each in state.steps if each.reveals) or "none"
        raise PlanError(
            f"saga {state.saga} has no hold called {step}; its holds: {holds}. Nothing was printed."
        )
    effort = state.effort(step, "confirm")
    if not effort.revealed or effort.hashlock is None:
        raise Irreversible(
            f"the preimage of step {step} stays secret: saga {state.saga} is {state.state} and its "
            "reveal is not in the journal. Whoever has it could take the held value for good. "
            "Nothing was printed. It can be had once the commit is decided: coordinator watch "
            f"{state.saga}"
            if state.state == "running"
            else f"the preimage of step {step} stays secret for ever: saga {state.saga} is "
            f"{state.state}, and its hold goes back to us. Nothing was printed."
        )
    return effort.hashlock
