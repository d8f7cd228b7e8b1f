"""What a Bitcoin step of a plan's lock declares, read as strictly as any other evidence.

Every script is compared with the address beside it: people sign what they can read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proofs import fields
from proofs.bitcoin_address import script_of_address
from proofs.bitcoin_hold import LOCKTIME_LIMIT, HoldOutput
from proofs.bitcoin_tx import MAX_MONEY_SAT, Outpoint
from proofs.errors import Refused
from proofs.step import FORM

__all__ = ["BitcoinAction", "read_action", "read_amount", "read_hold", "read_outpoint"]

_KINDS: Final = frozenset({"transfer", "pay", "hold", "split", "consolidate"})
_MOST_PARTS: Final = 100
_MOST_SCRIPT: Final = 42


@dataclass(frozen=True, slots=True)
class BitcoinAction:
    """A step's action.

    Attributes:
        amount_sat: of each declared output; 0 for a consolidation.
        source: our address that pays, and to which everything returns.
        target: address and script of the declared output; None for hold and consolidation.
        parts: how many equal outputs are declared.
        payee, payer: public keys of a hold, else empty.
        undo_cap_sat: the most that taking the step back may cost.
    """

    kind: str
    amount_sat: int
    source: str
    source_script: bytes
    target: tuple[str, bytes] | None
    parts: int
    payee: bytes
    payer: bytes
    undo_cap_sat: int


def read_action(step: Mapping[str, Any], chain: str) -> BitcoinAction:
    """Read ``action`` and ``fees`` of a step's object in the lock.

    Raises:
        Refused: ``step-form``: it is none of ours; ``step-script``: an address of another network,
            or one that stands for another script than the lock has beside it.
    """
    action = _object(step.get("action"), "action")
    kind = fields.choice(FORM, action.get("kind"), _KINDS)
    source, source_script = _place(action, "from", "source_script", chain)
    hold = kind == "hold"
    undo_cap = _object(step.get("fees", {}), "fees").get("undo", "0")
    return BitcoinAction(
        kind=kind,
        amount_sat=read_amount(action.get("amount")),
        source=source,
        source_script=source_script,
        target=None if kind in {"hold", "consolidate"} else _place(action, "to", "script", chain),
        parts=_parts(action) if kind == "split" else 1,
        payee=_key(action, "payee") if hold else b"",
        payer=_key(action, "payer_key") if hold else b"",
        undo_cap_sat=read_amount(undo_cap),
    )


def read_hold(action: BitcoinAction, expiry: Any, hashlock: Any) -> HoldOutput:
    """Return the hold that the action opens, with the hashlock and expiry that the records name.

    Raises:
        Refused: ``step-form``: they name none.
    """
    height = _object(expiry, "expiry").get("height")
    locktime = fields.integer(FORM, height, most=LOCKTIME_LIMIT - 1)
    if locktime == 0:
        raise Refused(FORM, "a hold can not expire at height 0")
    lock = fields.data(FORM, hashlock, most=32, length=32)
    return HoldOutput(lock, action.payee, locktime, action.payer)


def read_amount(value: Any) -> int:
    """Read satoshi from a decimal text without leading zeros."""
    if type(value) is not str or not value.isascii() or not value.isdigit() or len(value) > 16:
        raise Refused(FORM, "an amount is not a decimal text")
    amount_sat = int(value)
    if str(amount_sat) != value or amount_sat > MAX_MONEY_SAT:
        raise Refused(FORM, "an amount has leading zeros, or is more than there can be")
    return amount_sat


def read_outpoint(value: Any) -> Outpoint:
    """Read ``txid:n``, the txid as people write it."""
    txid, colon, number = value.partition(":") if type(value) is str else ("", "", "")
    if not colon or not (number.isascii() and number.isdigit() and len(number) <= 10):
        raise Refused(FORM, "an outpoint is not of the form txid:n")
    n = int(number)
    if str(n) != number or n >= 1 << 32:
        raise Refused(FORM, "an outpoint's number has leading zeros or is too large")
    return Outpoint(fields.data(FORM, txid, most=32, length=32).hex(), n)


def _place(action: Mapping[str, Any], name: str, beside: str, chain: str) -> tuple[str, bytes]:
    text = action.get(name)
    if type(text) is not str:
        raise Refused(FORM, f"the action's {name} is no text")
    script = script_of_address("step-script", text, chain)
    if fields.data(FORM, action.get(beside), most=_MOST_SCRIPT) != script:
        raise Refused("step-script", f"the action's {beside} is not what its {name} stands for")
    return text, script


def _parts(action: Mapping[str, Any]) -> int:
    parts = fields.integer(FORM, action.get("count"), most=_MOST_PARTS)
    if parts < 2:
        raise Refused(FORM, "a split makes at least two parts")
    return parts


def _key(action: Mapping[str, Any], name: str) -> bytes:
    key = fields.data(FORM, action.get(name), most=33, length=33)
    if key[0] not in {2, 3}:
        raise Refused(FORM, f"the action's {name} is no compressed public key")
    return key


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Refused(FORM, f"the {what} is no object")
    return value
