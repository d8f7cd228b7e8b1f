"""Where passphrases come from: a private file, an open descriptor, a terminal.

A configuration names a source (``file:PATH``, ``fd:N``, ``prompt``, and ``env:NAME`` on a devnet)
and never a passphrase. Each is asked for when a keystore needs it.
"""

import getpass
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, final

from coordinator.errors import KeysError
from coordinator.signers.files import read_descriptor, read_private
from coordinator.signers.secret import Secret

__all__ = ["MIN_NEW_BYTES", "PASSPHRASE_BYTES_MAX", "Passphrases", "is_source"]

PASSPHRASE_BYTES_MAX: Final = 4096
#: Shortest passphrase accepted for a new keystore outside a devnet.
MIN_NEW_BYTES: Final = 12
_KINDS: Final = "file:PATH, fd:N, prompt (env:NAME where devnet = true)"


def is_source(text: str) -> bool:
    """Tell whether ``text`` names a source; what does not may be a passphrase written in clear."""
    kind, _, rest = text.partition(":")
    return text == "prompt" or (kind in {"file", "fd", "env"} and rest != "")


@final
class Passphrases:
    """Reads passphrases for one process run.

    Args:
        base: folder that relative ``file:`` paths start from (that of chains.toml).
        interactive: False refuses ``prompt`` (``--no-input``).
        env_allowed: what `check_env_allowed` said; False refuses ``env:`` until
            `allow_environment`.
        environ: the environment to read ``env:`` from.
    """

    def __init__(
        self,
        base: Path = Path(),
        *,
        interactive: bool = True,
        env_allowed: bool = False,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._base = base
        self._interactive = interactive
        self._env_allowed = env_allowed
        self._environ = environ
        # A descriptor can be read once; several keystores may share its passphrase.
        self._from_descriptor: dict[int, Secret] = {}
        #: chains whose nodes were asked for their genesis before the environment was allowed.
        self.admitted: set[str] = set()

    def allow_environment(self, chains: Iterable[str] = ()) -> None:
        """Read ``env:`` from now on: `check_env_allowed` had nothing against it, nor against the
        genesis of ``chains``.
        """
        self._env_allowed = True
        self.admitted |= set(chains)

    def read(self, source: str, what: str) -> Secret:
        """Return the passphrase that ``source`` leads to; one trailing line end is not part of it.

        Args:
            source: ``file:PATH``, ``fd:N``, ``prompt`` or ``env:NAME``.
            what: who needs it, for the prompt and for messages.

        Raises:
            KeysError: the source is unknown, unreadable, open to other users, or empty.
        """
        if not is_source(source):
            # The text itself stays out: someone may have written the passphrase here.
            raise KeysError(
                f"{what}: passphrase must name its source, one of {_KINDS}. Nothing was sent."
            )
        kind, _, rest = source.partition(":")
        readers: dict[str, Callable[[str, str], Secret]] = {
            "file": self._file,
            "fd": self._descriptor,
            "env": self._variable,
        }
        if kind in readers:
            return _not_empty(readers[kind](rest, what), what)
        return _not_empty(self._prompt(f"Passphrase for {what}: ", what), what)

    def ask_new(self, what: str) -> Secret:
        """Ask twice on the terminal for a passphrase to be.

        Raises:
            KeysError: there is no terminal, or the two differ.
        """
        first = self._prompt(f"New passphrase for {what}: ", what)
        if first != self._prompt("The same once more: ", what):
            raise KeysError(f"{what}: the two passphrases differ. Nothing was stored.")
        return _not_empty(first, what)

    def ask_key(self, what: str) -> Secret:
        """Ask on the terminal, unseen, for a private key to import."""
        return _not_empty(self._prompt(f"Private key for {what}: ", what), what)

    def _prompt(self, prompt: str, what: str) -> Secret:
        if not (self._interactive and _has_terminal()):
            raise KeysError(
                f"{what}: there is no terminal to ask on. Use file:PATH or fd:N instead of a "
                "prompt. Nothing was sent."
            )
        try:
            return Secret(getpass.getpass(prompt).encode())
        except EOFError:
            raise KeysError(f"{what}: no answer on the terminal. Nothing was sent.") from None

    def _file(self, path: str, what: str) -> Secret:
        what_file = f"{what}: passphrase file"
        content = read_private(self._base / path, what_file, max_bytes=PASSPHRASE_BYTES_MAX)
        return _without_line_end(content)

    def _descriptor(self, number: str, what: str) -> Secret:
        if not (number.isascii() and number.isdecimal() and len(number) <= 6):
            raise KeysError(f"{what}: fd:N takes the number of an open descriptor.")
        descriptor = int(number)
        known = self._from_descriptor.get(descriptor)
        if known is None:
            known = _not_empty(_without_line_end(_drain(descriptor, what)), what)
            self._from_descriptor[descriptor] = known
        # Callers wipe what they get.
        return Secret(known.reveal())

    def _variable(self, name: str, what: str) -> Secret:
        if not self._env_allowed:
            raise KeysError(
                f"{what}: the environment is read on a local devnet only. Use a keystore with a "
                "passphrase from file:PATH, fd:N or prompt. Nothing was sent."
            )
        if name not in self._environ:
            raise KeysError(f"{what}: environment variable {name} is not set. Nothing was sent.")
        return Secret(os.fsencode(self._environ[name]))


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _drain(descriptor: int, what: str) -> bytearray:
    """Read a descriptor to its end and close it, so that no child process inherits it."""
    if os.isatty(descriptor):
        raise KeysError(f"{what}: fd:{descriptor} is a terminal; use prompt. Nothing was sent.")
    content, why = read_descriptor(descriptor, PASSPHRASE_BYTES_MAX)
    if content is None:
        raise KeysError(f"{what}: fd:{descriptor}: {why}. Nothing was sent.")
    if descriptor > 2:
        os.close(descriptor)
    return content


def _without_line_end(content: bytearray) -> Secret:
    end = len(content)
    if content[end - 1 : end] == b"\n":
        end -= 2 if content[end - 2 : end] == b"\r\n" else 1
    secret = Secret(content[:end])
    content[:] = bytes(len(content))
    return secret


def _not_empty(secret: Secret, what: str) -> Secret:
    if secret == Secret(b""):
        raise KeysError(f"{what}: the passphrase is empty. Nothing was sent.")
    return secret
