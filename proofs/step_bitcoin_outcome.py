"""What a transaction in a block shows of a Bitcoin step: its effect, or that it can not come.

An effect counts only in a transaction that consumes what the step claimed (or spends its hold): an
equal output elsewhere is another payment. Which outpoints a step claimed only the records say.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from proofs.bitcoin import SpvFacts
from proofs.bitcoin_hold import HoldOutput, spending_path
from proofs.bitcoin_tx import Input, Outpoint, Output
from proofs.errors import Refused
from proofs.step import CLAIM, EFFECT
from proofs.step_bitcoin_action import BitcoinAction

__all__ = ["Asked", "Shown", "check_done", "check_not_done"]

_ENDS: Final = "only the records say that the step claimed"


@dataclass(frozen=True, slots=True)
class Asked:
    """An effort as the lock and the records have it, read and typed.

    Attributes:
        hold: what a hold's forward opens; None for other actions.
        outpoint: the forward's own output, for undo and for a hold's confirm.
        claims: outpoints that the effort's intents claim.
        parents: claimed outpoint → what its parent transaction spends.
        undo_cap_sat: the most that taking the step back may cost.
    """

    action: BitcoinAction
    direction: str
    generation: int
    hold: HoldOutput | None
    outpoint: Outpoint | None
    claims: frozenset[Outpoint]
    parents: Mapping[Outpoint, frozenset[Outpoint]]
    undo_cap_sat: int

    @property
    def spends_hold(self) -> bool:
        """Whether the effect is a spend of a hold: its redemption or its refund."""
        return self.hold is not None and self.direction != "forward"

    @property
    def returns(self) -> bool:
        """Whether the effect is the return of a transfer."""
        return self.action.kind == "transfer" and self.direction == "undo"


@dataclass(frozen=True, slots=True)
class Shown:
    """The finding in words, and the output that carries the effect (None where there is none)."""

    text: str
    output: int | None


def check_done(asked: Asked, spv: SpvFacts) -> Shown:
    """Return how the transaction makes the effect.

    Raises:
        Refused: ``step-claim``, ``step-effect``, ``step-witness``, ``step-path``, ``step-expiry``.
    """
    if asked.spends_hold:
        return _hold_done(asked, spv)
    _no_witnesses(spv)
    claimed = _claimed(asked, spv)
    if asked.returns and asked.generation == 1 and asked.outpoint not in spv.spends:
        raise Refused(CLAIM, "it does not spend the transfer's own output")
    if claimed is None:
        raise Refused(CLAIM, "it spends nothing that the step claimed")
    output = _effect(asked, spv)
    if output is None:
        raise Refused(EFFECT, f"no output is the {asked.direction} effect of the step")
    text = f"{_payment_text(asked, spv, output)}; {_ENDS} {_named(claimed)}, which it spends"
    return Shown(text, output)


def check_not_done(asked: Asked, spv: SpvFacts) -> Shown:
    """Return why the effect is absent and can not come any more.

    Raises:
        Refused: ``step-outcome``: the effect is there after all; ``step-claim``: the transaction
            does not touch what the step claimed, nor a parent of it; ``step-witness``,
            ``step-path``, ``step-expiry`` for the spend of a hold.
    """
    if asked.spends_hold:
        spent = _hold_input(asked, spv)
        return _conflict(asked, spv) if spent is None else _hold_not_done(asked, spv, spent)
    claimed = _claimed(asked, spv)
    if claimed is None:
        return _conflict(asked, spv)
    _no_witnesses(spv)
    if _effect(asked, spv) is not None:
        raise Refused("step-outcome", "the effect is in the transaction that should rule it out")
    home = all(output.script == asked.action.source_script for output in spv.outputs)
    how = f"by a self-spend to {asked.action.source}" if home else "without the effect"
    return Shown(f"{_ENDS} {_named(claimed)}, which was spent {how}", None)


def _effect(asked: Asked, spv: SpvFacts) -> int | None:
    """Return the number of the (first) output that carries the effect of a payment or return."""
    action, outputs = asked.action, spv.outputs
    if asked.returns:
        return _returned(asked, outputs)
    if action.kind == "consolidate":
        return 0 if all(output.script == action.source_script for output in outputs) else None
    if asked.hold is not None:
        script = asked.hold.output_script()
    else:
        assert action.target is not None
        script = action.target[1]
    wanted = Output(action.amount_sat, script)
    return outputs.index(wanted) if outputs.count(wanted) >= action.parts else None


def _returned(asked: Asked, outputs: tuple[Output, ...]) -> int | None:
    """Return the output that brings the value home, short of it by no more than the fee's cap."""
    least_sat = asked.action.amount_sat - asked.undo_cap_sat
    for number, output in enumerate(outputs):
        if output.script == asked.action.source_script and output.value_sat >= least_sat:
            return number
    return None


# ------------------------------------------------------------ holds


def _hold_done(asked: Asked, spv: SpvFacts) -> Shown:
    spent = _hold_input(asked, spv)
    if spent is None:
        raise Refused(CLAIM, "it does not spend the hold's output")
    path, hold = _path(asked, spv, spent), asked.hold
    assert hold is not None
    if asked.direction == "confirm":
        if path != "redeem":
            raise Refused(EFFECT, "the hold was refunded, not redeemed")
        text = f"hold {_named(spent.outpoint)} redeemed with the preimage of {hold.hashlock.hex()}"
        return Shown(text, 0)
    if path != "refund":
        raise Refused(EFFECT, "the hold was redeemed, not refunded")
    output = _returned(asked, spv.outputs)
    if output is None:
        raise Refused(EFFECT, f"the refund does not pay {asked.action.source}")
    value_sat = spv.outputs[output].value_sat
    text = (
        f"hold {_named(spent.outpoint)} refunded after height {hold.locktime}: "
        f"{value_sat} sat to {asked.action.source} by output {output}"
    )
    return Shown(text, output)


def _hold_not_done(asked: Asked, spv: SpvFacts, spent: Input) -> Shown:
    path, name = _path(asked, spv, spent), _named(spent.outpoint)
    if asked.direction == "confirm":
        if path == "redeem":
            raise Refused("step-outcome", "the hold was redeemed")
        return Shown(f"hold {name} was refunded, so nobody can redeem it", None)
    if path == "redeem":
        return Shown(f"hold {name} was redeemed by its payee, so it can not be refunded", None)
    if _returned(asked, spv.outputs) is not None:
        raise Refused("step-outcome", f"the refund pays {asked.action.source}")
    return Shown(f"hold {name} was refunded, but not to {asked.action.source}", None)


def _hold_input(asked: Asked, spv: SpvFacts) -> Input | None:
    return next((spent for spent in spv.tx.inputs if spent.outpoint == asked.outpoint), None)


def _path(asked: Asked, spv: SpvFacts, spent: Input) -> str:
    """Return the branch of the hold that an input took, checked against the block's height."""
    hold = asked.hold
    assert hold is not None
    if not spv.witness_shown:
        raise Refused("step-witness", "how a hold was spent is in its witness, which is left out")
    path = spending_path(hold, spv.tx, spent)
    if path == "refund" and spv.run.height <= hold.locktime:
        raise Refused(
            "step-expiry", f"refunded at height {spv.run.height}, it opens after {hold.locktime}"
        )
    return path


# ------------------------------------------------------------ claims


def _claimed(asked: Asked, spv: SpvFacts) -> Outpoint | None:
    """Return the first claimed outpoint that the transaction spends."""
    return next((spent for spent in spv.spends if spent in asked.claims), None)


def _conflict(asked: Asked, spv: SpvFacts) -> Shown:
    """Accept another transaction that spends what the parent of a claimed outpoint spends."""
    for claimed in sorted(asked.claims, key=_named):
        shared = asked.parents.get(claimed, frozenset()).intersection(spv.spends)
        if shared and claimed.txid != spv.txid:
            _no_witnesses(spv)
            text = (
                f"{_named(claimed)}, which the step claimed, can not exist beside it; only the "
                f"records say that its transaction spends {_named(min(shared, key=_named))}, too"
            )
            return Shown(text, None)
    raise Refused(CLAIM, "it spends nothing that the step claimed, nor what a parent spends")


def _no_witnesses(spv: SpvFacts) -> None:
    """Witnesses are in a proof where a hold is spent, and nowhere else."""
    if spv.witness_shown:
        raise Refused("step-witness", "this step's proof needs no witnesses and has some")


def _payment_text(asked: Asked, spv: SpvFacts, output: int) -> str:
    action = asked.action
    value_sat, name = spv.outputs[output].value_sat, f"{spv.txid}:{output}"
    if asked.returns:
        return f"{value_sat} sat returned to {action.source} by {name}"
    if action.kind == "consolidate":
        return f"{len(spv.spends)} coins joined at {action.source} by {name}"
    if asked.hold is not None:
        key, height = action.payee.hex(), asked.hold.locktime
        return f"{value_sat} sat held for key {key} until height {height} by {name}"
    assert action.target is not None
    times = f"{action.parts} times " if action.parts > 1 else ""
    return f"{times}{value_sat} sat from {action.source} to {action.target[0]} by {name}"


def _named(outpoint: Outpoint) -> str:
    return f"{outpoint.txid}:{outpoint.n}"
