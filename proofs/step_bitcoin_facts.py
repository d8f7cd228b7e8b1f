"""What the record of an outcome says of its transaction, compared with the transaction."""

from collections.abc import Mapping
from typing import Any, Final

from proofs import fields
from proofs.bitcoin import SpvFacts
from proofs.bitcoin_address import script_of_address
from proofs.errors import Refused
from proofs.step_bitcoin_outcome import Asked

__all__ = ["check_facts"]

_CHECK: Final = "step-facts"
_MOST_OUTPUTS: Final = 1000


def check_facts(facts: Any, spv: SpvFacts, output: int | None, asked: Asked, chain: str) -> None:
    """Compare every fact that the proof can show; the rest (our fee) stays the records' word.

    Args:
        facts: of the ``done`` or ``not_done`` record.
        output: which output carries the effect.
        chain: CAIP-2 name.

    Raises:
        Refused: ``step-facts``.
    """
    if not isinstance(facts, Mapping):
        raise Refused(_CHECK, "the facts are no object")
    spends = [f"{spent.txid}:{spent.n}" for spent in spv.spends]
    expected: dict[str, Any] = {"time": spv.run.block.time_s, "spent": spends}
    if output is not None:
        expected["outpoint"] = f"{spv.txid}:{output}"
        expected["value_sat"] = str(spv.outputs[output].value_sat)
    if asked.hold is not None:
        expected["hashlock"] = asked.hold.hashlock.hex()
        expected["locktime"] = asked.hold.locktime
        expected["witness_script"] = asked.hold.witness_script().hex()
    for name, value in expected.items():
        if name in facts and (type(facts[name]) is not type(value) or facts[name] != value):
            raise Refused(_CHECK, f"{name} is not what the transaction shows")
    if any(claimed not in spends for claimed in _texts(facts.get("claim", []))):
        raise Refused(_CHECK, "the claim that it is said to consume is none of its inputs")
    for item in fields.items(_CHECK, facts.get("outpoints", []), most=_MOST_OUTPUTS):
        _check_output(item, spv, chain)


def _check_output(item: Any, spv: SpvFacts, chain: str) -> None:
    """Check an output that a later generation may spend: ``[outpoint, satoshi, address]``."""
    if not isinstance(item, list) or len(item) != 3:
        raise Refused(_CHECK, "an output is not [outpoint, satoshi, address]")
    outpoint, value, address = _texts(item)
    for number, output in enumerate(spv.outputs):
        if outpoint == f"{spv.txid}:{number}" and value == str(output.value_sat):
            if script_of_address(_CHECK, address, chain) != output.script:
                break
            return
    raise Refused(_CHECK, "an output is not what the transaction has there")


def _texts(value: Any) -> list[str]:
    texts = fields.items(_CHECK, value, most=_MOST_OUTPUTS)
    if not all(type(text) is str for text in texts):
        raise Refused(_CHECK, "not a list of texts")
    return texts
