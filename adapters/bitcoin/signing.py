"""Signatures: what the adapter asks of a signer, the one that holds its key in this process, and
the one whose key another process holds.

python-bitcoinlib signs through OpenSSL unless it finds libsecp256k1, which it looks for in places
where it usually is not; coincurve carries a copy. With it signatures are deterministic (RFC 6979)
and ten times as fast. The way in is a private attribute, so a self-test with a published vector
decides whether it is used.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import bitcoin.core.key as library
import coincurve
from bitcoin.core.script import IsLowDERSignature
from coincurve.ecdsa import cdata_to_der, der_to_cdata, deserialize_compact

from adapters.errors import Rejected
from adapters.remote_key import RemoteKey, SigningRequest

__all__ = [
    "BitcoinSigner",
    "InputDigest",
    "LocalBitcoinSigner",
    "RemoteBitcoinSigner",
    "deterministic",
]

_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
# RFC 6979 on secp256k1: secret 1 over SHA-256 of "Satoshi Nakamoto", as widely published.
_VECTOR_SECRET: Final = b"\x00" * 31 + b"\x01"
_VECTOR_DIGEST: Final = bytes.fromhex(
    "a0dc65ffca799873cbea0ac274015b9526505daaaed385155425f7337704883e"
)
_VECTOR_SIGNATURE: Final = bytes.fromhex(
    "3045022100934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8"
    "02202442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5"
)


@dataclass(frozen=True, slots=True)
class InputDigest:
    """What one input's signature is made over (BIP-143, SIGHASH_ALL), and what that follows from.

    Attributes:
        digest: 32 bytes.
        unsigned: the whole transaction without witnesses.
        index: of the input in it.
        value_sat: of the coin that the input spends.
        script_code: what the signature commits to.
    """

    digest: bytes
    unsigned: bytes
    index: int
    value_sat: int
    script_code: bytes


class BitcoinSigner(Protocol):
    """Signs inputs with one key; never broadcasts, never shows the key."""

    @property
    def public_key(self) -> bytes:
        """The compressed public key, 33 bytes."""

    async def sign_input(self, wanted: InputDigest) -> bytes:
        """Return a low-s DER signature of the digest, without hash type."""


class LocalBitcoinSigner:
    """A signer whose secret lies in this process's memory.

    Args:
        secret: the private key, 32 bytes.

    Raises:
        ValueError: no such private key exists.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < _ORDER:
            raise ValueError("a Bitcoin private key is 32 bytes, above zero and below the order")
        self._key = _library_key(secret)
        self.public_key: bytes = self._key.get_pubkey()

    def __repr__(self) -> str:
        return f"LocalBitcoinSigner({self.public_key.hex()})"

    async def sign_input(self, wanted: InputDigest) -> bytes:
        """Return a low-s DER signature of the digest; a tenth of a millisecond."""
        return _sign(self._key, wanted.digest)


class RemoteBitcoinSigner:
    """A key that another process holds; only its public half is known here, pinned by the operator.

    The holder sees the whole transaction and the coin's value, so it can judge both by itself.
    """

    def __init__(self, key: RemoteKey, public_key: bytes) -> None:
        self._key = key
        self.public_key: bytes = public_key

    def __repr__(self) -> str:
        return f"RemoteBitcoinSigner({self._key.name}, {self.public_key.hex()})"

    async def sign_input(self, wanted: InputDigest) -> bytes:
        """Return a low-s DER signature of the digest.

        Raises:
            Transient: no answer; nothing was signed that anybody here knows of.
            Rejected: the signer refuses, or its signature (DER, or 64 bytes r and s) is none of the
                pinned key over this digest with the lower s (BIP-146).
        """
        request = SigningRequest(
            "sha256d", wanted.digest, wanted.unsigned,
            {
                "input": wanted.index,
                "amount_sat": str(wanted.value_sat),
                "script_code": wanted.script_code.hex(),
            },
        )  # fmt: skip
        made = await self._key.signature(request)
        try:
            signature = cdata_to_der(deserialize_compact(made) if len(made) == 64 else
                                     der_to_cdata(made))  # fmt: skip
        except Exception:  # noqa: BLE001 - the binding raises Exception itself
            raise self._refused("neither DER (BIP-66) nor 64 bytes") from None
        if not IsLowDERSignature(signature + b"\x01"):
            raise self._refused("the higher of two equivalent ones (BIP-146)")
        # The library verifies what has the lower s only.
        if not coincurve.PublicKey(self.public_key).verify(signature, wanted.digest, None):
            raise self._refused(f"not that of the pinned key {self.public_key.hex()}")
        return signature

    def _refused(self, what: str) -> Rejected:
        return Rejected(
            f"signer {self._key.name}: its signature is {what}; it was thrown away and nothing was "
            f"sent. Look at the signer: coordinator keys test {self._key.name}",
            code="signer",
        )


def _library_key(secret: bytes) -> Any:
    key = library.CECKey()
    key.set_secretbytes(secret)
    key.set_compressed(True)
    return key


def _sign(key: Any, digest: bytes) -> bytes:
    signature: bytes = key.sign(digest)
    assert IsLowDERSignature(signature + b"\x01"), "BIP-146 wants low-s"
    return signature


def _use_libsecp256k1() -> bool:
    """Make python-bitcoinlib sign with coincurve's library; False leaves it at OpenSSL."""
    folder = Path(coincurve.__file__).parent
    found = sorted(folder.glob("_libsecp256k1*.so")) + sorted(folder.glob("_libsecp256k1*.pyd"))
    if not found:
        return False
    try:
        library._libsecp256k1_path = str(found[0])  # noqa: SLF001 - no public way in
        library.use_libsecp256k1_for_signing(True)
        if _sign(_library_key(_VECTOR_SECRET), _VECTOR_DIGEST) == _VECTOR_SIGNATURE:
            return True
    except (AttributeError, OSError, AssertionError):
        pass
    library.use_libsecp256k1_for_signing(False)
    return False


#: Whether signatures are RFC 6979's. Without it the same transaction signed twice differs in its
#: witness only, so its id stays the same.
deterministic: Final = _use_libsecp256k1()
