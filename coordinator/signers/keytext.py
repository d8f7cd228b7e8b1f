"""Text forms of secp256k1 keys: hexadecimal and Bitcoin's wallet import format (WIF)."""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from coordinator.errors import KeysError
from coordinator.signers.secret import Secret

__all__ = [
    "SECP256K1_ORDER",
    "WIF_MAINNET",
    "WIF_TEST",
    "ParsedKey",
    "base58check",
    "is_key",
    "parse_key",
]

#: Order of the group (SEC 2, §2.4.1); private keys are 1 … order - 1.
SECP256K1_ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
#: Version bytes of WIF: Bitcoin mainnet, and every other Bitcoin network.
WIF_MAINNET: Final = 0x80
WIF_TEST: Final = 0xEF

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_HEX_KEY: Final = re.compile(r"(?:0[xX])?([0-9a-fA-F]{64})")
_BASE58_LENGTH_MAX: Final = 128


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """A private key read from text; ``wif_version`` is None when the text was hexadecimal."""

    secret: Secret
    wif_version: int | None


def is_key(raw: bytes) -> bool:
    """Tell whether ``raw`` is 32 bytes that make a secp256k1 private key."""
    return len(raw) == 32 and 0 < int.from_bytes(raw, "big") < SECP256K1_ORDER


def base58check(text: str) -> bytes | None:
    """Return the payload of a Base58Check text, None where characters or checksum are wrong."""
    if not 0 < len(text) <= _BASE58_LENGTH_MAX:
        return None
    number = 0
    for character in text:
        digit = _ALPHABET.find(character)
        if digit < 0:
            return None
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip(_ALPHABET[0]))
    raw = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    payload, checksum = raw[:-4], raw[-4:]
    if hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4] != checksum:
        return None
    return payload


def parse_key(text: Secret, where: str) -> ParsedKey:
    """Return the private key that ``text`` writes as 64 hex digits or as compressed WIF.

    Raises:
        KeysError: it is neither; the message names ``where`` and nothing of the text.
    """
    parsed, why = _parse(text)
    if parsed is None:
        raise KeysError(f"{where}: {why}. Nothing was stored and nothing was sent.")
    return parsed


def _parse(text: Secret) -> tuple[ParsedKey | None, str]:
    """Parse without raising, so that no traceback holds this frame and the text in it."""
    try:
        plain = text.reveal().decode("ascii").strip()
    except UnicodeDecodeError:
        return None, "a private key is 64 hex digits or WIF, this text is not even ASCII"
    in_hex = _HEX_KEY.fullmatch(plain)
    raw = bytes.fromhex(in_hex[1]) if in_hex else None
    version = None
    if raw is None:
        payload = base58check(plain)
        if payload is None or payload[0] not in (WIF_MAINNET, WIF_TEST):
            return None, "a private key is 64 hex digits, with or without 0x, or WIF"
        if len(payload) != 34 or payload[-1] != 1:
            return None, "this WIF names an uncompressed key, which SegWit can not use (BIP 143)"
        version, raw = payload[0], payload[1:33]
    if not is_key(raw):
        return None, "the number is outside 1 … order - 1 of secp256k1, so it is no private key"
    return ParsedKey(Secret(raw), version), ""
