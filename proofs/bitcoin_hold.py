"""The output of a hold (P2WSH, BIP-141) and what a spend of it shows.

::

    IF SIZE 32 EQUALVERIFY SHA256 <hashlock> EQUALVERIFY <payee>
    ELSE <locktime> CHECKLOCKTIMEVERIFY DROP <payer>
    ENDIF CHECKSIG

The payee redeems with the 32-byte preimage; the payer refunds in blocks above height ``locktime``
(BIP-65). An SPV proof does not show that a spend was valid, so everything that its validity would
imply and that can be read is checked here once more.
"""

import hashlib
from dataclasses import dataclass
from typing import Final, Literal

from proofs.bitcoin_tx import Input, Transaction
from proofs.errors import Refused

__all__ = ["LOCKTIME_LIMIT", "HoldOutput", "spending_path"]

#: nLockTime below this is a height, from it on a time (BIP-65).
LOCKTIME_LIMIT: Final = 500_000_000
#: An input with this sequence switches the lock time off.
_SEQUENCE_FINAL: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class HoldOutput:
    """The four parameters of a hold; keys are compressed, the lock time is a height."""

    hashlock: bytes
    payee: bytes
    locktime: int
    payer: bytes

    def witness_script(self) -> bytes:
        """Return the script that the output commits to."""
        return b"".join(
            [
                bytes.fromhex("6382012088a820"), self.hashlock,
                bytes.fromhex("8821"), self.payee,
                b"\x67", _push_number(self.locktime), bytes.fromhex("b17521"), self.payer,
                bytes.fromhex("68ac"),
            ]
        )  # fmt: skip

    def output_script(self) -> bytes:
        """Return the P2WSH output script."""
        return b"\x00\x20" + hashlib.sha256(self.witness_script()).digest()


def spending_path(hold: HoldOutput, tx: Transaction, spent: Input) -> Literal["redeem", "refund"]:
    """Tell which branch an input of ``tx`` took, having checked all of that branch but signatures.

    Raises:
        Refused: ``step-path``: another script, a stack that fits neither branch, a value that is
            not the preimage, a lock time that does not reach the expiry.
    """
    witness = spent.witness
    if not witness or witness[-1] != hold.witness_script():
        raise Refused("step-path", "the spend shows another script than the hold's")
    if len(witness) == 4 and _true(witness[2]):
        preimage = witness[1]
        if len(preimage) != 32 or hashlib.sha256(preimage).digest() != hold.hashlock:
            raise Refused("step-path", "what it shows does not hash to the hashlock")
        return "redeem"
    if len(witness) == 3 and not _true(witness[1]):
        if not hold.locktime <= tx.lock_time < LOCKTIME_LIMIT or spent.sequence == _SEQUENCE_FINAL:
            raise Refused(
                "step-path", f"its lock time {tx.lock_time} does not reach {hold.locktime}"
            )
        return "refund"
    raise Refused("step-path", "its witness fits neither branch of the hold")


def _true(item: bytes) -> bool:
    """Script's truth: any byte that is not zero, apart from a negative zero's sign."""
    return any(item[:-1]) or item[-1:] not in {b"", b"\x00", b"\x80"}


def _push_number(number: int) -> bytes:
    """Return the shortest push of a positive script number."""
    if number <= 16:
        return bytes([0x50 + number])
    length = number.bit_length() // 8 + 1
    return bytes([length]) + number.to_bytes(length, "little")
