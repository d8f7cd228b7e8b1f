"""Addresses and hold scripts as the proofs read them, beside what the adapter makes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.bitcoin import bech32
from adapters.bitcoin.address import own_address, parse_address
from adapters.bitcoin.networks import NETWORKS
from adapters.bitcoin.script import HoldScript
from proofs.bitcoin_address import script_of_address
from proofs.bitcoin_hold import HoldOutput
from proofs.bitcoin_tx import sha256d
from proofs.errors import Refused

CHAINS = {name: f"bip122:{network.genesis[:32]}" for name, network in NETWORKS.items()}
#: Examples of BIP-173, BIP-350 and of addresses in general use, by network.
KNOWN = [
    ("mainnet", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
    ("mainnet", "bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3"),
    ("mainnet", "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"),
    ("mainnet", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
    ("mainnet", "3P14159f73E4gFr7JterCCQh9QjiTjiZrG"),
    ("testnet3", "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7"),
    ("signet", "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c"),
    ("testnet3", "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"),
    ("regtest", "2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc"),
    ("regtest", "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"),
    ("regtest", "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry"),
    ("regtest", "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6"),
]


def refused(text: str, network: str) -> None:
    with pytest.raises(Refused) as error:
        script_of_address("here", text, CHAINS[network])
    assert error.value.check == "here"


@pytest.mark.parametrize(("network", "text"), KNOWN)
def test_an_address_stands_for_one_script(network: str, text: str) -> None:
    script = script_of_address("here", text, CHAINS[network])
    assert script == parse_address(text, NETWORKS[network]).script


@pytest.mark.parametrize(("network", "text"), KNOWN)
def test_no_character_of_an_address_can_be_changed(network: str, text: str) -> None:
    for at, character in enumerate(text):
        for other in "q8Zl1é":
            if other != character:
                refused(text[:at] + other + text[at + 1 :], network)
        refused(text[:at] + text[at + 1 :], network)
    refused(text + "q", network)


@pytest.mark.parametrize(("network", "text"), KNOWN)
def test_an_address_of_another_network_is_none(network: str, text: str) -> None:
    ours = NETWORKS[network]
    for name, other in NETWORKS.items():
        if (other.hrp, other.p2pkh) != (ours.hrp, ours.p2pkh) and (
            text[0] not in "2mn" or other.p2pkh != ours.p2pkh
        ):
            refused(text, name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bc1",
        "bc1" + "q" * 200,
        "1" * 90,
        "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
        # Of BIP-350's invalid ones: bech32 for version 1, bech32m for version 0, other programs.
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",
        "bc1q0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqyf48cx",
        "bc1pw5dgrnzv",
        "bc1qr508d6qejxtdg4y5r3zarvaryv98gj9p",
        "bc1gmk9yu",
        "bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs",
        "bc1sw50qgdz25j",
    ],
)
def test_what_is_no_address_with_a_spending_rule_is_refused(text: str) -> None:
    refused(text, "mainnet")


@pytest.mark.parametrize(
    ("network", "text"),
    [
        # BIP-173's and BIP-350's addresses of wrong padding: another text for the same script.
        ("testnet3", "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3pjxtptv"),
        ("testnet3", "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vpggkg4j"),
        ("mainnet", "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf"),
    ],
)
def test_a_script_has_one_address(network: str, text: str) -> None:
    with pytest.raises(Refused, match="bits left over"):
        script_of_address("here", text, CHAINS[network])


@pytest.mark.parametrize("length", [0, 19, 20, 21, 32])
def test_a_base58_address_holds_twenty_bytes(length: int) -> None:
    body = bytes([111]) + b"\x77" * length
    number, text = int.from_bytes(body + sha256d(body)[:4], "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"[digit] + text
    if length == 20:
        script = script_of_address("here", text, CHAINS["regtest"])
        assert script == b"\x76\xa9\x14" + body[1:] + b"\x88\xac"
    else:
        refused(text, "regtest")


def test_a_chain_without_known_addresses_has_none() -> None:
    with pytest.raises(Refused):
        script_of_address("here", KNOWN[0][1], "bip122:" + "0" * 32)


@given(st.binary(min_size=33, max_size=33), st.sampled_from(sorted(NETWORKS)))
def test_our_own_addresses_are_read_back(key: bytes, network: str) -> None:
    text = own_address(key, NETWORKS[network])
    assert (
        script_of_address("here", text, CHAINS[network])
        == parse_address(text, NETWORKS[network]).script
    )


@given(st.binary(min_size=32, max_size=32), st.sampled_from(sorted(NETWORKS)))
def test_taproot_addresses_are_read_back(program: bytes, network: str) -> None:
    text = bech32.encode(NETWORKS[network].hrp, 1, program)
    assert script_of_address("here", text, CHAINS[network]) == b"\x51\x20" + program


@given(
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32),
    st.one_of(st.integers(1, 300), st.integers(1, 499_999_999)),
)
def test_a_hold_is_the_output_that_the_adapter_makes(
    hashlock: bytes, key: bytes, locktime: int
) -> None:
    check_script(hashlock, key, locktime)


@pytest.mark.parametrize("locktime", [1, 15, 16, 17, 127, 128, 255, 256, 32767, 32768, 8388608])
def test_a_locktime_is_pushed_in_its_shortest_form(locktime: int) -> None:
    check_script(bytes(32), bytes(32), locktime)


def check_script(hashlock: bytes, key: bytes, locktime: int) -> None:
    payee, payer = b"\x02" + key, b"\x03" + key
    made = HoldScript(hashlock=hashlock, payee=payee, locktime=locktime, payer=payer)
    read = HoldOutput(hashlock, payee, locktime, payer)
    assert read.witness_script() == made.witness_script()
    assert read.output_script() == made.output_script()
