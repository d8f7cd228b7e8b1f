"""What can be wrong with evidence, named by who must act."""

__all__ = ["CanonicalError", "ProofError", "ProofUnavailable", "Refused"]


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


class ProofUnavailable(ProofError):
    """What a node gives makes no proof; the reason is recorded, and never a part of a proof.

    Args:
        reason: the reason's stable name, as proofs/README.md lists it.
        detail: what was found, for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
