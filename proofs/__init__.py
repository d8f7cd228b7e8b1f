"""Evidence of what happened on a chain: bytes in, verdict out, no network and no clock."""
