"""What can be wrong with evidence, named by who must act."""

__all__ = ["CanonicalError", "ProofError", "Refused"]


class ProofError(Exception):
    """The evidence at hand does not show what it claims; nobody's money moved because of it."""


class CanonicalError(ProofError):
    """A JSON text is not in the one form that may be hashed."""


class Refused(ProofError):
    """One check of a verifier failed.

    Args:
        check: the check's stable name, as proofs/README.md lists it.
        reason: what was found instead, for a person.
    """

    def __init__(self, check: str, reason: str) -> None:
        super().__init__(f"{check}: {reason}")
        self.check = check
        self.reason = reason
