"""The other side of a hold: what a payee needs to check and redeem it. Not used by the coordinator.

Development networks and tests play the payee with it; a payee of a real plan can, too.
"""

import hashlib
from dataclasses import dataclass

from adapters.bitcoin.script import HoldScript, redeem_witness
from adapters.bitcoin.signing import BitcoinSigner
from adapters.bitcoin.transactions import Draft, Spend, TxOutput

__all__ = ["Redemption", "redeem"]


@dataclass(frozen=True, slots=True)
class Redemption:
    """A signed transaction that takes a hold."""

    raw: bytes
    value_sat: int


async def redeem(
    *,
    hold: HoldScript,
    outpoint: str,
    value_sat: int,
    preimage: bytes,
    signer: BitcoinSigner,
    target_script: bytes,
    rate_sat_vb: int = 2,
) -> Redemption:
    """Return the transaction that redeems ``hold`` to ``target_script``; the payee pays its fee.

    Raises:
        ValueError: the preimage or the key is not the hold's.
    """
    if hashlib.sha256(preimage).digest() != hold.hashlock or len(preimage) != 32:
        raise ValueError("the preimage does not open this hold")
    if signer.public_key != hold.payee:
        raise ValueError("this hold is for another key")
    script = hold.witness_script()
    spend = Spend(
        outpoint, value_sat, script, "payee",
        lambda signature: redeem_witness(signature, preimage, script),
    )  # fmt: skip
    size = Draft((spend,), (TxOutput(value_sat, target_script),)).vsize
    output = TxOutput(value_sat - rate_sat_vb * size, target_script)
    raw = await Draft((spend,), (output,)).sign({"payee": signer})
    return Redemption(raw, output.value_sat)
