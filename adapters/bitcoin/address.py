"""Addresses and the output scripts they stand for, checked against the configured network."""

from dataclasses import dataclass
from typing import Final, Literal

from adapters.bitcoin import bech32
from adapters.bitcoin.networks import NETWORKS, Network
from adapters.bitcoin.transactions import base58_check, hash160

__all__ = [
    "Address",
    "AddressError",
    "address_of_script",
    "dust_sat",
    "own_address",
    "parse_address",
    "script_of_key",
]

#: Relay policy of Bitcoin Core: an output is dust when spending it costs more at this rate.
DUST_RELAY_SAT_VB: Final = 3

AddressKind = Literal["p2pkh", "p2sh", "p2wpkh", "p2wsh", "p2tr"]


class AddressError(ValueError):
    """A text is no address of this network; the message says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address of the configured network: its text in canonical form, kind and output script."""

    text: str
    kind: AddressKind
    script: bytes


def parse_address(text: str, network: Network) -> Address:
    """Return the address that ``text`` means on ``network``.

    P2PKH, P2SH (base58check), P2WPKH, P2WSH (BIP-173) and P2TR (BIP-350).

    Raises:
        AddressError: no address, or one of another network, or a witness version nobody can spend.
    """
    if _looks_segwit(text):
        return _parse_segwit(text, network)
    try:
        version, payload = base58_check(text)
    except ValueError as error:
        raise AddressError(f"{_shown(text)} is no Bitcoin address: {error}") from None
    if len(payload) != 20:
        raise AddressError(f"{_shown(text)} is no Bitcoin address: {len(payload)} bytes inside")
    if version == network.p2pkh:
        return Address(text, "p2pkh", b"\x76\xa9\x14" + payload + b"\x88\xac")
    if version == network.p2sh:
        return Address(text, "p2sh", b"\xa9\x14" + payload + b"\x87")
    others = [n.name for n in NETWORKS.values() if version in {n.p2pkh, n.p2sh}]
    raise _foreign(text, others, network)


def script_of_key(public_key: bytes) -> bytes:
    """Return the P2WPKH output script (BIP-141) of a compressed public key."""
    return b"\x00\x14" + hash160(public_key)


def own_address(public_key: bytes, network: Network) -> str:
    """Return the P2WPKH address of a compressed public key."""
    return bech32.encode(network.hrp, 0, hash160(public_key))


def address_of_script(script: bytes, network: Network) -> str | None:
    """Return the segwit address of an output script; None for any other script."""
    if not 4 <= len(script) <= 42 or script[1] != len(script) - 2:
        return None
    if script[0] == 0:
        version = 0
    elif 0x51 <= script[0] <= 0x60:
        version = script[0] - 0x50
    else:
        return None
    try:
        return bech32.encode(network.hrp, version, script[2:])
    except bech32.Bech32Error:
        return None


def dust_sat(script: bytes) -> int:
    """Return the smallest value of an output with ``script`` that nodes relay.

    GetDustThreshold of Bitcoin Core's policy: the output and the input that spends it (67 vB with
    a witness, 148 without) at 3 sat/vB: 294 for P2WPKH, 330 for P2WSH and P2TR, 540 for P2SH,
    546 for P2PKH.
    """
    spend_vb = 67 if _is_witness(script) else 148
    return (8 + 1 + len(script) + spend_vb) * DUST_RELAY_SAT_VB


def _is_witness(script: bytes) -> bool:
    return (
        4 <= len(script) <= 42
        and (script[0] == 0 or 0x51 <= script[0] <= 0x60)
        and script[1] == len(script) - 2
    )


def _looks_segwit(text: str) -> bool:
    hrp = text.lower().rpartition("1")[0]
    return hrp in {network.hrp for network in NETWORKS.values()}


def _parse_segwit(text: str, network: Network) -> Address:
    try:
        hrp, version, program = bech32.decode(text)
    except bech32.Bech32Error as error:
        raise AddressError(f"{_shown(text)} is no Bitcoin address: {error}") from None
    if hrp != network.hrp:
        others = [n.name for n in NETWORKS.values() if n.hrp == hrp]
        raise _foreign(text, others, network)
    kind = _segwit_kind(version, program)
    if kind is None:
        raise AddressError(
            f"{_shown(text)} has witness version {version} with {len(program)} bytes, for which "
            "no spending rule exists yet: anyone could take the coins"
        )
    opcode = 0x50 + version if version else 0
    script = bytes([opcode, len(program)]) + program
    return Address(text.lower(), kind, script)


def _segwit_kind(version: int, program: bytes) -> AddressKind | None:
    if version == 0:
        return "p2wpkh" if len(program) == 20 else "p2wsh"
    return "p2tr" if version == 1 and len(program) == 32 else None


def _foreign(text: str, others: list[str], network: Network) -> AddressError:
    if not others:
        return AddressError(f"{_shown(text)} is an address of no Bitcoin network known here")
    return AddressError(
        f"{_shown(text)} is an address of another network ({', '.join(others)}), "
        f"this chain is {network.name}"
    )


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 64 else text[:64] + "...").strip("'\"")
