"""One ``btc.spv/v1`` proof bound to one effort of a plan's step: the effect, and its outcome.

The proof shows a transaction in a block; here it is compared with what the plan declares. What
neither shows, and only the saga's records say, is named in the evidence's text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proofs import fields
from proofs.bitcoin import KIND, SpvFacts, verify_spv
from proofs.bitcoin_headers import MAX_HEADERS, Policy
from proofs.bitcoin_tx import Outpoint
from proofs.caip2 import caip2
from proofs.errors import Refused
from proofs.step import BLOCK, CHAIN, DIRECTION, FORM, KINDS, TX
from proofs.step_bitcoin_action import BitcoinAction, read_action, read_hold, read_outpoint
from proofs.step_bitcoin_context import BitcoinContext
from proofs.step_bitcoin_facts import check_facts
from proofs.step_bitcoin_outcome import Asked, check_done, check_not_done

__all__ = ["BitcoinContext", "BitcoinStepEvidence", "check_step"]

_ALL_DIRECTIONS: Final = frozenset({"forward", "confirm", "undo"})
_DIRECTIONS: Final[Mapping[str, frozenset[str]]] = {
    "transfer": _ALL_DIRECTIONS,
    "pay": frozenset({"forward", "confirm"}),
    "hold": _ALL_DIRECTIONS,
    "split": frozenset({"forward"}),
    "consolidate": frozenset({"forward"}),
}
_OUTCOMES: Final = frozenset({"done", "not_done"})
_MOST_CLAIMED: Final = 1000
_MOST_CAP_PCT: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class BitcoinStepEvidence:
    """What the proof shows of the step.

    Attributes:
        spv: the transaction, its block and the work, as recomputed.
        text: one line for people; it says what rests on the records alone.
    """

    spv: SpvFacts
    text: str


def check_step(
    step: Mapping[str, Any],
    terms: Mapping[str, Any],
    direction: str,
    op_id: str,
    saga_id32: str,
    context: BitcoinContext,
    record: Mapping[str, Any],
    proofs: Sequence[Any],
    policy: Policy,
) -> BitcoinStepEvidence:
    """Check that ``proofs`` show the outcome that ``record`` names of a step.

    Args:
        step: the step's object in the lock; ``id``, ``action`` and ``fees`` are read.
        terms: of its chain in the lock; ``genesis`` and ``finality_blocks`` are read.
        op_id, saga_id32: as for other chains; nothing on Bitcoin carries them.
        context: what other records of the saga say (see `context_of`).
        record: data of the ``proved`` record.
        proofs: parsed proof forms; exactly one, of kind ``btc.spv/v1``.
        policy: what the verifier knows of the chain.

    Raises:
        Refused: ``step-form``, ``step-kinds``, ``step-chain``, ``step-direction``, ``step-script``,
            the checks of `verify_spv`, ``step-tx``, ``step-block``, ``step-confirmations``,
            ``step-claim``, ``step-effect``, ``step-outcome``, ``step-witness``, ``step-path``,
            ``step-expiry``, ``step-facts``.
    """
    del op_id, saga_id32
    outcome = _check_record(step, terms, direction, record)
    if len(proofs) != 1 or not isinstance(proofs[0], dict) or proofs[0].get("kind") != KIND:
        raise Refused(KINDS, f"not exactly one proof of kind {KIND}")
    if caip2(terms) != policy.chain:
        raise Refused(CHAIN, f"the plan's chain is not {policy.chain}")
    action = read_action(step, policy.chain)
    if direction not in _DIRECTIONS[action.kind]:
        raise Refused(DIRECTION, f"a {action.kind} has no {direction} effect")
    asked = _asked(action, direction, record, context)
    spv = verify_spv(proofs[0], policy)
    _check_place(spv, record, terms)
    shown = (check_done if outcome == "done" else check_not_done)(asked, spv)
    check_facts(context.facts, spv, shown.output, asked, policy.chain)
    depth = f"block {spv.run.height}, {spv.run.confirmations} deep in the proof"
    return BitcoinStepEvidence(spv, f"{shown.text} ({depth})")


def _check_record(step: Any, terms: Any, direction: Any, record: Any) -> str:
    if not all(isinstance(part, Mapping) for part in (step, terms, record)):
        raise Refused(FORM, "no object")
    outcome = fields.choice(FORM, record.get("outcome"), _OUTCOMES)
    fields.choice(FORM, direction, _ALL_DIRECTIONS)
    if record.get("step") != step.get("id") or record.get("dir") != direction:
        raise Refused(FORM, "the record is of another step or direction")
    return outcome


def _check_place(spv: SpvFacts, record: Mapping[str, Any], terms: Mapping[str, Any]) -> None:
    """Compare transaction, block, height and depth with the record and the plan's finality."""
    if record.get("tx") != spv.txid:
        raise Refused(TX, f"the proof shows transaction {spv.txid}")
    if record.get("block") != spv.block:
        raise Refused(BLOCK, f"the proof shows block {spv.block}")
    if fields.integer(FORM, record.get("height")) != spv.run.height:
        raise Refused(BLOCK, f"the proof shows height {spv.run.height}")
    final = fields.integer(FORM, terms.get("finality_blocks"), most=MAX_HEADERS)
    if spv.run.confirmations < final:
        raise Refused("step-confirmations", f"{spv.run.confirmations} of the plan's {final}")


def _asked(
    action: BitcoinAction, direction: str, record: Mapping[str, Any], context: BitcoinContext
) -> Asked:
    """Read what the records say as strictly as a proof."""
    hold = None
    if action.kind == "hold":
        hold = read_hold(action, context.expiry, context.hashlock)
    outpoint = None
    if direction == "undo" or (hold is not None and direction == "confirm"):
        if not isinstance(context.forward, Mapping):
            raise Refused(FORM, "the records name no forward effect to confirm or take back")
        outpoint = read_outpoint(context.forward.get("outpoint"))
    if max(len(context.claims), len(context.parents)) > _MOST_CLAIMED:
        raise Refused(FORM, f"more than {_MOST_CLAIMED} outpoints claimed")
    cap_pct = fields.integer(FORM, context.cap_pct, most=_MOST_CAP_PCT)
    return Asked(
        action=action,
        direction=direction,
        generation=fields.integer(FORM, record.get("gen")),
        hold=hold,
        outpoint=outpoint,
        claims=frozenset(map(read_outpoint, context.claims)),
        parents={read_outpoint(own): _outpoints(its) for own, its in context.parents.items()},
        undo_cap_sat=action.undo_cap_sat * cap_pct // 100,
    )


def _outpoints(value: Any) -> frozenset[Outpoint]:
    if not isinstance(value, (list, tuple)) or len(value) > _MOST_CLAIMED:
        raise Refused(FORM, "the inputs of a parent are no list of ours")
    return frozenset(map(read_outpoint, value))
