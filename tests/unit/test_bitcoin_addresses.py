"""Addresses: the published vectors of BIP-173 and BIP-350, and other networks' addresses."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from adapters.bitcoin import bech32
from adapters.bitcoin.address import (
    AddressError,
    address_of_script,
    dust_sat,
    own_address,
    parse_address,
    script_of_key,
)
from adapters.bitcoin.networks import NETWORKS

MAINNET, TESTNET, REGTEST = NETWORKS["mainnet"], NETWORKS["testnet3"], NETWORKS["regtest"]

# BIP-350, "Test vectors for v0-v16 native segregated witness addresses" that are spendable today.
VALID = [
    ("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", "0014751e76e8199196d454941c45d1b3a323f1433bd6"),
    (
        "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
        "00201863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262",
    ),
    (
        "tb1qqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesrxh6hy",
        "0020000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
    ),
    (
        "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c",
        "5120000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
    ),
    (
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    ),
]
# Well formed in BIP-350, but nobody knows how to spend them, so paying to them is refused.
UNSPENDABLE = [
    "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
    "BC1SW50QGDZ25J",
    "bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs",
]
# BIP-350, "invalid segwit addresses".
INVALID = [
    "tc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq5zuyut",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",
    "tb1z0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqglt7rf",
    "BC1S0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ54WELL",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh",
    "tb1q0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq24jc47",
    "bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4",
    "BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R",
    "bc1pw5dgrnzv",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav253zgeav",
    "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P",
    "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq47Zagq",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf",
    "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vpggkg4j",
    "bc1gmk9yu",
]


@pytest.mark.parametrize(("text", "script"), VALID)
def test_the_published_addresses_give_the_published_scripts(text: str, script: str) -> None:
    network = MAINNET if text.lower().startswith("bc") else TESTNET
    parsed = parse_address(text, network)
    assert parsed.script.hex() == script
    assert parsed.text == text.lower()
    assert address_of_script(parsed.script, network) == text.lower()


@pytest.mark.parametrize("text", INVALID)
def test_the_published_wrong_addresses_are_refused(text: str) -> None:
    with pytest.raises(AddressError):
        parse_address(text, TESTNET if text.lower().startswith("tb") else MAINNET)


@pytest.mark.parametrize("text", UNSPENDABLE)
def test_a_witness_version_without_spending_rules_is_refused(text: str) -> None:
    with pytest.raises(AddressError, match="anyone could take the coins"):
        parse_address(text, MAINNET)


@pytest.mark.parametrize(
    ("text", "kind", "script"),
    [
        (
            "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH",
            "p2pkh",
            "76a914751e76e8199196d454941c45d1b3a323f1433bd688ac",
        ),
        (
            "3JvL6Ymt8MVWiCNHC7oWU6nLeHNJKLZGLN",
            "p2sh",
            "a914bcfeb728b584253d5f3f70bcb780e9ef218a68f487",
        ),
    ],
)
def test_base58_addresses_give_their_scripts(text: str, kind: str, script: str) -> None:
    parsed = parse_address(text, MAINNET)
    assert (parsed.kind, parsed.script.hex()) == (kind, script)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "mainnet"),
        ("1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH", "mainnet"),
        ("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "testnet3, signet"),
    ],
)
def test_an_address_of_another_network_is_named_as_such(text: str, named: str) -> None:
    with pytest.raises(AddressError, match=rf"another network \({named}\), this chain is regtest"):
        parse_address(text, REGTEST)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "bcrt1",
        "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMh",
        "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAM0",
        "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt081",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt08\u0430",
        "b" * 5000,
    ],
)
def test_what_is_no_address_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(AddressError, match="is no Bitcoin address"):
        parse_address(text, REGTEST)


@given(version=st.integers(0, 16), program=st.binary(min_size=2, max_size=40))
def test_encoding_and_decoding_are_inverse(version: int, program: bytes) -> None:
    if version == 0 and len(program) not in {20, 32}:
        with pytest.raises(bech32.Bech32Error):
            bech32.encode("bcrt", version, program)
        return
    text = bech32.encode("bcrt", version, program)
    assert bech32.decode(text) == ("bcrt", version, program)
    assert bech32.decode(text.upper()) == ("bcrt", version, program)


@given(program=st.binary(min_size=20, max_size=20), data=st.data())
def test_one_mistyped_character_is_always_noticed(program: bytes, data: st.DataObject) -> None:
    text = bech32.encode("bcrt", 0, program)
    place = data.draw(st.integers(5, len(text) - 1))
    other = data.draw(st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l"))
    wrong = text[:place] + other + text[place + 1 :]
    if wrong != text:
        with pytest.raises(bech32.Bech32Error):
            bech32.decode(wrong)


def test_the_key_of_bip_173s_example_has_its_address() -> None:
    key = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
    assert own_address(key, MAINNET) == "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
    assert script_of_key(key).hex() == "0014751e76e8199196d454941c45d1b3a323f1433bd6"


@pytest.mark.parametrize(
    ("text", "least_sat"),
    [
        ("1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH", 546),
        ("3JvL6Ymt8MVWiCNHC7oWU6nLeHNJKLZGLN", 540),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", 294),
        ("bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3", 330),
        ("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0", 330),
    ],
)
def test_dust_is_what_nodes_call_dust(text: str, least_sat: int) -> None:
    assert dust_sat(parse_address(text, MAINNET).script) == least_sat
