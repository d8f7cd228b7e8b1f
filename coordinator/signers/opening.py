"""From a signer's entry in chains.toml to its key."""

from pathlib import Path
from typing import Protocol

from coordinator.errors import KeysError
from coordinator.signers.holds import HoldSecrets
from coordinator.signers.keystore import open_keystore, read_keystore
from coordinator.signers.keytext import WIF_MAINNET, parse_key
from coordinator.signers.kinds import KINDS, Opened
from coordinator.signers.passphrase import Passphrases

__all__ = ["SignerSource", "open_seed", "open_signer"]


class SignerSource(Protocol):
    """What is read of a ``[signer.NAME]`` table; a configuration's own class fits."""

    @property
    def type(self) -> str:
        """``keystore``, ``env``, ``http`` or ``command``."""

    @property
    def path(self) -> Path | None:
        """The keystore file, None for other types."""

    @property
    def passphrase(self) -> str | None:
        """The source of its passphrase; None asks on the terminal."""

    @property
    def variable(self) -> str | None:
        """The environment variable with the key, None for other types."""


def open_signer(
    name: str, source: SignerSource, passphrases: Passphrases, *, devnet: bool = False
) -> Opened:
    """Open the key of one signer.

    Args:
        name: the signer's name in chains.toml.
        source: its table.
        passphrases: where passphrases come from; also decides whether the environment may be
            read (`check_env_allowed`).
        devnet: the configuration's flag; accepts keystores that are cheap to guess.

    Raises:
        KeysError: naming the signer and its keystore or variable, never what they hold.
    """
    if source.type == "keystore" and source.path is not None:
        opened = _open_file(
            f"signer {name}", source.path, source.passphrase, passphrases, devnet=devnet
        )
        if not KINDS[opened.kind].signs:
            raise KeysError(
                f"signer {name}: keystore {source.path} holds a seed, which signs nothing; name "
                "it under [secrets]. Nothing was sent."
            )
        return opened
    if source.type == "env" and source.variable is not None:
        return _open_variable(name, source.variable, passphrases)
    if source.type in {"http", "command"}:
        raise KeysError(
            f"signer {name} is remote (type {source.type}), so there is no key to open here: it "
            "signs transactions of steps and nothing else. Name a keystore for this. Nothing was "
            "signed and nothing was sent."
        )
    raise KeysError(
        f"signer {name}: needs type keystore with a path, or type env with a variable "
        "(devnet only). Nothing was sent."
    )


def open_seed(
    path: Path, passphrase: str | None, passphrases: Passphrases, *, devnet: bool = False
) -> HoldSecrets:
    """Open the seed of hold preimages, the ``[secrets]`` table of chains.toml.

    Raises:
        KeysError: as `open_signer`, or the keystore holds a signing key.
    """
    opened = _open_file("[secrets] seed", path, passphrase, passphrases, devnet=devnet)
    if opened.kind != "seed":
        raise KeysError(
            f"[secrets] seed {path}: holds a signing key, not a seed. Make one: coordinator keys "
            "add seed --kind seed. Nothing was sent."
        )
    return HoldSecrets(opened.secret)


def _open_file(
    what: str, path: Path, source: str | None, passphrases: Passphrases, *, devnet: bool
) -> Opened:
    # Read first: a missing or damaged file should not cost a prompt.
    read_keystore(path, f"{what}: keystore")
    passphrase = passphrases.read(source or "prompt", f"{what} ({path})")
    try:
        return open_keystore(path, passphrase, what=f"{what}: keystore", devnet=devnet)
    finally:
        passphrase.wipe()


def _open_variable(name: str, variable: str, passphrases: Passphrases) -> Opened:
    """Hex is an Ethereum key; WIF is a Bitcoin key, which on a devnet means regtest."""
    text = passphrases.read(f"env:{variable}", f"signer {name}")
    parsed = parse_key(text, f"signer {name}: environment variable {variable}")
    text.wipe()
    if parsed.wif_version == WIF_MAINNET:
        raise KeysError(
            f"signer {name}: environment variable {variable} holds a Bitcoin mainnet key. "
            "Nothing was sent."
        )
    kind, network = ("ethereum", None) if parsed.wif_version is None else ("bitcoin", "regtest")
    return Opened(KINDS[kind].derive(parsed.secret, network), parsed.secret)
