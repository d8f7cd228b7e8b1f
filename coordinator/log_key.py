"""The key that signs heads of the audit log: opened like any signer's, and used for nothing else.

A key that spends is in more hands and more danger than one that only vouches, and whoever got hold
of one must not have the other. So the log's key is refused where it is also a chain's signer, the
seed, or the key of any other signer by another name.
"""

from dataclasses import dataclass, field, replace

from adapters.tables import TableError
from coordinator.config import Config, check_log
from coordinator.errors import ConfigError, KeysError
from coordinator.signers import Passphrases, Secret, open_signer, read_keystore
from coordinator.signers.holds import seed_fingerprint

__all__ = ["LogKey", "log_address", "open_log_key"]


@dataclass(frozen=True, slots=True)
class LogKey:
    """An opened key: the signer's name, its 20-byte address, and what signs."""

    name: str
    address: bytes
    _secret: Secret = field(repr=False)

    def sign(self, digest: bytes) -> bytes:
        """Return r ‖ s ‖ v (65 bytes, the lower s, v 27 or 28) over a 32-byte digest.

        Deterministic (RFC 6979): the same head is the same note, whoever of us signs it.
        """
        import coincurve

        made = coincurve.PrivateKey(self._secret.reveal()).sign_recoverable(digest, hasher=None)
        return made[:64] + bytes([made[64] + 27])


def open_log_key(config: Config, passphrases: Passphrases, name: str | None = None) -> LogKey:
    """Open the key of ``[log]``, or signer ``name`` as the log's next one.

    Raises:
        ConfigError: there is no ``[log]``, or the signer does something else as well.
        KeysError: the key can not be opened, or is one that also spends or makes secrets.
    """
    log = config.log
    if log is None:
        raise ConfigError(f"{config.path} has no [log], so no key signs. Nothing was sent.")
    name = name or log.key
    try:
        check_log(config, replace(log, key=name))
    except TableError as error:
        raise ConfigError(f"{config.path}: {error}; nothing was sent") from None
    opened = open_signer(name, config.signers[name], passphrases, devnet=config.devnet)
    if opened.kind != "ethereum" or opened.address is None:
        raise KeysError(
            f"signer {name}: the log is signed by a key of kind ethereum, not {opened.kind}. "
            "Nothing was sent. Make one: coordinator keys add log --kind ethereum"
        )
    _require_apart(config, name, opened.address, opened.secret)
    return LogKey(name, bytes.fromhex(opened.address.removeprefix("0x")), opened.secret)


def log_address(config: Config) -> bytes | None:
    """Return the 20-byte address of the log's key without opening it.

    None without ``[log]``, or where the address is known only once the key is opened.

    Raises:
        KeysError: its keystore can not be read.
    """
    signer = None if config.log is None else config.signers[config.log.key]
    if signer is None or signer.path is None:
        return None
    face = read_keystore(signer.path, f"signer {signer.name}: keystore").face
    if face is None or face.address is None:
        return None
    return bytes.fromhex(face.address.removeprefix("0x"))


def _require_apart(config: Config, name: str, address: str, secret: Secret) -> None:
    """Refuse a key that another file of this configuration holds too.

    Files are read for their public face only. What has none (a key from the environment) is told
    apart by its place (`check_log`).
    """
    for other, signer in config.signers.items():
        if other != name and signer.remote is not None and signer.remote.address == address:
            raise _same_key(name, f"signer {other}")
        if other == name or signer.path is None:
            continue
        face = read_keystore(signer.path, f"signer {other}: keystore").face
        if face is not None and face.address == address:
            raise _same_key(name, f"signer {other}")
    if config.secrets is not None:
        face = read_keystore(config.secrets.seed, "[secrets] seed: keystore").face
        if face is not None and face.fingerprint == seed_fingerprint(secret.reveal()):
            raise _same_key(name, "[secrets] seed")


def _same_key(name: str, other: str) -> KeysError:
    return KeysError(
        f"signer {name} holds the same key as {other}, but the log's key must do nothing else. "
        "Nothing was sent. Make another one: coordinator keys add log --kind ethereum"
    )
