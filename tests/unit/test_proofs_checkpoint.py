"""Signed checkpoints and rotations of the log's key, and every way in which one is refused."""

from __future__ import annotations

import base64
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from coincurve import PrivateKey
from eth_account import Account
from eth_account.messages import encode_defunct
from hypothesis import given
from hypothesis import strategies as st

from proofs.checkpoint import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    Checkpoint,
    digest_of,
    key_id,
    parse_checkpoint,
    parse_note,
    recover,
    signed,
    verify_checkpoint,
)
from proofs.checkpoint_keys import KeyHistory, Rotation, build_rotation, verify_rotation
from proofs.errors import ProofError, Refused
from proofs.keccak import keccak256

CASES = int(os.environ.get("FUZZ_CASES", "10000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
REPLAY = f"FUZZ_SEED={SEED} FUZZ_CASES={CASES} pytest tests/unit/test_proofs_checkpoint.py"
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

VECTORS = Path(__file__).parents[1] / "vectors" / "log"
ORIGIN = "example.com/coordinator/log"
ROOT = bytes(range(32))
HEAD = Checkpoint(ORIGIN, 20852163, ROOT)
EXAMPLE = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q"
    "1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
).encode()


class Key:
    def __init__(self, name: str) -> None:
        self.secret = PrivateKey(keccak256(name.encode()))
        self.address = keccak256(self.secret.public_key.format(compressed=False)[1:])[12:]

    def sign(self, digest: bytes) -> bytes:
        compact = self.secret.sign_recoverable(digest, hasher=None)
        return compact[:64] + bytes([27 + compact[64]])


OLD, NEW, STRANGER = Key("old"), Key("new"), Key("stranger")
NOTE = signed(HEAD.text(), ORIGIN, [(OLD.address, OLD.sign)])


def refused(raw: bytes, *, origin: str = ORIGIN, address: bytes = OLD.address) -> str:
    with pytest.raises(Refused) as error:
        verify_checkpoint(raw, origin=origin, address=address)
    return error.value.check


def line(name: str, blob: bytes) -> bytes:
    return f"— {name} {base64.b64encode(blob).decode()}\n".encode()


# ------------------------------------------------------------ what verifies


def test_a_checkpoint_recovers_to_the_operators_address() -> None:
    assert verify_checkpoint(NOTE, origin=ORIGIN, address=OLD.address) == HEAD
    assert NOTE.startswith(HEAD.text() + "\n— ".encode())


def test_wallets_agree_with_the_signature() -> None:
    """EIP-191 by another implementation, both ways."""
    text = HEAD.text().decode()
    blob = parse_note(NOTE).signatures[0].signature
    address = Account.recover_message(encode_defunct(text=text), signature=blob)
    assert bytes.fromhex(address[2:]) == OLD.address

    theirs = Account.sign_message(encode_defunct(text=text), OLD.secret.secret).signature
    assert theirs == blob
    assert recover(digest_of(HEAD.text()), bytes(theirs)) == OLD.address


def test_the_specifications_example_is_a_note_and_a_checkpoint() -> None:
    note = parse_note(EXAMPLE)
    head = parse_checkpoint(note.text)

    assert (head.origin, head.size, head.root.hex()[:8]) == (
        "example.com/behind-the-sofa",
        20852163,
        "0ac5186a",
    )
    assert head.text() == note.text
    assert [len(signature.signature) for signature in note.signatures] == [64]


def test_lines_of_others_are_ignored_wherever_they_stand() -> None:
    text, _, lines = NOTE.rpartition(b"\n\n")
    witness = line("witness.example", b"\x01\x02\x03\x04" + bytes(72))
    same_name = line(ORIGIN, b"\x01\x02\x03\x04" + bytes(65))
    same_id = line("other.example", key_id(ORIGIN, OLD.address) + bytes(65))

    for before, after in [(witness, b""), (b"", same_name), (same_id + witness, same_name)]:
        raw = text + b"\n\n" + before + lines + after
        assert verify_checkpoint(raw, origin=ORIGIN, address=OLD.address) == HEAD


def test_extension_lines_are_signed_with_the_rest() -> None:
    head = Checkpoint(ORIGIN, 3, ROOT, ("closed 12", "heartbeat"))
    note = signed(head.text(), ORIGIN, [(OLD.address, OLD.sign)])

    assert verify_checkpoint(note, origin=ORIGIN, address=OLD.address) == head
    assert refused(note.replace(b"closed 12", b"closed 13")) == "note-signer"


# ------------------------------------------------------------ attacks on signatures


def test_a_checkpoint_signed_by_another_key_is_refused() -> None:
    forged = signed(HEAD.text(), ORIGIN, [(STRANGER.address, STRANGER.sign)])
    assert refused(forged) == "note-unsigned"

    blob = key_id(ORIGIN, OLD.address) + STRANGER.sign(digest_of(HEAD.text()))
    assert refused(HEAD.text() + b"\n" + line(ORIGIN, blob)) == "note-signer"


def test_a_signature_copied_from_another_checkpoint_is_refused() -> None:
    other = Checkpoint(ORIGIN, HEAD.size + 1, ROOT)

    assert refused(NOTE.replace(HEAD.text(), other.text())) == "note-signer"


def test_the_higher_s_of_a_signature_is_refused() -> None:
    blob = parse_note(NOTE).signatures[0].signature
    s = ORDER - int.from_bytes(blob[32:64], "big")
    twin = blob[:32] + s.to_bytes(32, "big") + bytes([55 - blob[64]])
    address = Account.recover_message(encode_defunct(HEAD.text()), signature=twin)
    assert bytes.fromhex(address[2:]) == OLD.address

    raw = HEAD.text() + b"\n" + line(ORIGIN, key_id(ORIGIN, OLD.address) + twin)
    assert refused(raw) == "note-high-s"


@pytest.mark.parametrize(
    "blob",
    [bytes(65), bytes(64) + b"\x1b", b"\xff" * 32 + bytes(31) + b"\x01\x1b", b"x", bytes(66)]
    + [bytes([7]) * 64 + bytes([v]) for v in (0, 1, 26, 29, 35)],
)
def test_what_no_key_could_have_made_is_refused(blob: bytes) -> None:
    raw = HEAD.text() + b"\n" + line(ORIGIN, key_id(ORIGIN, OLD.address) + blob)

    assert refused(raw) == "note-signature"


def test_two_lines_of_the_operators_key_are_refused() -> None:
    own = NOTE.rpartition(b"\n\n")[2]

    assert refused(NOTE + own) == "note-duplicate"


def test_a_checkpoint_of_another_log_is_refused() -> None:
    assert refused(NOTE, origin="example.com/other") == "note-unsigned"
    mixed = signed(HEAD.text(), "example.com/other", [(OLD.address, OLD.sign)])
    assert refused(mixed, origin="example.com/other") == "checkpoint-origin"


def test_a_signature_is_never_written_under_an_address_that_is_not_its_own() -> None:
    with pytest.raises(Refused, match="note-signer"):
        signed(HEAD.text(), ORIGIN, [(OLD.address, STRANGER.sign)])


# ------------------------------------------------------------ attacks on the form


@pytest.mark.parametrize(
    ("raw", "check"),
    [
        (b"", "note-form"),
        (b"\n\n", "note-form"),
        (b"\n\n" + line(ORIGIN, bytes(69)), "note-form"),
        (b"a\x00b\n\n" + line(ORIGIN, bytes(69)), "note-form"),
        (b"a\tb\n\n" + line(ORIGIN, bytes(69)), "note-form"),
        (HEAD.text(), "note-form"),
        (HEAD.text() + b"\n", "note-form"),
        (NOTE[:-1], "note-form"),
        (NOTE + b"\n", "note-form"),
        (NOTE + b"text\n", "note-form"),
        (NOTE.replace(b"\n", b"\r\n"), "note-form"),
        (NOTE + b"\xff\n", "note-form"),
        (NOTE.replace("—".encode(), b"-"), "note-form"),
        (NOTE.replace("— ".encode(), "—".encode()), "note-form"),
        (NOTE.replace(b"log ", b"log  "), "note-form"),
        (HEAD.text() + b"\n" + line("a+b", bytes(69)), "note-form"),
        (HEAD.text() + b"\n" + line("a\u00a0b", bytes(69)), "note-form"),
        (HEAD.text() + b"\n" + line(ORIGIN, bytes(4)), "note-form"),
        (HEAD.text() + b"\n" + "— a AB\n".encode(), "note-form"),
        (HEAD.text() + b"\n" + "— a AAAAAAB=\n".encode(), "note-form"),
        (HEAD.text() + b"\n" + "— a AAAAAAA\n".encode(), "note-form"),
        (HEAD.text() + b"\n" + "— a ÄÄÄÄ\n".encode(), "note-form"),
        (HEAD.text() + b"\n" + line("a", bytes(9)) * (MAX_SIGNATURES + 1), "note-signatures"),
        (bytes(MAX_NOTE_BYTES + 1), "note-size"),
    ],
)
def test_what_is_no_note_is_refused(raw: bytes, check: str) -> None:
    assert refused(raw) == check


def test_as_many_signatures_as_the_specification_asks_for_are_read() -> None:
    others = b"".join(line(f"w{n}.example", bytes(69)) for n in range(MAX_SIGNATURES - 1))

    assert verify_checkpoint(NOTE + others, origin=ORIGIN, address=OLD.address) == HEAD


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n1\n",
        f"{ORIGIN}\n1\n{base64.b64encode(ROOT).decode()}",
        f"\n1\n{base64.b64encode(ROOT).decode()}\n",
        *(
            f"{ORIGIN}\n{size}\n{base64.b64encode(ROOT).decode()}\n"
            for size in ("01", "-1", "+1", "1.0", "", " 1", "1e3", "٣", str(2**53), "9" * 17, "one")
        ),
        f"{ORIGIN}\n1\n{ROOT.hex()}\n",
        f"{ORIGIN}\n1\n{base64.b64encode(ROOT[:31]).decode()}\n",
        f"{ORIGIN}\n1\n{base64.b64encode(ROOT).decode()[:-1]}\n",
        f"{ORIGIN}\n1\n{base64.b64encode(ROOT).decode()}\n\n",
        f"{ORIGIN}\n1\n{base64.b64encode(ROOT).decode()}\nä\n",
        f"{ORIGIN}\n1\n{base64.b64encode(ROOT).decode()}\n" + "x\n" * 9,
        f"{ORIGIN}\n1\n{base64.b64encode(ROOT).decode()}\n" + "x" * 257 + "\n",
        f"Example.com\n1\n{base64.b64encode(ROOT).decode()}\n",
        f"ex ample\n1\n{base64.b64encode(ROOT).decode()}\n",
        f"{'a' * 129}\n1\n{base64.b64encode(ROOT).decode()}\n",
    ],
)
def test_a_signed_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(Refused) as error:
        parse_checkpoint(text.encode())
    assert error.value.check == "checkpoint-form"


@pytest.mark.parametrize(
    "head",
    [
        Checkpoint("a\nb", 1, ROOT),
        Checkpoint(ORIGIN, -1, ROOT),
        Checkpoint(ORIGIN, 1, ROOT[:5]),
        Checkpoint(ORIGIN, 1, ROOT, ("a\nb",)),
        Checkpoint(ORIGIN, 1, ROOT, ("",)),
    ],
)
def test_a_checkpoint_that_would_read_as_another_is_not_written(head: Checkpoint) -> None:
    with pytest.raises(Refused, match="checkpoint-form"):
        head.text()


def test_a_text_that_would_swallow_its_signatures_is_not_signed() -> None:
    with pytest.raises(Refused, match="note-form"):
        signed(b"no newline at the end", ORIGIN, [(OLD.address, OLD.sign)])
    hidden = b"a\n\n" + line("b", bytes(69))[:-1]
    with pytest.raises(Refused, match="cannot be told"):
        signed(hidden, ORIGIN, [(OLD.address, OLD.sign)])


def test_a_checkpoint_is_ascii_and_its_last_line_ends() -> None:
    for text in (HEAD.text() + b"cut off", HEAD.text() + b"\xff\n"):
        with pytest.raises(Refused, match="not ASCII lines"):
            parse_checkpoint(text)


# ------------------------------------------------------------ rotations


ROTATION = Rotation(HEAD, OLD.address, NEW.address)
HANDED_ON = build_rotation(ROTATION, OLD.sign, NEW.sign)


def head_of(size: int, key: Key) -> bytes:
    return signed(Checkpoint(ORIGIN, size, ROOT).text(), ORIGIN, [(key.address, key.sign)])


def test_a_rotation_signed_by_both_keys_hands_on() -> None:
    assert verify_rotation(HANDED_ON, origin=ORIGIN, address=OLD.address) == ROTATION
    keys = KeyHistory.read(ORIGIN, OLD.address, [HANDED_ON])

    assert keys.address_at(HEAD.size) == OLD.address
    assert keys.address_at(HEAD.size + 1) == NEW.address
    assert keys.verify(head_of(HEAD.size, OLD)).size == HEAD.size
    assert keys.verify(head_of(HEAD.size + 1, NEW)).size == HEAD.size + 1


def test_the_old_key_signs_nothing_beyond_its_rotation() -> None:
    keys = KeyHistory.read(ORIGIN, OLD.address, [HANDED_ON])

    for size, key in [(HEAD.size + 1, OLD), (HEAD.size, NEW), (1, STRANGER)]:
        with pytest.raises(Refused, match="note-unsigned"):
            keys.verify(head_of(size, key))


def test_a_rotation_that_only_one_key_signed_is_refused() -> None:
    for key in (OLD, NEW):
        note = signed(ROTATION.text(), ORIGIN, [(key.address, key.sign)])
        with pytest.raises(Refused, match="note-unsigned"):
            verify_rotation(note, origin=ORIGIN, address=OLD.address)


def test_a_stranger_hands_nothing_on() -> None:
    theirs = Rotation(HEAD, STRANGER.address, NEW.address)
    note = build_rotation(theirs, STRANGER.sign, NEW.sign)
    with pytest.raises(Refused, match="note-unsigned"):
        KeyHistory.read(ORIGIN, OLD.address, [note])

    text = theirs.text()
    signers = [(OLD.address, OLD.sign), (NEW.address, NEW.sign)]
    with pytest.raises(Refused, match="rotation-key"):
        verify_rotation(signed(text, ORIGIN, signers), origin=ORIGIN, address=OLD.address)


def test_a_key_hands_on_to_another_only_and_never_comes_back() -> None:
    with pytest.raises(Refused, match="note-duplicate"):
        build_rotation(Rotation(HEAD, OLD.address, OLD.address), OLD.sign, OLD.sign)

    later = Checkpoint(ORIGIN, HEAD.size + 9, ROOT)
    back = build_rotation(Rotation(later, NEW.address, OLD.address), NEW.sign, OLD.sign)
    with pytest.raises(Refused, match="rotation-order"):
        KeyHistory.read(ORIGIN, OLD.address, [HANDED_ON, back])
    early = Rotation(HEAD, NEW.address, STRANGER.address)
    note = build_rotation(early, NEW.sign, STRANGER.sign)
    with pytest.raises(Refused, match="rotation-order"):
        KeyHistory.read(ORIGIN, OLD.address, [HANDED_ON, note])


def test_rotations_beyond_the_bound_are_not_read() -> None:
    with pytest.raises(Refused, match="1001 rotations"):
        KeyHistory.read(ORIGIN, OLD.address, [b""] * 1001)


def test_a_rotation_is_no_checkpoint_and_a_checkpoint_no_rotation() -> None:
    assert refused(HANDED_ON) == "checkpoint-form"
    with pytest.raises(Refused, match="rotation-form"):
        verify_rotation(NOTE, origin=ORIGIN, address=OLD.address)


def test_a_rotation_of_another_log_is_refused() -> None:
    note = signed(ROTATION.text(), "b.example", [(k.address, k.sign) for k in (OLD, NEW)])
    with pytest.raises(Refused, match="checkpoint-origin"):
        verify_rotation(note, origin="b.example", address=OLD.address)


@pytest.mark.parametrize(
    "case", json.loads((VECTORS / "checkpoints.json").read_text()), ids=lambda case: case["name"]
)
def test_the_vectors_for_other_verifiers_say_what_this_one_finds(case: dict[str, Any]) -> None:
    rotations = [note.encode() for note in case["rotations"]]
    keys = KeyHistory.read(case["origin"], bytes.fromhex(case["address"]), rotations)
    if "refused" in case:
        with pytest.raises(Refused) as error:
            keys.verify(case["note"].encode())
        assert error.value.check == case["refused"]
        return
    head = keys.verify(case["note"].encode())
    assert {"size": head.size, "root": head.root.hex()} == case["head"]


# ------------------------------------------------------------ properties and fuzzers


@given(st.data())
def test_a_flipped_byte_of_a_note_never_verifies(data: Any) -> None:
    flipped = bytearray(NOTE)
    flipped[data.draw(st.integers(0, len(NOTE) - 1))] ^= data.draw(st.integers(1, 255))

    with pytest.raises(Refused):
        verify_checkpoint(bytes(flipped), origin=ORIGIN, address=OLD.address)


@given(st.data())
def test_a_flipped_byte_of_a_rotation_never_verifies(data: Any) -> None:
    flipped = bytearray(HANDED_ON)
    flipped[data.draw(st.integers(0, len(HANDED_ON) - 1))] ^= data.draw(st.integers(1, 255))

    with pytest.raises(Refused):
        verify_rotation(bytes(flipped), origin=ORIGIN, address=OLD.address)


def test_the_note_reader_survives_damaged_notes() -> None:
    chance = random.Random(SEED)
    keys = KeyHistory(ORIGIN, OLD.address)
    for number in range(CASES):
        raw = bytearray(chance.choice([NOTE, EXAMPLE, HANDED_ON]))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(raw) + 1)
            match chance.randrange(4):
                case 0:
                    raw[at : at + 1] = chance.randbytes(1)
                case 1:
                    del raw[at : at + chance.randint(1, 30)]
                case 2:
                    raw[at:at] = raw[at : at + chance.randint(1, 30)]
                case _:
                    raw[at:at] = chance.choice([b"\n", b"\n\n", "\n— ".encode(), b"=", b"\0"])
        if bytes(raw) in {NOTE, HANDED_ON}:
            continue
        try:
            keys.verify(bytes(raw))
        except ProofError:
            continue
        except Exception as error:
            raise AssertionError(f"case {number}: {raw!r}\n{REPLAY}") from error
        raise AssertionError(f"case {number} verified: {raw!r}\n{REPLAY}")
