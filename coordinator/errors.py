"""Errors of the coordinator, one family, named by who must act.

Every message says what was and was not sent and what to do next; `exit_code` follows the table in
the README.
"""

__all__ = [
    "ClaimTaken",
    "ConfigError",
    "Conflict",
    "CoordinatorError",
    "Fenced",
    "Held",
    "Irreversible",
    "JournalBroken",
    "JournalError",
    "JournalHeld",
    "JournalOld",
    "KeyTaken",
    "KeysError",
    "LockTaken",
    "PlanError",
    "PreflightError",
    "ReservationShort",
]


class CoordinatorError(Exception):
    """Base of all errors meant for people."""

    exit_code = 1


class ConfigError(CoordinatorError):
    """chains.toml must be mended by its author; nothing was sent."""

    exit_code = 3


class PlanError(CoordinatorError):
    """The plan must be mended by its author; nothing was sent."""

    exit_code = 3


class KeysError(CoordinatorError):
    """A keystore or passphrase must be mended by the operator; nothing was sent."""

    exit_code = 5


class PreflightError(CoordinatorError):
    """A chain is unreachable, is another chain, or refuses the plan today; nothing was sent."""

    exit_code = 6


class Held(CoordinatorError):
    """An operator holds it back, or has not agreed yet; nothing was sent."""

    exit_code = 4


class Conflict(CoordinatorError):
    """Another plan owns this key, or another process drives this saga; nothing was sent."""

    exit_code = 7


class Irreversible(CoordinatorError):
    """The request came after the point of no return."""

    exit_code = 11


class JournalError(CoordinatorError):
    """Base of what the journal raises."""

    exit_code = 30


class JournalBroken(JournalError):
    """Disk or database failed; this process writes and sends nothing new any more."""


class JournalHeld(JournalError):
    """Another process kept the journal for too long; nothing was written."""


class JournalOld(JournalError):
    """This is not the latest journal, or nobody can tell; only `recover` may go on from it."""


class Fenced(JournalError):
    """The stream has records that the caller had not folded."""


class ClaimTaken(JournalError):
    """A nonce or coin belongs to another intent or is kept for another effect; nothing was sent."""

    def __init__(self, chain: str, resource: str, value: int) -> None:
        super().__init__(f"{chain}: {resource} {value} is claimed or kept for another effect")
        self.chain, self.resource, self.value = chain, resource, value


class KeyTaken(JournalError):
    """The idempotency key already names a saga."""

    exit_code = 7

    def __init__(self, key: str, saga: str) -> None:
        super().__init__(f"key {key} already names saga {saga}")
        self.key, self.saga = key, saga


class ReservationShort(JournalError):
    """An account can not cover what the plan sets aside beside what is set aside already."""

    exit_code = 6


class LockTaken(JournalError):
    """A resource the plan needs for itself is locked by another saga."""

    exit_code = 7
