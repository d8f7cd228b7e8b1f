import hashlib
import secrets
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.signers.keytext import SECP256K1_ORDER, base58check
from coordinator.signers.literals import looks_like_secret

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
#: Test vectors: private key 1 in WIF, BIP 32 vector 1, BIP 39 all-zero entropy.
WIF_ONE = "KwDiBf89QgGbjEhKnhXJuH7LrciVrZi3qYjgd9M7rFU73sVHnoWn"
WIF_ONE_UNCOMPRESSED = "5HpHagT65TZzG1PH3CSu63k8DbpvD8s5ip4nEB3kEsreAnchuDf"
XPRV = (
    "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3T"
    "GtRBeJgk33yuGBxrMPHi"
)
MNEMONIC = "abandon " * 11 + "about"


def to_base58check(payload: bytes) -> str:
    """An encoder of its own, so that the decoder under test is not its own judge."""
    raw = payload + hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    number, text = int.from_bytes(raw, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = ALPHABET[digit] + text
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("0x" + "ab" * 32, "hexadecimal"),
        ("AB" * 32, "hexadecimal"),
        ("  0X" + "01" * 32 + "\n", "hexadecimal"),
        ("key = '" + "7f" * 32 + "'", "hexadecimal"),
        (WIF_ONE, "WIF"),
        (WIF_ONE_UNCOMPRESSED, "WIF"),
        (f"btc: {WIF_ONE},", "WIF"),
        (XPRV, "extended"),
        ("wpkh(" + XPRV + "/0/*)", "extended"),
        (MNEMONIC, "BIP 39"),
        ("legal winner thank year wave sausage worth useful legal winner thank yellow", "BIP 39"),
        ("\n".join((MNEMONIC + " " + MNEMONIC).split()), "BIP 39"),
        ("-----BEGIN EC PRIVATE KEY-----", "PEM"),
        ("http://operator:hunter2@127.0.0.1:8332", "password"),
        ("postgres://operator:hunter2@db/journal", "password"),
    ],
)
def test_a_literal_secret_is_named_by_kind_and_not_repeated(text: str, kind: str) -> None:
    found = looks_like_secret(text)

    assert found is not None
    assert kind in found
    assert text.strip() not in found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "treasury_evm",
        "file:/run/secrets/treasury",
        "env:POLYGON_RPC_URL",
        "http://127.0.0.1:8545/",
        "0x5FbDB2315678afecb367f032d93F642f64180aa3",
        "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
        "02" + "ab" * 32,
        "0x" + "00" * 32,
        f"{SECP256K1_ORDER:064x}",
        "KwDiBf89QgGbjEhKnhXJuH7LrciVrZi3qYjgd9M7rFU73sVHnoWm",
        "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
        "set(bytes32,uint256)",
        "Lock the tokens, then hold the coins, and only after that mint the rest.",
        "one two three four five six seven eight nine ten eleven",
    ],
)
def test_what_a_configuration_rightly_holds_passes(text: str) -> None:
    assert looks_like_secret(text) is None


@given(st.integers(1, SECP256K1_ORDER - 1), st.sampled_from(["", "0x"]), st.text(max_size=3))
def test_every_private_key_is_found_in_hex_between_any_separators(
    key: int, prefix: str, around: str
) -> None:
    around = "".join(character for character in around if not character.isalnum())
    text = f"{around}{prefix}{key:064x}{around}"

    assert looks_like_secret(text) == "a private key in hexadecimal"


@given(
    st.binary(min_size=32, max_size=32),
    st.sampled_from([0x80, 0xEF]),
    st.sampled_from([b"", b"\1"]),
)
def test_every_private_key_is_found_in_wif(key: bytes, version: int, compressed: bytes) -> None:
    text = to_base58check(bytes([version]) + key + compressed)

    assert looks_like_secret(text) == "a Bitcoin private key (WIF)"


@given(st.binary(min_size=1, max_size=80))
def test_base58check_returns_what_was_encoded(payload: bytes) -> None:
    assert base58check(to_base58check(payload)) == payload


@given(st.text(max_size=200))
def test_base58check_and_the_search_answer_for_any_text(text: str) -> None:
    base58check(text)
    looks_like_secret(text)


HOSTILE = [
    "a" * 1_000_000,
    "abc " * 250_000,
    "1" * 1_000_000,
    "x://" + "a:" * 300_000,
    "://" * 300_000,
    "-----BEGIN " * 100_000,
]


@pytest.mark.timeout(20)  # each is linear: a fifth of a second; what is quadratic takes minutes
def test_a_long_hostile_text_takes_no_long_time() -> None:
    for text in HOSTILE:
        looks_like_secret(text)


def test_a_random_key_is_found() -> None:
    assert looks_like_secret(secrets.token_hex(32)) is not None


def test_looking_for_literals_imports_no_cryptography() -> None:
    # The whole package is imported by the loader of chains.toml, `status` included.
    script = (
        "import coordinator.signers, coordinator.signers.literals, sys;"
        "heavy = {'eth_keyfile', 'eth_account', 'eth_utils', 'coincurve', 'bitcoin', 'web3'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )

    assert done.stdout.strip() == "[]"
