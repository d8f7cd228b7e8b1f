"""The output script that an address stands for: what people read in a plan, as bytes of a block.

P2PKH and P2SH in base58check, P2WPKH and P2WSH in bech32 (BIP-173), P2TR in bech32m (BIP-350).
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from proofs.bitcoin_tx import sha256d
from proofs.errors import Refused

__all__ = ["script_of_address"]

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32_SUM: Final = 1
_BECH32M_SUM: Final = 0x2BC830A3
_CHECKSUM: Final = 6
#: A P2TR address of regtest, the longest of them all, has 64 characters.
_MOST: Final = 90


class _Forms(NamedTuple):
    """How addresses of a network begin."""

    hrp: str
    p2pkh: int
    p2sh: int


#: By CAIP-2 name, like `proofs.bitcoin_headers.NETWORKS`.
_FORMS: Final[Mapping[str, _Forms]] = {
    "bip122:000000000019d6689c085ae165831e93": _Forms("bc", 0, 5),
    "bip122:000000000933ea01ad0ee984209779ba": _Forms("tb", 111, 196),
    "bip122:00000008819873e925422c1ff0f99f7c": _Forms("tb", 111, 196),
    "bip122:0f9188f13cb7b2c71f2a335e3a4fc328": _Forms("bcrt", 111, 196),
}


def script_of_address(check: str, text: str, chain: str) -> bytes:
    """Return the output script of an address of ``chain`` (a CAIP-2 name).

    Raises:
        Refused: ``check``: no address, one of another network, upper case, or a witness version
            without a spending rule.
    """
    forms = _FORMS.get(chain)
    if forms is None:
        raise Refused(check, f"no addresses are known of {chain}"[:120])
    if not text.isascii() or not 14 <= len(text) <= _MOST:
        raise Refused(check, "no address: its length or characters")
    if text.startswith(f"{forms.hrp}1"):
        return _witness_script(check, text, forms.hrp)
    version, payload = _base58(check, text)
    if version == forms.p2pkh:
        return b"\x76\xa9\x14" + payload + b"\x88\xac"
    if version == forms.p2sh:
        return b"\xa9\x14" + payload + b"\x87"
    raise Refused(check, f"an address of another network than {chain}")


def _witness_script(check: str, text: str, hrp: str) -> bytes:
    values = [_BECH32.find(character) for character in text[len(hrp) + 1 :]]
    if len(values) < _CHECKSUM + 1 or min(values) < 0:
        raise Refused(check, "no bech32 text in lower case")
    # BIP-173: the human-readable part takes part in the checksum as high bits, zero, low bits.
    spread = [ord(c) >> 5 for c in hrp] + [0] + [ord(c) & 31 for c in hrp]
    version = values[0]
    if _polymod(spread + values) != (_BECH32_SUM if version == 0 else _BECH32M_SUM):
        raise Refused(check, "the checksum of the address is wrong")
    program = _octets(check, values[1:-_CHECKSUM])
    if (version, len(program)) not in {(0, 20), (0, 32), (1, 32)}:
        raise Refused(check, f"witness version {version} with {len(program)} bytes has no rule")
    return bytes([0x50 + version if version else 0, len(program)]) + program


def _polymod(values: list[int]) -> int:
    remainder = 1
    for value in values:
        top = remainder >> 25
        remainder = (remainder & 0x1FFFFFF) << 5 ^ value
        for bit, factor in enumerate(_GENERATOR):
            if top >> bit & 1:
                remainder ^= factor
    return remainder


def _octets(check: str, fives: list[int]) -> bytes:
    """Join groups of five bits; what is left over is zero and shorter than a group."""
    number = 0
    for five in fives:
        number = number << 5 | five
    length, left = divmod(5 * len(fives), 8)
    if left > 4 or number & ((1 << left) - 1):
        raise Refused(check, "the address has bits left over")
    return (number >> left).to_bytes(length, "big")


def _base58(check: str, text: str) -> tuple[int, bytes]:
    number = 0
    for character in text:
        digit = _BASE58.find(character)
        if digit < 0:
            raise Refused(check, "neither an address of this network in bech32 nor base58")
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip("1"))
    raw = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    if len(raw) != 25 or sha256d(raw[:-4])[:4] != raw[-4:]:
        raise Refused(check, "the address has another length or a wrong checksum")
    return raw[0], raw[1:-4]
