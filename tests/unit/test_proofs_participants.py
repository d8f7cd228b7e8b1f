"""Signatures of participants: what wallets make, and what is refused."""

from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from proofs.errors import Refused
from proofs.keccak import keccak256
from proofs.participants import digest_of, entry_of, typed_data, verify_signature
from tests.unit.bundle_scene import PEOPLE, SAGA, Key

PAYLOAD = b'{"v":1}'
ABOUT: dict[str, Any] = {"saga": SAGA, "outcome": "committed", "payload": PAYLOAD}
BUYER = PEOPLE["buyer"]
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def entry(key: Key = BUYER, role: str = "buyer", **changes: Any) -> dict[str, str]:
    about = {**ABOUT, **changes}
    digest = digest_of(about["saga"], about["outcome"], role, about["payload"])
    return entry_of(role, key.address.hex(), key.sign(digest))


def refused(signed: dict[str, str], address: bytes = BUYER.address) -> str:
    with pytest.raises(Refused) as error:
        verify_signature(signed, address=address.hex(), **ABOUT)
    return error.value.check


def test_a_participant_signs_what_any_wallet_makes_of_the_typed_data() -> None:
    document = typed_data(SAGA, "committed", "buyer", PAYLOAD)
    key = "0x" + keccak256(b"buyer").hex()
    made = Account.sign_message(encode_typed_data(full_message=document), key)
    signed = entry_of("buyer", Account.from_key(key).address, bytes(made.signature))

    verify_signature(signed, address=BUYER.address.hex(), **ABOUT)
    assert signed == entry()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"saga": "01JDMZXW7C3N5Q8R2T4V6Y9ABD"}, "another saga"),
        ({"outcome": "rolled_back"}, "another outcome"),
        ({"payload": b'{"v":2}'}, "another payload"),
        ({"role": "seller"}, "another role"),
    ],
)
def test_a_signature_counts_for_nothing_else(changes: dict[str, Any], what: str) -> None:
    role = changes.pop("role", "buyer")
    signed = {**entry(role=role, **changes), "role": "buyer"}

    assert refused(signed) == "signature-signer", what


def test_anothers_signature_is_refused() -> None:
    pasted = {**entry(PEOPLE["seller"]), "address": BUYER.address.hex()}

    assert refused(pasted) == "signature-signer"


def test_another_address_than_the_plans_is_refused() -> None:
    assert refused(entry(PEOPLE["seller"])) == "signature-address"


def test_the_second_form_of_a_signature_is_refused() -> None:
    good = bytes.fromhex(entry()["signature"])
    s = _ORDER - int.from_bytes(good[32:64], "big")
    other = good[:32] + s.to_bytes(32, "big") + bytes([55 - good[64]])

    assert refused({**entry(), "signature": other.hex()}) == "signature-high-s"


@pytest.mark.parametrize("v", [0, 1, 26, 29, 255])
def test_a_signature_without_a_known_v_is_refused(v: int) -> None:
    other = bytes.fromhex(entry()["signature"])[:64] + bytes([v])

    assert refused({**entry(), "signature": other.hex()}) == "signature-form"


def test_no_byte_of_a_signature_can_be_changed() -> None:
    good = bytes.fromhex(entry()["signature"])
    for at in range(65):
        for bit in (1, 128):
            other = bytearray(good)
            other[at] ^= bit
            assert refused({**entry(), "signature": other.hex()}).startswith("signature-")
