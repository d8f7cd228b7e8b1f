"""Keys that another process holds: what chains.toml says of them, and how each is asked.

Two holders exist: an HTTP service in the style of Web3Signer (`http_key`) and a command
(`command_key`). Both only ever return bytes; the adapters verify them against what is pinned here.
What goes wrong is sorted by what it allows next: the same question again (`Transient`), or not as
things stand (`Rejected`). Neither uses up a nonce or a coin: the journal knows of no attempt before
its signature is there.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from adapters.errors import Rejected, Transient
from adapters.remote_key import SigningRequest
from coordinator.errors import KeysError
from coordinator.signers.kinds import PublicFace, face_of
from coordinator.signers.literals import looks_like_secret
from coordinator.signers.passphrase import Passphrases
from coordinator.signers.secret import Secret

__all__ = ["Holder", "RemoteSource", "away", "hint", "open_holder", "open_remote", "refused"]

_HINT_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class RemoteSource:
    """A ``[signer.NAME]`` of type ``http`` or ``command``.

    Attributes:
        kind: ``ethereum`` or ``bitcoin``.
        address: pinned, checksummed; None for ``bitcoin``.
        public_key: pinned, 33 bytes compressed; None for ``ethereum``.
        network: of a ``bitcoin`` key.
        timeout_s: for one question, from beginning to end.
        url: of an HTTP signer, without a slash at its end; loopback or https.
        credentials: where its bearer token comes from, as passphrases do; None for none.
        argv: of a command; its first word is the program's path.
    """

    kind: str
    timeout_s: float
    address: str | None = None
    public_key: bytes | None = None
    network: str | None = None
    url: str | None = None
    credentials: str | None = None
    argv: tuple[str, ...] = ()

    @property
    def face(self) -> PublicFace:
        """What is pinned, as a keystore would show it."""
        if self.public_key is not None:
            return face_of(self.kind, self.public_key, self.network)
        return PublicFace(self.kind, self.address)

    @property
    def place(self) -> str:
        """Where it is, for messages: of a URL scheme, host and port only."""
        if self.url is None:
            return self.argv[0]
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


class Holder(Protocol):
    """An open way to a key that another process holds; one `adapters.remote_key.RemoteKey`."""

    @property
    def name(self) -> str:
        """The signer's name in chains.toml."""

    @property
    def source(self) -> RemoteSource:
        """What chains.toml says of it."""

    async def public_key(self) -> bytes:
        """Ask for the public half of the key: 33 bytes, compressed; not compared here.

        Raises:
            Transient: no answer.
            Rejected: it holds no such key.
        """

    async def signature(self, request: SigningRequest) -> bytes:
        """Return a signature, not verified yet; see `adapters.remote_key.RemoteKey`."""

    async def close(self) -> None:
        """End connections; safe to call twice."""


def open_remote(
    name: str, source: RemoteSource, passphrases: Passphrases, *, shows_errors: bool = False
) -> Holder:
    """Return the way to a remote key; reads its credentials and asks nothing yet.

    Args:
        shows_errors: a command's standard error is ours; else it is thrown away.

    Raises:
        KeysError: the credentials can not be read.
    """
    if source.url is not None:
        from coordinator.signers.http_key import HttpKey

        return HttpKey(name, source, _token(name, source.credentials, passphrases))
    from coordinator.signers.command_key import CommandKey

    return CommandKey(name, source, shows_errors=shows_errors)


def _token(name: str, credentials: str | None, passphrases: Passphrases) -> Secret | None:
    if credentials is None:
        return None
    token = passphrases.read(credentials, f"signer {name}: credentials")
    if not all(0x20 < byte < 0x7F for byte in token.reveal()):
        raise KeysError(
            f"signer {name}: its credentials are no single line of printable characters, so no "
            "bearer token. Nothing was sent."
        )
    return token


@asynccontextmanager
async def open_holder(
    name: str, source: RemoteSource, passphrases: Passphrases, *, shows_errors: bool = False
) -> AsyncIterator[Holder]:
    """Open a remote key for a look; see `open_remote`."""
    holder = open_remote(name, source, passphrases, shows_errors=shows_errors)
    try:
        yield holder
    finally:
        await holder.close()


def away(name: str, place: str, why: str) -> Transient:
    """Return the error for a holder that gave no usable answer."""
    return Transient(
        f"signer {name}: {place} {why}. Nothing was sent, no nonce or coin is used up, and it is "
        f"asked again. Look at it: coordinator keys test {name}"
    )


def refused(name: str, place: str, why: str) -> Rejected:
    """Return the error for a holder that says no."""
    return Rejected(
        f"signer {name}: {place} refuses: {why}. Nothing was sent and no nonce or coin is used up. "
        "Look at its own policy and log.",
        code="signer",
    )


def hint(text: Any) -> str:
    """Return a foreign text for people: printable, short, and nothing that looks like a secret."""
    shown = "".join(c if c.isprintable() else " " for c in str(text)).strip()[:_HINT_CHARS]
    if not shown:
        return "it gives no reason"
    kind = looks_like_secret(str(text))
    return f"its reason is withheld, because it holds {kind}" if kind else shown
