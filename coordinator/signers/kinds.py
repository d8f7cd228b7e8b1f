"""The kinds of key a keystore can hold, and the public face of each.

A kind is a row in `KINDS`: how the public half of a key is written, and on which networks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from coordinator.signers.holds import seed_fingerprint
from coordinator.signers.secret import Secret

__all__ = ["BITCOIN_HRP", "KINDS", "Kind", "Opened", "PublicFace", "face_of", "signs"]

#: Human-readable part of SegWit addresses (BIP 173) by network, named as in chains.toml.
BITCOIN_HRP: Final = {
    "mainnet": "bc",
    "testnet3": "tb",
    "signet": "tb",
    "regtest": "bcrt",
}


@dataclass(frozen=True, slots=True)
class PublicFace:
    """What everybody may know of a key.

    Attributes:
        kind: a name in `KINDS`.
        address: checksummed (EIP-55) or native SegWit (BIP 173); None for a seed, and for an
            Ethereum keystore of a wallet that leaves it out, until opened.
        public_key: compressed, 66 hex digits; None for a seed, and for Ethereum until opened.
        network: the Bitcoin network; None elsewhere.
        fingerprint: 16 hex digits of a seed; None elsewhere.
    """

    kind: str
    address: str | None = None
    public_key: str | None = None
    network: str | None = None
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A key ready for use and its public face."""

    face: PublicFace
    secret: Secret

    @property
    def kind(self) -> str:
        """``ethereum``, ``bitcoin`` or ``seed``."""
        return self.face.kind

    @property
    def address(self) -> str | None:
        """The address, None for a seed."""
        return self.face.address

    @property
    def public_key(self) -> bytes | None:
        """33 bytes, compressed; None for a seed."""
        return bytes.fromhex(self.face.public_key) if self.face.public_key else None


@dataclass(frozen=True, slots=True)
class Kind:
    """One row: how the public face comes from the key, and how a file shows it.

    Attributes:
        derive: (key, network) → face.
        shown: face → the public fields of the file, those that the face knows.
        seen: the file's fields → face with nothing opened, or a text that says what is wrong
            (it does not raise: the fields may be a key that someone stored in the clear).
        networks: the names that ``network`` may have; empty where there is none.
        signs: the key makes signatures (a seed does not).
    """

    derive: Callable[[Secret, str | None], PublicFace]
    shown: Callable[[PublicFace], dict[str, str]]
    seen: Callable[[Mapping[str, Any]], PublicFace | str]
    networks: frozenset[str] = frozenset()
    signs: bool = True


def signs(key: Secret, public_key: bytes) -> bool:
    """Sign a fixed message and verify the signature against ``public_key`` (ECDSA, SEC 1)."""
    import coincurve

    message = b"coordinator keys test: this text is signed by no transaction"
    signature = coincurve.PrivateKey(key.reveal()).sign(message)
    return coincurve.PublicKey(public_key).verify(signature, message)


def _public_key(key: Secret) -> bytes:
    import coincurve

    return coincurve.PrivateKey(key.reveal()).public_key.format(compressed=True)


def face_of(kind: str, public_key: bytes, network: str | None = None) -> PublicFace:
    """Return the public face of a key by its public half.

    Args:
        kind: ``ethereum`` or ``bitcoin``.
        public_key: 33 bytes, compressed.
        network: a name in `BITCOIN_HRP`, for ``bitcoin``.
    """
    if kind == "bitcoin":
        from bitcoin.core.serialize import Hash160
        from bitcoin.segwit_addr import encode

        address = encode(BITCOIN_HRP[str(network)], 0, Hash160(public_key))
    else:
        from eth_keys.datatypes import PublicKey

        address = PublicKey.from_compressed_bytes(public_key).to_checksum_address()
    return PublicFace(kind, address, public_key.hex(), network)


def _derive_ethereum(key: Secret, network: str | None) -> PublicFace:
    return face_of("ethereum", _public_key(key), network)


def _seen_ethereum(fields: Mapping[str, Any]) -> PublicFace | str:
    from eth_utils.address import is_address, to_checksum_address

    address = fields.get("address")
    if address is None:
        # Some wallets leave it out; it is known once the keystore is opened.
        return PublicFace("ethereum")
    if not isinstance(address, str) or not is_address(address):
        return "its address is malformed"
    return PublicFace("ethereum", to_checksum_address(address))


def _derive_bitcoin(key: Secret, network: str | None) -> PublicFace:
    return face_of("bitcoin", _public_key(key), network)


def _seen_bitcoin(fields: Mapping[str, Any]) -> PublicFace | str:
    texts = tuple(fields.get(name) for name in ("address", "public_key", "network"))
    address, public_key, network = texts
    if not isinstance(address, str) or not isinstance(public_key, str):
        return "its address or public_key is missing"
    if not isinstance(network, str) or network not in BITCOIN_HRP:
        return f"its network is none of {', '.join(BITCOIN_HRP)}"
    return PublicFace("bitcoin", address, public_key, network)


def _derive_seed(key: Secret, network: str | None) -> PublicFace:
    return PublicFace("seed", network=network, fingerprint=seed_fingerprint(key.reveal()))


def _seen_seed(fields: Mapping[str, Any]) -> PublicFace | str:
    fingerprint = fields.get("fingerprint")
    if not isinstance(fingerprint, str):
        return "its fingerprint is missing"
    return PublicFace("seed", fingerprint=fingerprint)


def _shown_ethereum(face: PublicFace) -> dict[str, str]:
    # Web3 Secret Storage as geth writes it: lower case, no 0x, and no field of our own.
    return {"address": face.address.lower().removeprefix("0x")} if face.address else {}


def _shown_bitcoin(face: PublicFace) -> dict[str, str]:
    return {
        "kind": "bitcoin",
        "network": str(face.network),
        "address": str(face.address),
        "public_key": str(face.public_key),
    }


def _shown_seed(face: PublicFace) -> dict[str, str]:
    return {"kind": "seed", "fingerprint": str(face.fingerprint)}


KINDS: Final[Mapping[str, Kind]] = {
    "ethereum": Kind(_derive_ethereum, _shown_ethereum, _seen_ethereum),
    "bitcoin": Kind(_derive_bitcoin, _shown_bitcoin, _seen_bitcoin, frozenset(BITCOIN_HRP)),
    "seed": Kind(_derive_seed, _shown_seed, _seen_seed, signs=False),
}
