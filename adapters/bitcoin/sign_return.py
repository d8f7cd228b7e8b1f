"""Sign the transaction that brings a coin home, with nothing but Python: no library, no node.

This file is copied beside exported recovery recipes, so that they can be used without the program
that wrote them. It reads a recipe (JSON) and, from standard input, the private key that the recipe
names (64 hex digits or WIF); it prints the signed transaction in hex. It asks no network.

    python3 sign_return.py RECIPE.json --fee-sat 2000 < KEYFILE

Sources: BIP-143 (what is signed), BIP-65 (the lock time), RFC 6979 (nonces), SEC 1 and SEC 2
(ECDSA on secp256k1), BIP-141 (the witness). Not constant-time: use it on a machine of your own.
"""

import argparse
import hashlib
import hmac
import json
import sys
from pathlib import Path
from typing import Any, Final

_P: Final = 2**256 - 2**32 - 977
_N: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_G: Final = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ALL: Final = 1

_Point = tuple[int, int] | None


# ---------------------------------------------------------------- secp256k1


def _add(one: _Point, other: _Point) -> _Point:
    if one is None or other is None:
        return one or other
    if one[0] == other[0] and (one[1] + other[1]) % _P == 0:
        return None
    if one == other:
        slope = 3 * one[0] * one[0] * pow(2 * one[1], -1, _P) % _P
    else:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, _P) % _P
    x = (slope * slope - one[0] - other[0]) % _P
    return x, (slope * (one[0] - x) - one[1]) % _P


def _times(scalar: int) -> tuple[int, int]:
    found: _Point = None
    base: _Point = _G
    while scalar:
        if scalar & 1:
            found = _add(found, base)
        base = _add(base, base)
        scalar >>= 1
    assert found is not None, "a key is never a multiple of the order"
    return found


def public_key(secret: int) -> bytes:
    """Return the compressed public key, 33 bytes."""
    x, y = _times(secret)
    return bytes([2 + (y & 1)]) + x.to_bytes(32, "big")


def _nonces(secret: int, digest: bytes) -> Any:
    """Yield candidates for k (RFC 6979, section 3.2, with SHA-256)."""
    key, value = b"\x00" * 32, b"\x01" * 32
    reduced = (int.from_bytes(digest, "big") % _N).to_bytes(32, "big")
    seed = secret.to_bytes(32, "big") + reduced
    for round_ in (b"\x00", b"\x01"):
        key = hmac.digest(key, value + round_ + seed, "sha256")
        value = hmac.digest(key, value, "sha256")
    while True:
        value = hmac.digest(key, value, "sha256")
        yield int.from_bytes(value, "big")
        key = hmac.digest(key, value + b"\x00", "sha256")
        value = hmac.digest(key, value, "sha256")


def sign(secret: int, digest: bytes) -> bytes:
    """Return a DER signature (low s) of a 32-byte digest."""
    for k in _nonces(secret, digest):
        if not 0 < k < _N:
            continue
        r = _times(k)[0] % _N
        s = pow(k, -1, _N) * (int.from_bytes(digest, "big") + r * secret) % _N
        if r and s:
            break
    body = _der(r) + _der(min(s, _N - s))
    return b"\x30" + bytes([len(body)]) + body


def _der(number: int) -> bytes:
    raw = number.to_bytes(number.bit_length() // 8 + 1, "big")
    return b"\x02" + bytes([len(raw)]) + raw


# ---------------------------------------------------------------- keys


def read_key(text: str) -> int:
    """Return the private key of 64 hex digits or WIF.

    Raises:
        ValueError: it is neither.
    """
    word = text.strip().removeprefix("0x")
    if len(word) == 64:
        raw = bytes.fromhex(word)
    else:
        number = 0
        for letter in word:
            number = number * 58 + _BASE58.index(letter)
        if number.bit_length() > 38 * 8:
            raise ValueError("it is neither 64 hex digits nor WIF: it is too long")
        payload = number.to_bytes(38, "big")
        check = hashlib.sha256(hashlib.sha256(payload[:-4]).digest()).digest()[:4]
        if check != payload[-4:] or payload[33] != 1:
            raise ValueError("the WIF's checksum is wrong, or its key is not compressed")
        raw = payload[1:33]
    secret = int.from_bytes(raw, "big")
    if not 0 < secret < _N:
        raise ValueError("the number is no key")
    return secret


# ---------------------------------------------------------------- the transaction


def _double(raw: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(raw).digest()).digest()


def _counted(raw: bytes) -> bytes:
    assert len(raw) < 0xFD, "no item of these transactions is longer"
    return bytes([len(raw)]) + raw


def signed(recipe: dict[str, Any], secret: int, fee_sat: int) -> str:
    """Return the signed transaction in hex.

    Args:
        recipe: outpoint, amount_sat, script_code and to_script (hex), locktime, sequence,
            public_key (hex), witness: the names of its items, dust_sat.

    Raises:
        ValueError: the key is another one, or the fee leaves less than nodes relay.
    """
    key = public_key(secret)
    if key.hex() != recipe["public_key"]:
        raise ValueError(f"this is the key of {key.hex()}, the recipe needs {recipe['public_key']}")
    amount, left = int(recipe["amount_sat"]), int(recipe["amount_sat"]) - fee_sat
    if fee_sat <= 0 or left < int(recipe["dust_sat"]):
        raise ValueError(f"a fee of {fee_sat} leaves {left} satoshi; nodes relay no less than "
                         f"{recipe['dust_sat']}, and nothing without a fee")  # fmt: skip
    tx_id, _, index = str(recipe["outpoint"]).partition(":")
    outpoint = bytes.fromhex(tx_id)[::-1] + int(index).to_bytes(4, "little")
    sequence = int(recipe["sequence"]).to_bytes(4, "little")
    output = left.to_bytes(8, "little") + _counted(bytes.fromhex(recipe["to_script"]))
    version, locktime = b"\x02\x00\x00\x00", int(recipe["locktime"]).to_bytes(4, "little")
    code = bytes.fromhex(recipe["script_code"])
    digest = _double(
        version + _double(outpoint) + _double(sequence) + outpoint + _counted(code)
        + amount.to_bytes(8, "little") + sequence + _double(output) + locktime
        + _ALL.to_bytes(4, "little")
    )  # fmt: skip
    items = {"signature": sign(secret, digest) + bytes([_ALL]), "public_key": key,
             "empty": b"", "script": code}  # fmt: skip
    names = recipe["witness"]
    witness = bytes([len(names)]) + b"".join(_counted(items[name]) for name in names)
    raw = (
        version + b"\x00\x01" + b"\x01" + outpoint + b"\x00" + sequence + b"\x01" + output
        + witness + locktime
    )  # fmt: skip
    return raw.hex()


def main(arguments: list[str] | None = None) -> int:
    """Read a recipe and a key, print a transaction; return the exit code."""
    parser = argparse.ArgumentParser(description="Sign the return of a coin.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--fee-sat", type=int, required=True)
    parser.add_argument("--to-script", help="another output script, hex; default: the recipe's")
    given = parser.parse_args(arguments)
    recipe = json.loads(given.recipe.read_text(encoding="utf-8"))
    if given.to_script:
        recipe["to_script"] = given.to_script
    try:
        print(signed(recipe, read_key(sys.stdin.read()), given.fee_sat))  # noqa: T201
    except ValueError as error:
        print(f"nothing was signed: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
