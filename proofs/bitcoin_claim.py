"""What a step asserts about a Bitcoin transaction, compared with what its proof shows."""

from collections.abc import Mapping
from typing import Any, Final

from proofs import fields
from proofs.bitcoin import SpvFacts
from proofs.bitcoin_tx import Outpoint
from proofs.errors import Refused

__all__ = ["check_claim"]

_KEYS: Final = frozenset({"txid", "block", "height", "outputs", "spends"})
_MAX_CLAIMED: Final = 1000


def check_claim(facts: SpvFacts, claim: Any) -> None:
    """Compare what is asserted with what was shown.

    The claim is ``{"txid", "block", "height", "outputs": [{"n", "value", "script"}…],
    "spends": [{"txid", "n"}…]}`` with value in satoshi as a decimal text.

    Raises:
        Refused: ``claim-form``, ``claim-tx``, ``claim-block``, ``claim-height``,
            ``claim-output``, ``claim-spend``.
    """
    check = "claim-form"
    asserted = fields.record(check, claim, _KEYS)
    if asserted["txid"] != facts.txid:
        raise Refused("claim-tx", f"the proof shows {facts.txid}")
    if asserted["block"] != facts.block:
        raise Refused("claim-block", f"the proof shows {facts.block}")
    if fields.integer(check, asserted["height"]) != facts.run.height:
        raise Refused("claim-height", f"the proof shows {facts.run.height}")
    for item in fields.items(check, asserted["outputs"], most=_MAX_CLAIMED):
        output = fields.record(check, item, frozenset({"n", "value", "script"}))
        _check_output(facts, output)
    spent = set(facts.spends)
    for item in fields.items(check, asserted["spends"], most=_MAX_CLAIMED):
        spend = fields.record(check, item, frozenset({"txid", "n"}))
        if type(spend["txid"]) is not str:
            raise Refused(check, "a txid is a text")
        if Outpoint(spend["txid"], fields.integer(check, spend["n"])) not in spent:
            raise Refused("claim-spend", "the transaction does not spend that output")


def _check_output(facts: SpvFacts, claimed: Mapping[str, Any]) -> None:
    n = fields.integer("claim-form", claimed["n"])
    if n >= len(facts.outputs):
        raise Refused("claim-output", f"the transaction has {len(facts.outputs)} outputs")
    shown_output = facts.outputs[n]
    if claimed["value"] != str(shown_output.value_sat):
        raise Refused("claim-output", f"output {n} holds {shown_output.value_sat} sat")
    if claimed["script"] != shown_output.script.hex():
        raise Refused("claim-output", f"output {n} has another script")
