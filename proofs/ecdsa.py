"""Whose signature: recovery of an address from an ECDSA signature on secp256k1 (SEC 1, 4.1.6)."""

from proofs.keccak import keccak256

__all__ = ["HALF_ORDER", "signer_of"]

_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
#: The largest s of the lower of two equivalent signatures (EIP-2).
HALF_ORDER = _ORDER // 2


def signer_of(digest: bytes, r_and_s: bytes, parity: int) -> bytes:
    """Return the 20-byte address whose key signed ``digest``.

    Args:
        r_and_s: 64 bytes.
        parity: 0 or 1, of the point R's y.

    Raises:
        ValueError: no key could have made it.
    """
    # Only who meets a signature pays for loading the curve.
    import coincurve

    try:
        key = coincurve.PublicKey.from_signature_and_message(
            r_and_s + bytes([parity]), digest, hasher=None
        )
    except Exception as error:  # the binding raises Exception itself
        raise ValueError("no key could have made this signature") from error
    return keccak256(key.format(compressed=False)[1:])[12:]
