"""The keys of a configuration: each opened once, however many chains it signs for.

Opening costs a second and a prompt, so a key that acts on two chains is opened for both at once.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from adapters.errors import Transient
from coordinator.config import Config, SignerConfig
from coordinator.errors import KeysError
from coordinator.signers import (
    Holder,
    HoldSecrets,
    Opened,
    Passphrases,
    PublicFace,
    RemoteSource,
    Secret,
    compare_remote,
    open_remote,
    open_seed,
    open_signer,
    read_keystore,
)

__all__ = [
    "Keyring",
    "LazySecrets",
    "SignerLocked",
    "WatchOnly",
    "is_log_key",
    "names_environment",
    "watched_accounts",
]

#: Kind of chain → kind of the keys that sign for it.
_SIGNER_KINDS: Final = {"evm": "ethereum", "bitcoin": "bitcoin"}


class SignerLocked(KeysError):
    """A signature was asked of a key that this command did not open."""


@dataclass(frozen=True, slots=True)
class WatchOnly:
    """A signer whose public half is enough for what the command does."""

    name: str
    address: str
    public_key: bytes

    async def sign(self, _unsigned: Any) -> bytes:
        """Raise SignerLocked."""
        raise SignerLocked(f"signer {self.name} was not opened for this command. Nothing was sent.")

    async def sign_input(self, _wanted: Any) -> bytes:
        """Raise SignerLocked."""
        raise SignerLocked(f"signer {self.name} was not opened for this command. Nothing was sent.")


class Keyring:
    """Opens signers when a chain first needs their kind.

    Args:
        sign: open keys; False reads public halves only, as far as files have them.
    """

    def __init__(self, config: Config, passphrases: Passphrases, *, sign: bool) -> None:
        self._config = config
        self._passphrases = passphrases
        self._sign = sign
        self._opened: dict[tuple[Any, ...], Opened] = {}
        self._holders: dict[str, Holder] = {}

    def of_kind(
        self, kind: str, *, network: str | None = None
    ) -> Iterator[tuple[str, Opened | Holder | None, WatchOnly]]:
        """Yield the signers whose keys are of ``kind``: name, the key if opened, its public half.

        A key that another process holds is given as its `Holder`, which was not asked yet.

        The log's key is none of them: what vouches for the journal must not be able to spend.

        Args:
            network: the chain's network; a key that was made for another one is refused.

        Raises:
            KeysError: a key can not be read or opened, or is for another network.
        """
        for name, source in self._config.signers.items():
            if source.kind not in (None, kind) or is_log_key(self._config, name):
                continue
            face = self._face(name, source)
            if face is not None and face.kind != kind:
                continue
            if source.remote is not None and face is not None:
                _require_network(name, source, face, network)
                key = bytes.fromhex(face.public_key) if face.public_key else b""
                holder = self._holder(name, source.remote) if self._sign else None
                yield name, holder, WatchOnly(name, str(face.address), key)
                continue
            opened = None
            # Some wallets leave the address out of their files: it is known once they are opened.
            if self._sign or face is None or face.address is None:
                opened = self._open(name, source)
                if opened.kind != kind:
                    continue
                face = opened.face
            _require_network(name, source, face, network)
            key = bytes.fromhex(face.public_key) if face.public_key else b""
            # Who asked for no key gets none, even if it had to be opened for its address.
            yield name, opened if self._sign else None, WatchOnly(name, face.address or "", key)

    def _face(self, name: str, source: SignerConfig) -> PublicFace | None:
        """Return what the keystore says of its key, or what is pinned of a remote one; None for a
        key from the environment.
        """
        if source.remote is not None:
            return source.remote.face
        if source.type != "keystore" or source.path is None:
            return None
        return read_keystore(source.path, f"signer {name}: keystore").face

    async def confirm(self, *, patient: bool) -> None:
        """Ask each remote signer that was given out for its key; compare it with the pinned one.

        Args:
            patient: one that does not answer, or has not loaded its key, is no reason to stop: what
                is stored already can be sent and watched without it, and each of its signatures is
                verified anyway.

        Raises:
            KeysError: one holds another key; or does not answer, or has no such key.
        """
        answers = await asyncio.gather(
            *(compare_remote(holder) for holder in self._holders.values()), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, Transient):
                if not patient:
                    raise KeysError(str(answer)) from None
            elif isinstance(answer, BaseException):
                raise answer

    async def close(self) -> None:
        """End the connections to remote signers."""
        for holder in self._holders.values():
            await holder.close()

    def _holder(self, name: str, source: RemoteSource) -> Holder:
        if name not in self._holders:
            self._holders[name] = open_remote(name, source, self._passphrases)
        return self._holders[name]

    def _open(self, name: str, source: SignerConfig) -> Opened:
        reference = (source.type, source.path, source.passphrase, source.variable)
        opened = self._opened.get(reference)
        if opened is None:
            opened = open_signer(name, source, self._passphrases, devnet=self._config.devnet)
            self._opened[reference] = opened
        return opened


def _require_network(
    name: str, source: SignerConfig, face: PublicFace, network: str | None
) -> None:
    """Refuse a key of one network on another: its address there is another one."""
    if network is None or face.network == network:
        return
    if source.remote is not None:
        raise KeysError(
            f"signer {name}: its network is {face.network}, and the chain is {network}. Nothing "
            "was sent. Pin the key of this chain's signer in chains.toml."
        )
    where = f"keystore {source.path}" if source.path else f"environment variable {source.variable}"
    raise KeysError(
        f"signer {name}: {where} holds a key for {face.network}, and the chain is {network}. "
        f"Nothing was sent. Make one for this chain (coordinator keys add {name} --kind "
        f"{face.kind} --network {network} --folder FOLDER) and name its file in chains.toml."
    )


def watched_accounts(config: Config, chain: str) -> dict[str, str]:
    """Return the addresses of our signers that fit the kind of ``chain``; opens no keystore."""
    kind = _SIGNER_KINDS[config.chains[chain].kind]
    found = {}
    for name, source in config.signers.items():
        if source.kind not in (None, kind) or is_log_key(config, name):
            continue
        if source.remote is not None:
            found[name] = str(source.remote.face.address)
            continue
        if source.path is None:
            continue
        face = read_keystore(source.path, f"signer {name}: keystore").face
        if face is not None and face.kind == kind and face.address:
            found[name] = face.address
    return found


def is_log_key(config: Config, name: str) -> bool:
    """Whether a signer signs the audit log, and so no transaction."""
    return config.log is not None and config.log.key == name


def names_environment(config: Config) -> bool:
    """Whether any key or passphrase of the configuration comes from the environment."""
    sources = [signer.passphrase for signer in config.signers.values()]
    sources += [one.remote.credentials for one in config.signers.values() if one.remote is not None]
    if config.secrets is not None:
        sources.append(config.secrets.passphrase)
    return any(signer.type == "env" for signer in config.signers.values()) or any(
        source is not None and source.startswith("env:") for source in sources
    )


class LazySecrets:
    """Implements `coordinator.ports.Secrets`; the seed is opened when a hold first needs it."""

    def __init__(self, config: Config, passphrases: Passphrases) -> None:
        self._config = config
        self.passphrases = passphrases
        self._seed: HoldSecrets | None = None

    def open(self) -> HoldSecrets:
        """Return the opened seed.

        Raises:
            KeysError: there is no seed in the configuration, or it can not be opened.
        """
        if self._seed is None:
            secrets = self._config.secrets
            if secrets is None:
                raise KeysError(
                    "a hold needs a seed for its preimage and chains.toml has no [secrets]; make "
                    "one: coordinator keys add seed --kind seed. Nothing was sent."
                )
            self._seed = open_seed(
                secrets.seed, secrets.passphrase, self.passphrases, devnet=self._config.devnet
            )
        return self._seed

    def preimage(self, *, saga: str, step: str, generation: int) -> Secret:
        """Return the 32-byte preimage of one hold."""
        return self.open().preimage(saga=saga, step=step, generation=generation)

    def hashlock(self, *, saga: str, step: str, generation: int) -> str:
        """Return its SHA-256 as 64 hex digits."""
        return self.open().hashlock(saga=saga, step=step, generation=generation)
