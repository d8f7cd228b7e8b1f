"""What a person is asked when a saga is stuck: code, question, evidence, and the answers allowed.

A code is a stable word for programs. Those of `WAITS` name a wait that lasted too long; every other
is the word of a refusal (`adapters.errors.Rejected.code`).
Pure.
"""

from collections.abc import Mapping
from typing import Any, Final

from coordinator.saga.commands import Now, Wait
from coordinator.saga.state import Direction, Effort, SagaState, Step

__all__ = ["WAITS", "allowed", "code_of", "evidence_of", "question_of", "refusals", "tried"]

#: Code of a wait → what is asked about it.
WAITS: Final[Mapping[str, str]] = {
    "not_prepared": "is {chain} reachable, and does a signer of step {step} answer?",
    "not_included": "is {chain} reachable and moving, and are its fees within the plan's cap?",
    "not_final": "is {chain} reachable and moving? The block of step {step} is not final yet",
    "not_open": "is {chain} reachable and moving? The undo of step {step} waits for its time",
    "not_buried": "is {chain} reachable and moving? The next try of step {step} waits for it",
    "not_redeemed": "ask the payee of step {step} to redeem: the preimage is public to them",
    "keeps_failing": "why does {chain} refuse the {dir} of step {step}?",
    "unknown": "what became of step {step}? It can not be burnt: adopt the transaction that made "
    "its effect, or write it off",
    "held": "may the {dir} of step {step} begin? It is held back",
    "no_proof": "why does {chain} give no proof of a transaction that it calls final?",
    "waiting": "look at the chain and its node",
}
_REFUSED: Final[Mapping[str, str]] = {
    "policy": "may the {dir} of step {step} cost more? Raise its cap, or wait for {chain}",
    "signer": "why does a signer of step {step} refuse, or sign with another key?",
    "mismatch": "why would this program sign what step {step} does not say? Stop it and report it",
}
_REFUSED_ELSE: Final = "why does {chain} refuse the {dir} of step {step}?"
#: Phase → its words in a reason.
_PHASES: Final[Mapping[str, str]] = {
    "idle": "not started",
    "included": "in a block already",
    "not_done": "not done for good",
    "written_off": "written off",
}
#: Of an effort, so many of its newest attempts are shown, and so much of what a node said.
_SHOWN: Final = 3
_SAID_MAX: Final = 300


def code_of(state: SagaState, wait: Wait) -> str:
    """Return the code of a wait that lasted too long."""
    if wait.proof or wait.held:
        return "no_proof" if wait.proof else "held"
    if wait.step is None or wait.direction is None:
        return "waiting"
    step, effort = state.step(wait.step), state.effort(wait.step, wait.direction)
    if effort.phase == "included":
        return "not_final"
    if effort.phase == "not_done":
        return "keeps_failing" if wait.look_s else "not_buried" if wait.height else "not_prepared"
    if effort.phase != "unknown":
        return "not_open" if wait.height else "not_prepared"
    if wait.direction == "confirm" and step.reveals and step.deliver != "calldata":
        return "not_redeemed"
    ends = state.state == "undoing" and wait.direction == "forward" and not step.kill
    return "unknown" if ends else "not_included"


def question_of(
    state: SagaState, wait: Wait, code: str, fund: tuple[str, str, int] | None = None
) -> str:
    """Return the question in words.

    Args:
        fund: (address, asset, base units) that would cure it.
    """
    if fund is not None:
        return f"fund {fund[0]} with {fund[2]} base units of {fund[1]}"
    if wait.step is None:
        return WAITS["waiting"]
    words = WAITS.get(code) or _REFUSED.get(code, _REFUSED_ELSE)
    return words.format(chain=state.step(wait.step).chain, step=wait.step, dir=wait.direction)


def allowed(state: SagaState, step: Step, direction: Direction) -> tuple[str, ...]:
    """Return the verdicts that a person may give on an effort now.

    Whether a transaction made the effect (`adopt`) and whether a hold is past its expiry
    (`reclaim`) is the chain's to say; it is asked when the verdict is given.
    """
    rules = refusals(state, step, direction)
    return tuple(verdict for verdict, why in rules.items() if why is None)


def refusals(state: SagaState, step: Step, direction: Direction) -> dict[str, str | None]:
    """Return each verdict with the reason why the effort does not take it now; None: it does."""
    phase = state.effort(step.id, direction).phase
    about = f"the {direction} of step {step.id} is {_PHASES.get(phase, phase)}"
    over = phase in ("done", "written_off")
    return {
        "adopt": about if over else None,
        "cap": _why_no_cap(step, direction, phase, about),
        "reclaim": _why_no_reclaim(step, direction, state.effort(step.id, "confirm")),
        "burn": _why_no_burn(state, step, direction, phase, about),
        "write_off": f"{about}; there is nothing to write off"
        if over
        else _why_not_given_up(state, step, direction),
    }


def tried(effort: Effort) -> list[dict[str, Any]]:
    """Return the newest attempts of the present generation: transaction, purpose, claim, fee."""
    own = [a for a in effort.attempts if a.generation == effort.generation]
    return [
        {
            "tx": attempt.tx_id,
            "purpose": attempt.purpose,
            "claim": [[resource, value] for resource, value in attempt.claim],
            "fee": dict(attempt.fee),
        }
        for attempt in own[-_SHOWN:]
    ]


def evidence_of(state: SagaState, wait: Wait, now: Now, said: str = "") -> dict[str, Any]:
    """Return what is known of the effort that a person is asked about.

    Keys: ``chain`` and its ``height`` as last read (None: never), ``phase``, ``attempts`` (see
    `tried`) of ``attempts_made``, ``tx``, ``block`` and ``block_height`` of what a block showed,
    ``said`` (a node's own words, a hint at most), ``by_s`` (host time until which an answer
    changes something, None: for ever), ``expiry`` of a hold.
    """
    if wait.step is None or wait.direction is None:
        return {}
    step, effort = state.step(wait.step), state.effort(wait.step, wait.direction)
    clock = now.chains.get(step.chain)
    undecided = state.state == "running" and wait.direction == "forward"
    return {
        "chain": step.chain,
        "height": None if clock is None else clock.height,
        "phase": effort.phase,
        "attempts": tried(effort),
        "attempts_made": len(effort.attempts),
        "tx": effort.tx,
        "block": effort.block,
        "block_height": effort.height or None,
        "said": "".join(c if c.isprintable() else " " for c in said)[:_SAID_MAX] or None,
        "by_s": state.deadline_s if undecided else None,
        "expiry": dict(state.expiries[step.id]) if step.id in state.expiries else None,
    }


def _why_no_cap(step: Step, direction: Direction, phase: str, about: str) -> str | None:
    """A cap prices what is sent from now on; there must be something that we pay for."""
    if direction == "confirm" and step.reveals and step.deliver != "calldata":
        return f"the payee of step {step.id} pays for the redeem, not we"
    over = phase in ("included", "done", "written_off")
    return f"{about}: no fee of it is left to raise" if over else None


def _why_no_reclaim(step: Step, direction: Direction, confirm: Effort) -> str | None:
    """A revealed hold may be refunded only while nobody redeemed it."""
    if direction != "confirm" or not (step.reveals and confirm.revealed):
        return f"step {step.id} is no revealed hold"
    if confirm.phase in ("included", "done"):
        return f"the payee has redeemed step {step.id}"
    return f"step {step.id} is written off" if confirm.phase == "written_off" else None


def _why_no_burn(
    state: SagaState, step: Step, direction: Direction, phase: str, about: str
) -> str | None:
    """A burn consumes the claim of a forward that waits for its block; there must be one."""
    if direction != "forward":
        return (
            f"only a forward can be burnt; the {direction} of step {step.id} is tried until it "
            "succeeds"
        )
    if "burn" not in step.kill:
        return f"step {step.id} can not be burnt"
    if phase != "unknown":
        back = f". To take everything back: coordinator rollback {state.saga} --reason TEXT"
        return (
            f"{about}: nothing of it waits for a block that a burn could overtake"
            f"{back if state.state == 'running' else ''}"
        )
    if state.state != "running":
        return (
            f"saga {state.saga} is {state.state}: it ends what still waits by itself, and sends it "
            "again where it must land"
        )
    return None


def _why_not_given_up(state: SagaState, step: Step, direction: Direction) -> str | None:
    """Bytes that can still take effect must be ended before anybody looks away from them."""
    effort = state.effort(step.id, direction)
    if direction != "forward" or effort.phase == "not_done" or not effort.attempts:
        return None
    first = (
        f"End it first: coordinator resolve {state.saga} {step.id} --burn --by NAME --reason TEXT"
    )
    if step.pivot:
        return (
            f"step {step.id} may be paid already and the decision follows it alone: it can not be "
            f"written off. {first}"
        )
    if step.kill and not effort.killing:
        return f"an attempt of step {step.id} can still land. {first}"
    return None
