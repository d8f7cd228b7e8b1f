"""The encrypted container: Web3 Secret Storage, version 3 (ethereum.org, Web3 Secret Storage).

The key is encrypted with AES-128-CTR under scrypt of the passphrase, and a keccak MAC tells a wrong
passphrase from a right one. eth_keyfile does the cryptography; what it is given is checked here
first, because a hostile file could otherwise ask for any amount of memory. It is imported where it
is used: that costs more than a second.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final

from coordinator.errors import KeysError
from coordinator.signers.secret import Secret

__all__ = ["Sealed", "inspect", "seal", "unseal"]

#: scrypt n (r = 8, p = 1): 256 MiB and about a second, the strength geth uses for its own keys.
_SCRYPT_N: Final = 1 << 18
#: On a devnet only: 4 MiB and milliseconds, no protection against guessing.
_SCRYPT_N_DEVNET: Final = 1 << 12

#: Least work that protects a key outside a devnet; geth's light keystores just pass.
_SCRYPT_WORK_MIN: Final = 1 << 17
_PBKDF2_ROUNDS_MIN: Final = 1 << 18
#: Most work that a file may ask for.
_SCRYPT_WORK_MAX: Final = 1 << 24
_SCRYPT_MEMORY_MAX: Final = 1 << 30
_PBKDF2_ROUNDS_MAX: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class Sealed:
    """A container that can be opened safely; ``strong`` when its passphrase is costly to guess."""

    crypto: Mapping[str, Any] = field(repr=False)
    strong: bool


def seal(key: Secret, passphrase: Secret, *, devnet: bool) -> dict[str, Any]:
    """Return the container of a 32-byte secp256k1 key: ``{"crypto", "id", "version": 3}``.

    ``devnet`` takes cheap parameters, which `inspect` recognises, so that the file opens on
    a devnet only.

    Raises:
        KeysError: the key could not be encrypted (no memory).
    """
    container = _seal(key, passphrase, _SCRYPT_N_DEVNET if devnet else _SCRYPT_N)
    if container is None:
        raise KeysError("the key could not be encrypted: is memory short? Nothing was stored.")
    return container


def inspect(container: Mapping[str, Any]) -> Sealed | str:
    """Return what can be opened, or a text that says why it can not; needs no passphrase.

    ``container`` is the parsed file; its keys may be in any case, as old tools wrote them.
    """
    crypto = _crypto(container)
    if crypto is None:
        return "it is no Web3 Secret Storage of version 3"
    return _trouble(crypto) or Sealed(crypto, _is_strong(crypto))


def unseal(sealed: Sealed, passphrase: Secret, what: str) -> Secret:
    """Return the key inside; ``what`` names keystore and signer in the message.

    Raises:
        KeysError: the passphrase is wrong, or the file was damaged.
    """
    key = _unseal(sealed.crypto, passphrase)
    if key is None:
        raise KeysError(
            f"{what}: wrong passphrase, or the file was damaged. Nothing was sent. Check where "
            "the passphrase comes from and run: coordinator keys test"
        )
    return key


def _is_strong(crypto: Mapping[str, Any]) -> bool:
    """Tell whether guessing the passphrase costs enough for keys outside a devnet."""
    parameters = crypto["kdfparams"]
    if crypto["kdf"] == "scrypt":
        work: int = parameters["n"] * parameters["r"] * parameters["p"]
        return work >= _SCRYPT_WORK_MIN
    rounds: int = parameters["c"]
    return rounds >= _PBKDF2_ROUNDS_MIN


def _seal(key: Secret, passphrase: Secret, scrypt_n: int) -> dict[str, Any] | None:
    keyfile = _eth_keyfile()
    try:
        made = keyfile.create_keyfile_json(
            key.reveal(), passphrase.reveal(), kdf="scrypt", iterations=scrypt_n
        )
    except Exception:  # noqa: BLE001  # its frames hold key and passphrase: none may travel
        return None
    # The address is public, but which of our files have one is decided by their kind.
    return {name: made[name] for name in ("crypto", "id", "version")}


def _unseal(crypto: Mapping[str, Any], passphrase: Secret) -> Secret | None:
    keyfile = _eth_keyfile()
    try:
        container = {"version": 3, "crypto": crypto}
        return Secret(keyfile.decode_keyfile_json(container, passphrase.reveal()))
    except Exception:  # noqa: BLE001  # its frames hold the passphrase: none may travel
        return None


def _eth_keyfile() -> ModuleType:
    # A dependency of eth_keyfile raises the recursion limit when it is imported. With that, deep
    # JSON from a node could overflow the C stack and end the process instead of being refused.
    limit = sys.getrecursionlimit()
    from eth_keyfile import keyfile

    sys.setrecursionlimit(limit)
    return keyfile


def _crypto(container: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the ``crypto`` table with keys in lower case, None where its shape is wrong."""
    top = _lowered(container)
    version, crypto = top.get("version"), top.get("crypto")
    if type(version) is not int or version != 3 or not isinstance(crypto, dict):
        return None
    crypto = _lowered(crypto)
    for name in ("cipherparams", "kdfparams"):
        if not isinstance(crypto.get(name), dict):
            return None
        crypto[name] = _lowered(crypto[name])
    return crypto


def _lowered(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key.lower(): value for key, value in table.items()}


def _trouble(crypto: Mapping[str, Any]) -> str | None:
    """Say what keeps a container from being opened safely, None when nothing does."""
    kdf, parameters = crypto.get("kdf"), crypto["kdfparams"]
    if crypto.get("cipher") != "aes-128-ctr" or not _is_hex(crypto["cipherparams"].get("iv"), 16):
        return "its cipher is not aes-128-ctr"
    if not (_is_hex(crypto.get("ciphertext"), 32) and _is_hex(crypto.get("mac"), 32)):
        return "its ciphertext or MAC is not 32 bytes of hex"
    if parameters.get("dklen") != 32 or not _is_hex(parameters.get("salt"), None):
        return "its key derivation has no salt or another length than 32"
    if kdf == "scrypt":
        return _scrypt_trouble(*(parameters.get(name) for name in ("n", "r", "p")))
    if kdf == "pbkdf2":
        rounds = parameters.get("c")
        if parameters.get("prf") != "hmac-sha256" or not _is_count(rounds, _PBKDF2_ROUNDS_MAX):
            return "its pbkdf2 parameters are out of range"
        return None
    return "its key derivation is neither scrypt nor pbkdf2"


def _scrypt_trouble(n: Any, r: Any, p: Any) -> str | None:
    if not all(_is_count(number, _SCRYPT_WORK_MAX) for number in (n, r, p)):
        return "its scrypt parameters are out of range"
    if n < 2 or n & (n - 1):
        return "its scrypt n is not a power of two"
    if 128 * n * r > _SCRYPT_MEMORY_MAX or n * r * p > _SCRYPT_WORK_MAX:
        return "its scrypt parameters ask for more memory or work than we grant"
    return None


def _is_count(value: object, most: int) -> bool:
    return type(value) is int and 0 < value <= most


def _is_hex(value: object, length: int | None) -> bool:
    """Tell whether ``value`` is hex of ``length`` bytes (None: 1 to 64 bytes)."""
    if not isinstance(value, str) or not value.isascii() or not value.isalnum():
        return False
    try:
        size = len(bytes.fromhex(value))
    except ValueError:
        return False
    return 0 < size <= 64 if length is None else size == length
