"""Whether a remote signer holds the key that is pinned for it, and signs with it."""

import hashlib
from typing import Final

from adapters.errors import Rejected, Transient
from adapters.remote_key import SigningRequest
from coordinator.errors import KeysError
from coordinator.signers.kinds import PublicFace, face_of
from coordinator.signers.remote import Holder

__all__ = ["TEST_TEXT", "check_remote", "compare_remote", "trial_request"]

#: What a test has signed. It begins like no transaction of any chain.
TEST_TEXT: Final = b"coordinator keys test: this text is signed by no transaction"


async def compare_remote(holder: Holder) -> PublicFace:
    """Compare the holder's key with the pinned one; return its public face.

    Raises:
        KeysError: it holds another key.
        Transient: it does not answer, or does not know the key (yet).
    """
    source = holder.source
    try:
        key = await holder.public_key()
    except Rejected as error:
        raise KeysError(str(error)) from None
    face = face_of(source.kind, key, source.network)
    found, pinned = (
        (face.address, source.address)
        if source.kind == "ethereum"
        else (face.public_key, source.face.public_key)
    )
    if found != pinned:
        raise KeysError(
            f"signer {holder.name}: {source.place} holds the key of {found}, and chains.toml pins "
            f"{pinned}. Nothing was signed and nothing was sent. Point it to the right signer, or "
            "pin what is meant."
        )
    return face


async def check_remote(holder: Holder) -> PublicFace:
    """Compare the holder's key, have a fixed text signed and verify the signature.

    Raises:
        KeysError: it does not answer, holds another key, refuses, or signs with another key.
    """
    try:
        face = await compare_remote(holder)
        request = trial_request(face.kind)
        made = await holder.signature(request)
    except (Transient, Rejected) as error:
        raise KeysError(str(error)) from None
    if not _verifies(bytes.fromhex(str(face.public_key)), made, request.digest):
        raise KeysError(
            f"signer {holder.name}: {holder.source.place} signed a test text, and the signature is "
            "not that of the pinned key. Do not use this signer. Nothing was sent."
        )
    return face


def trial_request(kind: str) -> SigningRequest:
    """Return the request to sign `TEST_TEXT` by a key of this kind."""
    if kind == "ethereum":
        from eth_utils.crypto import keccak

        return SigningRequest("keccak256", keccak(TEST_TEXT), TEST_TEXT)
    digest = hashlib.sha256(hashlib.sha256(TEST_TEXT).digest()).digest()
    return SigningRequest("sha256d", digest, TEST_TEXT)


def _verifies(key: bytes, made: bytes, digest: bytes) -> bool:
    """Verify r ‖ s (64 bytes), r ‖ s ‖ v (65), or DER, over a digest."""
    import coincurve
    from coincurve.ecdsa import cdata_to_der, deserialize_compact

    try:
        if len(made) in {64, 65}:
            made = cdata_to_der(deserialize_compact(made[:64]))
        return bool(coincurve.PublicKey(key).verify(made, digest, None))
    except Exception:  # noqa: BLE001  # the binding raises Exception itself
        return False
