"""Who may sign a log's checkpoints: the first address, and the statements that hand on to the next.

A rotation is a signed note. Its text can never be read as a checkpoint, whose second line is a
number:

    ORIGIN
    key-rotation/v1
    old 40 hex digits
    new 40 hex digits
    size of the log when it was signed
    base64 of the root at that size

Both keys sign: the old one hands on, the new one shows that somebody holds it. The note is also a
record of the log, so the log is longer than ``size`` when the new key signs its first checkpoint.
"""

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from proofs.checkpoint import (
    Checkpoint,
    parse_checkpoint,
    parse_note,
    signed,
    verify_checkpoint,
    verify_signer,
)
from proofs.errors import Refused

__all__ = ["MAX_ROTATIONS", "KeyHistory", "Rotation", "build_rotation", "verify_rotation"]

MAX_ROTATIONS: Final = 1000
_FORM: Final = re.compile(
    rb"([^\n]+)\nkey-rotation/v1\nold ([0-9a-f]{40})\nnew ([0-9a-f]{40})\n([^\n]+\n[^\n]+\n)"
)


@dataclass(frozen=True, slots=True)
class Rotation:
    """The log's key ``old`` hands on to ``new`` (20-byte addresses) at the head ``at``."""

    at: Checkpoint
    old: bytes
    new: bytes

    def text(self) -> bytes:
        """Return the bytes that both keys sign."""
        root = base64.b64encode(self.at.root).decode()
        lines = (self.at.origin, "key-rotation/v1", f"old {self.old.hex()}")
        rest = (f"new {self.new.hex()}", str(self.at.size), root)
        return "".join(line + "\n" for line in (*lines, *rest)).encode()


def build_rotation(
    rotation: Rotation,
    sign_old: Callable[[bytes], bytes],
    sign_new: Callable[[bytes], bytes],
) -> bytes:
    """Return the note; ``sign_*`` make 65 bytes r, s, v of a 32-byte digest."""
    signers = ((rotation.old, sign_old), (rotation.new, sign_new))
    note = signed(rotation.text(), rotation.at.origin, signers)
    verify_rotation(note, origin=rotation.at.origin, address=rotation.old)
    return note


def verify_rotation(raw: bytes, *, origin: str, address: bytes) -> Rotation:
    """Return what the holder of ``address`` signed.

    Raises:
        Refused: ``note-*``, ``rotation-form``, ``rotation-key`` (hands on from another key, or to
            itself), ``checkpoint-origin``.
    """
    note = parse_note(raw)
    verify_signer(note, origin, address)
    parts = _FORM.fullmatch(note.text)
    if parts is None:
        raise Refused("rotation-form", "not the text of a rotation")
    head = parse_checkpoint(parts[1] + b"\n" + parts[4])
    old, new = (bytes.fromhex(parts[n].decode()) for n in (2, 3))
    if head.origin != origin:
        raise Refused("checkpoint-origin", f"a rotation of {head.origin}")
    if old != address or new == old:
        raise Refused("rotation-key", f"it hands on from 0x{old.hex()} to 0x{new.hex()}")
    verify_signer(note, origin, new)
    return Rotation(head, old, new)


@dataclass(frozen=True, slots=True)
class KeyHistory:
    """The keys of a log in their order.

    Attributes:
        origin: the log's name.
        first: the address that the verifier trusts without proof.
        rotations: verified, in order.
    """

    origin: str
    first: bytes
    rotations: tuple[Rotation, ...] = ()

    @classmethod
    def read(cls, origin: str, first: bytes, notes: Sequence[bytes]) -> "KeyHistory":
        """Follow rotation notes from the trusted address.

        Raises:
            Refused: as `verify_rotation`; ``rotation-order``: more than `MAX_ROTATIONS`, a log
                that shrinks, or a return to a key that was handed on from.
        """
        if len(notes) > MAX_ROTATIONS:
            raise Refused("rotation-order", f"{len(notes)} rotations")
        address, used, size = first, {first}, 0
        rotations = []
        for note in notes:
            rotation = verify_rotation(note, origin=origin, address=address)
            if rotation.at.size < size or rotation.new in used:
                raise Refused("rotation-order", "the log shrinks, or an old key comes back")
            rotations.append(rotation)
            # The rotation is itself a record, so the next head is further on.
            address, size = rotation.new, rotation.at.size + 1
            used.add(address)
        return cls(origin, first, tuple(rotations))

    def address_at(self, size: int) -> bytes:
        """Return whose signature counts for a checkpoint of that size."""
        address = self.first
        for rotation in self.rotations:
            if rotation.at.size < size:
                address = rotation.new
        return address

    def verify(self, raw: bytes) -> Checkpoint:
        """Return a checkpoint signed by the key that was the log's at its size.

        Raises:
            Refused: as `verify_checkpoint`; a key signs no head beyond its rotation.
        """
        size = parse_checkpoint(parse_note(raw).text).size
        return verify_checkpoint(raw, origin=self.origin, address=self.address_at(size))
