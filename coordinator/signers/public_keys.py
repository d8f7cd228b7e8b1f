"""Public keys of secp256k1 in the forms in which others write them (SEC 1, section 2.3.3)."""

__all__ = ["compressed"]


def compressed(raw: bytes) -> bytes | None:
    """Return the 33-byte form of 33, 64 (no prefix) or 65 bytes; None for anything else."""
    import coincurve

    full = b"\x04" + raw if len(raw) == 64 else raw
    try:
        return coincurve.PublicKey(full).format(compressed=True)
    except Exception:  # noqa: BLE001  # the binding raises Exception itself
        return None
