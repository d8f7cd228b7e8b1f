"""Checkpoints of the log: C2SP signed notes whose operator line recovers to an Ethereum address.

A note is text, an empty line, and signature lines ``— NAME base64(key id + signature)``
(c2sp.org/signed-note). A checkpoint's text is origin, size and base64 root
(c2sp.org/tlog-checkpoint). The operator's line is an EIP-191 ``personal_sign`` signature over the
whole text, its last newline included, so that any wallet can check it: 65 bytes r, s, v with v 27
or 28 and the lower s. Lines of other keys, such as witnesses', must be well formed and are
otherwise ignored.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from proofs.canonical import INTEGER_LIMIT
from proofs.ecdsa import HALF_ORDER, signer_of
from proofs.errors import Refused
from proofs.keccak import keccak256

__all__ = [
    "MAX_NOTE_BYTES",
    "MAX_SIGNATURES",
    "Checkpoint",
    "Note",
    "Signature",
    "digest_of",
    "key_id",
    "parse_checkpoint",
    "parse_note",
    "recover",
    "signed",
    "verify_checkpoint",
    "verify_signer",
]

#: The specification's least bound for verifiers, and room for 16 signatures of 5 kB.
MAX_SIGNATURES: Final = 16
MAX_NOTE_BYTES: Final = 128 * 1024
MAX_EXTENSIONS: Final = 8
#: Type byte 0xff is for types without a byte of their own; the text tells this one from others.
_KEY_TYPE: Final = b"\xffeip191-secp256k1"
_ORIGIN: Final = re.compile(r"[a-z0-9][a-z0-9._/:-]{0,127}")
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,15}")
_EXTENSION: Final = re.compile(r"[ -~]{1,256}")
_NAME: Final = re.compile(r"[^\s+]{1,256}")
_DASH: Final = "\N{EM DASH} "


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line, not yet verified."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A text with its signature lines; the text means nothing until a signer is verified."""

    text: bytes
    signatures: tuple[Signature, ...]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log.

    Attributes:
        origin: the log's name; lower case, so that no two look alike.
        size: number of leaves.
        root: of the RFC 6962 tree at that size.
        extensions: further lines, printable ASCII.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> bytes:
        """Return the bytes to sign. Raises Refused (``checkpoint-form``)."""
        root = base64.b64encode(self.root).decode()
        lines = (self.origin, str(self.size), root, *self.extensions)
        text = "".join(line + "\n" for line in lines).encode()
        if parse_checkpoint(text) != self:
            raise Refused("checkpoint-form", "not readable as what it was made from")
        return text


def digest_of(text: bytes) -> bytes:
    """Return the 32 bytes that an EIP-191 version 0x45 (personal_sign) signature signs."""
    return keccak256(b"\x19Ethereum Signed Message:\n%d" % len(text) + text)


def key_id(name: str, address: bytes) -> bytes:
    """Return the four bytes that tell an address's lines; a hint, never an identity."""
    return hashlib.sha256(name.encode() + b"\n" + _KEY_TYPE + address).digest()[:4]


def signed(
    text: bytes, name: str, signers: Sequence[tuple[bytes, Callable[[bytes], bytes]]]
) -> bytes:
    """Return a note signed by each of ``(address, sign)``.

    Args:
        text: ends in a newline.
        name: of the keys; for a log's own keys its origin.
        signers: 20-byte address, and what makes 65 bytes r, s, v of the text's digest.

    Raises:
        Refused: a signature is not one of its address, or the note would not be readable.
    """
    digest = digest_of(text)
    lines = []
    for address, sign in signers:
        signature = sign(digest)
        if recover(digest, signature) != address:
            raise Refused("note-signer", f"the signature is not one of 0x{address.hex()}")
        blob = base64.b64encode(key_id(name, address) + signature).decode()
        lines.append(f"{_DASH}{name} {blob}\n".encode())
    note = text + b"\n" + b"".join(lines)
    if parse_note(note).text != text:
        raise Refused("note-form", "the text cannot be told from its signatures")
    return note


def parse_note(raw: bytes) -> Note:
    """Read a note without trusting it.

    Raises:
        Refused: ``note-size``, ``note-form``, ``note-signatures`` (their number).
    """
    if len(raw) > MAX_NOTE_BYTES:
        raise Refused("note-size", f"{len(raw)} bytes, the limit is {MAX_NOTE_BYTES}")
    try:
        content = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("note-form", "not UTF-8") from None
    if any(char < " " and char != "\n" for char in content):
        raise Refused("note-form", "a control character")
    text, gap, lines = content.rpartition("\n\n")
    if not gap or not text or not lines.endswith("\n"):
        raise Refused("note-form", "no text, empty line and signatures")
    listed = lines[:-1].split("\n")
    if len(listed) > MAX_SIGNATURES:
        raise Refused("note-signatures", f"{len(listed)}, the limit is {MAX_SIGNATURES}")
    return Note((text + "\n").encode(), tuple(_signature(line) for line in listed))


def parse_checkpoint(text: bytes) -> Checkpoint:
    """Read a checkpoint's text in its one form. Raises Refused (``checkpoint-form``)."""
    check = "checkpoint-form"
    if not text.isascii() or not text.endswith(b"\n"):
        raise Refused(check, "not ASCII lines")
    lines = text.decode().split("\n")[:-1]
    if not 3 <= len(lines) <= 3 + MAX_EXTENSIONS:
        raise Refused(check, f"{len(lines)} lines")
    origin, size, root, *extensions = lines
    if not _ORIGIN.fullmatch(origin):
        raise Refused(check, "an origin of other characters than a-z 0-9 . _ / : -")
    if not _SIZE.fullmatch(size) or int(size) >= INTEGER_LIMIT:
        raise Refused(check, "the size is not a decimal number below 2^53")
    if not all(_EXTENSION.fullmatch(line) for line in extensions):
        raise Refused(check, "an extension line that is empty, long or not printable")
    digest = _unbase64(check, root)
    if len(digest) != 32:
        raise Refused(check, f"a root of {len(digest)} bytes")
    return Checkpoint(origin, int(size), digest, tuple(extensions))


def verify_checkpoint(raw: bytes, *, origin: str, address: bytes) -> Checkpoint:
    """Return the head that the log's operator signed.

    Args:
        raw: the note.
        origin, address: the log's name and the 20 bytes that the verifier trusts.

    Raises:
        Refused: ``note-*``, ``checkpoint-form``, ``checkpoint-origin``.
    """
    note = parse_note(raw)
    verify_signer(note, origin, address)
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != origin:
        raise Refused("checkpoint-origin", f"a checkpoint of {checkpoint.origin}")
    return checkpoint


def verify_signer(note: Note, name: str, address: bytes) -> None:
    """Check that exactly one line is of this name and address, and that it signs the text.

    Raises:
        Refused: ``note-unsigned``, ``note-duplicate``, ``note-high-s``, ``note-signature`` (no
            signature at all), ``note-signer`` (another's).
    """
    wanted = key_id(name, address)
    lines = [line for line in note.signatures if (line.name, line.key_id) == (name, wanted)]
    if not lines:
        raise Refused("note-unsigned", f"no line of {name} with the key 0x{address.hex()}")
    if len(lines) > 1:
        raise Refused("note-duplicate", f"{len(lines)} lines of one key")
    if recover(digest_of(note.text), lines[0].signature) != address:
        raise Refused("note-signer", f"the signature is not one of 0x{address.hex()}")


def recover(digest: bytes, signature: bytes) -> bytes:
    """Return the 20-byte address whose key made r, s, v over a digest.

    Raises:
        Refused: ``note-signature``, or ``note-high-s``: of the two forms of a signature, which
            anybody can turn into each other, only the lower s counts (EIP-2).
    """
    if len(signature) != 65 or signature[64] not in {27, 28}:
        raise Refused("note-signature", "not 65 bytes r, s, v with v 27 or 28")
    if int.from_bytes(signature[32:64], "big") > HALF_ORDER:
        raise Refused("note-high-s", "the higher s of two equivalent signatures")
    try:
        return signer_of(digest, signature[:64], signature[64] - 27)
    except ValueError:
        raise Refused("note-signature", "no key could have made it") from None


def _signature(line: str) -> Signature:
    name, space, blob = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space or not _NAME.fullmatch(name):
        raise Refused("note-form", "a signature line is a dash, a name and a signature")
    content = _unbase64("note-form", blob)
    if len(content) < 5:
        raise Refused("note-form", "a signature is a key id of four bytes and more")
    return Signature(name, content[:4], content[4:])


def _unbase64(check: str, text: str) -> bytes:
    try:
        content = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise Refused(check, "not base64") from None
    if base64.b64encode(content).decode() != text:
        raise Refused(check, "base64 in another than its one form")
    return content
