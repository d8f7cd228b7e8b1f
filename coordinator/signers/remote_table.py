"""``[signer.NAME]`` of type ``http`` and ``command`` in chains.toml, read strictly."""

from typing import Final
from urllib.parse import urlsplit

from adapters.tables import Table
from coordinator.plan.participants import checksummed
from coordinator.signers.environment import is_loopback
from coordinator.signers.kinds import BITCOIN_HRP
from coordinator.signers.passphrase import is_source
from coordinator.signers.remote import RemoteSource

__all__ = ["read_remote"]

_ADDRESS: Final = "0x[0-9a-fA-F]{40}"
_PUBLIC_KEY: Final = "0[23][0-9a-f]{64}"
_WORDS_MAX: Final = 64
_TIMEOUT_MS: Final = 5_000


def read_remote(table: Table, kind: str | None, *, devnet: bool) -> RemoteSource:
    """Return what a signer's table says, its ``type`` and ``kind`` read already.

    Raises:
        TableError: naming the key and what would mend it; a credential is never quoted.
    """
    timeout_s = table.integer("timeout_ms", _TIMEOUT_MS, minimum=100, maximum=60_000) / 1000
    if table.text("type") == "http":
        if kind not in (None, "ethereum"):
            raise table.error(
                "kind",
                "must be 'ethereum': an HTTP signer hashes with keccak-256 itself, and Bitcoin "
                'signs over another hash; use type = "command"',
            )
        return RemoteSource(
            "ethereum", timeout_s, address=_address(table), url=_url(table),
            credentials=_credentials(table, devnet=devnet),
        )  # fmt: skip
    argv = _argv(table)
    if kind == "ethereum":
        return RemoteSource(kind, timeout_s, address=_address(table), argv=argv)
    if kind == "bitcoin":
        network = table.text("network")
        if network not in BITCOIN_HRP:
            raise table.error("network", f"must be one of {', '.join(sorted(BITCOIN_HRP))}")
        key = bytes.fromhex(table.text("public_key", pattern=_PUBLIC_KEY))
        return RemoteSource(kind, timeout_s, public_key=key, network=network, argv=argv)
    raise table.error("kind", "must be 'ethereum' or 'bitcoin': a command does not say it itself")


def _url(table: Table) -> str:
    text = table.text("url").rstrip("/")
    try:
        parts = urlsplit(text)
        well = parts.hostname is not None and (parts.port is None or parts.port > 0)
    except ValueError:
        well = False
    if not well or parts.query or parts.fragment or "@" in parts.netloc:
        raise table.error("url", "must be https://HOST[:PORT][/PATH] and nothing else")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(text)):
        raise table.error(
            "url", "must begin with https://; http:// is for a signer on this machine only"
        )
    return text


def _credentials(table: Table, *, devnet: bool) -> str | None:
    text = table.text("credentials", None)
    if text is None:
        return None
    if not is_source(text) or text == "prompt" or text.startswith("fd:"):
        raise table.error("credentials", "must be 'file:PATH', never the token itself")
    if text.startswith("env:") and not devnet:
        raise table.error("credentials", "come from the environment, which needs devnet = true")
    if text.startswith("file:"):
        return f"file:{table.locate('credentials', text.removeprefix('file:'))}"
    return text


def _argv(table: Table) -> tuple[str, ...]:
    words = table.texts("argv")
    if not 0 < len(words) <= _WORDS_MAX:
        raise table.error("argv", f"must have 1 to {_WORDS_MAX} words; the first is the program")
    if "/" not in words[0]:
        raise table.error("argv", "must begin with the path of the program, not with a bare name")
    return (str(table.locate("argv", words[0])), *words[1:])


def _address(table: Table) -> str:
    """Return the pinned address in its checksummed form (EIP-55)."""
    digits = table.text("address", pattern=_ADDRESS)[2:]
    address = checksummed(digits.lower())
    # One case throughout is an address without checksum.
    if digits not in (digits.lower(), digits.upper()) and address[2:] != digits:
        raise table.error("address", "has a wrong checksum (EIP-55); copy the address again")
    return address
