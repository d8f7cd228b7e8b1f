"""The hash time-locked output of a hold (P2WSH, BIP-141) and the two ways to spend it.

::

    IF SIZE 32 EQUALVERIFY SHA256 <hashlock> EQUALVERIFY <payee>
    ELSE <locktime> CHECKLOCKTIMEVERIFY DROP <payer>
    ENDIF CHECKSIG

The payee redeems with the 32-byte preimage at any time; the payer refunds in blocks above height
``locktime`` (BIP-65). The fixed size keeps the preimage usable on every other chain of a plan.
"""

import hashlib
from dataclasses import dataclass
from typing import Final, Literal

from adapters.bitcoin.transactions import Opcode, compile_script, script_items

__all__ = [
    "LOCKTIME_LIMIT",
    "HoldScript",
    "ScriptError",
    "parse_hold",
    "preimage_of",
    "redeem_witness",
    "refund_witness",
    "spending_path",
]

#: nLockTime below this is a height, from it on a time (BIP-65).
LOCKTIME_LIMIT: Final = 500_000_000

_IF, _ELSE, _ENDIF = Opcode(0x63), Opcode(0x67), Opcode(0x68)
_SIZE, _EQUALVERIFY, _SHA256, _CHECKSIG = Opcode(0x82), Opcode(0x88), Opcode(0xA8), Opcode(0xAC)
_CHECKLOCKTIMEVERIFY, _DROP = Opcode(0xB1), Opcode(0x75)


class ScriptError(ValueError):
    """Bytes are no hold script of ours, or a hold can not be expressed."""


@dataclass(frozen=True, slots=True)
class HoldScript:
    """The four parameters of a hold.

    Attributes:
        hashlock: SHA-256 of the preimage, 32 bytes.
        payee, payer: compressed public keys, 33 bytes.
        locktime: block height from which on a refund may be in the next block.
    """

    hashlock: bytes
    payee: bytes
    locktime: int
    payer: bytes

    def __post_init__(self) -> None:
        if len(self.hashlock) != 32:
            raise ScriptError("the hashlock of a hold is 32 bytes")
        for key in (self.payee, self.payer):
            if len(key) != 33 or key[0] not in {2, 3}:
                raise ScriptError("the keys of a hold are compressed public keys")
        if not 0 < self.locktime < LOCKTIME_LIMIT:
            raise ScriptError(f"{self.locktime} is no block height for a hold's refund")

    def witness_script(self) -> bytes:
        """Return the script that the output commits to."""
        return compile_script(
            [
                _IF, _SIZE, 32, _EQUALVERIFY, _SHA256, self.hashlock,
                _EQUALVERIFY, self.payee,
                _ELSE, self.locktime, _CHECKLOCKTIMEVERIFY, _DROP, self.payer,
                _ENDIF, _CHECKSIG,
            ]
        )  # fmt: skip

    def output_script(self) -> bytes:
        """Return the P2WSH output script."""
        return b"\x00\x20" + hashlib.sha256(self.witness_script()).digest()


def parse_hold(witness_script: bytes) -> HoldScript:
    """Return the parameters of a hold script; the bytes must be exactly what we would write.

    Raises:
        ScriptError: they are not.
    """
    try:
        items = script_items(witness_script)
        hashlock, payee, locktime, payer = items[5], items[7], items[9], items[12]
        if not (
            isinstance(hashlock, bytes) and isinstance(payee, bytes)
            and isinstance(payer, bytes) and isinstance(locktime, int)
        ):  # fmt: skip
            raise ScriptError("its items are of other kinds")
        hold = HoldScript(hashlock, payee, locktime, payer)
    except (IndexError, ValueError) as error:
        raise ScriptError(f"no hold script: {error}") from None
    if hold.witness_script() != witness_script:
        raise ScriptError("no hold script: other bytes than its parameters give")
    return hold


def redeem_witness(signature: bytes, preimage: bytes, witness_script: bytes) -> tuple[bytes, ...]:
    """Return the witness of the payee's spend; ``signature`` ends with its hash type."""
    return (signature, preimage, b"\x01", witness_script)


def refund_witness(signature: bytes, witness_script: bytes) -> tuple[bytes, ...]:
    """Return the witness of the payer's spend after the locktime."""
    return (signature, b"", witness_script)


def spending_path(witness: tuple[bytes, ...]) -> Literal["redeem", "refund"] | None:
    """Tell which branch a confirmed spend of a hold took, by the item that IF consumed.

    MINIMALIF is policy only, so any true value counts; None where the stack fits neither branch.
    """
    if len(witness) < 3:
        return None
    chosen = any(witness[-2][:-1]) or witness[-2][-1:] not in {b"", b"\x00", b"\x80"}
    if chosen:
        return "redeem" if len(witness) == 4 else None
    return "refund" if len(witness) == 3 else None


def preimage_of(witness: tuple[bytes, ...], hashlock: bytes) -> bytes | None:
    """Return the preimage that a redeeming witness shows; None if it does not hash to the lock."""
    if spending_path(witness) != "redeem":
        return None
    preimage = witness[1]
    return preimage if hashlib.sha256(preimage).digest() == hashlock else None
