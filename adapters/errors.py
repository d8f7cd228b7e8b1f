"""Errors of chain adapters, by what they allow next.

Only three kinds exist, because only three reactions exist: try the same call again (`Transient`),
give the step up because nothing of it can be out there (`Rejected`), or look at the chain before
anything else (`Ambiguous`, the default for whatever is not known to be one of the others).
Texts of nodes are hints for people; no decision is made from them.
"""

__all__ = ["AdapterError", "Ambiguous", "Busy", "Rejected", "Transient", "WrongChain"]


class AdapterError(Exception):
    """Base of everything an adapter raises on purpose; anything else is a bug."""


class Transient(AdapterError):
    """Nothing was sent and the call may be repeated: the node is away, busy or behind."""


class Busy(Transient):
    """A node has too much to do (HTTP 429 or 503) and took nothing of the call.

    Attributes:
        wait_s: the pause that it asks for, bounded; None where it names none.
    """

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class Rejected(AdapterError):
    """The action can not be done as it stands; raised by preflight and prepare only, nothing sent.

    Attributes:
        code: a stable word for programs: ``refused`` (the chain's own simulation says no),
            ``unfunded`` (money for value or fees is missing), ``policy`` (a cap or limit of ours),
            ``mismatch`` (what was to be signed is not what the plan says), ``signer`` (a remote
            signer refuses, or answered with no valid signature).
        fund: ``(address, asset, amount in base units)`` that would cure it, where money would.
    """

    def __init__(
        self, reason: str, *, code: str = "refused", fund: tuple[str, str, int] | None = None
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.fund = fund


class Ambiguous(AdapterError):
    """Something may have left; only the chain can tell what became of it."""


class WrongChain(AdapterError):
    """The node serves another chain than the configuration pins; nothing is sent to it."""
