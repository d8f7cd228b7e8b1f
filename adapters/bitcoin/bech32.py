"""Segwit addresses as text: Bech32 (BIP-173) for version 0, Bech32m (BIP-350) for the rest.

python-bitcoinlib knows version 0 only, so taproot addresses need this.
"""

from typing import Final

__all__ = ["Bech32Error", "decode", "encode"]

_CHARSET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES: Final = {character: value for value, character in enumerate(_CHARSET)}
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32: Final = 1
_BECH32M: Final = 0x2BC830A3
_MAX_LENGTH: Final = 90


class Bech32Error(ValueError):
    """A text is no segwit address; the message says why."""


def encode(hrp: str, version: int, program: bytes) -> str:
    """Return the address of a witness program.

    Args:
        hrp: the network's human-readable part.
        version: witness version, 0 to 16.
        program: 2 to 40 bytes; 20 or 32 in version 0.

    Raises:
        Bech32Error: no such witness program exists.
    """
    _check_program(version, program)
    data = [version, *_regroup(program, 8, 5, pad=True)]
    constant = _BECH32 if version == 0 else _BECH32M
    checksum = _polymod([*_expand(hrp), *data, 0, 0, 0, 0, 0, 0]) ^ constant
    tail = [(checksum >> 5 * (5 - index)) & 31 for index in range(6)]
    return hrp + "1" + "".join(_CHARSET[value] for value in (*data, *tail))


def decode(text: str) -> tuple[str, int, bytes]:
    """Return human-readable part, witness version and witness program of an address.

    Raises:
        Bech32Error: wrong form, checksum, checksum kind for the version, padding or length.
    """
    if len(text) > _MAX_LENGTH:
        raise Bech32Error(f"longer than {_MAX_LENGTH} characters")
    if any(not 33 <= ord(character) <= 126 for character in text):
        raise Bech32Error("a character outside printable ASCII")
    if text.lower() != text and text.upper() != text:
        raise Bech32Error("upper and lower case are mixed")
    hrp, separator, payload = text.lower().rpartition("1")
    if not separator or not hrp or len(payload) < 6:
        raise Bech32Error("not of the form PREFIX1DATA")
    if unknown := [character for character in payload if character not in _VALUES]:
        raise Bech32Error(f"character {unknown[0]!r} does not occur in segwit addresses")
    data = [_VALUES[character] for character in payload]
    constant = _polymod([*_expand(hrp), *data])
    if constant not in {_BECH32, _BECH32M}:
        raise Bech32Error("the checksum is wrong; a character was mistyped")
    if len(data) == 6:
        raise Bech32Error("it holds no witness version")
    version, program = data[0], bytes(_regroup(data[1:-6], 5, 8, pad=False))
    _check_program(version, program)
    if constant != (_BECH32 if version == 0 else _BECH32M):
        raise Bech32Error(f"witness version {version} with the checksum of another version")
    return hrp, version, program


def _check_program(version: int, program: bytes) -> None:
    if not 0 <= version <= 16:
        raise Bech32Error(f"witness version {version} does not exist")
    if not 2 <= len(program) <= 40:
        raise Bech32Error(f"a witness program of {len(program)} bytes")
    if version == 0 and len(program) not in {20, 32}:
        raise Bech32Error(f"a version 0 witness program of {len(program)} bytes")


def _expand(hrp: str) -> list[int]:
    return [ord(character) >> 5 for character in hrp] + [0] + [ord(c) & 31 for c in hrp]


def _polymod(values: list[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for index, generator in enumerate(_GENERATOR):
            if top >> index & 1:
                checksum ^= generator
    return checksum


def _regroup(data: bytes | list[int], source: int, target: int, *, pad: bool) -> list[int]:
    """Regroup ``source``-bit values as ``target``-bit values; BIP-173 is strict about padding."""
    accumulator = bits = 0
    result = []
    for value in data:
        accumulator = accumulator << source | value
        bits += source
        while bits >= target:
            bits -= target
            result.append(accumulator >> bits & (1 << target) - 1)
    rest = accumulator & (1 << bits) - 1
    if pad:
        if bits:
            result.append(rest << target - bits)
    elif bits >= source or rest:
        raise Bech32Error("the padding is not zero")
    return result
