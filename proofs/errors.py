"""What can be wrong with evidence, named by who must act."""

__all__ = ["CanonicalError", "ProofError"]


class ProofError(Exception):
    """The evidence at hand does not show what it claims; nobody's money moved because of it."""


class CanonicalError(ProofError):
    """A JSON text is not in the one form that may be hashed."""
