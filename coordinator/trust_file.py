"""A verifier's trust file, as commands are given it."""

from pathlib import Path

from coordinator.errors import CoordinatorError
from coordinator.files import read_file
from proofs.errors import Refused
from proofs.trust import MAX_BYTES, Trust, read_trust

__all__ = ["TrustUnusable", "read_trust_file"]


class TrustUnusable(CoordinatorError):
    """The trust file must be mended by its author; nothing was verified."""

    exit_code = 2


def read_trust_file(path: Path) -> tuple[Trust, bytes]:
    """Return what a trust file says, and its bytes.

    Raises:
        FileUnusable: it can not be read.
        TrustUnusable: it is none.
    """
    raw = read_file(path, "the trust file", most=MAX_BYTES)
    try:
        return read_trust(raw), raw
    except Refused as error:
        raise TrustUnusable(
            f"{path} is no trust file: {error}. Nothing was verified. Its form is in "
            "proofs/README.md; coordinator audit trust writes one."
        ) from None
