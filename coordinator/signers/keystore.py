"""Keystore files: made once, read without a passphrase for their address, opened with one."""

import json
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from adapters.json_text import parse_json
from coordinator.errors import KeysError
from coordinator.signers.container import Sealed, inspect, seal, unseal
from coordinator.signers.files import folder_warnings, read_private, write_private
from coordinator.signers.keytext import WIF_MAINNET, is_key, parse_key
from coordinator.signers.kinds import KINDS, Opened, PublicFace, signs
from coordinator.signers.passphrase import MIN_NEW_BYTES
from coordinator.signers.secret import Secret

__all__ = [
    "Listed",
    "check_keystore",
    "create_keystore",
    "import_key",
    "keystore_path",
    "list_keystores",
    "open_keystore",
    "read_keystore",
]

_FILE_BYTES_MAX: Final = 1 << 16
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Listed:
    """One file of a folder of keystores.

    Attributes:
        path: the file.
        face: its public face, None where it could not be read.
        devnet: its passphrase is cheap to guess; it opens on a devnet only.
        problem: why it could not be read, None when it could.
    """

    path: Path
    face: PublicFace | None
    devnet: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class _File:
    """A keystore file as read: who it says it is, and its locked content."""

    face: PublicFace
    sealed: Sealed


def keystore_path(folder: Path, name: str) -> Path:
    """Return the file of the key called ``name``: letters, digits, ``-`` and ``_``, up to 64."""
    if not _NAME.fullmatch(name):
        raise KeysError(
            "a key's name is letters, digits, - and _, begins with a letter or digit, and has at "
            "most 64 of them. Nothing was stored."
        )
    return folder / f"{name}.json"


def create_keystore(
    path: Path, kind: str, passphrase: Secret, *, network: str | None = None, devnet: bool = False
) -> PublicFace:
    """Make a new random key, store it encrypted and prove that the file opens; return its face.

    Args:
        path: must not exist; made with mode 0600, its folder with 0700.
        kind: ``ethereum``, ``bitcoin`` or ``seed``.
        passphrase: at least `MIN_NEW_BYTES` bytes outside a devnet.
        network: for ``bitcoin`` only, a name in `BITCOIN_HRP`.
        devnet: cheap key derivation: opens in milliseconds, and on a devnet only.

    Raises:
        KeysError: the file exists, an argument is wrong, or the disk refuses.
    """
    return _store(path, kind, _random_key(), passphrase, network=network, devnet=devnet)


def import_key(
    path: Path,
    kind: str,
    text: Secret,
    passphrase: Secret,
    *,
    network: str | None = None,
    devnet: bool = False,
) -> PublicFace:
    """Store a key that exists already; ``text`` is 64 hex digits, or WIF for ``bitcoin``.

    Raises:
        KeysError: as `create_keystore`; or the text is no key, or WIF of another network.
    """
    parsed = parse_key(text, str(path))
    if parsed.wif_version is not None:
        if kind != "bitcoin":
            raise KeysError(f"{path}: WIF is for kind bitcoin. Nothing was stored.")
        if (parsed.wif_version == WIF_MAINNET) != (network == "mainnet"):
            raise KeysError(
                f"{path}: this WIF is for {'' if network != 'mainnet' else 'not '}mainnet and the "
                f"network asked for is {network}. Nothing was stored."
            )
    return _store(path, kind, parsed.secret, passphrase, network=network, devnet=devnet)


def read_keystore(path: Path, what: str = "keystore") -> Listed:
    """Return a keystore's public face without opening it; ``what`` names it in messages.

    Its fields are not authenticated until `open_keystore` compares them with the key inside.

    Raises:
        KeysError: the file is missing, open to others, or no keystore.
    """
    file = _read(path, what)
    return Listed(path, file.face, devnet=not file.sealed.strong)


def list_keystores(folder: Path) -> tuple[tuple[Listed, ...], tuple[str, ...]]:
    """Return every ``*.json`` of a folder by name, and warnings about the folder itself.

    Raises:
        KeysError: the folder can not be read.
    """
    try:
        paths = sorted(folder.glob("*.json"))
        warnings = folder_warnings(folder)
    except OSError as error:
        raise KeysError(f"{folder}: {error.strerror}. Make a key: coordinator keys add") from None
    return tuple(_listed_or_problem(path) for path in paths), warnings


def open_keystore(
    path: Path, passphrase: Secret, *, what: str = "keystore", devnet: bool = False
) -> Opened:
    """Decrypt a keystore and check that its public fields belong to the key inside.

    Args:
        path: the file.
        passphrase: see `Passphrases`.
        what: names the keystore in messages, for example ``signer treasury: keystore``.
        devnet: accept a passphrase that is cheap to guess.

    Raises:
        KeysError: wrong passphrase; no keystore; its fields were changed; it is for devnets only.
    """
    file = _read(path, what)
    if not (devnet or file.sealed.strong):
        raise KeysError(
            f"{what} {path}: its passphrase is cheap to guess (made for a devnet), so it opens "
            "only where devnet = true. Make a new key: coordinator keys add. Nothing was sent."
        )
    key = unseal(file.sealed, passphrase, f"{what} {path}")
    if not is_key(key.reveal()):
        raise KeysError(f"{what} {path}: holds no secp256k1 key. Nothing was sent.")
    row = KINDS[file.face.kind]
    face = row.derive(key, file.face.network)
    if not row.shown(file.face).items() <= row.shown(face).items():
        raise KeysError(
            f"{what} {path}: the address or key written in the file is not that of the key "
            "inside; someone changed the file. Restore it from a backup. Nothing was sent."
        )
    return Opened(face, key)


def check_keystore(path: Path, passphrase: Secret, *, devnet: bool = False) -> PublicFace:
    """Open a keystore, sign a fixed message and verify the signature; a seed is only opened.

    Raises:
        KeysError: as `open_keystore`, or the signature does not verify.
    """
    opened = open_keystore(path, passphrase, devnet=devnet)
    public_key = opened.public_key
    if public_key is not None and not signs(opened.secret, public_key):
        raise KeysError(f"keystore {path}: its signature does not verify. Do not use this key.")
    opened.secret.wipe()
    return opened.face


def _store(
    path: Path,
    kind: str,
    key: Secret,
    passphrase: Secret,
    *,
    network: str | None,
    devnet: bool,
) -> PublicFace:
    row = KINDS.get(kind)
    if row is None:
        raise KeysError(f"{path}: kind must be one of {', '.join(KINDS)}. Nothing was stored.")
    if (network is None) if row.networks else (network is not None):
        raise KeysError(f"{path}: a network is for kind bitcoin, and needed there.")
    if network is not None and network not in row.networks:
        raise KeysError(f"{path}: network must be one of {', '.join(sorted(row.networks))}.")
    if not devnet and len(passphrase.reveal()) < MIN_NEW_BYTES:
        raise KeysError(
            f"{path}: a passphrase needs at least {MIN_NEW_BYTES} characters. Nothing was stored."
        )
    face = row.derive(key, network)
    fields = {**row.shown(face), **seal(key, passphrase, devnet=devnet)}
    if devnet:
        # For people who look into the file; what decides is the cost of the key derivation.
        fields["devnet_only"] = True
    write_private(path, (json.dumps(fields, indent=1, sort_keys=True) + "\n").encode())
    # Nobody may send money to an address before the file that owns it was opened once.
    return check_keystore(path, passphrase, devnet=devnet)


def _random_key() -> Secret:
    while not is_key(raw := secrets.token_bytes(32)):
        pass  # the chance is 2^-128, but such a number is no key
    return Secret(raw)


def _read(path: Path, what: str) -> _File:
    file = _interpret(read_private(path, what, max_bytes=_FILE_BYTES_MAX))
    if isinstance(file, str):
        raise KeysError(f"{what} {path}: {file}. Restore it from a backup. Nothing was sent.")
    return file


def _interpret(content: bytearray) -> _File | str:
    """Return what a file says, or what is wrong with it.

    Never raises, and answers in fixed words: the file may be a key that someone stored in the
    clear, and a traceback can show the local names of its frames.
    """
    try:
        fields = parse_json(content.decode("utf-8"), _once)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        return "not a keystore (no JSON object, or a field twice)"
    kind = fields.get("kind", "ethereum")
    if not isinstance(kind, str) or kind not in KINDS:
        return f"its kind is none of {', '.join(KINDS)}"
    face, sealed = KINDS[kind].seen(fields), inspect(fields)
    if isinstance(face, str):
        return face
    return sealed if isinstance(sealed, str) else _File(face, sealed)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field appears twice")
    return fields


def _listed_or_problem(path: Path) -> Listed:
    try:
        return read_keystore(path)
    except KeysError as error:
        return Listed(path, None, problem=str(error))
